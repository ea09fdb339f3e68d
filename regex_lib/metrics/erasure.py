r"""Faithfulness by erasure: what happens to a prediction when its most important tokens are kept alone, or removed.

All functions take probabilities of one class, the one predicted for the full text, and are element-wise. With
:math:`p(x)` for the full text, :math:`p(r)` for the rationale alone, :math:`p(x \setminus r)` for the rest, and
:math:`p(\emptyset)` for the text with all content removed:

.. math:: \mathrm{suff}(r) = 1 - \max(0,\, p(x) - p(r)), \qquad \mathrm{suff}_0 = \mathrm{suff}(\emptyset)
"""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "DEGENERATE_BELOW",
    "RATIOS",
    "area_over_perturbation_curve",
    "is_degenerate",
    "normalised_comprehensiveness",
    "normalised_sufficiency",
]

RATIOS = (0.02, 0.1, 0.2, 0.5)
"""Shares of the content tokens that make up a rationale, as in Chrysostomou & Aletras 2022."""

DEGENERATE_BELOW = 0.01
"""Where removing everything lowers the prediction by less than this, both normalised scores say nothing."""

_STABILISER = 1e-4  # what the published code lowers suff_0 by, so that nothing is divided by 0


def normalised_sufficiency(
    full: Float[Tensor, "*#any"], kept: Float[Tensor, "*#any"], empty: Float[Tensor, "*#any"]
) -> Float[Tensor, "*#any"]:
    r"""Normalised sufficiency: how much of the prediction the rationale alone preserves. In [0, 1], higher is better.

    .. math:: \frac{\mathrm{suff}(r) - \mathrm{suff}_0}{1 - \mathrm{suff}_0} \text{, clipped to } [0, 1]

    Args:
        full: :math:`p(x)`.
        kept: :math:`p(r)`, everything but the rationale removed.
        empty: :math:`p(\emptyset)`, all content removed.

    Returns:
        1 where the rationale does as well as the text; 0 where it does no better than an empty text. As in the
        published code :math:`\mathrm{suff}_0` is lowered by 1e-4, so that the score is defined where an empty text
        does as well as the full one; see :func:`is_degenerate`.

    References:
        Carton et al. 2020, section 3; Chrysostomou and Aletras 2022, equation 2.

    Example:
        >>> from torch import tensor as p
        >>> normalised_sufficiency(p([0.9]), p([0.7]), p([0.5]))
        tensor([0.5001])
    """
    span = (full - empty).clamp(min=0.0) + _STABILISER
    return (1.0 - (full - kept).clamp(min=0.0) / span).clamp(0.0, 1.0)


def normalised_comprehensiveness(
    full: Float[Tensor, "*#any"], removed: Float[Tensor, "*#any"], empty: Float[Tensor, "*#any"]
) -> Float[Tensor, "*#any"]:
    r"""Normalised comprehensiveness: how much of the prediction goes with the rationale. In [0, 1], higher is better.

    .. math:: \frac{\max(0,\, p(x) - p(x \setminus r))}{1 - \mathrm{suff}_0} \text{, clipped to } [0, 1]

    Args:
        full: :math:`p(x)`.
        removed: :math:`p(x \setminus r)`, the rationale removed.
        empty: :math:`p(\emptyset)`, all content removed.

    Returns:
        1 where removing the rationale does as much as removing everything; 0 where it does nothing.
        :math:`\mathrm{suff}_0` is lowered by 1e-4 here too; see :func:`is_degenerate`.

    References:
        Carton et al. 2020, section 3; Chrysostomou and Aletras 2022, equation 4.

    Example:
        >>> from torch import tensor as p
        >>> normalised_comprehensiveness(p([0.9]), p([0.7]), p([0.5]))
        tensor([0.4999])
    """
    span = (full - empty).clamp(min=0.0) + _STABILISER
    return ((full - removed).clamp(min=0.0) / span).clamp(0.0, 1.0)


def is_degenerate(full: Float[Tensor, "*#any"], empty: Float[Tensor, "*#any"]) -> Bool[Tensor, "*#any"]:
    """Whether the normaliser says nothing: the empty text gets (almost) the same prediction as the full one.

    The share of such examples belongs beside every normalised score.

    Example:
        >>> import torch
        >>> is_degenerate(torch.tensor([0.9, 0.9]), torch.tensor([0.5, 0.895]))
        tensor([False,  True])
    """
    return full - empty < DEGENERATE_BELOW


def area_over_perturbation_curve(
    scores: Float[Tensor, "*any ratios"], *, convention: Literal["mean", "acl2022"] = "mean"
) -> Float[Tensor, "*any"]:
    """AOPC: scores at several ratios as one number.

    Args:
        scores: a score for each ratio, in the last dimension.
        convention: ``"mean"`` over the ratios (its maximum is that of the score); ``"acl2022"`` divides the sum by the
            number of ratios plus one, as Chrysostomou and Aletras's code does, so that four ratios have the maximum .8.

    Raises:
        ValueError: if ``convention`` is neither of the two.

    Example:
        >>> import torch
        >>> area_over_perturbation_curve(torch.tensor([0.2, 0.4, 0.6, 0.8]))
        tensor(0.5000)
    """
    if convention == "mean":
        return scores.mean(dim=-1)
    if convention == "acl2022":
        return scores.sum(dim=-1) / (scores.shape[-1] + 1)
    raise ValueError(f"convention must be 'mean' or 'acl2022', got {convention!r}")
