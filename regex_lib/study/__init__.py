"""Studies: a grid of trainings and measurements, their results in one folder, and the tables that follow."""

from regex_lib.study.engine import LocalPool, Pool, Progress, run_jobs
from regex_lib.study.figure import differences_figure
from regex_lib.study.measurements import MEASUREMENTS, TrainedModel, measurement
from regex_lib.study.plan import Grid, Measure, Study, TrainSettings, plan
from regex_lib.study.published import read_rows, read_table
from regex_lib.study.reading import read_study
from regex_lib.study.reports import COMPARABLE, NO_TAU, Report, reports, verdicts
from regex_lib.study.store import Store
from regex_lib.study.tables import (
    collect,
    costs,
    coverage,
    differences,
    export,
    means,
    metric_minus_metric,
    read_export,
    scores,
)
from regex_lib.study.tasks import Job, Task
from regex_lib.study.verdict import MIN_SEEDS, Verdict, verdict

__all__ = [
    "COMPARABLE",
    "MEASUREMENTS",
    "MIN_SEEDS",
    "NO_TAU",
    "Grid",
    "Job",
    "LocalPool",
    "Measure",
    "Pool",
    "Progress",
    "Report",
    "Store",
    "Study",
    "Task",
    "TrainSettings",
    "TrainedModel",
    "Verdict",
    "collect",
    "costs",
    "coverage",
    "differences",
    "differences_figure",
    "export",
    "means",
    "measurement",
    "metric_minus_metric",
    "plan",
    "read_export",
    "read_rows",
    "read_study",
    "read_table",
    "reports",
    "run_jobs",
    "scores",
    "verdict",
    "verdicts",
]
