"""How a classifier reads marked texts: whole, in windows, or cut; and scores on the data's own words, by characters."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.attributions import Explanation, Words, attribute, word_scores
from regex_lib.attributions.explain import length_batches
from regex_lib.errors import UserError
from regex_lib.evaluation.prediction import predictor
from regex_lib.evaluation.protocol import check_attributions, names_of
from regex_lib.models import TextClassifier, evaluating

__all__ = [
    "LongTexts",
    "Span",
    "align",
    "check_methods",
    "explain_texts",
    "padded_marks",
    "predict_texts",
    "token_spans",
    "windows_of",
]

LongTexts = Literal["windows", "truncate"]
"""What becomes of a text that is longer than the model takes: it is read in consecutive windows, or its end is cut."""

Span = tuple[int, int]
"""A first character, and the one after the last."""

_TOKENIZED_CHARACTERS = 16
"""How much of a long text is tokenized at once, for each token of a window; more where that is not enough."""


def token_spans(text: str, tokens: Sequence[str]) -> list[Span]:
    """Where the tokens of a data set stand in their text.

    Args:
        text: the text.
        tokens: its words in order; between them may be anything.

    Raises:
        UserError: if a token is not found after the one before.

    Example:
        >>> token_spans("A fine film.", ["A", "fine", "film", "."])
        [(0, 1), (2, 6), (7, 11), (11, 12)]
    """
    spans, place = [], 0
    for token in tokens:
        start = text.find(token, place)
        if start < 0:
            raise UserError(f"the token {token!r} is not in the text after character {place}: {text[place:][:40]!r}")
        place = start + len(token)
        spans.append((start, place))
    return spans


def windows_of(classifier: TextClassifier, text: str, max_length: int | None = None) -> list[Span]:
    """Consecutive pieces of a text that the classifier can read whole, each as long as it can be.

    They end between words; only a word that does not fit into a window by itself is divided.

    Args:
        classifier: whose tokenizer counts.
        text: a text of any length.
        max_length: of a window, in tokens with the special ones; the model's maximum by default.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> windows_of(load_classifier("minilm", layers=1), "It is unhurried and never dull.", max_length=6)
        [(0, 5), (6, 19), (20, 31)]
    """
    windows: list[Span] = []
    start = 0
    reach = _TOKENIZED_CHARACTERS * (max_length or classifier.max_length)
    while True:
        batch = classifier.tokenize([text[start : start + reach]], max_length)
        if not batch.truncated[0]:
            if start + reach >= len(text):
                return [*windows, (start, len(text))]
            reach *= 2
            continue
        ends = [end for (_, end), counts in zip(batch.offsets[0], batch.content_mask[0], strict=True) if counts]
        cut = start + max([1, *ends])
        word = re.search(r"\S+$", text[start:cut])
        if not text[cut : cut + 1].isspace() and word and text[start:cut][: word.start()].strip():
            cut = start + word.start()
        windows.append((start, start + len(text[start:cut].rstrip())))
        start = len(text) - len(text[cut:].lstrip())
        if start == len(text):
            return windows


def predict_texts(
    classifier: TextClassifier, texts: Sequence[str], *, batch_size: int = 64, max_length: int | None = None
) -> Float[Tensor, "texts classes"]:
    """The probabilities of every class, in the order of the texts, in double precision on the CPU."""
    predict = predictor(classifier)
    probabilities = torch.zeros(len(texts), classifier.num_labels, dtype=torch.float64)
    with evaluating(classifier):
        for rows in length_batches(texts, batch_size):
            batch = classifier.tokenize([texts[row] for row in rows], max_length)
            probabilities[rows] = predict(classifier.embed(batch.input_ids), batch.attention_mask).cpu()
    return probabilities


def check_methods(methods: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse methods that are not known, and options that they do not take, before anything is run.

    Args:
        methods: what :func:`explain_texts` is going to be asked for.
        options: of single methods, by their names; any may have a ``batch_size``.

    Raises:
        UserError: if there is no such method, or no such option, with the nearest names.
    """
    own = {name: {key: value for key, value in given.items() if key != "batch_size"} for name, given in options.items()}
    check_attributions(names_of("attributions", methods), own)


