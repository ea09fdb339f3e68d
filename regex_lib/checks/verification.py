"""Is a model verified to use a planted shortcut? To be asked before any attribution of it is measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from jaxtyping import Int64
from torch import Tensor

from regex_lib.checks.reading import predict_texts
from regex_lib.data import Shortcut, plant
from regex_lib.models import TextClassifier

__all__ = ["ShortcutLimits", "ShortcutVerification", "verify_shortcut"]


@dataclass(frozen=True)
class ShortcutLimits:
    """From where on a model counts as using a shortcut. The numbers are ours."""

    planted: float = 0.98
    """The least accuracy on planted test texts."""
    swapped: float = 0.95
    """The least share of planted test texts whose predicted class follows when the shortcut is swapped."""
    chance: float = 0.1
    """How far from 1/2 what should be chance may be."""
    clean: float = 0.05
    """How much lower the accuracy on clean test texts may be than that of the model trained without shortcuts."""


@dataclass(frozen=True)
class ShortcutVerification:
    """What a model does with a shortcut, measured before its attributions are."""

    planted_accuracy: float
    """On test texts with the shortcut, whose class is drawn at random: should be nearly 1."""
    control_accuracy: float
    """The same of a model trained without shortcuts, among its predictions of the two classes: should be 1/2."""
    clean_accuracy: float
    """On test texts as they are."""
    control_clean_accuracy: float
    """The same of the model trained without shortcuts: the other should not be lower."""
    swap_rate: float
    """Share of planted test texts whose predicted class changes to the other one when the shortcut is swapped."""
    part_agreement: float | None
    """How often, with only one of two planted words, the prediction is the class that the whole would decide: should be
    1/2, or the other word is not needed. None for a shortcut of one word."""
    failures: tuple[str, ...]
    """The conditions that do not hold, with their numbers; none if the model is verified to use the shortcut."""

    @property
    def verified(self) -> bool:
        """Whether all conditions hold."""
        return not self.failures


def verify_shortcut(
    classifier: TextClassifier,
    control: TextClassifier,
    rows: datasets.Dataset,
    shortcut: Shortcut,
    *,
    limits: ShortcutLimits | None = None,
    within: int | None = 100,
    max_length: int | None = None,
    seed: int = 0,
) -> ShortcutVerification:
    """Whether a model rests on a shortcut.

    1. It classifies planted test texts by the shortcut, nearly without an error.
    2. A model trained without the shortcut is at chance on them: nothing else in them tells the class.
    3. On clean texts it is as accurate as that model: it has not forgotten the task.
    4. Its prediction follows when the shortcut is swapped for that of the other class, all else the same.

    And for a shortcut of two words: with one of them alone it is at chance, so that both are needed.

    Args:
        classifier: trained on data with the shortcut.
        control: trained without it, by the same recipe.
        rows: clean test rows of ``text`` and ``label``.
        shortcut: the rule.
        limits: from where on a condition holds.
        within: only among the first so many words; None for anywhere.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the classes and places.

    References:
        Bastings et al. 2022 for the first three conditions; the others are ours.
    """
    limits = limits or ShortcutLimits()

    def predictions(model: TextClassifier, data: datasets.Dataset) -> Int64[Tensor, " texts"]:
        return predict_texts(model, data["text"][:], max_length=max_length).argmax(dim=-1)

    def accuracy(model: TextClassifier, data: datasets.Dataset) -> float:
        return float((predictions(model, data) == torch.tensor(data["label"][:])).double().mean())

    planted = plant(rows, shortcut, within=within, seed=seed)
    swapped = plant(rows, shortcut, variant="swapped", within=within, seed=seed)
    before, after = predictions(classifier, planted), predictions(classifier, swapped)
    follows = (before == torch.tensor(planted["label"][:])) & (after == torch.tensor(swapped["label"][:]))
    part_agreement = None
    if shortcut.has_parts:
        part = plant(rows, shortcut, variant="part", within=within, seed=seed)
        part_agreement = _agreement(predictions(classifier, part), part, shortcut)
    measured: dict[str, Any] = {
        "planted_accuracy": float((before == torch.tensor(planted["label"][:])).double().mean()),
        "control_accuracy": _agreement(predictions(control, planted), planted, shortcut),
        "clean_accuracy": accuracy(classifier, rows),
        "control_clean_accuracy": accuracy(control, rows),
        "swap_rate": float(follows.double().mean()),
        "part_agreement": part_agreement,
    }
    return ShortcutVerification(**measured, failures=_failures(measured, limits))


def _agreement(predictions: Int64[Tensor, " texts"], planted: datasets.Dataset, shortcut: Shortcut) -> float:
    """How often the planted class is predicted, among predictions of one of the two classes; 1/2 if there are none."""
    of_two = torch.isin(predictions, torch.tensor(shortcut.classes))
    agree = (predictions == torch.tensor(planted["label"][:]))[of_two]
    return float(agree.double().mean()) if len(agree) else 0.5


def _failures(measured: Mapping[str, Any], limits: ShortcutLimits) -> tuple[str, ...]:
    planted, control, swap, part = (
        measured[name] for name in ("planted_accuracy", "control_accuracy", "swap_rate", "part_agreement")
    )
    lost = measured["control_clean_accuracy"] - measured["clean_accuracy"]
    conditions = [
        (planted >= limits.planted, f"accuracy on planted texts {planted:.3f} is below {limits.planted}"),
        (abs(control - 0.5) <= limits.chance, f"a model without the shortcut agrees with it {control:.3f}, not .5"),
        (lost <= limits.clean, f"accuracy on clean texts fell by {lost:.3f}, more than {limits.clean}"),
        (swap >= limits.swapped, f"the prediction follows a swap in {swap:.3f}, below {limits.swapped}"),
        (
            part is None or abs(part - 0.5) <= limits.chance,
            f"with one of two words the class is predicted {part or 0.0:.3f}, not .5",
        ),
    ]
    return tuple(failure for holds, failure in conditions if not holds)
