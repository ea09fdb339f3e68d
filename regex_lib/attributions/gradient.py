"""Attributions from gradients with respect to the input embeddings, taken per position."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions.registry import register
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["Baseline", "Quadrature", "baseline_embeddings", "input_x_gradient", "integrated_gradients"]

Baseline = Literal["pad", "mask", "zero"]
Quadrature = Literal["midpoint", "gauss_legendre"]
Forward = Callable[[Float[Tensor, "batch tokens dim"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]]


def target_gradient(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens dim"]:
    """Gradient of each example's target logit with respect to its own embeddings."""
    with torch.enable_grad():
        point = embeddings.detach().requires_grad_()
        explained = forward(point, attention_mask).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(explained, point)
    return gradient


def input_x_gradient(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens"]:
    r"""Input times gradient, :math:`e_i \cdot \nabla_{e_i} f_c(e)`, summed over the embedding dimension. Signed.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example.

    References:
        Kindermans et al. 2016; Shrikumar et al. 2017, section 3.

    Example:
        >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # (tokens, dim): a linear model
        >>> def forward(e, attention_mask):
        ...     return torch.stack([(e * weights).sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> x = torch.tensor([[[3.0, 5.0], [7.0, 11.0]]])
        >>> input_x_gradient(forward, x, torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]))
        tensor([[ 3., 22.]])
    """
    gradient = target_gradient(forward, embeddings, attention_mask, target)
    return (embeddings.detach() * gradient).sum(dim=-1)


def integrated_gradients(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    baselines: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
    *,
    n_steps: int = 20,
    quadrature: Quadrature = "gauss_legendre",
) -> Float[Tensor, "batch tokens"]:
    r"""Integrated Gradients (IG), summed over the embedding dimension. Signed and complete.

    .. math:: a_i = (e_i - b_i) \cdot \int_0^1 \nabla_{e_i} f_c\big(b + \alpha (e - b)\big) \, d\alpha

    The scores of an example sum to :math:`f_c(e) - f_c(b)` up to the error of the quadrature.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings :math:`e`.
        baselines: where the path starts, :math:`b`; see :func:`baseline_embeddings`.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example.
        n_steps: points of the quadrature; each costs a forward and a backward pass.
        quadrature: ``"gauss_legendre"`` (captum's default) or ``"midpoint"`` Riemann sums.

    Raises:
        ValueError: if ``n_steps`` is below 1 or ``quadrature`` is neither of the two.

    References:
        Sundararajan et al. 2017, equation 1.

    Example:
        >>> def forward(e, attention_mask):
        ...     return torch.stack([e.square().sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> x = torch.tensor([[[1.0], [3.0]]])
        >>> attended = torch.ones(1, 2, dtype=torch.bool)
        >>> integrated_gradients(forward, x, torch.zeros_like(x), attended, torch.tensor([0]), n_steps=2)
        tensor([[1., 9.]])
    """
    difference = embeddings.detach() - baselines
    total = torch.zeros_like(difference)
    for alpha, weight in zip(*_quadrature(n_steps, quadrature), strict=True):
        point = baselines + float(alpha) * difference
        total += float(weight) * target_gradient(forward, point, attention_mask, target)
    return (difference * total).sum(dim=-1)


def _quadrature(n_steps: int, quadrature: Quadrature) -> tuple[np.ndarray, np.ndarray]:
    """Points in (0, 1) and weights that sum to 1."""
    if n_steps < 1:
        raise ValueError(f"n_steps must be 1 or more, got {n_steps}")
    if quadrature == "gauss_legendre":
        points, weights = np.polynomial.legendre.leggauss(n_steps)
        return (points + 1) / 2, weights / 2
    if quadrature == "midpoint":
        return (np.arange(n_steps) + 0.5) / n_steps, np.full(n_steps, 1 / n_steps)
    raise ValueError(f"quadrature must be 'gauss_legendre' or 'midpoint', got {quadrature!r}")


def baseline_embeddings(
    classifier: TextClassifier, batch: TokenBatch, baseline: Baseline = "pad"
) -> Float[Tensor, "batch tokens dim"]:
    """An input without content: every content token replaced, the special tokens kept.

    Because special tokens are the same in input and baseline, their attribution is 0, and all of the difference is
    accounted for by content tokens.

    Args:
        classifier: gives the embeddings.
        batch: the input.
        baseline: ``"pad"`` or ``"mask"`` for that token's embedding, ``"zero"`` for the zero vector.

    Raises:
        ValueError: if ``baseline`` is none of the three.
    """
    if baseline not in ("pad", "mask", "zero"):
        raise ValueError(f"baseline must be 'pad', 'mask' or 'zero', got {baseline!r}")
    with torch.no_grad():
        if baseline == "zero":
            return classifier.embed(batch.input_ids) * ~batch.content_mask[..., None]
        token = classifier.mask_id if baseline == "mask" else classifier.pad_id
        return classifier.embed(batch.input_ids.masked_fill(batch.content_mask, token))


@register("input_x_gradient")
def _input_x_gradient(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    embeddings = classifier.embed(batch.input_ids)
    return input_x_gradient(classifier.forward_func(), embeddings, batch.attention_mask, target)


@register("integrated_gradients")
def _integrated_gradients(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    n_steps: int = 20,
    quadrature: Quadrature = "gauss_legendre",
    baseline: Baseline = "pad",
) -> Float[Tensor, "batch tokens"]:
    return integrated_gradients(
        classifier.forward_func(),
        classifier.embed(batch.input_ids),
        baseline_embeddings(classifier, batch, baseline),
        batch.attention_mask,
        target,
        n_steps=n_steps,
        quadrature=quadrature,
    )
