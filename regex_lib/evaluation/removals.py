"""What a classifier makes of texts with some of their features removed: every distinct input once, in full batches."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from regex_lib.attributions.words import words_of
from regex_lib.evaluation.prediction import PredictEmbedded, check_finite
from regex_lib.masks import drop, replace
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["Features", "Level", "Removals", "Replacement"]

Level = Literal["token", "word"]
Replacement = Literal["pad", "mask", "delete", "attention"]

_PLANNED = 4096  # inputs formed at once while repeats are looked for


@dataclass(frozen=True)
class Features:
    """What is ranked, and removed as one: content tokens, or words of several of them."""

    index: Int64[Tensor, "examples tokens"]
    """The feature that each token belongs to; -1 for tokens that do not count."""
    mask: Bool[Tensor, "examples features"]
    """True where there is a feature."""

    @classmethod
    def of(cls, batch: TokenBatch, texts: list[str], level: Level) -> "Features":
        """The features of some texts; see :func:`regex_lib.attributions.words_of` on what a word is."""
        content = batch.content_mask.cpu()
        if level == "token":
            positions = torch.arange(content.shape[1]).expand(content.shape)
            return cls(positions.masked_fill(~content, -1), content)
        rows = [
            words_of(text, offsets, counts).index
            for text, offsets, counts in zip(texts, batch.offsets, content.tolist(), strict=True)
        ]
        index = torch.tensor(rows)
        count = index.amax(dim=1, keepdim=True) + 1
        return cls(index, torch.arange(int(count.max())) < count)

    def scores(
        self, token_scores: Float[Tensor, "examples tokens"], method: str = ""
    ) -> Float[Tensor, "examples features"]:
        """The sum of the scores of each feature's tokens; of ``random``, the score of the first.

        As in :func:`regex_lib.attributions.word_scores`.
        """
        counts = self.index >= 0
        if method == "random":  # features stand in the order of the text
            counts &= self.index > pad(self.index, (1, 0), value=-1)[:, :-1].cummax(dim=1).values
        totals = torch.zeros(self.mask.shape, dtype=token_scores.dtype)
        return totals.scatter_add_(1, self.index.clamp(min=0), token_scores.masked_fill(~counts, 0.0))

    def tokens(
        self, example_index: Int64[Tensor, " removals"], removed: Bool[Tensor, "removals features"]
    ) -> Bool[Tensor, "removals tokens"]:
        """The tokens of removed features."""
        index = self.index[example_index]
        return removed.gather(1, index.clamp(min=0)) & (index >= 0)


class Removals:
    """Answers what a classifier predicts for texts without some of their features.

    Whoever asks, each distinct input runs once: two removals that leave the same tokens are one input. What is asked in
    one call runs in full batches of inputs of similar length, and the copies of a text stand together in them.

    Args:
        classifier: gives embeddings and the ids of its special tokens.
        predict: the model, from :func:`regex_lib.evaluation.prediction.predictor`.
        batch: the texts.
        features: what is removed as one.
        replacement: what removed tokens become: the tokenizer's ``"pad"`` or ``"mask"`` token in place and attended;
            with ``"attention"`` they stay, but nothing attends to them; with ``"delete"`` the text gets shorter. Where
            nothing would be left, as of decoders' texts, one attended padding token is.
        batch_size: inputs per forward pass.
        rows: the texts' numbers, for messages; 0, 1, 2... by default.

    Example:
        >>> from regex_lib.evaluation.prediction import predictor
        >>> from regex_lib.models import load_classifier
        >>> classifier = load_classifier("minilm", layers=1)
        >>> texts = ["Dull, dull."]
        >>> batch = classifier.tokenize(texts)
        >>> removals = Removals(
        ...     classifier, predictor(classifier), batch, Features.of(batch, texts, "word"), replacement="delete"
        ... )
        >>> first, last = torch.tensor([[True, False, False, False], [False, False, True, False]])
        >>> removals.probabilities(torch.tensor([0, 0, 0]), torch.stack([first, last, first])).shape
        torch.Size([3, 2])
        >>> removals.inputs_run  # ", dull." and "dull, ." differ
        2
    """

    def __init__(
        self,
        classifier: TextClassifier,
        predict: PredictEmbedded,
        batch: TokenBatch,
        features: Features,
        *,
        replacement: Replacement = "pad",
        batch_size: int = 64,
        rows: list[int] | None = None,
    ) -> None:
        self._classifier, self._predict, self.features = classifier, predict, features
        self._ids, self._attended = batch.input_ids.cpu(), batch.attention_mask.cpu()
        self._replacement, self._batch_size = replacement, batch_size
        self._rows = rows or list(range(len(self._ids)))
        self._slots: dict[bytes, int] = {}  # the place of each distinct input among the answers
        self._answers = torch.empty(0, classifier.num_labels, dtype=torch.float64)

    def __call__(
        self, example_index: Int64[Tensor, " removals"], removed: Bool[Tensor, "removals features"]
    ) -> Float[Tensor, " removals"]:
        """The probability of the class that each full text is predicted to have; see :meth:`probabilities`."""
        probabilities = self.probabilities(example_index, removed)
        return probabilities.gather(1, self.target[example_index, None]).squeeze(1)

    def probabilities(
        self, example_index: Int64[Tensor, " removals"], removed: Bool[Tensor, "removals features"]
    ) -> Float[Tensor, "removals classes"]:
        """Class probabilities in float64, on the CPU.

        Args:
            example_index: which text each removal is of.
            removed: true where a feature is removed.

        Raises:
            UserError: if the model's output is not finite.
        """
        slots: list[int] = []
        new: list[int] = []
        lengths: list[int] = []
        for part in torch.arange(len(removed)).split(_PLANNED) if len(removed) else ():
            ids, attended = self._inputs(example_index[part], removed[part])
            ends = _lengths(attended)
            for number, key in zip(part.tolist(), _keys(ids, attended), strict=True):
                slot = self._slots.setdefault(key, len(self._slots))
                if slot == len(self._answers) + len(new):
                    new.append(number)
                    lengths.append(ends[number - int(part[0])])
                slots.append(slot)
        if new:
            answers = self._run(example_index[new], removed[new], torch.tensor(lengths))
            self._answers = torch.cat([self._answers, answers])
        return self._answers[slots]

    @cached_property
    def full(self) -> Float[Tensor, "examples classes"]:
        """Class probabilities of the full texts."""
        return self.probabilities(torch.arange(len(self._ids)), torch.zeros_like(self.features.mask))

    @cached_property
    def target(self) -> Int64[Tensor, " examples"]:
        """The predicted class of each full text, which is the explained one; of equal ones, the lowest."""
        return self.full.argmax(dim=-1)

    @property
    def inputs_run(self) -> int:
        """How many distinct inputs the model has seen."""
        return len(self._slots)

    def _inputs(
        self, example_index: Int64[Tensor, " removals"], removed: Bool[Tensor, "removals features"]
    ) -> tuple[Int64[Tensor, "removals tokens"], Bool[Tensor, "removals tokens"]]:
        """Ids and attention mask, as wide as the longest text."""
        ids, attended = self._ids[example_index], self._attended[example_index]
        tokens = self.features.tokens(example_index, removed)
        if self._replacement == "attention":
            attended = attended & ~tokens
        elif self._replacement == "delete":
            width = ids.shape[1]
            ids, attended = (
                pad(part, (0, width - part.shape[1])) for part in drop(ids, attended, tokens, self._classifier.pad_id)
            )
        else:
            ids = replace(
                ids, tokens, self._classifier.mask_id if self._replacement == "mask" else self._classifier.pad_id
            )
        nothing = ~attended.any(dim=1)
        ids[nothing, 0], attended[nothing, 0] = self._classifier.pad_id, True
        return ids.masked_fill(~attended, self._classifier.pad_id), attended

    def _run(
        self,
        example_index: Int64[Tensor, " inputs"],
        removed: Bool[Tensor, "inputs features"],
        lengths: Int64[Tensor, " inputs"],
    ) -> Float[Tensor, "inputs classes"]:
        order = lengths.argsort(descending=True, stable=True)  # the longest first: memory is asked for once
        parts = []
        for part in order.split(self._batch_size):
            ids, attended = self._inputs(example_index[part], removed[part])
            longest = int(lengths[part[0]])
            ids, attended = (x[:, :longest].to(self._classifier.device) for x in (ids, attended))
            with torch.inference_mode():
                embeddings = self._classifier.embed(ids)
            parts.append(self._predict(embeddings, attended))
        answers = torch.cat(parts).cpu()[order.argsort()]
        check_finite(answers, lambda number: self._rows[int(example_index[number])])
        return answers


def _lengths(attended: Bool[Tensor, "inputs tokens"]) -> list[int]:
    """How many tokens of each input are needed: up to the last attended one."""
    positions = torch.arange(1, attended.shape[1] + 1)
    return (attended * positions).amax(dim=1).tolist()


def _keys(ids: Int64[Tensor, "inputs tokens"], attended: Bool[Tensor, "inputs tokens"]) -> list[bytes]:
    """What tells inputs apart, short whatever their length."""
    rows = ids.masked_fill(~attended, -1).int().numpy()
    return [blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
