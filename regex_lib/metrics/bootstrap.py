"""Confidence intervals for new seeds and new examples, by the bootstrap."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

__all__ = ["Interval", "bootstrap_interval", "paired_bootstrap", "tensor_of"]

Scores = Float[Tensor, "*seeds examples"] | ArrayLike

_CHUNK = 250  # resamples held in memory at once
_KEPT = 4_000_000  # weights kept for the next grid of the same shape: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    estimate: float
    low: float
    high: float
    level: float
    """The confidence, such as 0.95."""
    seeds: int
    examples: int
    """How many examples every seed has a number for."""
    p_value: float
    """How likely a mean at least as far from 0 would be if the true one were 0: two-sided, by the t distribution."""


def bootstrap_interval(
    scores: Scores, *, level: float = 0.95, resamples: int = 2000, seed: int = 0, ring: bool = False
) -> Interval:
    r"""A confidence interval of the mean for new seeds *and* new examples.

    Each resample draws seeds with replacement, and examples with replacement: the same ones for all seeds, because all
    seeds were scored on the same examples. Percentiles of such means are far too narrow with few seeds (84 instead of
    95 % with five that differ as much as examples do). So the bootstrap gives the shape of the distribution only. Its
    scale is the standard error of the two-way layout of seeds by examples, and its quantiles are widened as from the
    normal to the t distribution with Satterthwaite's degrees of freedom. The means of few seeds have too few values for
    that, and so do scores of which nearly all are alike: the interval is never narrower, on either side, than that of
    the t distribution. One row is a bootstrap over examples alone.

    Args:
        scores: a score for each seed and example, (seeds, examples), or for each example, (examples): a tensor, an
            array, a table, a column or lists. An example with a NaN in any seed is left out.
        level: the confidence.
        resamples: how many; 2,000 resolve the ends of a 95 % interval.
        seed: of the resampling.
        ring: whether a seed's row is of a pair of models, its own and the next seed's, and the last one's of the last
            model and the first. Every model is in two rows then, so that rows differ less than independent ones would:
            the variance between them is raised by :math:`2(S-1)/(S-2)`, and has :math:`2(S-2)^2/(3S-8)` degrees of
            freedom, which makes both right if a row is the sum of what its two models bring. Ends and p-value are NaN
            with fewer than three seeds.

    Returns:
        The interval. Its ends and the p-value are NaN for a single number, all is NaN for none. In simulated studies of
        100 examples it contained the truth in 93 to 95 of 100 with three or five seeds. With two seeds it does so in 95
        where seeds do not matter, and in 88 to 90 where they do: two can agree by luck. The p-value has the same
        standard error and degrees of freedom; the interval is the wider of two, and may hold 0 at a p-value below 1 -
        ``level``.

    Raises:
        ValueError: if ``level`` is not between 0 and 1, or ``resamples`` is below 1.

    References:
        Owen 2007, the pigeonhole bootstrap; Hesterberg 2015 on widening; Satterthwaite 1946.

    Example:
        >>> import torch
        >>> interval = bootstrap_interval(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
        >>> round(interval.estimate, 2), round(interval.low, 1), round(interval.high, 1)
        (0.35, 0.2, 0.5)
    """
    if not 0.0 < level < 1.0 or resamples < 1:
        raise ValueError(f"level must be between 0 and 1 and resamples 1 or more, got {level} and {resamples}")
    given = tensor_of(scores)
    grid = given.double().cpu().numpy().reshape(prod(given.shape[:-1]), given.shape[-1])
    grid = grid[:, ~np.isnan(grid).any(axis=0)]
    if not grid.size:
        return Interval(np.nan, np.nan, np.nan, level, len(grid), 0, np.nan)
    mean = float(grid.mean())
    if grid.size == 1:
        return Interval(mean, np.nan, np.nan, level, 1, 1, np.nan)
    if ring and len(grid) < 3:
        return Interval(mean, np.nan, np.nan, level, *grid.shape, np.nan)
    means = _resampled_means(grid, resamples, seed)
    error, freedom = _standard_error(grid, ring)
    tail = stats.norm.cdf(stats.t.ppf((1.0 - level) / 2, freedom))
    spread = means.std()
    low, high = (np.quantile(means, [tail, 1.0 - tail]) - mean) * (error / spread if spread > 0 else 0.0)
    half = stats.t.ppf((1.0 + level) / 2, freedom) * error
    p_value = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
    ends = mean + float(min(low, -half)), mean + float(max(high, half))
    return Interval(mean, *ends, level, *grid.shape, float(p_value))


def paired_bootstrap(
    ours: Scores,
    theirs: Scores,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    ring: bool = False,
) -> Interval:
    """The :func:`bootstrap_interval` of the mean difference of two systems on the same seeds and examples.

    Args:
        ours: scores as there, (seeds, examples) or (examples).
        theirs: the other system's, for the same seeds and examples at the same places.
        level: the confidence.
        resamples: how many.
        seed: of the resampling.
        ring: whether a seed's row is of its own model and the next seed's, as there.

    Raises:
        ValueError: if their shapes differ, or an option is out of its range.

    Example:
        >>> import torch
        >>> ours, theirs = torch.tensor([[0.9, 0.8, 0.7], [0.8, 0.8, 0.5]]), torch.full((2, 3), 0.5)
        >>> interval = paired_bootstrap(ours, theirs)
        >>> round(interval.estimate, 2), interval.seeds, interval.examples
        (0.25, 2, 3)
    """
    first, second = tensor_of(ours), tensor_of(theirs)
    if first.shape != second.shape:
        raise ValueError(f"ours and theirs must have the same shape, got {(*first.shape,)} and {(*second.shape,)}")
    return bootstrap_interval(first - second, level=level, resamples=resamples, seed=seed, ring=ring)


def tensor_of(scores: Scores) -> Float[Tensor, "*shape"]:
    """Scores as floating-point numbers without a graph; tensors of them stay what they are.

    Example:
        >>> tensor_of([True, False]), tensor_of(np.float32([0.5]))
        (tensor([1., 0.], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    if not isinstance(scores, Tensor):
        return torch.tensor(np.asarray(scores, dtype=float))
    return scores.detach() if scores.is_floating_point() else scores.double()


def _resampled_means(grid: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means over seeds and examples that are drawn with replacement, independently of each other."""
    drawn = _kept_weights if resamples * sum(grid.shape) <= _KEPT else _weights
    return np.concatenate([
        ((seeds @ grid) * examples).sum(axis=1) for seeds, examples in drawn(grid.shape, resamples, seed)
    ])  # fmt: skip


def _weights(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How much each seed and each example weighs in every resample, some resamples at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        seeds, examples = (random.multinomial(n, np.full(n, 1 / n), rows) / n for n in shape)
        yield seeds, examples


@lru_cache(maxsize=4)
def _kept_weights(shape: tuple[int, ...], resamples: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same, once for all cells of a table that have the same size."""
    return list(_weights(shape, resamples, seed))


def _standard_error(grid: np.ndarray, ring: bool) -> tuple[float, float]:
    """Of the mean when seeds and examples are both random, with Satterthwaite's degrees of freedom.

    In a ring the sums of squares between seeds are those of rows whose covariance has the eigenvalues 2 + 2 cos(2 pi k
    / S).
    """
    seeds, examples = grid.shape
    between = 2 * (seeds - 1) / (seeds - 2) if ring else 1.0
    freedom_of_seeds = 2 * (seeds - 2) ** 2 / (3 * seeds - 8) if ring else seeds - 1
    if 1 in grid.shape:
        freedom = freedom_of_seeds if examples == 1 else grid.size - 1
        return float(grid.std(ddof=1) / np.sqrt(grid.size / between)), float(freedom)
    by_seed, by_example = grid.mean(axis=1, keepdims=True), grid.mean(axis=0, keepdims=True)
    ranks = np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)])
    squares = np.array([
        examples * by_seed.var() * seeds,
        seeds * by_example.var() * examples,
        (grid - by_seed - by_example + grid.mean()).var() * grid.size,
    ])  # fmt: skip
    between_seeds, between_examples, rest = mean_squares = squares / ranks * [between, 1.0, 1.0]
    # It is estimated without bias by the first term, and can be no smaller than the second.
    total = max(between_seeds + between_examples - rest, rest)
    terms = (mean_squares**2 / [freedom_of_seeds, *ranks[1:]]).sum()
    return float(np.sqrt(total / grid.size)), float(max(total**2 / terms, 1.0)) if terms > 0 else 1.0
