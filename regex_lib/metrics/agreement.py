"""Whether an attribution orders the features as the model does: leave-one-out agreement and monotonicity."""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

__all__ = ["leave_one_out_tau", "monotonicity"]


def leave_one_out_tau(
    attribution: Float[Tensor, "examples features"],
    drops: Float[Tensor, "examples features"],
    feature_mask: Bool[Tensor, "examples features"],
) -> Float[Tensor, " examples"]:
    r"""Kendall's rank correlation between an attribution and what leaving each feature out does to the prediction.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(C + D + T_a)(C + D + T_d)}}

    with :math:`C` concordant and :math:`D` discordant pairs, and :math:`T` the pairs tied in one of the two only.

    Args:
        attribution: signed towards the explained class, as the drops are. One without a sign, such as attention, is
            held against the drops' sign, and says little: see :data:`regex_lib.attributions.UNSIGNED`.
        drops: :math:`p(x) - p(x \setminus i)` of the explained class for each feature.
        feature_mask: true where there is a feature.

    Returns:
        In [-1, 1], higher is better, in single precision or better. NaN with fewer than two features, or where all
        scores or all drops are equal or one is NaN, because there is nothing to order: average with ``nanmean``, and
        report the share of NaN.

    References:
        Kendall 1945; Jain and Wallace 2019, section 4.1.

    Example:
        >>> from torch import tensor
        >>> mask = tensor([[True, True, True], [True, False, False]])
        >>> attribution, drops = tensor([[0.3, 0.2, 0.1], [1.0, 0, 0]]), tensor([[0.5, 0.1, 0.2], [0.3, 0, 0]])
        >>> leave_one_out_tau(attribution, drops, mask)
        tensor([0.3333,    nan])
    """
    counts = feature_mask[:, :, None] & feature_mask[:, None, :]
    ours, theirs = _pair_signs(attribution) * counts, _pair_signs(drops) * counts
    agreement = (ours * theirs).sum(dim=(1, 2))
    # Every pair is met twice, in the numerator and below the root alike.
    untied = ours.abs().sum(dim=(1, 2)).double() * theirs.abs().sum(dim=(1, 2))
    unknown = ((attribution.isnan() | drops.isnan()) & feature_mask.bool()).any(dim=-1)
    tau = (agreement / untied.sqrt()).masked_fill(unknown, torch.nan)
    return tau.to(torch.promote_types(attribution.dtype, torch.float32))


def monotonicity(curve: Float[Tensor, "examples steps"]) -> Float[Tensor, " examples"]:
    """The share of steps at which adding the next more important feature does not lower the probability.

    Features are added to an empty text in order of increasing importance. That is the removal curve, most important
    first, read from its end, so that this metric costs nothing beside comprehensiveness.

    Args:
        curve: the explained class's probability with 0, 1, 2... of the most important features removed; NaN behind
            the end. From :func:`regex_lib.metrics.removal_curve`.

    Returns:
        In [0, 1], higher is better, in single precision or better; NaN for an example without features. Arya et al.'s
        boolean metric is ``monotonicity(curve) == 1``, but for the first feature added to an empty text, which counts
        here and not there.

    References:
        Luss et al. 2019; Arya et al. 2019 (AI Explainability 360).

    Example:
        >>> monotonicity(torch.tensor([[0.9, 0.7, 0.8, 0.5]]))
        tensor([0.6667])
    """
    steps = curve.diff(dim=1)
    exists = ~steps.isnan()
    held = ((steps <= 0) & exists).sum(dim=1).to(torch.promote_types(curve.dtype, torch.float32))
    return held / exists.sum(dim=1)


def _pair_signs(scores: Float[Tensor, "examples features"]) -> Int8[Tensor, "examples features features"]:
    """For each pair, which of the two is higher; comparisons hold for infinite scores too."""
    first, second = scores[:, :, None], scores[:, None, :]
    return (first > second).to(torch.int8) - (first < second).to(torch.int8)
