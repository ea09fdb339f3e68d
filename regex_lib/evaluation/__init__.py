"""One model, one data set, many attributions: one table."""

from regex_lib.evaluation.faithfulness import ATTRIBUTIONS, Replacement, evaluate_faithfulness
from regex_lib.evaluation.prediction import classify
from regex_lib.evaluation.report import COLUMNS, FaithfulnessReport, check_table_path

__all__ = [
    "ATTRIBUTIONS",
    "COLUMNS",
    "FaithfulnessReport",
    "Replacement",
    "check_table_path",
    "classify",
    "evaluate_faithfulness",
]
