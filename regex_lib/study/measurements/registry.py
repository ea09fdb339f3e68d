"""The registry of measurements.

A measurement is a function ``(models, splits, **options)`` to a table. ``models`` are the models that it needs, the one
that is measured first; ``splits`` are those of one data set. Every option has a default, and is part of what a result
is filed under. Columns of the table that are not in :data:`IDENTITY` or :data:`FACTS` are scores, of which tables show
the means over the rows.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import datasets
import pandas as pd

from regex_lib.attributions import find_method
from regex_lib.errors import UserError, unknown_name
from regex_lib.evaluation import find_metric
from regex_lib.models import TextClassifier
from regex_lib.training import Recipe

__all__ = [
    "FACTS",
    "IDENTITY",
    "MEASUREMENTS",
    "Measure",
    "TrainedModel",
    "import_modules",
    "measurement",
    "models_needed",
    "resolve_options",
]

Measure = Callable[..., pd.DataFrame]

IDENTITY = ("attribution", "example", "against", "perturbation")
"""Columns that tell what a row is about."""

FACTS = {"label": "Int32", "prediction": "Int32", "probability": "float32", "truncated": "boolean"}
"""Columns that are kept, but not averaged, with their types in a table of many tasks, not all of which have them."""

MEASUREMENTS: dict[str, Measure] = {}
"""The measurements by name."""

_MODELS: dict[str, int] = {}


@dataclass(frozen=True)
class TrainedModel:
    """A model of the study, and what it takes to train more of its kind."""

    classifier: TextClassifier
    new_classifier: Callable[[int], TextClassifier]
    """What training starts from: the pre-trained encoder and a new head, drawn from a seed."""
    train_rows: datasets.Dataset
    """The training texts, before ``max_train`` takes its share."""
    recipe: Recipe
    seed: int
    settings: Mapping[str, Any]
    """Options of :func:`regex_lib.training.train`, but for the seed."""


def measurement(name: str, *, models: int = 1) -> Callable[[Measure], Measure]:
    """Adds a measurement under a name.

    Args:
        name: the kind, as the file of a study gives it.
        models: how many it needs: the one that is measured, and those that differ from it in their seeds only.

    Example:
        >>> @measurement("layers")
        ... def layers(models, splits, *, split="test"):
        ...     return pd.DataFrame({"layers": [models[0].classifier.model.config.num_hidden_layers]})
        >>> MEASUREMENTS.pop("layers") is layers
        True
    """

    def add(measure: Measure) -> Measure:
        MEASUREMENTS[name], _MODELS[name] = measure, models
        return measure

    return add


def models_needed(kind: str) -> int:
    """How many models of a recipe a measurement needs.

    Example:
        >>> models_needed("quality"), models_needed("randomisation")
        (1, 2)
    """
    return _MODELS[kind]


def import_modules(names: Sequence[str]) -> None:
    """Imports the modules that add to the registries.

    Raises:
        UserError: if one cannot be imported.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(f"cannot import the module {name!r}: {error}; it must be on PYTHONPATH") from error


def resolve_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a measurement, given or default; those that are None are left out.

    Raises:
        UserError: if there is no such measurement or option.

    Example:
        >>> resolve_options("quality", {"split": "validation"})
        {'split': 'validation'}
    """
    if kind not in MEASUREMENTS:
        raise unknown_name("kind of measurement", kind, MEASUREMENTS)
    parameters = list(inspect.signature(MEASUREMENTS[kind]).parameters.values())[2:]
    defaults = {parameter.name: parameter.default for parameter in parameters}
    for name in options:
        if name not in defaults:
            raise unknown_name(f"option of {kind}", name, defaults)
    for name, find in (("attributions", find_method), ("metrics", find_metric)):
        for value in options.get(name, ()):
            find(value)
    resolved = {name: options.get(name, default) for name, default in defaults.items()}
    return {name: value for name, value in resolved.items() if value is not None}
