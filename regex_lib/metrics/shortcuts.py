"""Whether an attribution finds tokens that are known to decide: planted shortcuts, or the edits of a minimal pair.

The truth is known, nothing is removed from the text, and no score depends on how far a prediction can fall. So these
numbers can be compared between models, once each model is verified to use the shortcut: see
:func:`regex_lib.checks.evaluate_shortcuts`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.masks import ranks, top_k_mask

__all__ = ["planted_precision", "planted_rank"]


def planted_precision(
    scores: Float[Tensor, "batch tokens"],
    planted: Bool[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """Precision@k: the share of the k highest-scored tokens that are planted, where k is how many are planted.

    Args:
        scores: of any unit, with their signs; of equal scores the earlier token ranks first.
        planted: true at the tokens that decide; those outside the content mask do not count.
        content_mask: true where a token counts.

    Returns:
        In [0, 1], in single precision or better: 1 if the planted tokens rank above all others. A random ranking of n
        tokens gives k / n on average. NaN without planted tokens.

    References:
        Bastings et al. 2022.

    Example:
        >>> content = torch.ones(2, 4, dtype=torch.bool)
        >>> planted = torch.tensor([[True, False, False, True], [False, True, False, False]])
        >>> planted_precision(torch.tensor([[0.9, 0.2, 0.5, 0.1], [0.1, 0.8, 0.2, 0.3]]), planted, content)
        tensor([0.5000, 1.0000])
    """
    true = planted.bool() & content_mask.bool()
    k = true.sum(dim=-1)
    found = (top_k_mask(scores, content_mask, k) & true).sum(dim=-1)
    return found.to(torch.promote_types(scores.dtype, torch.float32)) / k  # 0 / 0 is NaN


def planted_rank(
    scores: Float[Tensor, "batch tokens"],
    planted: Bool[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """The mean rank of the planted tokens, counted from 1 for the highest score; lower is better.

    Args:
        scores: of any unit, with their signs; of equal scores the earlier token ranks first.
        planted: true at the tokens that decide; those outside the content mask do not count.
        content_mask: true where a token counts.

    Returns:
        Between (k + 1) / 2, where the k planted tokens rank above all others, and n - (k - 1) / 2, in single precision
        or better. A random ranking of n tokens gives (n + 1) / 2 on average. NaN without planted tokens.

    References:
        Bastings et al. 2022.

    Example:
        >>> planted = torch.tensor([[True, False, False, True]])
        >>> planted_rank(torch.tensor([[0.9, 0.2, 0.5, 0.1]]), planted, torch.ones(1, 4, dtype=torch.bool))
        tensor([2.5000])
    """
    true = planted.bool() & content_mask.bool()
    places = (ranks(scores, content_mask) + 1).masked_fill(~true, 0).sum(dim=-1)
    return places.to(torch.promote_types(scores.dtype, torch.float32)) / true.sum(dim=-1)  # 0 / 0 is NaN
