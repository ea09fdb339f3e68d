"""Losses on the gradient of a loss with respect to the input embeddings."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.losses.norms import size_of, unit

__all__ = [
    "GradientNorm",
    "finite_difference_penalty",
    "gradient_penalty",
    "input_gradient",
    "input_gradient_penalty",
    "uniform_cross_entropy",
]

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

    Raises:
        ValueError: if there is not one loss per example, such as after an average over the batch.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], requires_grad=True)
        >>> input_gradient((x**2).sum((1, 2)), x, torch.tensor([[True, False]]))
        tensor([[[2., 4.],
                 [0., 0.]]], grad_fn=<MulBackward0>)
    """
    _check_one_per_example(loss_per_example, embeddings)
    (gradient,) = torch.autograd.grad(loss_per_example.sum(), embeddings, create_graph=create_graph, retain_graph=True)
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
        ValueError: if ``norm`` is none of the three, or there is not one loss per example.

    References:
        Drucker and LeCun 1992; Ross and Doshi-Velez 2018, equation 1. [inferred for REGEX: which norm the paper
        uses is not known.]

    Example:
        >>> x = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
        >>> input_gradient_penalty((x**2).sum((1, 2)), x, torch.tensor([[True]])).item()
        20.0
    """
    return gradient_penalty(input_gradient(loss_per_example, embeddings, attention_mask), norm=norm)


def gradient_penalty(
    gradient: Float[Tensor, "batch tokens dim"], *, norm: GradientNorm = "squared_l2"
) -> Float[Tensor, ""]:
    """The penalty of :func:`input_gradient_penalty` from a gradient that is at hand.

    Args:
        gradient: one input gradient per example, 0 on padding, as :func:`input_gradient` gives it.
        norm: ``"squared_l2"`` sums squares; ``"l21"`` sums each token's L2 norm; ``"l1"`` sums magnitudes.

    Returns:
        A scalar, 0 or more: the mean over the batch, in single precision or better.

    Raises:
        ValueError: if ``norm`` is none of the three.

    Example:
        >>> gradient = torch.tensor([[[3.0, -4.0], [0.0, 2.0]]])
        >>> [gradient_penalty(gradient, norm=norm).item() for norm in ("squared_l2", "l21", "l1")]
        [29.0, 7.0, 9.0]
    """
    gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))  # half precision has no such squares
    if norm == "squared_l2":
        sizes = gradient.square().sum(dim=(1, 2))
    elif norm == "l21":
        sizes = _safe_norm(gradient).sum(dim=1)
    elif norm == "l1":
        sizes = gradient.abs().sum(dim=(1, 2))
    else:
        raise ValueError(f"norm must be 'squared_l2', 'l21' or 'l1', got {norm!r}")
    return sizes.mean()


def finite_difference_penalty(
    loss_at: Callable[[Float[Tensor, "batch tokens dim"]], Float[Tensor, " batch"]],
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    gradient: Float[Tensor, "batch tokens dim"],
    loss_per_example: Float[Tensor, " batch"],
    *,
    norm: GradientNorm = "squared_l2",
    step: float = 0.01,
    relative: bool = True,
) -> Float[Tensor, ""]:
    r"""Input gradient regularisation without a double backward, by one more forward pass.

    .. math:: n_b = \frac{\ell_b(e_b + h_b u_b) - \ell_b(e_b)}{h_b} \approx \langle \nabla_{e_b} \ell_b, u_b \rangle

    where :math:`u_b` is the direction along which the loss grows by the norm of its gradient :math:`g`: it is
    :math:`g / \|g\|_2` for ``"squared_l2"``, :math:`g_i / \|g_i\|_2` at each token :math:`i` for ``"l21"``, and the
    signs of :math:`g` for ``"l1"``. The penalty is the mean of :math:`n_b^2` for ``"squared_l2"`` and of :math:`n_b`
    otherwise. As ``step`` goes to 0, its value and its gradient approach those of :func:`input_gradient_penalty`, with
    an error in proportion to ``step``. Any attention kernel will do.

    The displacement :math:`h_b u_b` is held constant; the loss trains through ``embeddings`` and the model.

    Args:
        loss_at: embeddings to one loss per example, as the one at hand; must be deterministic (the same dropout mask).
        embeddings: the input embeddings.
        attention_mask: true where a token is not padding; the displacement is 0 elsewhere.
        gradient: the gradient of ``loss_per_example`` with respect to ``embeddings``; used without its history, so
            ``input_gradient(..., create_graph=False)`` is enough.
        loss_per_example: ``loss_at(embeddings)``, with its graph, in float32 or better: the difference of two close
            losses is lost in less.
        norm: ``"squared_l2"``, ``"l21"`` or ``"l1"``.
        step: L2 norm of the displacement of the whole sequence, in the units of ``relative``.
        relative: take ``step`` as a share of the norm of the sequence's embeddings; otherwise it is absolute.

    Returns:
        A scalar. An example whose gradient is 0 adds 0.

    Raises:
        ValueError: if ``norm`` is none of the three, ``step`` is not positive, or ``loss_per_example`` or what
            ``loss_at`` gives is not one loss per example.

    References:
        Drucker and LeCun 1992; Ross and Doshi-Velez 2018, equation 1. [ours: the finite difference]

    Example:
        >>> def loss_at(x):
        ...     return (x**2).sum((1, 2))
        >>> x, attended = torch.tensor([[[1.0, 2.0]]], requires_grad=True), torch.tensor([[True]])
        >>> gradient = input_gradient(loss_at(x), x, attended, create_graph=False)
        >>> round(finite_difference_penalty(loss_at, x, attended, gradient, loss_at(x), step=0.001).item(), 1)
        20.0
    """
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    _check_one_per_example(loss_per_example, embeddings)
    mask = attention_mask[..., None]
    direction = _steepest(gradient.detach() * mask, norm)
    length = step * size_of(embeddings.detach() * mask, "l2") if relative else step
    size = size_of(direction, "l2")
    # A gradient of 0 has no direction, and embeddings of 0 no size to displace them by.
    moves = (size * length > 0).flatten()
    h = (length / torch.where(size > 0, size, 1.0)).flatten()
    moved_losses = loss_at(embeddings + h[:, None, None] * direction)
    _check_one_per_example(moved_losses, embeddings)
    growth = moved_losses - loss_per_example
    slopes = torch.where(moves, growth / torch.where(moves, h, 1.0), 0.0)
    return slopes.square().mean() if norm == "squared_l2" else slopes.mean()


def uniform_cross_entropy(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    r"""The cross-entropy between the uniform distribution and the prediction, per example, in nats.

    A loss without labels, whose input gradient may be penalised in place of the cross-entropy's. It is at least
    :math:`\log C` for :math:`C` classes, where the prediction is uniform.

    Args:
        logits: the prediction, (batch, classes).

    References:
        Ross and Doshi-Velez 2018, who penalise its input gradient as a variant.

    Example:
        >>> uniform_cross_entropy(torch.tensor([[0.0, 0.0], [9.0, -9.0]]))
        tensor([0.6931, 9.0000])
    """
    return -logits.log_softmax(dim=-1).mean(dim=-1)


def _check_one_per_example(losses: Tensor, embeddings: Float[Tensor, "batch tokens dim"]) -> None:
    """An average would be differentiated, or broadcast, without an error: the penalty would be wrong in silence."""
    if losses.shape != embeddings.shape[:1]:
        raise ValueError(
            f"there must be one loss per example (cross-entropy with reduction='none'), {len(embeddings)} in one "
            f"dimension, got the shape {tuple(losses.shape)}"
        )


def _steepest(gradient: Float[Tensor, "batch tokens dim"], norm: GradientNorm) -> Float[Tensor, "batch tokens dim"]:
    """The direction whose inner product with a gradient is the gradient's norm."""
    if norm == "squared_l2":
        return unit(gradient, "l2")
    if norm == "l21":
        return unit(gradient, "token_l2")
    if norm == "l1":
        return gradient.sign()
    raise ValueError(f"norm must be 'squared_l2', 'l21' or 'l1', got {norm!r}")


def _safe_norm(vectors: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any"]:
    """L2 norm whose gradient at the zero vector is 0, not NaN."""
    squared = vectors.square().sum(dim=-1)
    is_zero = squared == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squared).sqrt())
