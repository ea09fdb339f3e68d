"""Words of a text, and scores of sub-word tokens summed into them by character offsets."""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from regex_lib.errors import UserError

__all__ = ["Words", "word_scores", "words_of"]

_INNER = "'\N{RIGHT SINGLE QUOTATION MARK}-"  # between two letters or digits these belong to the word: don't, well-made


@dataclass(frozen=True)
class Words:
    """The words that a text's content tokens belong to, in the order of the text."""

    spans: list[tuple[int, int]]
    """For every word, its first character and the one after its last."""
    index: list[int]
    """For every token, the number of its word; -1 for a token that does not count."""


def words_of(text: str, offsets: Sequence[tuple[int, int]], content_mask: Sequence[bool]) -> Words:
    """Group tokens into words.

    A word is a run of letters, digits, underscores and their marks, with single apostrophes and hyphens inside it. A
    run of other visible characters (punctuation, symbols, emoji) is a word of its own, and so is every Chinese
    character. Where one token covers parts of several words, these are one word, because its score cannot be divided.

    Only character offsets are used, so that words do not depend on a tokenizer's marks ('##', 'Ġ', '▁') or on whether
    its offsets include the space before a token. A token of white space alone belongs to the word that follows, or to
    the last word if none does.

    Args:
        text: the text.
        offsets: for every token, its first character and the one after its last.
        content_mask: true where a token counts.

    Returns:
        The words that have tokens; those beyond a truncation have none.

    Raises:
        UserError: if the offsets of a token that counts do not fit the text.

    Example:
        >>> words_of("It isn't un-fun.", [(0, 2), (3, 6), (6, 8), (9, 11), (11, 12), (12, 15), (15, 16)], [True] * 7)
        Words(spans=[(0, 2), (3, 8), (9, 15), (15, 16)], index=[0, 1, 1, 2, 2, 2, 3])
    """
    places: list[tuple[int, int] | None] = []
    for (start, end), counts in zip(offsets, content_mask, strict=True):
        if counts and not 0 <= start <= end <= len(text):
            raise UserError(f"token offsets ({start}, {end}) do not fit a text of {len(text)} characters")
        visible = len(text) - len(text[start:].lstrip())
        places.append((visible, end) if counts else None)
    inside = {character for place in places if place for character in range(place[0] + 1, place[1])}
    beginnings = [beginning for beginning in _beginnings(text) or [0] if beginning not in inside]
    numbers = [bisect_right(beginnings, place[0]) - 1 if place else -1 for place in places]
    kept = sorted(set(numbers) - {-1})
    ends = [*beginnings[1:], len(text)]
    return Words(
        spans=[(beginnings[number], len(text[: ends[number]].rstrip())) for number in kept],
        index=[kept.index(number) if number >= 0 else -1 for number in numbers],
    )


def word_scores(words: Words, scores: Sequence[float], method: str = "") -> list[float]:
    """The sum of each word's token scores; or, of ``random``, its first token's score.

    Sums of random numbers would rank words of many tokens first, and such words are not just any words.

    Args:
        words: from :func:`words_of`.
        scores: one per token; those of tokens that do not count are ignored.
        method: the attribution's name.

    Raises:
        UserError: if there are not as many scores as tokens.

    Example:
        >>> words = words_of("un-fun.", [(0, 2), (2, 3), (3, 6), (6, 7)], [True] * 4)
        >>> word_scores(words, [0.5, 0.25, -1.0, 2.0])
        [-0.25, 2.0]
        >>> word_scores(words, [0.5, 0.25, 0.75, 0.0], "random")
        [0.5, 0.0]
    """
    if len(scores) != len(words.index):
        raise UserError(f"there are {len(words.index)} tokens but {len(scores)} scores")
    totals, begun = [0.0] * len(words.spans), [False] * len(words.spans)
    for number, score in zip(words.index, scores, strict=True):
        if number >= 0 and not (begun[number] and method == "random"):
            totals[number] += score
            begun[number] = True
    return totals


def _beginnings(text: str) -> list[int]:
    """Where the words of a text begin, whatever its tokens."""
    kinds = [_kind(character) for character in text]
    for i, character in enumerate(text[1:-1], start=1):
        if character in _INNER and text[i - 1] not in _INNER and kinds[i - 1] == kinds[i + 1] == "letter":
            kinds[i] = "letter"
    beginnings, last = [], "space"
    for i, kind in enumerate(kinds):
        if kind == "mark" and last != "space":
            continue  # it belongs to the character before
        if kind != "space" and (kind != last or kind == "ideograph"):
            beginnings.append(i)
        last = kind
    return beginnings


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return "space"
    if category[0] == "M" or category == "Cf":  # accents, joiners, variation selectors
        return "mark"
    if category == "Lo" and unicodedata.name(character, "").startswith("CJK "):
        return "ideograph"
    return "letter" if category[0] in "LN" or character == "_" else "other"
