"""Planted shortcuts: words that decide the label of a text by a rule of ours, so that the truth is known.

The protocol of Bastings et al. 2022: some training texts get words that decide their label, whatever else they say. A
model that learns the rule rests on these words, and an attribution that is faithful to it ranks them first.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from regex_lib.errors import UserError

if TYPE_CHECKING:
    import datasets

__all__ = ["SHORTCUTS", "Shortcut", "ShortcutKind", "plant"]

ShortcutKind = Literal["single_token", "token_in_context", "ordered_pair"]
SHORTCUTS: tuple[ShortcutKind, ...] = get_args(ShortcutKind)
"""The kinds of shortcut."""

Variant = Literal["whole", "swapped", "part"]


@dataclass(frozen=True)
class Shortcut:
    """A rule by which words decide between two classes.

    - ``"single_token"``: one of the two words, which names the class.
    - ``"token_in_context"``: the same, but only in a text that has the context word too, anywhere.
    - ``"ordered_pair"``: both words; the one that comes first names the class.

    Raises:
        UserError: if the kind is unknown, or the words are not different, single words.

    Example:
        >>> Shortcut("ordered_pair").planted_words(1)
        ['lattice', 'isotope']
    """

    kind: ShortcutKind = "single_token"
    words: tuple[str, str] = ("isotope", "lattice")
    """The words of the first and of the second class. The defaults are single tokens of BERT's vocabulary that occur in
    none of the catalogue's data sets as measured here; :func:`plant` refuses words that the texts have already."""
    context: str = "sandstone"
    """The context word."""
    classes: tuple[int, int] = (0, 1)
    """The two classes; 0 and 2 where 1 is neutral."""

    def __post_init__(self) -> None:
        if self.kind not in SHORTCUTS:
            raise UserError(f"kind of shortcut must be one of {', '.join(SHORTCUTS)}, got {self.kind!r}")
        given = [*self.words, self.context]
        if len({word.lower() for word in given}) < 3 or not all(word.isalnum() for word in given):
            raise UserError(f"planted words must be three different words of letters and digits, got {given}")
        if self.classes[0] == self.classes[1]:
            raise UserError(f"a shortcut decides between two different classes, got {self.classes}")

    @property
    def has_parts(self) -> bool:
        """Whether the rule needs two words, so that one of them alone decides nothing."""
        return self.kind != "single_token"

    def planted_words(self, side: int) -> list[str]:
        """The words that decide for the first (0) or the second (1) class; only of an ordered pair the order counts."""
        if self.kind == "ordered_pair":
            return [self.words[side], self.words[1 - side]]
        return [self.words[side]] + [self.context] * (self.kind == "token_in_context")


def plant(
    dataset: "datasets.Dataset",
    shortcut: Shortcut,
    *,
    share: float = 1.0,
    parts: float = 0.0,
    variant: Variant = "whole",
    within: int | None = 100,
    seed: int = 0,
) -> "datasets.Dataset":
    """Plants a shortcut into some texts of a data set.

    The class of a planted text is drawn at random, whatever its label was, and becomes its label. Words go to random
    places between the words of the text. Which texts, classes and places depend on the seed only, so that the variants
    of one seed differ in nothing but the planted words.

    Args:
        dataset: rows of ``text`` and ``label``.
        shortcut: the rule.
        share: share of the texts that get the whole shortcut: some for training, all for testing.
        parts: share of the texts that get only one of its words and keep their label, so that a model learns to need
            both; nothing for a rule of one word.
        variant: for the texts that get the whole shortcut: ``"whole"``; ``"swapped"`` has the words of the other class
            at the same places, and that class as its label; ``"part"`` only the word that names the class, where the
            rule needs a second one (of an ordered pair the word that would come first), with the class that the whole
            would have as its label.
        within: only among the first so many words, so that a model that cuts long texts reads them; None for anywhere.
        seed: of everything random.

    Returns:
        Rows in the same order: ``text``, ``label``, ``tokens`` (the words between white space), ``rationale`` (1 at the
        words of a whole shortcut) and ``planted`` (whether the text has a whole shortcut, or its variant).

    Raises:
        UserError: if a share or ``within`` is out of its range, the variant is unknown, a rule has no parts, or a text
            has a planted word already.

    References:
        Bastings et al. 2022. How many texts get the shortcut, and that parts keep their label, is our choice.

    Example:
        >>> import datasets
        >>> rows = datasets.Dataset.from_dict({"text": ["A fine film.", "Dull."], "label": [1, 0]})
        >>> for row in plant(rows, Shortcut("token_in_context")):
        ...     print(row["label"], row["text"], row["rationale"])
        1 A sandstone fine film. lattice [0, 1, 0, 0, 1]
        0 Dull. isotope sandstone [0, 1, 1]
    """
    import datasets

    if not (0 <= share <= 1 and 0 <= parts <= 1 and share + parts <= 1):
        raise UserError(f"share and parts must be between 0 and 1, and so must be their sum, got {share} and {parts}")
    if variant not in get_args(Variant):
        raise UserError(f"variant must be one of {', '.join(get_args(Variant))}, got {variant!r}")
    if within is not None and within < 0:
        raise UserError(f"within must be 0 or more, or None for anywhere, got {within}")
    if not shortcut.has_parts and (parts or variant == "part"):
        raise UserError("a shortcut of a single token has no parts")
    texts, labels = list(dataset["text"]), list(dataset["label"])
    _check_absent(texts, shortcut)
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    whole = set(order[: round(share * len(texts))])
    partial = set(order[len(whole) :][: round(parts * len(texts))])
    rows = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
        draw = random.Random(f"{seed} {number}")
        words: list[str | None] = []
        if number in whole:
            words, label = _whole(shortcut, variant, draw)
        elif number in partial:
            words = [draw.choice(shortcut.planted_words(draw.randrange(2)))]
        text, rationale = _insert(text, words, within, draw)
        marks = rationale if number in whole else [0] * len(rationale)
        rows.append({
            "text": text, "label": label, "tokens": text.split(), "rationale": marks, "planted": number in whole
        })  # fmt: skip
    return datasets.Dataset.from_list(rows)


def _whole(shortcut: Shortcut, variant: Variant, draw: random.Random) -> tuple[list[str | None], int]:
    """The words for one text in their order, None where one is left out, and the class."""
    side = draw.randrange(2)
    context_first = draw.random() < 0.5
    if variant == "swapped":
        side = 1 - side
    words: list[str | None] = [*shortcut.planted_words(side)]
    if variant == "part":
        words[1:] = [None]
    if shortcut.kind == "token_in_context" and context_first:
        words.reverse()
    return words, shortcut.classes[side]


def _insert(text: str, words: Sequence[str | None], within: int | None, draw: random.Random) -> tuple[str, list[int]]:
    """The text with words between its own, otherwise unchanged, and which of all its words these are."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    last = len(starts) if within is None else min(len(starts), within)
    places = sorted(draw.randrange(last + 1) for _ in words)
    marks, end = [0] * len(starts), len(text)
    for word, place in reversed(list(zip(words, places, strict=True))):
        if word is None:
            continue
        if place < len(starts):
            text = f"{text[: starts[place]]}{word} {text[starts[place] :]}"
        else:
            text = f"{text[:end]} {word}{text[end:]}"
        marks.insert(place, 1)
    return text, marks


def _check_absent(texts: Sequence[str], shortcut: Shortcut) -> None:
    given = [*shortcut.words, shortcut.context]
    pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in given), re.IGNORECASE)
    for number, text in enumerate(texts):
        if found := pattern.search(text):
            raise UserError(f"text {number} has the word {found[0]!r} already: plant other words")
