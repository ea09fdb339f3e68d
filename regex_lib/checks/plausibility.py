"""Do explanations mark what people marked? Against human rationales, and on minimal pairs.

Plausibility is not faithfulness: see :mod:`regex_lib.metrics.plausibility`. Minimal pairs say more: where two texts
differ in a few words and the model's prediction differs too, it rests on these words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import datasets
import pandas as pd
import torch
from torch import Tensor

from regex_lib.checks.reading import LongTexts, align, explain_texts, padded_marks, token_spans
from regex_lib.errors import UserError
from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.masks import token_budget, top_k_mask
from regex_lib.metrics import auprc, iou_f1, planted_precision, planted_rank, token_f1
from regex_lib.models import TextClassifier

__all__ = ["PlausibilityReport", "edited_words", "evaluate_minimal_pairs", "evaluate_plausibility"]


@dataclass(frozen=True)
class PlausibilityReport:
    """How attributions agree with words that were marked, and on how good a model."""

    examples: pd.DataFrame
    """One row per example and attribution: ``example, attribution, label, prediction``, then the metrics."""
    settings: dict[str, Any]
    """How it was measured; ``accuracy`` on the same examples; ``unread``: the share of the marked words that the model
    has not read."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per attribution: the means of the metrics over the examples that have them, and the settings."""
        facts = ["example", "attribution", "label", "prediction"]
        means = self.examples.groupby("attribution", sort=False)[list(self.examples.columns.drop(facts))].mean()
        counts = self.examples.groupby("attribution", sort=False).size()
        return means.assign(examples=counts, **self.settings).reset_index()


