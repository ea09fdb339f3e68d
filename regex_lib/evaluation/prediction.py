"""What a classifier says of texts: accuracy and calibration, and probabilities without a graph."""

from collections.abc import Callable
from typing import Literal

import datasets
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.attributions.explain import length_batches
from regex_lib.errors import UserError
from regex_lib.metrics import classification_report
from regex_lib.models import TextClassifier, evaluating
from regex_lib.models.rows import labelled_texts

__all__ = ["Precision", "PredictEmbedded", "check_finite", "classify", "predictor"]

Precision = Literal["fp32", "bf16"]

PredictEmbedded = Callable[
    [Float[Tensor, "batch tokens dim"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]
]
"""Embeddings and attention mask to class probabilities, for any number of tokens."""


def classify(
    classifier: TextClassifier,
    dataset: datasets.Dataset | pd.DataFrame,
    *,
    batch_size: int = 64,
    max_length: int | None = None,
) -> dict[str, float]:
    """Accuracy, macro-F1 and expected calibration error on a data set.

    Args:
        classifier: what to measure; in evaluation mode for the time of the call.
        dataset: rows of ``text`` and ``label``: a data set of any format, or a table.
        batch_size: texts per pass; those of similar length are batched together.
        max_length: cut longer texts; the model's maximum by default.

    Raises:
        UserError: if the data has other columns, no rows or a text that is no string, a label is not one of the
            model's classes, the model gives no numbers, or ``batch_size`` is below 1.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> rows = datasets.Dataset.from_dict({"text": ["A fine film.", "Dull."], "label": [1, 0]})
        >>> sorted(classify(load_classifier("minilm", layers=1), rows))
        ['accuracy', 'ece', 'macro_f1']
    """
    dataset = labelled_texts(dataset, classifier)
    texts, labels = list(dataset["text"]), list(dataset["label"])
    predict = predictor(classifier)
    order, parts = [], []
    with evaluating(classifier):
        for rows in length_batches(texts, batch_size):
            batch = classifier.tokenize([texts[row] for row in rows], max_length)
            parts.append(predict(classifier.embed(batch.input_ids), batch.attention_mask).cpu())
            order += rows
    probabilities = torch.cat(parts)
    check_finite(probabilities, order.__getitem__)
    return classification_report(probabilities, torch.tensor([labels[row] for row in order]))


def check_finite(answers: Float[Tensor, "inputs classes"], row_of: Callable[[int], int]) -> None:
    """Refuse what a model says where it is not finite.

    Args:
        answers: logits or probabilities.
        row_of: which example of the data an input, by its number, is about.

    Raises:
        UserError: if any is not; it names the example.
    """
    finite = answers.isfinite().all(dim=1)
    if not finite.all():
        row = row_of(int((~finite).nonzero()[0]))
        raise UserError(
            f"the model's output for example {row} is not finite: check its weights, and the precision it runs in"
        )


def predictor(classifier: TextClassifier, *, precision: Precision = "fp32", compiled: bool = False) -> PredictEmbedded:
    """The classifier as a function to probabilities in float64, in inference mode.

    Args:
        classifier: what to ask; should be in evaluation mode.
        precision: ``"fp32"`` leaves everything in the weights' own precision; ``"bf16"`` runs what can be run so in
            bfloat16, the softmax excepted. Probabilities then have two to three decimal places.
        compiled: run it through ``torch.compile``, which takes a while at first.
    """

    def logits(
        embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        return classifier(embeddings, attention_mask).logits

    forward = torch.compile(logits, dynamic=True) if compiled else logits

    def predict(
        embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        reduced = torch.autocast(embeddings.device.type, torch.bfloat16, enabled=precision == "bf16")
        with torch.inference_mode(), reduced:
            return forward(embeddings, attention_mask).double().softmax(dim=-1)

    return predict
