"""How much two attributions of the same text agree: what the randomisation tests measure.

An explanation should be the same for two models that differ in their seed only, and another one for a model that has
learned nothing. The tests themselves, on classifiers and texts, are in :mod:`regex_lib.checks`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from regex_lib.masks import token_budget, top_k_mask

__all__ = ["expected_jaccard", "rank_correlation", "top_k_jaccard"]


def top_k_jaccard(
    first: Float[Tensor, "batch tokens"],
    second: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    ratio: float = 0.25,
) -> Float[Tensor, " batch"]:
    r"""The overlap of the two sets of tokens with the highest scores.

    .. math:: J = \frac{|A \cap B|}{|A \cup B|}, \qquad |A| = |B| = k = \lceil \mathrm{ratio} \cdot n \rceil

    Scores are ranked as they are, with their signs; give magnitudes where these are to count. Of equal scores the
    earlier token ranks first, so that attributions without any order agree perfectly: :func:`rank_correlation` tells.

    Args:
        first: scores of any unit.
        second: those of another model, method or version of the text, for the same tokens.
        content_mask: true where a token counts; :math:`n` is its sum.
        ratio: share of the tokens in a set, above 0 and at most 1.

    Returns:
        In [0, 1], in single precision or better: 1 for the same sets. See :func:`expected_jaccard` for what chance
        gives, .14 for a quarter of a long text. NaN without content tokens, or where one's score is NaN.

    Raises:
        ValueError: if ``ratio`` is not above 0 and at most 1.

    References:
        Zafar et al. 2021, Jaccard@25 %.

    Example:
        >>> content = torch.tensor([[True, True, True, True, False]])
        >>> first, second = torch.tensor([[4.0, 3, 2, 1, 9]]), torch.tensor([[4.0, 1, 2, 3, 9]])
        >>> top_k_jaccard(first, second, content, ratio=0.5)
        tensor([0.3333])
    """
    k = _set_size(content_mask, ratio)
    common = top_k_mask(first, content_mask, k) & top_k_mask(second, content_mask, k)
    shared = common.sum(dim=-1).to(torch.promote_types(first.dtype, torch.float32))
    return (shared / (2 * k - shared)).masked_fill(_any_nan(first, second, content_mask), torch.nan)


def expected_jaccard(content_mask: Bool[Tensor, "batch tokens"], ratio: float = 0.25) -> Float[Tensor, " batch"]:
    r"""The :func:`top_k_jaccard` to expect of two independent, uniformly random rankings, exactly.

    The number of shared tokens has a hypergeometric distribution:

    .. math:: \mathbb{E}[J] = \sum_{s=0}^{k} \frac{s}{2k - s} \binom{k}{s} \binom{n-k}{k-s} \Big/ \binom{n}{k}

    Args:
        content_mask: true where a token counts; :math:`n` is its sum.
        ratio: share of the tokens in a set, above 0 and at most 1.

    Returns:
        In (0, 1], in double precision. For a quarter of a long text about 1/7 = .14, the floor that Zafar et al. draw;
        more for short texts. NaN without content tokens.

    Raises:
        ValueError: if ``ratio`` is not above 0 and at most 1.

    Example:
        >>> lengths = torch.tensor([[1], [4], [6], [400]])
        >>> expected_jaccard(torch.arange(400) < lengths)
        tensor([1.0000, 0.2500, 0.2444, 0.1434], dtype=torch.float64)
    """
    k = _set_size(content_mask, ratio).cpu().numpy()
    shared = np.arange(k.max(initial=0) + 1)
    share = shared / np.maximum(2 * k[:, None] - shared, 1)
    chance = stats.hypergeom.pmf(shared, content_mask.sum(dim=-1).cpu().numpy()[:, None], k[:, None], k[:, None])
    expected = np.where(k > 0, (share * chance).sum(axis=1), np.nan)
    return torch.from_numpy(expected).to(content_mask.device)


def rank_correlation(
    first: Float[Tensor, "batch tokens"],
    second: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    r"""Spearman's correlation: Pearson's of the ranks; equal scores share the mean of their ranks.

    Memory: batch x tokens x tokens flags.

    Args:
        first: scores of any unit, with their signs.
        second: those of another model, method or version of the text, for the same tokens.
        content_mask: true where a token counts.

    Returns:
        In [-1, 1], in single precision or better; 0 is to be expected of independent rankings. NaN with fewer than two
        tokens, or where all scores of either are equal or one is NaN, because there is nothing to order: average with
        ``nanmean``, and report the share of NaN.

    References:
        Spearman 1904; used for attributions by Adebayo et al. 2018, section 3.

    Example:
        >>> content = torch.tensor([[True, True, True, False], [True, False, False, False]])
        >>> first = torch.tensor([[0.1, 0.2, 0.9, 5.0], [1.0, 0.0, 0.0, 0.0]])
        >>> rank_correlation(first, first.square(), content), rank_correlation(first, -first, content)
        (tensor([1., nan]), tensor([-1., nan]))
    """
    ours, theirs = _centred_ranks(first, content_mask), _centred_ranks(second, content_mask)
    variances = ours.square().sum(dim=-1) * theirs.square().sum(dim=-1)
    # Where there is nothing to order this is 0 / 0.
    correlation = ((ours * theirs).sum(dim=-1) / variances.sqrt()).clamp(-1.0, 1.0)
    known = correlation.masked_fill(_any_nan(first, second, content_mask), torch.nan)
    return known.to(torch.promote_types(first.dtype, torch.float32))


def _set_size(content_mask: Bool[Tensor, "batch tokens"], ratio: float) -> Tensor:
    if not 0.0 < ratio <= 1.0:
        raise ValueError(f"ratio must be above 0 and at most 1, got {ratio}")
    return token_budget(content_mask, ratio)


def _any_nan(
    first: Float[Tensor, "batch tokens"],
    second: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Bool[Tensor, " batch"]:
    return ((first.isnan() | second.isnan()) & content_mask.bool()).any(dim=-1)


def _centred_ranks(
    scores: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """By how much a token's mean rank is above the middle: half of those below it minus half of those above it."""
    pairs = content_mask[:, :, None] & content_mask[:, None, :]
    below = ((scores[:, None, :] < scores[:, :, None]) & pairs).sum(dim=-1)
    above = ((scores[:, None, :] > scores[:, :, None]) & pairs).sum(dim=-1)
    return (below - above).double() / 2
