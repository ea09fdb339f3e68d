"""From texts to explanations: one call for every attribution method."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from regex_lib.attributions.registry import check_options, find_method
from regex_lib.attributions.words import word_scores, words_of
from regex_lib.errors import UserError
from regex_lib.models import TextClassifier, TokenBatch, evaluating

__all__ = ["Explanation", "attribute", "check_numbers", "length_batches", "score_batch"]

Target = int | Sequence[int] | Integer[Tensor, " texts"] | Integer[np.ndarray, " texts"]
"""The class to explain: one for all texts, or one per text."""


@dataclass(frozen=True)
class Explanation:
    """One text with the scores of its tokens."""

    text: str
    method: str
    """The attribution method's name."""
    offsets: list[tuple[int, int]]
    """Where each content token stands in the text: its first character, and the one after its last."""
    scores: list[float]
    """One score per content token, in the order of the text; towards ``target`` where the method is signed."""
    target: int
    """The class that the scores explain."""
    prediction: int
    """The class that the model predicts."""
    probability: float
    """What probability the model gives its prediction, in [0, 1]."""
    truncated: bool
    """Whether the end of the text did not fit into the model."""

    @property
    def tokens(self) -> list[str]:
        """The content tokens as they stand in the text."""
        return [self.text[start:end] for start, end in self.offsets]

    def words(self) -> list[tuple[str, float]]:
        """The words of the text that have tokens, each with its score, as from :func:`word_scores`.

        Punctuation is a word of its own: see :func:`regex_lib.attributions.words_of`.
        """
        words = words_of(self.text, self.offsets, [True] * len(self.offsets))
        totals = word_scores(words, self.scores, self.method)
        return [(self.text[start:end], total) for (start, end), total in zip(words.spans, totals, strict=True)]


def score_batch(
    classifier: TextClassifier, batch: TokenBatch, method: str, target: Int64[Tensor, " batch"], **options: Any
) -> Float[Tensor, "batch tokens"]:
    """Scores of one batch by a method's name: 0 outside the content mask, without a graph.

    Args:
        classifier: what to explain; should be in evaluation mode. It must not be made in inference mode.
        batch: from :meth:`regex_lib.models.TextClassifier.tokenize`.
        method: a name in :data:`regex_lib.attributions.METHODS`.
        target: the class to explain, per example.
        **options: the method's own.
    """
    with torch.inference_mode(False), torch.enable_grad():  # a method gets its gradients, wherever it is called from
        batch = replace(
            batch,
            input_ids=_differentiable(batch.input_ids),
            attention_mask=_differentiable(batch.attention_mask),
            content_mask=_differentiable(batch.content_mask),
        )
        scores = find_method(method)(classifier, batch, _differentiable(target), **options)
    return scores.detach().masked_fill(~batch.content_mask, 0.0)


def _differentiable(tensor: Tensor) -> Tensor:
    """What was made in inference mode is copied, because no gradient can be taken with it."""
    return tensor.clone() if tensor.is_inference() else tensor


