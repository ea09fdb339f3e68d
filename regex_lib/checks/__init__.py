"""Checks of explanations that erasure cannot give: randomisation, stability, ground truth, people, other domains."""

from regex_lib.checks.parameters import parameter_randomisation
from regex_lib.checks.plausibility import PlausibilityReport, evaluate_minimal_pairs, evaluate_plausibility
from regex_lib.checks.randomisation import (
    different_initialisations,
    permuted_label_training,
    randomisation_verdict,
    untrained_model,
    with_permuted_labels,
)
from regex_lib.checks.shortcuts import evaluate_shortcuts, shortcut_scores, training_data_with_shortcut
from regex_lib.checks.stability import stability
from regex_lib.checks.summary import summarise
from regex_lib.checks.transfer import evaluate_transfer
from regex_lib.checks.verification import ShortcutLimits, ShortcutVerification, verify_shortcut
from regex_lib.checks.weights import layer_parameters, with_random_weights

__all__ = [
    "PlausibilityReport",
    "ShortcutLimits",
    "ShortcutVerification",
    "different_initialisations",
    "evaluate_minimal_pairs",
    "evaluate_plausibility",
    "evaluate_shortcuts",
    "evaluate_transfer",
    "layer_parameters",
    "parameter_randomisation",
    "permuted_label_training",
    "randomisation_verdict",
    "shortcut_scores",
    "stability",
    "summarise",
    "training_data_with_shortcut",
    "untrained_model",
    "verify_shortcut",
    "with_permuted_labels",
    "with_random_weights",
]
