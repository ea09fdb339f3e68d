"""The metrics: tensors in, numbers out."""

from regex_lib.metrics.agreement import leave_one_out_tau, monotonicity
from regex_lib.metrics.bootstrap import Interval, bootstrap_interval, paired_bootstrap
from regex_lib.metrics.bounds import AopcBounds, aopc_bounds, normalised_aopc
from regex_lib.metrics.classification import (
    calibration_error_terms,
    classification_report,
    expected_calibration_error,
    macro_f1_terms,
)
from regex_lib.metrics.erasure import (
    RATIOS,
    area_over_perturbation_curve,
    is_degenerate,
    normalised_comprehensiveness,
    normalised_sufficiency,
)
from regex_lib.metrics.flips import decision_flip, flip_fraction
from regex_lib.metrics.plausibility import auprc, iou_f1, token_f1
from regex_lib.metrics.randomisation import expected_jaccard, rank_correlation, top_k_jaccard
from regex_lib.metrics.removal import RemovalMemo, removal_curve, removal_curve_area
from regex_lib.metrics.sensitivity import infidelity, max_sensitivity, random_perturbations
from regex_lib.metrics.shortcuts import planted_precision, planted_rank
from regex_lib.metrics.soft import scaled_attribution, soft_comprehensiveness, soft_keep_mask, soft_sufficiency
from regex_lib.metrics.stability import embedding_noise, surviving_scores
from regex_lib.metrics.statistics import (
    EffectSize,
    SignedRankTest,
    WinRate,
    effect_size,
    holm,
    wilcoxon_signed_rank,
    win_rate,
)

__all__ = [
    "RATIOS",
    "AopcBounds",
    "EffectSize",
    "Interval",
    "RemovalMemo",
    "SignedRankTest",
    "WinRate",
    "aopc_bounds",
    "area_over_perturbation_curve",
    "auprc",
    "bootstrap_interval",
    "calibration_error_terms",
    "classification_report",
    "decision_flip",
    "effect_size",
    "embedding_noise",
    "expected_calibration_error",
    "expected_jaccard",
    "flip_fraction",
    "holm",
    "infidelity",
    "iou_f1",
    "is_degenerate",
    "leave_one_out_tau",
    "macro_f1_terms",
    "max_sensitivity",
    "monotonicity",
    "normalised_aopc",
    "normalised_comprehensiveness",
    "normalised_sufficiency",
    "paired_bootstrap",
    "planted_precision",
    "planted_rank",
    "random_perturbations",
    "rank_correlation",
    "removal_curve",
    "removal_curve_area",
    "scaled_attribution",
    "soft_comprehensiveness",
    "soft_keep_mask",
    "soft_sufficiency",
    "surviving_scores",
    "token_f1",
    "top_k_jaccard",
    "wilcoxon_signed_rank",
    "win_rate",
]
