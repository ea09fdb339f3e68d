"""Which tokens are kept and dropped, one text at a time and in plain Python."""

import math
from collections.abc import Sequence
from fractions import Fraction


def exact_budget(ratio: str, count: int, rounding: str) -> int:
    """The budget in exact arithmetic; the ratio is text, such as "0.29", so that nothing is rounded before."""
    exact = Fraction(ratio) * count
    return math.ceil(exact) if rounding == "up" else math.floor(exact)


def ranking(scores: Sequence[float], content: Sequence[bool]) -> list[int]:
    """Positions of the content tokens, highest score first and, of equal scores, earliest first."""
    return sorted((i for i, counts in enumerate(content) if counts), key=lambda i: (-scores[i], i))


def replaced(ids: Sequence[int], remove: Sequence[bool], token_id: int) -> list[int]:
    return [token_id if removed else token for token, removed in zip(ids, remove, strict=True)]


def left_over(ids: Sequence[int], attended: Sequence[bool], remove: Sequence[bool]) -> list[int]:
    """What is left of a text after dropping padding and removed tokens."""
    return [token for token, real, removed in zip(ids, attended, remove, strict=True) if real and not removed]