def explain_texts(
    classifier: TextClassifier,
    texts: Sequence[str],
    methods: Sequence[str],
    *,
    long_texts: LongTexts = "windows",
    batch_size: int = 32,
    max_length: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, list[Explanation]]:
    """Explanations of texts of any length by several methods.

    A text that is read in windows gets the class with the highest mean probability over its windows. Each window is
    explained for itself, towards that class; the scores are put together and are not rescaled.

    Args:
        classifier: what to explain.
        texts: the texts.
        methods: names in :data:`regex_lib.attributions.METHODS`.
        long_texts: what becomes of a text that is longer than ``max_length``.
        batch_size: texts or windows per pass.
        max_length: in tokens; the model's maximum by default.
        options: of single methods, by their names; a ``batch_size`` among them is this method's alone.

    Returns:
        For every method one explanation per text, in the order of the texts.

    Raises:
        UserError: if a method or an option is unknown, a text is empty, or ``long_texts`` is none of the two.
    """
    check_methods(methods, options or {})
    if long_texts not in ("windows", "truncate"):
        raise UserError(f"long_texts must be 'windows' or 'truncate', got {long_texts!r}")
    for number, text in enumerate(texts):
        if not text.strip():
            raise UserError(f"text {number} is empty")
    whole = long_texts == "truncate"
    windows = [[(0, len(text))] if whole else windows_of(classifier, text, max_length) for text in texts]
    pieces = [text[start:end] for text, spans in zip(texts, windows, strict=True) for start, end in spans]
    counts = [len(spans) for spans in windows]
    probabilities = [
        part.mean(dim=0)
        for part in predict_texts(classifier, pieces, batch_size=batch_size, max_length=max_length).split(counts)
    ]
    targets = [int(p.argmax()) for p, count in zip(probabilities, counts, strict=True) for _ in range(count)]
    joined = {}
    for method in methods:
        explained = iter(
            attribute(
                classifier, pieces, method, target=targets, max_length=max_length,
                **{"batch_size": batch_size, **(options or {}).get(method, {})},
            )
        )  # fmt: skip
        joined[method] = [
            _join(text, [(start, next(explained)) for start, _ in spans], p)
            for text, spans, p in zip(texts, windows, probabilities, strict=True)
        ]
    return joined


def _join(text: str, parts: Sequence[tuple[int, Explanation]], probabilities: Float[Tensor, " classes"]) -> Explanation:
    """One explanation of a text from those of its windows, each with its first character."""
    return replace(
        parts[0][1],
        text=text,
        offsets=[(first + start, first + end) for first, part in parts for start, end in part.offsets],
        scores=[score for _, part in parts for score in part.scores],
        prediction=int(probabilities.argmax()),
        probability=float(probabilities.max()),
    )


def align(
    explanations: Sequence[Explanation], spans: Sequence[Sequence[Span]]
) -> tuple[Float[Tensor, "texts words"], Bool[Tensor, "texts words"]]:
    """The scores of the words of a data set, each made of the model's tokens that begin in it.

    How, :func:`regex_lib.attributions.word_scores` says.

    Args:
        explanations: one per text.
        spans: for every text, where its words stand, in order and without overlap.

    Returns:
        The scores, in double precision and 0 where there are none; and which words the model has read. A word has not
        been read if it is beyond a truncation, or the tokenizer made no token of it.

    Example:
        >>> offsets, scores = [(0, 2), (2, 3), (3, 6)], [1.0, 2.0, 4.0]
        >>> explanation = Explanation("un-fun film", "attention", offsets, scores, 1, 1, 0.9, truncated=True)
        >>> align([explanation], [[(0, 6), (7, 11)]])
        (tensor([[7., 0.]], dtype=torch.float64), tensor([[ True, False]]))
    """
    width = max(map(len, spans), default=0)
    scores = torch.zeros(len(spans), width, dtype=torch.float64)
    read = torch.zeros(len(spans), width, dtype=torch.bool)
    for row, (explanation, words) in enumerate(zip(explanations, spans, strict=True)):
        starts = [start for start, _ in words]
        found = [(bisect_right(starts, start) - 1, start) for start, _ in explanation.offsets]
        index = [word if word >= 0 and start < words[word][1] else -1 for word, start in found]
        totals = word_scores(Words(list(words), index), explanation.scores, explanation.method)
        scores[row, : len(words)] = torch.tensor(totals, dtype=torch.float64)
        read[row, [word for word in index if word >= 0]] = True
    return scores, read


def padded_marks(marks: Sequence[Sequence[int]]) -> Bool[Tensor, "texts words"]:
    """Marks of 0 or 1 for the words of texts, as one mask that is false where a text has ended.

    Example:
        >>> padded_marks([[0, 1], [1]])
        tensor([[False,  True],
                [ True, False]])
    """
    width = max(map(len, marks), default=0)
    mask = torch.zeros(len(marks), width, dtype=torch.bool)
    for row, values in zip(mask, marks, strict=True):
        row[: len(values)] = torch.tensor(values, dtype=torch.bool)
    return mask
