"""One model, one data set, many attributions: one table."""

from regex_lib.evaluation.faithfulness import ATTRIBUTIONS, DEFAULT_METRICS, evaluate_faithfulness
from regex_lib.evaluation.measures import METRICS, Metric, directions, find_metric
from regex_lib.evaluation.prediction import classify
from regex_lib.evaluation.removals import Level, Replacement
from regex_lib.evaluation.report import COLUMNS, FaithfulnessReport, check_table_path, read_report

__all__ = [
    "ATTRIBUTIONS",
    "COLUMNS",
    "DEFAULT_METRICS",
    "METRICS",
    "FaithfulnessReport",
    "Level",
    "Metric",
    "Replacement",
    "check_table_path",
    "classify",
    "directions",
    "evaluate_faithfulness",
    "find_metric",
    "read_report",
]
