"""What a table says of a claim, by one rule for all tables."""

from dataclasses import dataclass

import pandas as pd

__all__ = ["Verdict", "verdict"]


@dataclass(frozen=True)
class Verdict:
    """What the cells of a table say of a claim.

    A cell is **for** a claim if its whole confidence interval is on the claim's side, **against** it if the whole is on
    the other side, and undecided if not, or if it comes from one seed, whose luck such an interval does not know. The
    table **supports** the claim if more than half of its cells are for it and none is against; it **contradicts** the
    claim if more than half are against and none is for; everything else **leaves it open**. The intervals are not
    corrected for their number: of 40 cells without any effect, one is expected to be for a claim by chance, and one
    against.
    """

    claim: str
    """What follows "the claim that"."""
    cells: int
    above: int
    """Cells whose estimate is on the claim's side, decided or not."""
    pro: int
    """Cells that are for it."""
    contra: int
    """Cells that are against it."""

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
        return (
            f"This {self.word} the claim that {self.claim}: of {self.cells} cells, {self.pro} are for it, "
            f"{self.contra} against it and {undecided} undecided; the estimate is on its side in {self.above}."
        )


def verdict(claim: str, cells: pd.DataFrame, *, margin: float = 0.0) -> Verdict:
    """What cells say of a claim by which their differences are above 0, or above minus a margin.

    Args:
        claim: what follows "the claim that".
        cells: columns ``difference``, ``low`` and ``high``, and ``seeds`` where they are known, as in
            :func:`regex_lib.study.differences`. A cell without an interval is undecided.
        margin: by how much a difference may be below 0, for a claim such as "comparable": say it in the claim.

    Example:
        >>> cells = pd.DataFrame({"difference": [0.2, 0.1, 0.1], "low": [0.1, 0.02, -0.1], "high": [0.3, 0.2, 0.3]})
        >>> print(verdict("it helps", cells))
        This supports the claim that it helps: of 3 cells, 2 are for it, 0 against it and 1 undecided; the estimate \
is on its side in 3.
    """
    decidable = cells.get("seeds", pd.Series(2, index=cells.index)) > 1
    return Verdict(
        claim,
        cells=len(cells),
        above=int((cells["difference"] > -margin).sum()),
        pro=int((decidable & (cells["low"] > -margin)).sum()),
        contra=int((decidable & (cells["high"] < -margin)).sum()),
    )
