"""The metrics: tensors in, numbers out."""

from regex_lib.metrics.classification import classification_report, expected_calibration_error
from regex_lib.metrics.erasure import (
    RATIOS,
    area_over_perturbation_curve,
    is_degenerate,
    normalised_comprehensiveness,
    normalised_sufficiency,
)

__all__ = [
    "RATIOS",
    "area_over_perturbation_curve",
    "classification_report",
    "expected_calibration_error",
    "is_degenerate",
    "normalised_comprehensiveness",
    "normalised_sufficiency",
]
