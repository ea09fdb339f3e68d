"""How a chapter tells a reader whether an exercise is solved."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Verdict", "check_answer"]


@dataclass(frozen=True)
class Verdict:
    """What :func:`check_answer` found; true if the answer is right."""

    correct: bool
    """Whether the answer is right."""
    message: str
    """One sentence for the reader."""

    def __bool__(self) -> bool:
        return self.correct

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        mark, colour = ("&#10003;", "#0a6b2d") if self.correct else ("&#8227;", "#8a4b00")
        style = f"padding:.3em .8em;border-left:4px solid {colour};background:#fff;color:#111"
        return f'<p role="status" style="{style}">{mark} {html.escape(self.message)}</p>'


def check_answer(answer: object, expected: object, *, tolerance: float = 1e-4) -> Verdict:
    """Compare a reader's answer with what the package gives.

    Numbers, tensors and arrays may differ by ``tolerance``, absolute and relative. Mappings and sequences are compared
    item by item, anything else by ``==``. The message names the first difference, and never the expected value.

    Args:
        answer: what the reader computed; ``...`` stands for an exercise that was not tried yet.
        expected: the right answer.
        tolerance: how far a number may be off.

    Example:
        >>> check_answer(..., 0.5)
        Not answered yet: replace the dots, and run the cell again.
        >>> check_answer([0.25, 0.75], [0.25, 0.5])
        Not yet: [1] differs by 0.25.
        >>> check_answer(0.50001, 0.5)
        Correct.
    """
    if answer is ... or answer is None:
        return Verdict(False, "Not answered yet: replace the dots, and run the cell again.")
    difference = _difference(answer, expected, tolerance)
    return Verdict(False, f"Not yet: {difference}.") if difference else Verdict(True, "Correct.")


def _difference(answer: Any, expected: Any, tolerance: float, place: str = "") -> str:
    """The first difference, in words; empty if there is none."""
    named = place or "the answer"
    if isinstance(expected, Mapping):
        if not isinstance(answer, Mapping) or set(answer) != set(expected):
            return f"{named} should have the keys {sorted(map(str, expected))}"
        items = [(answer[key], expected[key], f"{place}[{key!r}]") for key in expected]
        return next(filter(None, (_difference(*item[:2], tolerance, item[2]) for item in items)), "")
    if isinstance(expected, list | tuple):
        answer = answer.tolist() if hasattr(answer, "tolist") else answer  # a tensor, an array or a column
        if not isinstance(answer, Sequence) or len(answer) != len(expected):
            return f"{named} should have {len(expected)} items"
        items = [(answer[index], expected[index], f"{place}[{index}]") for index in range(len(expected))]
        return next(filter(None, (_difference(*item[:2], tolerance, item[2]) for item in items)), "")
    if not _is_numeric(expected):
        return "" if answer == expected else f"{named} is another one"
    return _numeric_difference(answer, expected, tolerance, named)


def _is_numeric(value: Any) -> bool:
    return _array(value).dtype.kind in "biufc"


def _numeric_difference(answer: Any, expected: Any, tolerance: float, named: str) -> str:
    one, other = _array(answer), _array(expected)
    if one.dtype.kind not in "biufc":
        return f"{named} should be a number" if other.ndim == 0 else f"{named} should hold numbers"
    if one.shape != other.shape:
        return f"{named} should have the shape {other.shape}, and has {one.shape}"
    if np.allclose(one, other, rtol=tolerance, atol=tolerance):
        return ""
    return f"{named} differs by {np.abs(one.astype(complex) - other.astype(complex)).max():.3g}"


def _array(value: Any) -> np.ndarray:
    if isinstance(value, list | tuple):
        return np.asarray([_array(item) for item in value])
    return np.asarray(value.tolist() if hasattr(value, "detach") else value)
