"""One model, one data set, many attributions: one table of faithfulness.

Every masked input of all attributions and ratios is planned first; repeats are dropped; the rest runs in full batches
of texts of similar length: one forward pass per distinct input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import datasets
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions import find_method, score_batch
from regex_lib.errors import UserError
from regex_lib.evaluation.prediction import class_probabilities, removal_probabilities
from regex_lib.evaluation.report import FaithfulnessReport
from regex_lib.masks import token_budget, top_k_mask
from regex_lib.metrics import (
    RATIOS,
    area_over_perturbation_curve,
    classification_report,
    is_degenerate,
    normalised_comprehensiveness,
    normalised_sufficiency,
)
from regex_lib.models import TextClassifier, TokenBatch, evaluating

__all__ = ["ATTRIBUTIONS", "Replacement", "evaluate_faithfulness"]

ATTRIBUTIONS = ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
"""What is evaluated by default: the control first."""

Replacement = Literal["pad", "mask"]

_CHUNK = 128  # texts whose masked inputs are planned together


def evaluate_faithfulness(
    classifier: TextClassifier,
    dataset: datasets.Dataset,
    attributions: Sequence[str] = ATTRIBUTIONS,
    *,
    ratios: Sequence[float] = RATIOS,
    replacement: Replacement = "pad",
    batch_size: int = 64,
    max_examples: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FaithfulnessReport:
    """Normalised sufficiency and comprehensiveness of several attributions on the same examples.

    The explained class is the predicted one. Of each text the ceil(ratio x n) of its n content tokens with the highest
    scores are the rationale; removed tokens are replaced in place and stay attended, so that lengths and positions do
    not change.

    Args:
        classifier: what to explain; put into evaluation mode for the time of the call.
        dataset: rows of ``text`` and ``label``.
        attributions: names in :data:`regex_lib.attributions.METHODS`.
        ratios: the sizes of the rationale.
        replacement: what removed tokens become: the tokenizer's ``"pad"`` token, as in the paper's protocol, or its
            ``"mask"`` token.
        batch_size: masked inputs per forward pass.
        max_examples: evaluate so many examples, drawn with the seed; all by default.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the drawn examples and of the random attribution.
        options: options of single methods by their names, such as ``{"integrated_gradients": {"n_steps": 50}}``.
        progress: called with the number of examples just finished.

    Returns:
        The report.

    Raises:
        UserError: if an attribution is unknown, a label is not one of the model's classes, or no example has content.

    References:
        DeYoung et al. 2020, section 4; Carton et al. 2020; Chrysostomou and Aletras 2022, section 3.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> rows = datasets.Dataset.from_dict({"text": ["A fine film.", "Dull, dull, dull."], "label": [1, 0]})
        >>> report = evaluate_faithfulness(load_classifier("minilm", layers=1), rows, ["random", "attention"])
        >>> report.table[["attribution", "examples"]].values.tolist()
        [['random', 2], ['attention', 2]]
    """
    protocol = _Protocol(
        tuple(attributions),
        tuple(ratios),
        replacement,
        batch_size,
        max_length,
        {"random": {"seed": seed}} | (options or {}),
    )
    classifier.check_labels(dataset["label"])
    rows = _draw(dataset, max_examples, seed)
    chunks: list[_Chunk] = []
    with evaluating(classifier):
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            chunks.append(_evaluate_chunk(classifier, dataset[chosen], chosen, protocol))
            if progress is not None:
                progress(len(chosen))
    return _report(chunks, protocol, seed)


@dataclass(frozen=True)
class _Protocol:
    """What is measured, and how."""

    attributions: tuple[str, ...]
    ratios: tuple[float, ...]
    replacement: Replacement
    batch_size: int
    max_length: int | None
    options: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        for name in self.attributions:
            find_method(name)
        if not self.attributions or len(set(self.attributions)) < len(self.attributions):
            names = ", ".join(self.attributions) or "none"
            raise UserError(f"attributions must be one or more different names, got {names}")
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise UserError(f"ratios must lie above 0 and at most at 1, got {list(self.ratios)}")
        if self.replacement not in ("pad", "mask"):
            raise UserError(f"replacement must be 'pad' or 'mask', got {self.replacement!r}")
        if self.batch_size < 1:
            raise UserError(f"batch_size must be 1 or more, got {self.batch_size}")


@dataclass(frozen=True)
class _Chunk:
    """What was measured on some examples."""

    rows: Int64[Tensor, " examples"]
    labels: Int64[Tensor, " examples"]
    probabilities: Float[Tensor, "examples classes"]
    degenerate: Bool[Tensor, " examples"]
    truncated: Bool[Tensor, " examples"]
    sufficiency: Float[Tensor, "examples attributions ratios"]
    comprehensiveness: Float[Tensor, "examples attributions ratios"]
    left_out: int


def _draw(dataset: datasets.Dataset, max_examples: int | None, seed: int) -> list[int]:
    """Indices of the examples to evaluate, short texts first."""
    rows = list(range(len(dataset)))
    if max_examples is not None:
        if max_examples < 1:
            raise UserError(f"max_examples must be 1 or more, got {max_examples}")
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
        rows = order[:max_examples].tolist()
    lengths = [len(text) for text in dataset["text"]]
    return sorted(rows, key=lambda row: (lengths[row], row))


@torch.no_grad()
def _evaluate_chunk(
    classifier: TextClassifier,
    examples: dict[str, list[Any]],
    rows: Sequence[int],
    protocol: _Protocol,
) -> _Chunk:
    batch = classifier.tokenize(examples["text"], protocol.max_length)
    full = class_probabilities(classifier, batch.input_ids, batch.attention_mask, protocol.batch_size)
    target = full.argmax(dim=-1)
    # (examples, removals, tokens): nothing, everything, then for each attribution and ratio the rest and the rationale.
    removals = [torch.zeros_like(batch.content_mask), batch.content_mask]
    for name in protocol.attributions:
        scores = _scores(classifier, batch, name, target, protocol)
        for ratio in protocol.ratios:
            rationale = top_k_mask(scores, batch.content_mask, token_budget(batch.content_mask, ratio))
            removals += [batch.content_mask & ~rationale, rationale]
    token = classifier.mask_id if protocol.replacement == "mask" else classifier.pad_id
    unchanged = full.gather(1, target[:, None]).squeeze(1)
    planned = torch.stack(removals, dim=1)
    explained = removal_probabilities(classifier, batch, planned, token, target, unchanged, protocol.batch_size)
    whole, empty = explained[:, 0, None, None], explained[:, 1, None, None]
    grid = (len(protocol.attributions), len(protocol.ratios), 2)
    kept, removed = explained[:, 2:].unflatten(1, grid).unbind(dim=-1)
    has_content = batch.content_mask.any(dim=1).cpu()
    return _Chunk(
        rows=torch.tensor(rows)[has_content],
        labels=torch.tensor(examples["label"])[has_content],
        probabilities=full.cpu()[has_content],
        degenerate=is_degenerate(explained[:, 0], explained[:, 1])[has_content],
        truncated=torch.tensor(batch.truncated)[has_content],
        sufficiency=normalised_sufficiency(whole, kept, empty)[has_content],
        comprehensiveness=normalised_comprehensiveness(whole, removed, empty)[has_content],
        left_out=int((~has_content).sum()),
    )


def _scores(
    classifier: TextClassifier,
    batch: TokenBatch,
    method: str,
    target: Int64[Tensor, " batch"],
    protocol: _Protocol,
) -> Float[Tensor, "batch tokens"]:
    """Scores of a chunk, batch by batch, each cut to its longest text."""
    scores = torch.zeros(batch.input_ids.shape, device=batch.input_ids.device)
    options = protocol.options.get(method, {})
    for start in range(0, len(scores), protocol.batch_size):
        part = slice(start, start + protocol.batch_size)
        longest = int(batch.attention_mask[part].sum(dim=1).max())
        cut = TokenBatch(
            input_ids=batch.input_ids[part, :longest],
            attention_mask=batch.attention_mask[part, :longest],
            content_mask=batch.content_mask[part, :longest],
            offsets=[row[:longest] for row in batch.offsets[part]],
            truncated=batch.truncated[part],
        )
        scores[part, :longest] = score_batch(classifier, cut, method, target[part], **options).to(scores)
    return scores


def _report(chunks: Sequence[_Chunk], protocol: _Protocol, seed: int) -> FaithfulnessReport:
    left_out = sum(chunk.left_out for chunk in chunks)
    if not sum(len(chunk.rows) for chunk in chunks):
        raise UserError("no text has content tokens: there is nothing to evaluate")

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(chunk, name) for chunk in chunks])

    # Back to the order of the data, whatever order was fast.
    order = joined("rows").argsort()
    rows, labels, probabilities = joined("rows")[order], joined("labels")[order], joined("probabilities")[order]
    curves = {name: joined(name)[order] for name in ("sufficiency", "comprehensiveness")}
    confidence, prediction = probabilities.max(dim=-1)
    per_example = {
        "label": labels,
        "prediction": prediction,
        "probability": confidence,
        "degenerate": joined("degenerate")[order],
        "truncated": joined("truncated")[order],
    }
    examples = [
        pd.DataFrame({"example": rows.numpy(), "attribution": name})
        .assign(**{key: value.numpy() for key, value in per_example.items()})
        .assign(**{metric: area_over_perturbation_curve(c[:, i]).numpy() for metric, c in curves.items()})
        for i, name in enumerate(protocol.attributions)
    ]
    points = [
        {"attribution": name, "ratio": ratio, **{metric: float(c[:, i, j].mean()) for metric, c in curves.items()}}
        for i, name in enumerate(protocol.attributions)
        for j, ratio in enumerate(protocol.ratios)
    ]
    return FaithfulnessReport(
        examples=pd.concat(examples, ignore_index=True),
        curves=pd.DataFrame(points),
        classification=classification_report(probabilities, labels),
        settings={
            "ratios": list(protocol.ratios),
            "replacement": protocol.replacement,
            "max_length": protocol.max_length,
            "seed": seed,
            "left_out": left_out,
        },
    )