def evaluate_plausibility(
    classifier: TextClassifier,
    dataset: datasets.Dataset,
    attributions: Sequence[str] = ATTRIBUTIONS,
    *,
    size: float | Literal["human"] = "human",
    long_texts: LongTexts = "windows",
    max_examples: int | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> PlausibilityReport:
    """Token F1, IOU F1 and AUPRC of attributions against human rationales.

    Units are the data's own words: the scores of the model's tokens are summed into them, by character offsets. The
    explained class is the predicted one. Words that the model has not read take no part, neither for nor against;
    ``unread`` in the settings says how many of the marked ones that are.

    Args:
        classifier: what to explain.
        dataset: rows of ``text``, ``label``, ``tokens`` and ``rationale`` (0 or 1 per token), as in ``reviews``,
            ``eraser_movies`` and ``tweet_sentiment``. Rows without a marked word, or a rationale at all, are left out.
        attributions: names in :data:`regex_lib.attributions.METHODS`; ``random`` is the floor.
        size: how many words are selected for the F1 scores: as many as people marked in that text, or a share of its
            words, in (0, 1]. AUPRC needs no such choice.
        long_texts: texts that are longer than the model takes (most of ``eraser_movies``, 773 words on average) are
            read in consecutive windows, each explained towards the class with the highest mean probability, or cut.
        max_examples: so many examples, drawn with the seed; all by default.
        max_length: in tokens, of a text or window; the model's maximum by default.
        batch_size: texts or windows per pass.
        seed: of the drawn examples and of the random attribution.
        options: of single methods, by their names.

    Returns:
        The report, with columns ``token_f1``, ``iou_f1`` and ``auprc``: all in [0, 1], higher is better.

    Raises:
        UserError: if the data has no rationales, none of them marks a word or one has not a mark for each token, a name
            or an option is unknown, or a setting is out of its range.

    References:
        DeYoung et al. 2020, section 4.1.

    Example:
        >>> from regex_lib.data import load_data
        >>> from regex_lib.models import load_classifier
        >>> rows = load_data("reviews")["test"].select(range(4))
        >>> report = evaluate_plausibility(load_classifier("minilm", layers=1), rows, ["random", "attention"])
        >>> list(report.table.columns[:5])
        ['attribution', 'token_f1', 'iou_f1', 'auprc', 'examples']
    """
    if size != "human" and not 0 < size <= 1:
        raise UserError(f"size must be 'human' or a share above 0 and at most 1, got {size!r}")
    rows = _marked_rows(dataset, max_examples, seed)
    texts = [row["text"] for row in rows]
    spans = [token_spans(row["text"], row["tokens"]) for row in rows]
    marked = padded_marks([row["rationale"] for row in rows])
    explained = explain_texts(
        classifier, texts, attributions, long_texts=long_texts, batch_size=batch_size, max_length=max_length,
        options={"random": {"seed": seed}, **(options or {})},
    )  # fmt: skip
    frames = []
    for name, explanations in explained.items():
        scores, read = align(explanations, spans)
        human = marked & read
        k = human.sum(dim=-1) if size == "human" else token_budget(read, float(size))
        selected = top_k_mask(scores, read, k)
        columns = {
            "token_f1": token_f1(selected, human),
            "iou_f1": iou_f1(selected, human),
            "auprc": auprc(scores, human, read),
        }
        frames.append(_frame(rows, name, explanations, columns))
    unread = 1 - float((marked & read).sum() / marked.sum())
    return _report(frames, size=size, long_texts=long_texts, unread=unread)


def evaluate_minimal_pairs(
    classifier: TextClassifier,
    dataset: datasets.Dataset,
    attributions: Sequence[str] = ATTRIBUTIONS,
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> PlausibilityReport:
    """Whether attributions rank the words high in which the two members of a minimal pair differ.

    Only pairs of which the model classifies both members correctly are counted: there, changing these words has changed
    its prediction. A member from which words were only taken away has none to find, and is left out.

    Args:
        classifier: what to explain.
        dataset: rows of ``text``, ``label``, ``tokens`` and ``pair``: the same name for the two members, else None.
        attributions: names in :data:`regex_lib.attributions.METHODS`; ``random`` is the floor.
        batch_size: texts per pass.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the random attribution.
        options: of single methods, by their names.

    Returns:
        The report, with columns ``precision``, in [0, 1], where higher is better (the share of the k highest-ranked
        words that are among the k edited ones), ``mean_rank`` of the edited words, counted from 1, where lower is
        better, and ``edited``: how many they are. The settings have the number of ``pairs`` and the share of those that
        were ``counted``. The accuracy is that on the counted texts, and so 1.

    Raises:
        UserError: if the data has no pairs, a name or an option is unknown, or the model classifies no pair correctly.
    """
    if "pair" not in dataset.column_names:
        raise UserError(f"the data has no column 'pair', only: {', '.join(dataset.column_names)}")
    frame = dataset.to_pandas().assign(number=range(len(dataset)))
    pairs = [group.to_dict("records") for _, group in frame.groupby("pair", sort=False) if len(group) == 2]
    if not pairs:
        raise UserError("the data has no minimal pairs: no two rows have the same 'pair'")
    both = [row["text"] for pair in pairs for row in pair]
    explained = explain_texts(
        classifier, both, attributions, long_texts="truncate", batch_size=batch_size, max_length=max_length,
        options={"random": {"seed": seed}, **(options or {})},
    )  # fmt: skip
    first = next(iter(explained.values()))
    right = [
        number
        for number, (a, b) in enumerate(pairs)
        if (a["label"], b["label"]) == (first[2 * number].prediction, first[2 * number + 1].prediction)
    ]
    rows: list[dict[str, Any]] = []
    chosen, edits = [], []
    for number in right:
        for member, edit in enumerate(edited_words(*(list(row["tokens"]) for row in pairs[number]))):
            if any(edit):
                rows.append(pairs[number][member])
                chosen.append(2 * number + member)
                edits.append(edit)
    if not rows:
        raise UserError("the model classifies both members of no pair correctly: there is nothing to compare")
    spans = [token_spans(row["text"], list(row["tokens"])) for row in rows]
    edited, frames = padded_marks(edits), []
    for name, explanations in explained.items():
        kept = [explanations[row] for row in chosen]
        scores, read = align(kept, spans)
        columns = {
            "precision": planted_precision(scores, edited, read),
            "mean_rank": planted_rank(scores, edited, read),
            "edited": edited.sum(dim=-1).double(),
            "words": read.sum(dim=-1).double(),
        }
        frames.append(_frame(rows, name, kept, columns))
    return _report(frames, pairs=len(pairs), counted=len(right) / len(pairs))


def edited_words(first: Sequence[str], second: Sequence[str]) -> tuple[list[int], list[int]]:
    """Which words of two texts are not in their longest matching blocks: 1 for a word that the other text lacks there.

    Example:
        >>> edited_words("I never liked it .".split(), "I always liked it .".split())
        ([0, 1, 0, 0, 0], [0, 1, 0, 0, 0])
    """
    marks = [1] * len(first), [1] * len(second)
    for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks():
        marks[0][block.a : block.a + block.size] = [0] * block.size
        marks[1][block.b : block.b + block.size] = [0] * block.size
    return marks


def _marked_rows(dataset: datasets.Dataset, max_examples: int | None, seed: int) -> list[dict[str, Any]]:
    for name in ("tokens", "rationale"):
        if name not in dataset.column_names:
            raise UserError(f"the data has no column {name!r}, only: {', '.join(dataset.column_names)}")
    if max_examples is not None and max_examples < 1:
        raise UserError(f"max_examples must be 1 or more, got {max_examples}")
    dataset = dataset.with_format(None)
    numbers = [number for number, marks in enumerate(dataset["rationale"]) if any(marks or ())]
    if not numbers:
        raise UserError("no text of the data has a marked word: there is nothing to compare with")
    if max_examples is not None:
        order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
        numbers = sorted(numbers[place] for place in order[:max_examples])
    rows = [dataset[number] | {"number": number} for number in numbers]
    for row in rows:
        tokens, marks = len(row["tokens"] or ()), len(row["rationale"])
        if tokens != marks:
            raise UserError(f"row {row['number']} has {tokens} tokens, but {marks} marks in 'rationale': give one each")
    return rows


def _frame(
    rows: Sequence[Mapping[str, Any]], name: str, explanations: Sequence[Any], columns: Mapping[str, Tensor]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example": [row["number"] for row in rows],
            "attribution": name,
            "label": [row["label"] for row in rows],
            "prediction": [explanation.prediction for explanation in explanations],
            **{column: values.numpy() for column, values in columns.items()},
        }
    )


def _report(frames: Sequence[pd.DataFrame], **settings: Any) -> PlausibilityReport:
    examples = pd.concat(frames, ignore_index=True)
    accuracy = float((examples["label"] == examples["prediction"]).mean())
    return PlausibilityReport(examples, {"accuracy": accuracy, **settings})
