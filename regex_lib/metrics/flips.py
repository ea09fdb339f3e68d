"""Decision flips: how much of a text has to go, most important first, until the model changes its mind."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["decision_flip", "flip_fraction"]


def decision_flip(
    full: Float[Tensor, "examples classes"], removed: Float[Tensor, "examples classes"]
) -> Bool[Tensor, " examples"]:
    """Whether the predicted class changes when the most important token is removed. Its mean is the flip share.

    Args:
        full: probabilities (or logits) for the full text.
        removed: those without the token that an attribution ranks first.

    Returns:
        True where the class changed; of equal probabilities the lower class is the predicted one. A higher share
        speaks for the attribution, and for a brittle model: compare with the random attribution on the same model.

    References:
        Serrano and Smith 2019; Chrysostomou and Aletras 2021.

    Example:
        >>> decision_flip(torch.tensor([[0.4, 0.6], [0.1, 0.9]]), torch.tensor([[0.7, 0.3], [0.2, 0.8]]))
        tensor([ True, False])
    """
    return full.argmax(dim=-1) != removed.argmax(dim=-1)


def flip_fraction(
    probabilities: Float[Tensor, "examples steps classes"],
    removed: Int64[Tensor, "examples steps"],
    features: Int64[Tensor, " examples"],
) -> Float[Tensor, " examples"]:
    """The smallest share of the tokens, most important first, whose removal changes the predicted class.

    Args:
        probabilities: one distribution (or row of logits) for each step along a removal order. The first step is the
            full text; the others may be every token or chosen ratios.
        removed: how many tokens are removed at each step. Steps that remove more than there are, are ignored: give
            shorter examples such a number there.
        features: how many tokens there are in all.

    Returns:
        In (0, 1], in single precision or better; lower is better. 1.0 also where no step changes the class, NaN for an
        example without tokens.

    Raises:
        ValueError: if a first step is not the full text.

    References:
        Serrano and Smith 2019; Chrysostomou and Aletras 2021.

    Example:
        >>> curve = torch.tensor([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]])
        >>> flip_fraction(curve, torch.tensor([[0, 1, 2, 3]]), torch.tensor([4]))
        tensor([0.5000])
    """
    if removed[:, :1].any():
        raise ValueError(f"the first step must remove nothing, got {removed[:, 0].tolist()} removed tokens")
    predicted = probabilities.argmax(dim=-1)
    flipped = (predicted != predicted[:, :1]) & (removed <= features[:, None])
    least = torch.where(flipped, removed, features[:, None]).amin(dim=1)
    return least.to(torch.promote_types(probabilities.dtype, torch.float32)) / features
