"""Measurements of a model by itself: how good it is, and how faithful its explanations are, here and elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pandas as pd
import torch
from sklearn.metrics import f1_score

from regex_lib.attributions.explain import length_batches
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS, DEFAULT_METRICS, evaluate_faithfulness
from regex_lib.evaluation.prediction import predictor
from regex_lib.metrics import classification_report
from regex_lib.models import evaluating
from regex_lib.study.measurements.registry import TrainedModel, measurement

__all__ = ["drawn", "faithfulness", "quality", "transfer"]


@measurement("quality")
def quality(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    max_texts: int | None = None,
    max_length: int | None = None,
) -> pd.DataFrame:
    """Accuracy per example; macro-F1 and expected calibration error, which no example has alone, in every row."""
    classifier, rows = models[0].classifier, drawn(splits[split], max_texts)
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
    models: Sequence[TrainedModel],
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
    report = evaluate_faithfulness(
        models[0].classifier, splits[split], attributions, metrics, replacement=replacement,  # type: ignore[arg-type]
        level=level, max_examples=max_examples, max_length=max_length, options=options,  # type: ignore[arg-type]
        metric_options=metric_options,
    )  # fmt: skip
    return report.examples.astype({"degenerate": float})


@measurement("transfer")
def transfer(
    models: Sequence[TrainedModel],
    splits: Mapping[str, datasets.Dataset],
    *,
    split: str = "test",
    attributions: Sequence[str] = ATTRIBUTIONS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    replacement: str = "mask",
    max_texts: int | None = None,
    max_examples: int | None = None,
    max_length: int | None = None,
) -> pd.DataFrame:
    """Quality on so many texts, and faithfulness on fewer of them: for other data sets, which may be large and long.

    :func:`regex_lib.checks.evaluate_transfer` is the same for one model; here each example has a row, so that models
    can be compared on it. The random attribution should be among the attributions. Macro-F1 is over the classes that
    the texts have: a model of three classes is not blamed for a class that there is none of.
    """
    some = {split: drawn(splits[split], max_texts)}
    scored = faithfulness(
        models, some, split=split, attributions=attributions, metrics=metrics, replacement=replacement,
        max_examples=max_examples, max_length=max_length,
    )  # fmt: skip
    good = quality(models, some, split=split, max_length=max_length)
    f1 = f1_score(good["label"], good["prediction"], labels=good["label"].unique(), average="macro", zero_division=0.0)
    return pd.concat([good.assign(macro_f1=f1), scored], ignore_index=True)


def drawn(rows: datasets.Dataset, count: int | None) -> datasets.Dataset:
    """The same random rows for every model; all by default.

    Raises:
        UserError: if the count is below 1.
    """
    if count is None:
        return rows
    if count < 1:
        raise UserError(f"one text is the least that can be measured, got {count}")
    return rows.shuffle(seed=0).select(range(min(count, len(rows))))
