"""Losses, masks, attributions and metrics for faithful explanations of text classifiers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regex_lib.attributions import attribute
    from regex_lib.data import load_data
    from regex_lib.evaluation import evaluate_faithfulness
    from regex_lib.models import load_classifier
    from regex_lib.rationales import extract_rationales
    from regex_lib.training import Recipe, RegexObjective, RegexTrainer, train

__version__ = "0.1.0"

__all__ = [
    "Recipe",
    "RegexObjective",
    "RegexTrainer",
    "attribute",
    "evaluate_faithfulness",
    "extract_rationales",
    "load_classifier",
    "load_data",
    "train",
]

_HOMES = {
    "Recipe": "training",
    "RegexObjective": "training",
    "RegexTrainer": "training",
    "attribute": "attributions",
    "evaluate_faithfulness": "evaluation",
    "extract_rationales": "rationales",
    "load_classifier": "models",
    "load_data": "data",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    # Imported at first use: torch and transformers take seconds, which `regex-lib --help` need not wait for.
    if name in _HOMES:
        return getattr(import_module(f"regex_lib.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'regex_lib' has no attribute {name!r}")