def attribute(
    classifier: TextClassifier,
    texts: Sequence[str],
    method: str = "integrated_gradients",
    *,
    target: Target | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    **options: Any,
) -> list[Explanation]:
    """Explain what a classifier makes of texts.

    Args:
        classifier: what to explain. It is put into evaluation mode for the time of the call.
        texts: the texts. One without content tokens gets an explanation without scores.
        method: a name in :data:`regex_lib.attributions.METHODS`.
        target: the class to explain, for all texts or one per text; the predicted class by default.
        batch_size: texts per pass, and variants of a text per pass where a method predicts many of them (leave-one-out,
            LIME, Kernel SHAP). Texts of similar length are batched together; results do not depend on it.
        max_length: cut longer texts; the model's maximum by default.
        **options: the method's own, such as ``n_steps`` for Integrated Gradients.

    Returns:
        One explanation per text, in the order of the texts.

    Raises:
        UserError: if the method or one of its options is unknown, a text is empty or no string, a target is not one of
            the classes, or a score is NaN.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> classifier = load_classifier("minilm", layers=1)
        >>> explanation, = attribute(classifier, ["A touching, unhurried film."], "input_x_gradient")
        >>> explanation.tokens
        ['A', 'touching', ',', 'un', 'hur', 'ried', 'film', '.']
        >>> [word for word, _ in explanation.words()]
        ['A', 'touching', ',', 'unhurried', 'film', '.']
    """
    function = find_method(method)
    check_options(method, options, function, 3)
    if "batch_size" in inspect.signature(function).parameters:
        options["batch_size"] = batch_size
    if isinstance(texts, str):
        raise UserError("texts must be a list of texts, got a single one: put it into brackets")
    texts = list(texts)  # a column of a table is indexed by its labels
    targets = _targets(target, len(texts), classifier.num_labels)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"text {number} is no string: {text!r}")
        if not text.strip():
            raise UserError(f"text {number} is empty")
    explanations: dict[int, Explanation] = {}
    with evaluating(classifier):
        for rows in length_batches(texts, batch_size):
            chosen = [texts[row] for row in rows]
            wanted = None if targets is None else [targets[row] for row in rows]
            batch = classifier.tokenize(chosen, max_length)
            explained = _explain(classifier, chosen, rows, batch, method, wanted, options)
            explanations.update(zip(rows, explained, strict=True))
    return [explanations[row] for row in range(len(texts))]


def _targets(target: Target | None, count: int, num_labels: int) -> list[int] | None:
    if target is None:
        return None
    given = target.tolist() if hasattr(target, "tolist") else target
    targets = list(given) if isinstance(given, Sequence) else [given] * count
    if len(targets) != count:
        raise UserError(f"there are {count} texts but {len(targets)} targets")
    for value in targets:
        if value not in range(num_labels):
            raise UserError(f"target must be a class between 0 and {num_labels - 1}, got {value}")
    return [int(value) for value in targets]


def length_batches(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    """Indices of texts of similar length together."""
    if batch_size < 1:
        raise UserError(f"batch_size must be 1 or more, got {batch_size}")
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def check_numbers(scores: Float[Tensor, "batch tokens"], method: str, rows: Sequence[int]) -> None:
    """Refuse scores that are NaN, which have no rank: half precision may overflow, or a method of one's own be wrong.

    Args:
        scores: from :func:`score_batch`.
        method: its name.
        rows: for each row of the batch, the number of its text.

    Raises:
        UserError: if any is; it names the text.

    Example:
        >>> check_numbers(torch.tensor([[0.5, torch.nan]]), "mine", [3])
        Traceback (most recent call last):
        ...
        regex_lib.errors.UserError: attribution 'mine' gives scores for example 3 that are not numbers
    """
    undefined = scores.isnan().any(dim=1)
    if undefined.any():
        row = rows[int(undefined.nonzero()[0])]
        raise UserError(f"attribution {method!r} gives scores for example {row} that are not numbers")


def _explain(
    classifier: TextClassifier,
    texts: Sequence[str],
    rows: Sequence[int],
    batch: TokenBatch,
    method: str,
    targets: Sequence[int] | None,
    options: dict[str, Any],
) -> Iterator[Explanation]:
    with torch.no_grad():
        logits = classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits
    probabilities, predictions = logits.softmax(dim=-1).max(dim=-1)
    target = predictions if targets is None else torch.tensor(targets, device=predictions.device)
    scores = score_batch(classifier, batch, method, target, **options).cpu()
    check_numbers(scores, method, rows)
    content = batch.content_mask.cpu()
    for row, text in enumerate(texts):
        yield Explanation(
            text=text,
            method=method,
            offsets=[span for span, counts in zip(batch.offsets[row], content[row].tolist(), strict=True) if counts],
            scores=scores[row][content[row]].tolist(),
            target=int(target[row]),
            prediction=int(predictions[row]),
            probability=float(probabilities[row]),
            truncated=batch.truncated[row],
        )
