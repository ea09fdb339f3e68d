"""What an evaluation gives: tables, per example and as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from regex_lib.errors import UserError

__all__ = ["COLUMNS", "FaithfulnessReport", "check_table_path"]

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
"""The columns of every faithfulness table."""


@dataclass(frozen=True)
class FaithfulnessReport:
    """How faithful each attribution is to one model on one data set, and how good that model is.

    Sufficiency and comprehensiveness are the normalised ones, averaged over the ratios; both lie in [0, 1], and higher
    is better. They are comparable between attributions of one model; between models only with care, because the
    normaliser differs: read them beside the ``random`` row and the accuracy.
    """

    examples: pd.DataFrame
    """One row per example and attribution: ``example, attribution, label, prediction, probability, sufficiency,
    comprehensiveness, degenerate, truncated``."""
    curves: pd.DataFrame
    """One row per attribution and ratio, mean over the examples: ``attribution, ratio, sufficiency,
    comprehensiveness``."""
    classification: dict[str, float]
    """Accuracy, macro-F1 and expected calibration error on the same examples."""
    settings: dict[str, Any]
    """Ratios, replacement, seed, and how many texts were left out because they have no content tokens."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per attribution, with the columns in :data:`COLUMNS`."""
        groups = self.examples.groupby("attribution", sort=False)
        table = groups.agg(
            sufficiency=("sufficiency", "mean"),
            comprehensiveness=("comprehensiveness", "mean"),
            degenerate_share=("degenerate", "mean"),
            examples=("example", "size"),
        ).reset_index()
        return table.assign(**self.classification)[list(COLUMNS)]

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know about its examples, a line each."""
        cut = int(self.examples.groupby("example")["truncated"].first().sum())
        left_out = self.settings["left_out"]
        notes = [f"Longer than the model takes, and cut: {cut} of the texts."] if cut else []
        return notes + ([f"Without content tokens, and left out: {left_out} of the texts."] if left_out else [])

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


def check_table_path(path: str | Path) -> None:
    """Refuse a table's path that cannot be written to, before any work is done.

    Raises:
        UserError: if the ending is not .parquet, .csv or .json, or there is no such folder.
    """
    if Path(path).suffix not in (".parquet", ".csv", ".json"):
        raise UserError(f"cannot write {str(path)!r}: the ending must be .parquet, .csv or .json")
    if not Path(path).parent.is_dir():
        raise UserError(f"cannot write {str(path)!r}: there is no folder {str(Path(path).parent)!r}")
