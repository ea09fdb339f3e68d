"""What an evaluation gives: tables, per example and as a whole."""

import json
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from regex_lib.errors import UserError
from regex_lib.evaluation.figure import report_figure
from regex_lib.evaluation.measures import METRICS
from regex_lib.evaluation.shards import Shards, cannot_write, frames_of

__all__ = ["COLUMNS", "FaithfulnessReport", "check_table_path", "read_report", "tidy"]

COLUMNS = (
    "attribution",
    "sufficiency",
    "comprehensiveness",
    "accuracy",
    "macro_f1",
    "ece",
    "degenerate_share",
    "examples",
)
"""The columns of a faithfulness table with the default metrics. Other metrics take the place of these two; one that is
not defined for every example has one more, such as ``loo_tau_undefined``: the share of examples without a score."""

_FACTS = ("example", "attribution", "label", "prediction", "probability", "degenerate", "truncated")
_SUMMARY = "report.json"


class FaithfulnessReport:
    """How faithful each attribution is to one model on one data set, and how good that model is.

    Sufficiency and comprehensiveness are the normalised ones, averaged over the ratios; both lie in [0, 1], and higher
    is better. They are comparable between attributions of one model; between models only with care, because the
    normaliser differs: read them beside the ``random`` row and the accuracy. The other metrics are told by
    :func:`regex_lib.evaluation.evaluate_faithfulness`, and ``directions(report.table)`` (in
    :mod:`regex_lib.evaluation`) says for which of them lower is better.

    Args:
        examples: one row per example and attribution, or the shards in which these rows are.
        curves: one row per attribution and ratio.
        classification: how good the model is.
        settings: how it was measured.
    """

    curves: pd.DataFrame
    """One row per attribution and ratio, mean over the examples: ``attribution, ratio``, then the metrics that have a
    value for each ratio."""
    classification: dict[str, float]
    """Accuracy, macro-F1 and expected calibration error on the same examples."""
    settings: dict[str, Any]
    """Ratios, replacement, seed, options and the like, as JSON tells them, and how many texts were left out because
    they have no content tokens."""

    def __init__(
        self,
        examples: pd.DataFrame | Shards,
        curves: pd.DataFrame,
        classification: dict[str, float],
        settings: dict[str, Any],
    ) -> None:
        self._stored = examples
        self.curves, self.classification, self.settings = curves, classification, settings

    @cached_property
    def examples(self) -> pd.DataFrame:
        """One row per example and attribution: ``example, attribution, label, prediction, probability, degenerate,
        truncated``, then the metrics.

        Of a report that was written to a folder while it was measured, they are read when asked for.
        """  # noqa: D205 - the columns in one piece
        return tidy(pd.concat(frames_of(self._stored), ignore_index=True))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per attribution, with the columns in :data:`COLUMNS`: means over the examples that have a score."""
        sums, counts, sizes = [], [], []
        for frame in frames_of(self._stored):
            groups = frame.groupby("attribution", sort=False)[["degenerate", *_scores(frame)]]
            sums.append(groups.sum())
            counts.append(groups.count())
            sizes.append(groups.size())
        total, count, size = (pd.concat(parts).groupby(level=0, sort=False).sum() for parts in (sums, counts, sizes))
        means = total / count
        names = means.columns.drop("degenerate")
        table = means[names].assign(**self.classification, degenerate_share=means["degenerate"])
        for name in names:
            if name in METRICS and not METRICS[name].always_defined:
                table[f"{name}_undefined"] = 1.0 - count[name] / size
        return table.assign(examples=size).reset_index()

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know about its examples, a line each."""
        cut = sum(int(frame.drop_duplicates("example")["truncated"].sum()) for frame in frames_of(self._stored))
        left_out = self.settings["left_out"]
        notes = [f"Longer than the model takes, and cut: {cut} of the texts."] if cut else []
        notes += [f"Without content tokens, and left out: {left_out} of the texts."] if left_out else []
        return notes

    def plot(self) -> Figure:
        """The curves of each attribution over the ratios, and a bar for each where a metric has no curve."""
        return report_figure(self.table, self.curves, self._metrics)

    @property
    def _metrics(self) -> list[str]:
        return _scores(next(iter(frames_of(self._stored))))

    def to_file(self, path: str | Path) -> None:
        """Write the table as .parquet, .csv or .json (one record per row).

        Raises:
            UserError: if the ending is none of these, or the file cannot be written.
        """
        check_table_path(path)
        writers: dict[str, Callable[[], object]] = {
            ".parquet": lambda: self.table.to_parquet(path, index=False),
            ".csv": lambda: self.table.to_csv(path, index=False),
            ".json": lambda: self.table.to_json(path, orient="records", indent=2),
        }
        try:
            writers[Path(path).suffix]()
        except OSError as error:
            raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error

    def to_parquet(self, folder: str | Path) -> None:
        """Write everything to a folder, for :func:`read_report`: table.parquet, curves.parquet, report.json, and the
        per-example results in one file or more.

        Raises:
            UserError: if the folder cannot be written to.
        """  # noqa: D205
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if isinstance(self._stored, Shards):
                names = self._stored.names
                if folder.resolve() != self._stored.folder.resolve():
                    for name in names:
                        shutil.copy(self._stored.folder / name, folder / name)
            else:
                names = ["examples.parquet"]
                self._stored.to_parquet(folder / names[0], index=False)
            self.table.to_parquet(folder / "table.parquet", index=False)
            self.curves.to_parquet(folder / "curves.parquet", index=False)
            summary = {"classification": self.classification, "settings": self.settings, "examples": names}
            (folder / _SUMMARY).write_text(json.dumps(summary, indent=2, default=repr) + "\n", encoding="utf-8")
        except OSError as error:
            raise cannot_write(folder, error) from error


def read_report(folder: str | Path) -> FaithfulnessReport:
    """The report that :meth:`FaithfulnessReport.to_parquet`, or an evaluation with an output folder, has written.

    Raises:
        UserError: if the folder holds no finished report.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
        curves = pd.read_parquet(folder / "curves.parquet")
        shards = Shards(folder, summary["examples"])
        return FaithfulnessReport(shards, curves, summary["classification"], summary["settings"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{str(folder)!r} holds no finished report: {error}") from error


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of :attr:`FaithfulnessReport.examples`: each attribution's in the order of the data, without curves."""
    place = {name: number for number, name in enumerate(rows["attribution"].unique())}
    order = rows["attribution"].map(place) * (1 + rows["example"].max()) + rows["example"]
    columns = [name for name in rows if name in _FACTS] + _scores(rows)
    return rows.loc[order.sort_values(kind="stable").index, columns].reset_index(drop=True)


def _scores(rows: pd.DataFrame) -> list[str]:
    """The columns of metrics; names such as sufficiency@0.1 are points of their curves."""
    return [name for name in rows if name not in _FACTS and "@" not in name]


def check_table_path(path: str | Path) -> None:
    """Refuse a table's path that cannot be written to, before any work is done.

    Raises:
        UserError: if the ending is not .parquet, .csv or .json, or there is no such folder.
    """
    if Path(path).suffix not in (".parquet", ".csv", ".json"):
        raise UserError(f"cannot write {str(path)!r}: the ending must be .parquet, .csv or .json")
    if not Path(path).parent.is_dir():
        raise UserError(f"cannot write {str(path)!r}: there is no folder {str(Path(path).parent)!r}")
