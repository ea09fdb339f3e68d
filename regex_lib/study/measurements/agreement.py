"""Measurements of how far explanations agree: with those of another model, and with those of a text slightly changed.

Rows have ``jaccard`` (of the top tokens), ``random_jaccard`` (what chance gives), ``spearman`` and ``same_prediction``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pandas as pd

from regex_lib import checks
from regex_lib.checks import different_initialisations, parameter_randomisation, untrained_model
from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.study.measurements.registry import TrainedModel, measurement
from regex_lib.study.measurements.scoring import drawn

__all__ = ["randomisation", "stability"]

_SCORES = ["jaccard", "random_jaccard", "spearman", "same_prediction"]


@measurement("randomisation", models=2)
def randomisation(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    max_examples: int | None = None,
    max_length: int | None = None,
    ratio: float = 0.25,
) -> pd.DataFrame:
    """How far the explanations of a model agree with those of others for the same tokens and the same class.

    ``against`` says which other model:

    - ``other_seed``: trained alike from another seed. Higher is better.
    - ``pretrained``: before training, with a new head. Lower is better.
    - ``random head``, ``random layer_2`` and so on: the weights of the head, and layer by layer of all below it, are
      drawn anew. Lower is better, and the sooner.
    - ``random weights``: all of them are. Lower is better.
    """
    (model, other), texts = models, drawn(splits[split], max_examples)["text"][:]
    settings: dict[str, Any] = {"max_length": max_length, "ratio": ratio}
    by_seed = different_initialisations(model.classifier, other.classifier, texts, attributions, **settings)
    start = untrained_model(model.classifier, model.new_classifier(model.seed), texts, attributions, **settings)
    cascade = parameter_randomisation(model.classifier, None, texts, attributions, seed=model.seed, **settings)
    steps = "random " + cascade["layer"].where(cascade["step"] < cascade["step"].max(), "weights")
    frames = [by_seed.assign(against="other_seed"), start.assign(against="pretrained"), cascade.assign(against=steps)]
    rows = pd.concat(frames, ignore_index=True).astype({"same_prediction": float})
    return rows[["against", "attribution", "example", *_SCORES]]


@measurement("stability")
def stability(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    max_examples: int | None = None,
    max_length: int | None = None,
    samples: int = 3,
) -> pd.DataFrame:
    """How far explanations stay the same under small changes of the text, the mean over samples of each change.

    See :func:`regex_lib.checks.stability`. Comprehensiveness, which the changes do not touch, is in every row: what
    does not move is not faithful for that.
    """
    texts = drawn(splits[split], max_examples)["text"][:]
    frame = checks.stability(models[0].classifier, texts, attributions, max_length=max_length, samples=samples)
    groups = frame.astype({"same_prediction": float}).groupby(["perturbation", "attribution", "example"], sort=False)
    return groups[[*_SCORES, "comprehensiveness"]].mean().reset_index()
