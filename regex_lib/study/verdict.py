"""What a table says of a claim, by one rule for all tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

__all__ = ["MIN_SEEDS", "Verdict", "verdict"]

MIN_SEEDS = 3
"""Fewer seeds decide nothing: an interval of two, which can agree by luck, is wrong twice as often as it says."""


@dataclass(frozen=True)
class Verdict:
    """What the cells of a table say of a claim.

    A cell is **for** a claim if its whole confidence interval is on the claim's side, **against** it if the whole is on
    the other side, and undecided if not. The table **supports** the claim if more than half of its cells are for it and
    none is against; it **contradicts** the claim if more than half are against and none is for; everything else
    **leaves it open**. Cells that can say nothing are left out, and their number is told. The intervals are not
    corrected for their number: of 40 cells without any effect, one is expected to be for a claim by chance, and one
    against.
    """

    claim: str
    """What follows "the claim that"."""
    cells: int
    """Those that are counted."""
    above: int
    """Cells whose estimate is on the claim's side, decided or not."""
    pro: int
    """Cells that are for it."""
    contra: int
    """Cells that are against it."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many cells are not counted, by the reason."""

    @property
    def word(self) -> str:
        """``supports``, ``contradicts`` or ``leaves open``."""
        if 2 * self.pro > self.cells and not self.contra:
            return "supports"
        if 2 * self.contra > self.cells and not self.pro:
            return "contradicts"
        return "leaves open"

    def __str__(self) -> str:
        undecided = self.cells - self.pro - self.contra
        found = (
            f"of {self.cells} cells, {self.pro} are for it, {self.contra} against it and {undecided} undecided; "
            f"the estimate is on its side in {self.above}"
        )
        sentence = f"This {self.word} the claim that {self.claim}: {found if self.cells else 'no cell counts'}."
        if not self.left_out:
            return sentence
        reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"{sentence} Left out: {reasons}."


def verdict(claim: str, cells: pd.DataFrame, *, margin: float = 0.0) -> Verdict:
    """What cells say of a claim by which their differences are above 0, or above minus a margin.

    Left out are cells of fewer than three seeds; those in which nothing differs, such as two precisions of 1; and those
    of a model that has learned nothing, which has nothing to explain.

    Args:
        claim: what follows "the claim that".
        cells: columns ``difference``, ``low`` and ``high``; and, where they are known, ``seeds``, as in
            :func:`regex_lib.study.differences`, and ``learned``, whether the models are better than a constant one. A
            cell without an interval is undecided.
        margin: by how much a difference may be below 0, for a claim such as "comparable": say it in the claim.

    Example:
        >>> cells = pd.DataFrame({"difference": [0.2, 0.1, 0.1], "low": [0.1, 0.02, -0.1], "high": [0.3, 0.2, 0.3]})
        >>> print(verdict("it helps", cells))
        This supports the claim that it helps: of 3 cells, 2 are for it, 0 against it and 1 undecided; the estimate \
is on its side in 3.
        >>> print(verdict("it helps", cells.assign(seeds=[3, 3, 1])))
        This supports the claim that it helps: of 2 cells, 2 are for it, 0 against it and 0 undecided; the estimate \
is on its side in 2. Left out: 1 of fewer than 3 seeds.
    """
    reasons = {
        f"of fewer than {MIN_SEEDS} seeds": cells.get("seeds", pd.Series(MIN_SEEDS, index=cells.index)) < MIN_SEEDS,
        "of models that have learned nothing": ~cells.get("learned", pd.Series(True, index=cells.index)).astype(bool),
        "without any difference": (cells["low"] == 0) & (cells["high"] == 0) & (margin == 0),
    }
    counted, left_out = pd.Series(True, index=cells.index), {}
    for reason, applies in reasons.items():
        if count := int((counted & applies).sum()):
            left_out[reason] = count
        counted &= ~applies
    cells = cells[counted]
    return Verdict(
        claim,
        cells=len(cells),
        above=int((cells["difference"] > -margin).sum()),
        pro=int((cells["low"] > -margin).sum()),
        contra=int((cells["high"] < -margin).sum()),
        left_out=left_out,
    )
