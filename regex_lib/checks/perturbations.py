"""Small changes of texts that say where each token went: tokens put in or taken out, a typo, noise on embeddings."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.masks import token_budget
from regex_lib.metrics import embedding_noise
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["PERTURBATIONS", "Perturbed", "Source", "mistyped"]

_LETTERS = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Source:
    """Some texts before they are changed, and by how much to change them."""

    classifier: TextClassifier
    texts: list[str]
    batch: TokenBatch
    max_length: int
    pool: Int64[Tensor, " drawn"]
    """The ids that new tokens are drawn from, the frequent ones more often."""
    share: float
    """Of the content tokens that are put in or taken out, rounded up."""
    noise_size: float
    """The noise on the embeddings as a share of their norm."""


@dataclass(frozen=True)
class Perturbed:
    """The changed texts."""

    batch: TokenBatch
    positions: Int64[Tensor, "batch tokens"]
    """For every token of the original its position here; -1 if it did not survive or does not count."""
    noise: Float[Tensor, "batch perturbed_tokens dim"] | None = None
    """What is added to the embeddings."""


def mistyped(text: str, end: int, draws: np.random.Generator) -> tuple[str, slice, int]:
    """A text with a slip in one word: two neighbouring letters swapped, a letter doubled, or a letter left out.

    Args:
        text: the text.
        end: choose among the words that end here at the latest.
        draws: chooses the word, the slip and the letter.

    Returns:
        The text, the place where the word stood in the original, and by how many characters what follows it has moved.
        A text without a word of two letters or more stays as it is.

    Example:
        >>> mistyped("A fine film.", 12, np.random.default_rng(0))
        ('A fine fil.', slice(7, 11, None), -1)
    """
    words = [match for match in _LETTERS.finditer(text) if match.end() <= end]
    if not words:
        return text, slice(0, 0), 0
    chosen = words[draws.integers(len(words))]
    word = chosen.group()
    slips = [word[:i] + word[i] + word[i:] for i in range(len(word))]
    slips += [word[:i] + word[i + 1 :] for i in range(len(word))]
    slips += [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1) if word[i] != word[i + 1]]
    slip = slips[draws.integers(len(slips))]
    return text[: chosen.start()] + slip + text[chosen.end() :], slice(*chosen.span()), len(slip) - len(word)


def _typo(source: Source, seeds: Sequence[int]) -> Perturbed:
    """Tokens with the same id at the same characters, outside the word with the slip, survive."""
    batch, texts, places = source.batch, [], []
    content = batch.content_mask.tolist()
    for text, offsets, counts, seed in zip(source.texts, batch.offsets, content, seeds, strict=True):
        end = max(stop for (_, stop), counted in zip(offsets, counts, strict=True) if counted)
        changed, word, shift = mistyped(text, end, np.random.default_rng(seed))
        texts.append(changed)
        places.append((word, shift))
    new = source.classifier.tokenize(texts, source.max_length)
    positions = torch.full(batch.input_ids.shape, -1)
    for row, (word, shift) in enumerate(places):
        found = defaultdict(list)  # several tokens may stand at the same characters
        for position in new.content_mask[row].nonzero().squeeze(1).tolist():
            found[int(new.input_ids[row, position]), *new.offsets[row][position]].append(position)
        for position in batch.content_mask[row].nonzero().squeeze(1).tolist():
            start, stop = batch.offsets[row][position]
            moved = shift * (start >= word.stop)
            outside = stop <= word.start or start >= word.stop
            there = found[int(batch.input_ids[row, position]), start + moved, stop + moved] if outside else []
            if there:
                positions[row, position] = there.pop(0)
    return Perturbed(new, positions)


def _insertion(source: Source, seeds: Sequence[int]) -> Perturbed:
    """New tokens go before any content token or after the last; a text that gets too long loses its last ones."""
    budgets = token_budget(source.batch.content_mask, source.share).tolist()
    rows = []
    for tokens, budget, seed in zip(_tokens(source.batch), budgets, seeds, strict=True):
        draws = np.random.default_rng(seed)
        content = [token.position for token in tokens if token.counts]
        for place in sorted(draws.choice([*content, content[-1] + 1], size=budget).tolist(), reverse=True):
            new = int(source.pool[draws.integers(len(source.pool))])
            tokens.insert(place, _Token(new, -1, counts=True))
        while len(tokens) > source.max_length:
            del tokens[max(index for index, token in enumerate(tokens) if token.counts)]
        rows.append(tokens)
    return _assembled(source, rows)


def _removal(source: Source, seeds: Sequence[int]) -> Perturbed:
    """Content tokens are taken out, what follows moves up; one always stays."""
    budgets = token_budget(source.batch.content_mask, source.share).tolist()
    rows = []
    for tokens, budget, seed in zip(_tokens(source.batch), budgets, seeds, strict=True):
        content = [token.position for token in tokens if token.counts]
        gone = np.random.default_rng(seed).permutation(content)[: min(budget, len(content) - 1)].tolist()
        rows.append([token for token in tokens if token.position not in gone])
    return _assembled(source, rows)


def _noise(source: Source, seeds: Sequence[int]) -> Perturbed:
    """Every token stays where it is."""
    batch = source.batch
    with torch.no_grad():
        embeddings = source.classifier.embed(batch.input_ids)
    noise = embedding_noise(embeddings, batch.content_mask, size=source.noise_size, seeds=torch.tensor(seeds))
    places = torch.arange(batch.input_ids.shape[1]).expand(batch.input_ids.shape)
    return Perturbed(batch, places.masked_fill(~batch.content_mask.cpu(), -1), noise)


@dataclass(frozen=True)
class _Token:
    id: int
    position: int
    """In the original; -1 for a new one."""
    counts: bool


def _tokens(batch: TokenBatch) -> list[list[_Token]]:
    """The tokens of each text, padding left out."""
    lengths = batch.attention_mask.sum(dim=1).tolist()
    return [
        [_Token(int(ids[place]), place, bool(content[place])) for place in range(length)]
        for ids, content, length in zip(batch.input_ids.cpu(), batch.content_mask.cpu(), lengths, strict=True)
    ]


def _assembled(source: Source, rows: Sequence[Sequence[_Token]]) -> Perturbed:
    """Texts of these tokens, padded on the right. A new token has no place in the text."""
    batch, width = source.batch, max(map(len, rows))
    ids = torch.full((len(rows), width), source.classifier.pad_id)
    attended, content = torch.zeros(2, len(rows), width, dtype=torch.bool)
    positions = torch.full(batch.input_ids.shape, -1)
    offsets = []
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor([token.id for token in tokens])
        content[row, : len(tokens)] = torch.tensor([token.counts for token in tokens])
        attended[row, : len(tokens)] = True
        for place, token in enumerate(tokens):
            if token.counts and token.position >= 0:
                positions[row, token.position] = place
        known = [batch.offsets[row][token.position] if token.position >= 0 else (0, 0) for token in tokens]
        offsets.append(known + [(0, 0)] * (width - len(tokens)))
    new = TokenBatch(ids, attended, content, offsets, batch.truncated)
    return Perturbed(new.to(batch.input_ids.device), positions)


PERTURBATIONS: dict[str, Callable[[Source, Sequence[int]], Perturbed]] = {
    "insertion": _insertion,
    "removal": _removal,
    "typo": _typo,
    "noise": _noise,
}
"""By name: what changes texts, with a seed for each of them."""
