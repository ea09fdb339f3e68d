"""The registry of measurements.

A measurement is a function ``(models, splits, **options)`` to a table. ``models`` are the models that it needs, the one
that is measured first; ``splits`` are those of one data set. Every option has a default, and is part of what a result
is filed under; ``split`` is one of them. Columns of the table that are not in :data:`IDENTITY` or :data:`FACTS` are
scores, of which tables show the means over the rows.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import UnionType
from typing import Any, Union, get_args, get_origin

import datasets
import pandas as pd

from regex_lib.attributions import find_method
from regex_lib.errors import UserError, check_names, unknown_name
from regex_lib.evaluation import find_metric
from regex_lib.models import TextClassifier
from regex_lib.training import Recipe

__all__ = [
    "FACTS",
    "IDENTITY",
    "MEASUREMENTS",
    "Measure",
    "TrainedModel",
    "find_options",
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

    Raises:
        UserError: if it has no option ``split``, or an option without a default.

    Example:
        >>> @measurement("layers")
        ... def layers(models, splits, *, split="test"):
        ...     return pd.DataFrame({"layers": [models[0].classifier.model.config.num_hidden_layers]})
        >>> MEASUREMENTS.pop("layers") is layers
        True
    """

    def add(measure: Measure) -> Measure:
        options = _options_of(measure)
        if "split" not in options:
            raise UserError(f"the measurement {name!r} must have an option 'split'")
        for option in options.values():
            if option.default is option.empty:
                raise UserError(f"the option {option.name!r} of the measurement {name!r} must have a default")
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


def find_options(kind: str) -> dict[str, inspect.Parameter]:
    """The options of a measurement by name.

    Raises:
        UserError: if there is no such measurement.

    Example:
        >>> list(find_options("quality"))
        ['split', 'max_texts', 'max_length']
    """
    if kind not in MEASUREMENTS:
        raise unknown_name("kind of measurement", kind, MEASUREMENTS)
    return _options_of(MEASUREMENTS[kind])


def resolve_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a measurement, given or default; those that are None are left out.

    Raises:
        UserError: if there is no such measurement or option, or a value is of another type than its option.

    Example:
        >>> resolve_options("quality", {"split": "validation"})
        {'split': 'validation'}
    """
    known = find_options(kind)
    check_names(f"option of {kind}", options, known)
    for name, value in options.items():
        if not _fits(value, known[name]):
            raise UserError(f"{name} of {kind} cannot be {value!r}")
    for name, find in (("attributions", find_method), ("metrics", find_metric)):
        for value in options.get(name, ()):
            find(str(value))
    resolved = {name: options.get(name, option.default) for name, option in known.items()}
    return {name: value for name, value in resolved.items() if value is not None}


def _options_of(measure: Measure) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(measure).parameters.items())[2:])


def _fits(value: Any, option: inspect.Parameter) -> bool:
    """Whether a value is of an option's type, if its annotation or its default tells that."""
    kind = option.annotation
    if kind is option.empty:
        kind = object if option.default is None else type(option.default)
    kinds = [get_origin(one) or one for one in (get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind])]
    if not all(isinstance(one, type) and one not in (object, Any) for one in kinds):  # such as Literal, or text
        return True
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, str):  # it is a sequence too
        return str in kinds
    wider = {float: (float, int), tuple: (tuple, list)}
    return any(isinstance(value, wider.get(one, one)) for one in kinds)
