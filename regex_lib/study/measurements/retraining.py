"""Measurements that train more models by the settings of the one that is measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pandas as pd

from regex_lib.checks import evaluate_shortcuts
from regex_lib.data import Shortcut
from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.rationales import select_then_predict
from regex_lib.study.measurements.registry import TrainedModel, measurement
from regex_lib.study.measurements.scoring import drawn

__all__ = ["rationales", "shortcuts"]

_SHORTCUT_SCORES = [
    "precision", "mean_rank", "examples", "verified", "planted_accuracy", "control_accuracy", "clean_accuracy",
    "control_clean_accuracy", "swap_rate", "part_agreement",
]  # fmt: skip


@measurement("rationales")
def rationales(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    ratio: float = 0.2,
    contiguous: bool = False,
    max_train: int | None = None,
    max_texts: int | None = None,
    max_length: int | None = None,
    options: dict[str, dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """How good a classifier is that reads nothing but the rationales that the measured model's attributions select.

    One training by the recipe ``vanilla`` for each attribution; see :func:`regex_lib.rationales.select_then_predict`.
    It takes as many texts as the measured model's training, or ``max_train``. ``options`` are the attributions' own.
    """
    model = models[0]
    data = {"train": model.train_rows, "test": drawn(splits[split], max_texts)}
    settings = {**model.settings, "max_length": max_length}
    settings |= {} if max_train is None else {"max_train": max_train}
    table = select_then_predict(
        model.classifier, data, model.new_classifier, attributions, ratio=ratio, contiguous=contiguous,
        seed=model.seed, options=options, **settings,
    )  # fmt: skip
    return table[["attribution", "macro_f1", "accuracy", "full_text_macro_f1", "full_text_accuracy", "words"]]


@measurement("shortcuts")
def shortcuts(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    shortcut: str = "single_token",
    max_train: int | None = None,
    max_texts: int | None = None,
    max_examples: int = 200,
    max_length: int | None = None,
) -> pd.DataFrame:
    """Whether attributions find a planted shortcut that a model, trained by the same recipe, is verified to use.

    Two trainings, with and without the shortcut; see :func:`regex_lib.checks.evaluate_shortcuts`. Of a model that does
    not use its shortcut, ``verified`` is 0, and precision and rank are undefined.
    """
    model = models[0]
    settings = {**model.settings, "max_length": max_length}
    settings |= {} if max_train is None else {"max_train": max_train}
    table = evaluate_shortcuts(
        model.new_classifier, {"train": model.train_rows, "test": splits[split]}, model.recipe,
        [Shortcut(shortcut)], attributions,  # type: ignore[arg-type]  # it checks the kind
        seed=model.seed, max_test=max_texts, max_examples=max_examples, unverified="flag", **settings,
    )  # fmt: skip
    return table[["attribution", *_SHORTCUT_SCORES]].astype(dict.fromkeys(_SHORTCUT_SCORES, float))
