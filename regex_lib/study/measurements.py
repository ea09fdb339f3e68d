"""What a study measures of a trained model, by name.

A measurement is a function ``(classifiers, splits, **options)`` to a table. ``classifiers`` are the models that it
needs, the one that is measured first; ``splits`` are those of one data set. Every option has a default, and is part of
what a result is filed under. Columns of the table that are not in :data:`IDENTITY` or :data:`FACTS` are scores, of
which tables show the means over the rows.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import datasets
import pandas as pd
import torch

from regex_lib.attributions import find_method
from regex_lib.attributions.explain import length_batches
from regex_lib.errors import UserError, unknown_name
from regex_lib.evaluation import ATTRIBUTIONS, DEFAULT_METRICS, evaluate_faithfulness, find_metric
from regex_lib.evaluation.prediction import predictor
from regex_lib.metrics import classification_report
from regex_lib.models import TextClassifier, evaluating

__all__ = ["FACTS", "IDENTITY", "MEASUREMENTS", "Measure", "import_modules", "measurement", "resolve_options"]

Measure = Callable[..., pd.DataFrame]

IDENTITY = ("attribution", "example")
"""Columns that tell what a row is about."""

FACTS = {"label": "Int32", "prediction": "Int32", "probability": "float32", "truncated": "boolean"}
"""Columns that are kept, but not averaged, with their types in a table of many tasks, not all of which have them."""

MEASUREMENTS: dict[str, Measure] = {}
"""The measurements by name."""


def measurement(name: str) -> Callable[[Measure], Measure]:
    """Adds a measurement under a name.

    Example:
        >>> @measurement("layers")
        ... def layers(classifiers, splits, *, split="test"):
        ...     return pd.DataFrame({"layers": [classifiers[0].model.config.num_hidden_layers]})
        >>> MEASUREMENTS.pop("layers") is layers
        True
    """

    def add(measure: Measure) -> Measure:
        MEASUREMENTS[name] = measure
        return measure

    return add


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


@measurement("quality")
def quality(
    classifiers: Sequence[TextClassifier],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    max_length: int | None = None,
) -> pd.DataFrame:
    """Accuracy per example; macro-F1 and expected calibration error, which no example has alone, in every row."""
    (classifier,), rows = classifiers, splits[split]
    texts, label = rows["text"][:], torch.tensor(rows["label"][:])
    classifier.check_labels(label.tolist())
    predict, parts, order = predictor(classifier), [], []
    with evaluating(classifier):
        for numbers in length_batches(texts, 64):
            batch = classifier.tokenize([texts[number] for number in numbers], max_length)
            parts.append(predict(classifier.embed(batch.input_ids), batch.attention_mask).cpu())
            order += numbers
    probabilities = torch.cat(parts)[torch.tensor(order).argsort()]
    probability, prediction = probabilities.max(dim=1)
    summary = classification_report(probabilities, label)
    return pd.DataFrame({
        "example": range(len(rows)), "label": label, "prediction": prediction, "probability": probability,
        "accuracy": (prediction == label).double(), "macro_f1": summary["macro_f1"], "ece": summary["ece"],
    })  # fmt: skip


@measurement("faithfulness")
def faithfulness(
    classifiers: Sequence[TextClassifier],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    replacement: str = "pad",
    level: str = "token",
    max_examples: int | None = None,
    max_length: int | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    metric_options: dict[str, dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """Metrics of :func:`regex_lib.evaluation.evaluate_faithfulness`, of the same examples for every model."""
    (classifier,) = classifiers
    report = evaluate_faithfulness(
        classifier, splits[split], attributions, metrics, replacement=replacement, level=level,  # type: ignore[arg-type]
        max_examples=max_examples, max_length=max_length, options=options, metric_options=metric_options,
    )  # fmt: skip
    return report.examples.astype({"degenerate": float})
