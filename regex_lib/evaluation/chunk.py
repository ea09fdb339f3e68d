"""Texts that are measured together: what every attribution and every metric shares, computed once."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions import score_batch
from regex_lib.errors import UserError
from regex_lib.evaluation.prediction import PredictEmbedded
from regex_lib.evaluation.removals import Level, Removals, Replacement
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["Chunk", "Explained", "select"]


@dataclass(frozen=True)
class Chunk:
    """Texts, all of which have content tokens, and what does not depend on an attribution."""

    classifier: TextClassifier
    predict: PredictEmbedded
    """The classifier; see :func:`regex_lib.evaluation.prediction.predictor`."""
    batch: TokenBatch
    removals: Removals
    ratios: tuple[float, ...]
    """The sizes of the rationales."""
    level: Level
    replacement: Replacement
    batch_size: int
    rows: list[int]
    """The texts' numbers in the data set."""
    _shared: dict[Hashable, Any] = field(default_factory=dict)

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once for all attributions and metrics that ask by this key."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    @cached_property
    def full(self) -> Float[Tensor, " examples"]:
        """The probability of each text's predicted class, which is the explained one."""
        return self.removals.full.amax(dim=-1)

    @cached_property
    def empty(self) -> Float[Tensor, " examples"]:
        """That class's probability without any content."""
        return self.removals(self.everyone, self.removals.features.mask)

    @cached_property
    def drops(self) -> Float[Tensor, "examples features"]:
        """By how much that probability drops without each feature; 0 where there is none."""
        mask = self.removals.features.mask
        examples, features = mask.nonzero(as_tuple=True)
        left_out = torch.zeros(len(examples), mask.shape[1], dtype=torch.bool)
        left_out[torch.arange(len(examples)), features] = True
        drops = torch.zeros(mask.shape, dtype=torch.float64)
        drops[mask] = self.full[examples] - self.removals(examples, left_out)
        return drops

    @property
    def everyone(self) -> Int64[Tensor, " examples"]:
        """The number of each text in this chunk."""
        return torch.arange(len(self.rows))

    def parts(self) -> Iterator[tuple[Int64[Tensor, " part"], TokenBatch]]:
        """The texts, batch by batch, each cut to its longest text."""
        for part in self.everyone.split(self.batch_size):
            yield part, select(self.batch, part)

    def explain(self, method: str, options: dict[str, Any]) -> "Explained":
        """The texts with the scores of an attribution for their predicted classes.

        Args:
            method: its name.
            options: its own.

        Raises:
            UserError: if a score is NaN, which has no rank.
        """
        alike = options.get("replacement", "mask") == self.replacement and self.level == "token"
        if method == "leave_one_out" and alike:
            token_scores = self.drops  # the very passes that it would run
        else:
            token_scores = torch.zeros(self.batch.input_ids.shape, dtype=torch.float64)
            for part, batch in self.parts():
                target = self.removals.target[part].to(batch.input_ids.device)
                found = score_batch(self.classifier, batch, method, target, **options)
                token_scores[part, : found.shape[1]] = found.cpu().to(token_scores)
        scores = self.removals.features.scores(token_scores, method)
        undefined = scores.isnan().any(dim=1)  # a word's sum is also where infinite scores cancel out
        if undefined.any():
            row = self.rows[int(undefined.nonzero()[0])]
            raise UserError(f"attribution {method!r} gives scores for example {row} that are not numbers")
        return Explained(self, method, options, token_scores, scores)


@dataclass(frozen=True)
class Explained:
    """The texts of a chunk with the scores of one attribution: what a metric is computed from."""

    chunk: Chunk
    method: str
    options: dict[str, Any]
    """The attribution's own."""
    token_scores: Float[Tensor, "examples tokens"]
    """0 outside the content."""
    scores: Float[Tensor, "examples features"]
    """Of what is ranked and removed as one: the same, or summed into words."""


def select(batch: TokenBatch, rows: Int64[Tensor, " rows"]) -> TokenBatch:
    """Some rows of a batch, cut to the longest text among them."""
    index = rows.to(batch.input_ids.device)
    longest = int(batch.attention_mask[index].sum(dim=1).max())
    return TokenBatch(
        input_ids=batch.input_ids[index, :longest],
        attention_mask=batch.attention_mask[index, :longest],
        content_mask=batch.content_mask[index, :longest],
        offsets=[batch.offsets[row][:longest] for row in rows.tolist()],
        truncated=[batch.truncated[row] for row in rows.tolist()],
    )
