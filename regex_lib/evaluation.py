"""One model, one data set, many attributions: one table of faithfulness.

Every masked input of all attributions and ratios is planned first; repeats are dropped; the rest runs in full batches
of texts of similar length: one forward pass per distinct input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions import find_method, score_batch
from regex_lib.errors import UserError
from regex_lib.masks import replace, token_budget, top_k_mask
from regex_lib.metrics import (
    RATIOS,
    area_over_perturbation_curve,
    classification_report,
    is_degenerate,
    normalised_comprehensiveness,
    normalised_sufficiency,
)
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["ATTRIBUTIONS", "COLUMNS", "FaithfulnessReport", "check_table_path", "evaluate_faithfulness"]

ATTRIBUTIONS = ("random", "attention", "scaled_attention", "input_x_gradient", "integrated_gradients")
"""What is evaluated by default: the control first."""

COLUMNS = (
    "attribution",
    "sufficiency",
    "comprehensiveness",
    "accuracy",
    "macro_f1",
    "ece",
    "degenerate_share",
    "examples",
)
"""The columns of every faithfulness table."""

Replacement = Literal["pad", "mask"]

_CHUNK = 128  # texts whose masked inputs are planned together


@dataclass(frozen=True)
class FaithfulnessReport:
    """How faithful each attribution is to one model on one data set, and how good that model is.

    Sufficiency and comprehensiveness are the normalised ones, averaged over the ratios; both lie in [0, 1], and higher
    is better. They are comparable between attributions of one model; between models only with care, because the
    normaliser differs: read them beside the ``random`` row and the accuracy.
    """

    examples: pd.DataFrame
    """One row per example and attribution: ``example, attribution, label, prediction, probability, sufficiency,
    comprehensiveness, degenerate, truncated``."""
    curves: pd.DataFrame
    """One row per attribution and ratio, mean over the examples: ``attribution, ratio, sufficiency,
    comprehensiveness``."""
    classification: dict[str, float]
    """Accuracy, macro-F1 and expected calibration error on the same examples."""
    settings: dict[str, Any]
    """Ratios, replacement, seed, and how many texts were left out because they have no content tokens."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per attribution, with the columns in :data:`COLUMNS`."""
        groups = self.examples.groupby("attribution", sort=False)
        table = groups.agg(
            sufficiency=("sufficiency", "mean"),
            comprehensiveness=("comprehensiveness", "mean"),
            degenerate_share=("degenerate", "mean"),
            examples=("example", "size"),
        ).reset_index()
        return table.assign(**self.classification)[list(COLUMNS)]

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know about its examples, a line each."""
        cut = int(self.examples.groupby("example")["truncated"].first().sum())
        left_out = self.settings["left_out"]
        notes = [f"{cut} texts are longer than the model takes, and were cut."] if cut else []
        return notes + ([f"{left_out} texts have no content tokens, and were left out."] if left_out else [])

    def to_file(self, path: str | Path) -> None:
        """Write the table as .parquet, .csv or .json (one record per row).

        Raises:
            UserError: if the ending is none of these, or the file cannot be written.
        """
        check_table_path(path)
        writers: dict[str, Callable[[], object]] = {
            ".parquet": lambda: self.table.to_parquet(path, index=False),
            ".csv": lambda: self.table.to_csv(path, index=False),
            ".json": lambda: self.table.to_json(path, orient="records", indent=2),
        }
        try:
            writers[Path(path).suffix]()
        except OSError as error:
            raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def check_table_path(path: str | Path) -> None:
    """Refuse a table's path that cannot be written to, before any work is done.

    Raises:
        UserError: if the ending is not .parquet, .csv or .json, or there is no such folder.
    """
    if Path(path).suffix not in (".parquet", ".csv", ".json"):
        raise UserError(f"cannot write {str(path)!r}: the ending must be .parquet, .csv or .json")
    if not Path(path).parent.is_dir():
        raise UserError(f"cannot write {str(path)!r}: there is no folder {str(Path(path).parent)!r}")


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
    _check(classifier, dataset, attributions, ratios, replacement, batch_size)
    rows = _draw(dataset, max_examples, seed)
    options = {"random": {"seed": seed}} | (options or {})
    was_training = classifier.training
    classifier.eval()
    chunks: list[_Chunk] = []
    try:
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            chunks.append(
                _evaluate_chunk(
                    classifier,
                    dataset[chosen],
                    chosen,
                    attributions,
                    ratios,
                    replacement,
                    batch_size,
                    max_length,
                    options,
                )
            )
            if progress is not None:
                progress(len(chosen))
    finally:
        classifier.train(was_training)
    settings = {"ratios": list(ratios), "replacement": replacement, "seed": seed, "max_length": max_length}
    return _report(chunks, attributions, ratios, settings)


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


def _check(
    classifier: TextClassifier,
    dataset: datasets.Dataset,
    attributions: Sequence[str],
    ratios: Sequence[float],
    replacement: str,
    batch_size: int,
) -> None:
    for name in attributions:
        find_method(name)
    if not attributions or len(set(attributions)) < len(attributions):
        raise UserError(f"attributions must be one or more different names, got {', '.join(attributions) or 'none'}")
    if not ratios or not all(0 < ratio <= 1 for ratio in ratios):
        raise UserError(f"ratios must lie above 0 and at most at 1, got {list(ratios)}")
    if replacement not in ("pad", "mask"):
        raise UserError(f"replacement must be 'pad' or 'mask', got {replacement!r}")
    if batch_size < 1:
        raise UserError(f"batch_size must be 1 or more, got {batch_size}")
    classifier.check_labels(dataset["label"])


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
    attributions: Sequence[str],
    ratios: Sequence[float],
    replacement: Replacement,
    batch_size: int,
    max_length: int | None,
    options: dict[str, dict[str, Any]],
) -> _Chunk:
    batch = classifier.tokenize(examples["text"], max_length)
    full = _class_probabilities(classifier, batch.input_ids, batch.attention_mask, batch_size)
    target = full.argmax(dim=-1)
    # (examples, removals, tokens): nothing, everything, then for each attribution and ratio the rest and the rationale.
    removals = [torch.zeros_like(batch.content_mask), batch.content_mask]
    for name in attributions:
        scores = _scores(classifier, batch, name, target, batch_size, options.get(name, {}))
        for ratio in ratios:
            rationale = top_k_mask(scores, batch.content_mask, token_budget(batch.content_mask, ratio))
            removals += [batch.content_mask & ~rationale, rationale]
    token = classifier.mask_id if replacement == "mask" else classifier.pad_id
    unchanged = full.gather(1, target[:, None]).squeeze(1)
    explained = _run_plan(classifier, batch, torch.stack(removals, dim=1), token, target, unchanged, batch_size)
    whole, empty = explained[:, 0, None, None], explained[:, 1, None, None]
    kept, removed = explained[:, 2:].unflatten(1, (len(attributions), len(ratios), 2)).unbind(dim=-1)
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


def _class_probabilities(
    classifier: TextClassifier,
    input_ids: Int64[Tensor, "batch tokens"],
    attention_mask: Bool[Tensor, "batch tokens"],
    batch_size: int,
) -> Float[Tensor, "batch classes"]:
    """Probabilities in float64, each batch cut to its longest text."""
    parts = []
    for ids, attended in zip(input_ids.split(batch_size), attention_mask.split(batch_size), strict=True):
        longest = int(attended.sum(dim=1).max())
        logits = classifier(classifier.embed(ids[:, :longest]), attended[:, :longest]).logits
        parts.append(logits.double().softmax(dim=-1))
    return torch.cat(parts)


def _scores(
    classifier: TextClassifier,
    batch: TokenBatch,
    method: str,
    target: Int64[Tensor, " batch"],
    batch_size: int,
    options: dict[str, Any],
) -> Float[Tensor, "batch tokens"]:
    """Scores of a chunk, batch by batch, each cut to its longest text."""
    scores = torch.zeros(batch.input_ids.shape, device=batch.input_ids.device)
    for start in range(0, len(scores), batch_size):
        part = slice(start, start + batch_size)
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


def _run_plan(
    classifier: TextClassifier,
    batch: TokenBatch,
    removals: Bool[Tensor, "examples removals tokens"],
    token: int,
    target: Int64[Tensor, " examples"],
    unchanged: Float[Tensor, " examples"],
    batch_size: int,
) -> Float[Tensor, "examples removals"]:
    """The target's probability for every removal, from one forward pass per distinct input.

    The texts themselves, where nothing is removed, have had theirs: it gave ``unchanged``.
    """
    nothing = bytes(removals.shape[2])
    slots = {(example, nothing): example for example in range(len(removals))}
    index = torch.empty(removals.shape[:2], dtype=torch.long)
    distinct: list[tuple[int, int]] = []
    for example, masks in enumerate(removals.cpu().numpy()):
        for column, mask in enumerate(masks):
            slot = slots.setdefault((example, mask.tobytes()), len(slots))
            if slot == len(removals) + len(distinct):
                distinct.append((example, column))
            index[example, column] = slot
    if not distinct:  # no text has content
        return unchanged.cpu()[index]
    examples, columns = torch.tensor(distinct, device=removals.device).unbind(dim=1)
    ids = replace(batch.input_ids[examples], removals[examples, columns], token)
    probabilities = _class_probabilities(classifier, ids, batch.attention_mask[examples], batch_size)
    explained = probabilities.gather(1, target[examples, None]).squeeze(1)
    return torch.cat([unchanged, explained]).cpu()[index]


def _report(
    chunks: Sequence[_Chunk], attributions: Sequence[str], ratios: Sequence[float], settings: dict[str, Any]
) -> FaithfulnessReport:
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
        for i, name in enumerate(attributions)
    ]
    points = [
        {"attribution": name, "ratio": ratio, **{metric: float(c[:, i, j].mean()) for metric, c in curves.items()}}
        for i, name in enumerate(attributions)
        for j, ratio in enumerate(ratios)
    ]
    return FaithfulnessReport(
        examples=pd.concat(examples, ignore_index=True),
        curves=pd.DataFrame(points),
        classification=classification_report(probabilities, labels),
        settings={**settings, "left_out": left_out},
    )
