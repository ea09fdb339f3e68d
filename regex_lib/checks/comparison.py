"""Attributions of the same texts by two classifiers: the same tokens, the same explained class, one row per text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions import score_batch
from regex_lib.attributions.explain import check_numbers, length_batches
from regex_lib.errors import UserError
from regex_lib.evaluation.chunk import select
from regex_lib.evaluation.protocol import check_attributions, names_of
from regex_lib.metrics import expected_jaccard, rank_correlation, top_k_jaccard
from regex_lib.models import TextClassifier, TokenBatch, evaluating

__all__ = ["Scored", "check_pair", "compare", "score_texts", "scores_of"]


@dataclass(frozen=True)
class Scored:
    """Some texts with the scores of several attributions."""

    rows: list[int]
    """The texts' numbers."""
    batch: TokenBatch
    target: Int64[Tensor, " batch"]
    """The predicted classes, which are the explained ones."""
    scores: dict[str, Float[Tensor, "batch tokens"]]
    """By the attribution's name, on the CPU."""


def score_texts(
    classifier: TextClassifier,
    texts: Sequence[str],
    attributions: Sequence[str],
    *,
    batch_size: int,
    max_length: int,
    options: Mapping[str, dict[str, Any]],
) -> list[Scored]:
    """Texts with what several attributions make of the classes that a classifier predicts.

    Texts without content tokens are left out.

    Args:
        classifier: what is explained.
        texts: the texts.
        attributions: names in :data:`regex_lib.attributions.METHODS`.
        batch_size: texts per pass; those of similar length are batched together.
        max_length: cut longer texts.
        options: of single attributions by their names.

    Raises:
        UserError: if a name or an option is unknown, a name is there twice, there is no text with content, or scores
            are not numbers.
    """
    if isinstance(texts, str):
        raise UserError("texts must be a list of texts, got a single one: put it into brackets")
    texts = list(texts)  # a column of a table is indexed by its labels
    attributions = names_of("attributions", attributions)
    if not attributions or len(set(attributions)) < len(attributions):
        names = ", ".join(attributions) or "none"
        raise UserError(f"attributions must be one or more different names, got {names}")
    check_attributions(attributions, options)
    scored = []
    with evaluating(classifier):
        for rows in length_batches(texts, batch_size):
            batch = classifier.tokenize([texts[row] for row in rows], max_length)
            kept = batch.content_mask.any(dim=1).nonzero().squeeze(1).cpu()
            if len(kept):
                batch, rows = select(batch, kept), [rows[i] for i in kept]
                target = predictions(classifier, batch)
                scores = scores_of(classifier, batch, target, attributions, options, rows)
                scored.append(Scored(rows, batch, target, scores))
    if not scored:
        raise UserError("no text has content tokens: there is nothing to explain")
    return scored


@torch.no_grad()
def predictions(classifier: TextClassifier, batch: TokenBatch) -> Int64[Tensor, " batch"]:
    """The predicted classes."""
    return classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=-1)


def scores_of(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    attributions: Sequence[str],
    options: Mapping[str, dict[str, Any]],
    rows: Sequence[int],
) -> dict[str, Float[Tensor, "batch tokens"]]:
    """The scores of one batch by the attributions' names, on the CPU.

    Raises:
        UserError: if a score is not a number.
    """
    scores = {}
    for name in attributions:
        scores[name] = score_batch(classifier, batch, name, target, **options.get(name, {})).cpu().double()
        check_numbers(scores[name], name, rows)
    return scores


def compare(
    scored: Sequence[Scored], other: TextClassifier, options: Mapping[str, dict[str, Any]], ratio: float
) -> pd.DataFrame:
    """How far another classifier's attributions of the same tokens, for the same classes, agree with those known.

    Args:
        scored: from :func:`score_texts`.
        other: the other classifier; see :func:`check_pair`.
        options: of single attributions, as they were given before.
        ratio: the size of the sets of top tokens.

    Returns:
        One row per attribution and text: ``example, attribution, tokens, same_prediction, jaccard, random_jaccard,
        spearman``.
    """
    frames = []
    with evaluating(other):
        for part in scored:
            batch, target = part.batch.to(other.device), part.target.to(other.device)
            theirs = scores_of(other, batch, target, list(part.scores), options, part.rows)
            same = (predictions(other, batch) == target).cpu()
            content = part.batch.content_mask.cpu()
            for name, ours in part.scores.items():
                facts = {
                    "example": part.rows,
                    "attribution": name,
                    "tokens": content.sum(dim=1),
                    "same_prediction": same,
                    "jaccard": top_k_jaccard(ours, theirs[name], content, ratio),
                    "random_jaccard": expected_jaccard(content, ratio),
                    "spearman": rank_correlation(ours, theirs[name], content),
                }
                frames.append(pd.DataFrame(facts))
    rows = pd.concat(frames, ignore_index=True)
    place = {name: number for number, name in enumerate(scored[0].scores)}
    return rows.sort_values(["attribution", "example"], key=lambda c: c.map(place) if c.name == "attribution" else c)


def check_pair(classifier: TextClassifier, other: TextClassifier) -> None:
    """Refuse two classifiers whose attributions cannot be compared token by token.

    Raises:
        UserError: if they differ in their classes or in how they tokenize.
    """
    classes = classifier.num_labels, other.num_labels
    if classes[0] != classes[1]:
        raise UserError(f"the models have {classes[0]} and {classes[1]} classes: they must have the same")
    if classifier.tokenizer is not other.tokenizer and classifier.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        raise UserError("the models have different vocabularies: their attributions have no tokens in common")
