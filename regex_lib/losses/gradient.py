"""Losses on the gradient of a loss with respect to the input embeddings."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["GradientNorm", "input_gradient", "input_gradient_penalty"]

GradientNorm = Literal["squared_l2", "l21", "l1"]


def input_gradient(
    loss_per_example: Float[Tensor, " batch"],
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    *,
    create_graph: bool = True,
) -> Float[Tensor, "batch tokens dim"]:
    """The gradient of each example's own loss with respect to its own embeddings; 0 on padding.

    The losses are summed over the batch before differentiating: no example's loss depends on another's embeddings, so
    the result does not depend on the batch size.

    Args:
        loss_per_example: one loss per example, computed from ``embeddings``.
        embeddings: what to differentiate by; must require a gradient.
        attention_mask: true where a token is not padding.
        create_graph: keep the graph, so that the gradient can itself be trained through.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], requires_grad=True)
        >>> input_gradient((x**2).sum((1, 2)), x, torch.tensor([[True, False]]))
        tensor([[[2., 4.],
                 [0., 0.]]], grad_fn=<MulBackward0>)
    """
    (gradient,) = torch.autograd.grad(loss_per_example.sum(), embeddings, create_graph=create_graph)
    return gradient * attention_mask[..., None]


def input_gradient_penalty(
    loss_per_example: Float[Tensor, " batch"],
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    *,
    norm: GradientNorm = "squared_l2",
) -> Float[Tensor, ""]:
    r"""Input gradient regularisation (IGR): a small input gradient, so that predictions change slowly.

    .. math:: L_{igr} = \frac{1}{B} \sum_b \Big\lVert \nabla_{e_b} \ell_b \Big\rVert

    with the norm over tokens and embedding dimensions together. Exact double backward: the attention kernel must have
    one (:class:`regex_lib.models.TextClassifier` takes ``double_backward=True`` for that).

    Args:
        loss_per_example: one loss per example in nats, such as the cross-entropy, computed from ``embeddings``.
        embeddings: the input embeddings; must require a gradient.
        attention_mask: true where a token is not padding.
        norm: ``"squared_l2"`` sums squares; ``"l21"`` sums each token's L2 norm; ``"l1"`` sums magnitudes.

    Returns:
        A scalar, 0 or more.

    Raises:
        ValueError: if ``norm`` is none of the three.

    References:
        Drucker and LeCun 1992; Ross and Doshi-Velez 2018, equation 1. [inferred for REGEX: which norm the paper
        uses is not known.]

    Example:
        >>> x = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
        >>> input_gradient_penalty((x**2).sum((1, 2)), x, torch.tensor([[True]])).item()
        20.0
    """
    gradient = input_gradient(loss_per_example, embeddings, attention_mask)
    if norm == "squared_l2":
        sizes = gradient.square().sum(dim=(1, 2))
    elif norm == "l21":
        sizes = _safe_norm(gradient).sum(dim=1)
    elif norm == "l1":
        sizes = gradient.abs().sum(dim=(1, 2))
    else:
        raise ValueError(f"norm must be 'squared_l2', 'l21' or 'l1', got {norm!r}")
    return sizes.mean()


def _safe_norm(vectors: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any"]:
    """L2 norm whose gradient at the zero vector is 0, not NaN."""
    squared = vectors.square().sum(dim=-1)
    is_zero = squared == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squared).sqrt())
