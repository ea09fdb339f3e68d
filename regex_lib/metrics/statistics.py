"""Is one system better than another? Tests and effect sizes on paired scores of the same examples.

Pairs with NaN, where a metric is undefined for either system, are left out, and every result says how many are left.
What cannot be computed from too few pairs is NaN; systems that never differ have the effect 0 and the p-value 1. For
intervals see :func:`regex_lib.metrics.paired_bootstrap`. Scores are tensors, arrays, columns of tables or lists, each
of one dimension, with those of the same example at the same place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

from regex_lib.metrics.bootstrap import tensor_of

__all__ = [
    "EffectSize",
    "SignedRankTest",
    "WinRate",
    "effect_size",
    "holm",
    "wilcoxon_signed_rank",
    "win_rate",
]


Scores = Float[Tensor, " pairs"] | ArrayLike


@dataclass(frozen=True)
class SignedRankTest:
    """Wilcoxon's signed-rank test, two-sided."""

    statistic: float
    """The smaller one of the two rank sums."""
    p_value: float
    pairs: int


@dataclass(frozen=True)
class WinRate:
    """How often one system beats the other, with the two-sided sign test."""

    wins: int
    losses: int
    ties: int
    rate: float
    """Wins plus half the ties, as a share of all pairs."""
    p_value: float


@dataclass(frozen=True)
class EffectSize:
    """How large a paired difference is, in two units."""

    cohen_dz: float
    """The mean difference over its standard deviation; infinite where all differences are the same but 0."""
    rank_biserial: float
    """The share of ranks in favour minus the share against, in [-1, 1]."""
    pairs: int


def wilcoxon_signed_rank(ours: Scores, theirs: Scores) -> SignedRankTest:
    """Wilcoxon's signed-rank test that paired scores have the same distribution; pairs without a difference drop out.

    Pairs must be independent: average over seeds first, so that there is one pair for each example.

    Args:
        ours: a score for each example, (pairs).
        theirs: the other system's, (pairs).

    Returns:
        ``pairs`` counts all pairs; the p-value is NaN without any, and 1 where none of them differ.

    Raises:
        ValueError: if scores have more dimensions than one, or their lengths differ.

    References:
        Wilcoxon 1945. Exact for up to 50 untied pairs, by ``scipy.stats.wilcoxon``.

    Example:
        >>> import torch
        >>> wilcoxon_signed_rank(torch.tensor([3.0, 5.0, 9.0, 2.0]), torch.tensor([2.0, 3.0, 6.0, 6.0]))
        SignedRankTest(statistic=4.0, p_value=0.875, pairs=4)
    """
    differences = _differences(ours, theirs)
    if not differences.any():
        return SignedRankTest(0.0, 1.0 if differences.size else np.nan, differences.size)
    statistic, p_value = stats.wilcoxon(differences[differences != 0])
    return SignedRankTest(float(statistic), float(p_value), differences.size)


def win_rate(ours: Scores, theirs: Scores) -> WinRate:
    """How often our score is the higher one, and the sign test that either is as likely; ties say nothing there.

    Args:
        ours: a score for each example, (pairs).
        theirs: the other system's, (pairs).

    Returns:
        Rate and p-value are NaN without pairs; with ties only, .5 and 1.

    Raises:
        ValueError: if scores have more dimensions than one, or their lengths differ.

    Example:
        >>> import torch
        >>> win_rate(torch.tensor([0.9, 0.8, 0.7, 0.5]), torch.tensor([0.5, 0.5, 0.5, 0.5]))
        WinRate(wins=3, losses=0, ties=1, rate=0.875, p_value=0.25)
    """
    differences = _differences(ours, theirs)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    ties = differences.size - wins - losses
    if not differences.size:
        return WinRate(0, 0, 0, np.nan, np.nan)
    p_value = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return WinRate(wins, losses, ties, (wins + ties / 2) / differences.size, p_value)


def effect_size(ours: Scores, theirs: Scores) -> EffectSize:
    """Cohen's d for paired scores (d_z) and the matched-pairs rank-biserial correlation; positive in our favour.

    Args:
        ours: a score for each example, (pairs).
        theirs: the other system's, (pairs).

    Returns:
        Both are 0 where no pair differs. With one pair d_z is NaN, with none both are.

    Raises:
        ValueError: if scores have more dimensions than one, or their lengths differ.

    References:
        Cohen 1988, section 2.3.5; Kerby 2014.

    Example:
        >>> import torch
        >>> effect_size(torch.tensor([3.0, 5.0, 9.0]), torch.tensor([2.0, 3.0, 6.0]))
        EffectSize(cohen_dz=2.0, rank_biserial=1.0, pairs=3)
    """
    differences = _differences(ours, theirs)
    if not differences.size:
        return EffectSize(np.nan, np.nan, 0)
    dz, mean = np.nan, differences.mean()
    if differences.size > 1:
        spread = 0.0 if np.ptp(differences) == 0 else differences.std(ddof=1)
        dz = mean / spread if spread > 0 else np.inf * np.sign(mean) if mean else 0.0
    moved = differences[differences != 0]
    weights = stats.rankdata(np.abs(moved))
    biserial = (weights * np.sign(moved)).sum() / weights.sum() if moved.size else 0.0
    return EffectSize(float(dz), float(biserial), differences.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the number of tests, by Holm's step-down method: the family-wise error rate is controlled.

    NaN stays NaN and does not count as a test.

    References:
        Holm 1979.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=float)
    order = np.argsort(raw)[: int((~np.isnan(raw)).sum())]  # NaN is sorted to the end
    steps = np.minimum(raw[order] * np.arange(len(order), 0, -1), 1.0)
    corrected = np.full(raw.shape, np.nan)
    corrected[order] = np.maximum.accumulate(steps)
    return [float(p) for p in corrected]


def _differences(ours: Scores, theirs: Scores) -> np.ndarray:
    first, second = tensor_of(ours), tensor_of(theirs)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"paired scores must have one dimension and the same length, got {(*first.shape,)} and {(*second.shape,)}"
        )
    differences = (first.double() - second.double()).cpu().numpy()
    return differences[~np.isnan(differences)]
