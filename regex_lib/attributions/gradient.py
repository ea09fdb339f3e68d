"""Attributions from gradients with respect to the input embeddings, taken per position."""

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions.registry import register
from regex_lib.attributions.sampling import example_generators, packed
from regex_lib.models import TextClassifier, TokenBatch

__all__ = [
    "Baseline",
    "Forward",
    "baseline_embeddings",
    "gradient_norm",
    "input_x_gradient",
    "logits_and_gradient",
    "smooth_grad",
    "target_gradient",
]

Baseline = Literal["pad", "mask", "zero", "mean"]
Forward = Callable[[Float[Tensor, "batch tokens dim"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]]
"""Embeddings and attention mask to logits, for any number of tokens."""


def logits_and_gradient(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch tokens dim"]]:
    """Logits, and the gradient of each example's target logit with respect to its own embeddings.

    One forward pass serves both, so that a prediction and its gradient cost about two plain passes, not three.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example; the predicted one by default.

    Example:
        >>> def forward(e, attention_mask):
        ...     return torch.stack([e.sum((1, 2)), 2 * e.sum((1, 2))], dim=-1)
        >>> x = torch.ones(1, 2, 1)
        >>> logits_and_gradient(forward, x, torch.ones(1, 2, dtype=torch.bool))
        (tensor([[2., 4.]]), tensor([[[2.],
                 [2.]]]))
    """
    with torch.enable_grad():
        point = embeddings.detach().requires_grad_()
        logits = forward(point, attention_mask)
        chosen = logits.argmax(dim=-1) if target is None else target
        (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), point)
    return logits.detach(), gradient


def target_gradient(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens dim"]:
    """Gradient of each example's target logit with respect to its own embeddings."""
    return logits_and_gradient(forward, embeddings, attention_mask, target)[1]


def gradient_norm(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens"]:
    r"""Length of the gradient, :math:`\|\nabla_{e_i} f_c(e)\|_2`. Never negative: it says how much, not which way.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings.
        attention_mask: true where a token is not padding.
        target: the class to explain, per example.

    References:
        Simonyan et al. 2014, section 3; Li et al. 2016, section 5.

    Example:
        >>> weights = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # (tokens, dim): a linear model
        >>> def forward(e, attention_mask):
        ...     return torch.stack([(e * weights).sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> attended = torch.ones(1, 2, dtype=torch.bool)
        >>> gradient_norm(forward, torch.zeros(1, 2, 2), attended, torch.tensor([0]))
        tensor([[5., 2.]])
    """
    return target_gradient(forward, embeddings, attention_mask, target).norm(dim=-1)


def input_x_gradient(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens"]:
    r"""Input times gradient, :math:`e_i \cdot \nabla_{e_i} f_c(e)`, summed over the embedding dimension. Signed.

    It says what a longer embedding would change. Of a model that normalises each embedding before anything else
    (DeBERTa, ModernBERT) it is 0 by construction: the prediction depends on directions only, and what is left to rank
    is rounding, or the normalisation's epsilon. ``attribute(..., "input_x_gradient")`` warns where the magnitudes of a
    batch's scores sum to less than a thousandth of its :math:`\|e_i\| \|\nabla_{e_i} f_c\|`. Use
    :func:`gradient_norm` or :func:`regex_lib.attributions.integrated_gradients` there.

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


def smooth_grad(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
    generators: Sequence[torch.Generator],
    *,
    n_samples: int = 20,
    noise: float = 1.0,
) -> Float[Tensor, "batch tokens"]:
    r"""SmoothGrad times input: the gradient's mean over noisy copies of the input. Signed.

    .. math:: a_i = e_i \cdot \frac1n \sum_{k=1}^n \nabla_{e_i} f_c(e + \epsilon_k), \qquad
        \epsilon_{k,i} \sim \mathcal N\Big(0,\, \tfrac{\sigma^2 \|e_i\|^2}{D} I\Big)

    Of a model that normalises each embedding before anything else (DeBERTa, ModernBERT), the scores are 0 by
    construction but for the noise, as :func:`input_x_gradient`'s are: where there is little of it, they are chance.

    Args:
        forward: embeddings and attention mask to logits.
        embeddings: the input embeddings.
        attention_mask: true where a token is not padding; padding gets no noise.
        target: the class to explain, per example.
        generators: one per example, on the CPU; see :func:`regex_lib.attributions.sampling.example_generators`.
        n_samples: noisy copies; each costs a forward and a backward pass.
        noise: :math:`\sigma`, the expected length of a token's noise as a share of its embedding's length. The less of
            it, the closer to :func:`input_x_gradient`.

    Raises:
        ValueError: if ``n_samples`` is below 1 or ``noise`` is negative.

    References:
        Smilkov et al. 2017, whose noise is relative to the range of the input's values: their 10 to 20 % are 2 to 4
        lengths of MiniLM's embeddings.

    Example:
        >>> def forward(e, attention_mask):
        ...     return torch.stack([3 * e.sum((1, 2)), torch.zeros(len(e))], dim=-1)
        >>> x = torch.tensor([[[1.0], [2.0]]])
        >>> attended, generator = torch.ones(1, 2, dtype=torch.bool), torch.Generator().manual_seed(0)
        >>> smooth_grad(forward, x, attended, torch.tensor([0]), [generator])  # a linear model: noise changes nothing
        tensor([[3., 6.]])
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be 1 or more, got {n_samples}")
    if noise < 0:
        raise ValueError(f"noise must be 0 or more, got {noise}")
    embeddings, attention_mask = embeddings.detach(), attention_mask.bool()  # 0 and 1 would be places
    deviation = noise * embeddings.norm(dim=-1, keepdim=True) / embeddings.shape[-1] ** 0.5
    total = torch.zeros_like(embeddings, dtype=torch.promote_types(embeddings.dtype, torch.float32))
    for rows, _, longest in packed(attention_mask, n_samples):
        attended = attention_mask[rows, :longest]
        drawn = torch.zeros(*attended.shape, embeddings.shape[-1], dtype=embeddings.dtype)
        for copy, mask, row in zip(drawn, attended.cpu(), rows.tolist(), strict=True):
            copy[mask] = torch.randn(copy[mask].shape, generator=generators[row], dtype=embeddings.dtype)
        noisy = embeddings[rows, :longest] + deviation[rows, :longest] * drawn.to(embeddings.device)
        gradient = target_gradient(forward, noisy, attended, target[rows])
        total[:, :longest].index_add_(0, rows, gradient.to(total))
    return (embeddings * total).sum(dim=-1) / n_samples


def baseline_embeddings(
    classifier: TextClassifier, batch: TokenBatch, baseline: Baseline = "pad"
) -> Float[Tensor, "batch tokens dim"]:
    """An input without content: every content token replaced, the special tokens kept.

    Because special tokens are the same in input and baseline, their attribution is 0, and all of the difference is
    accounted for by content tokens.

    Args:
        classifier: gives the embeddings.
        batch: the input.
        baseline: ``"pad"`` or ``"mask"`` for that token's embedding, ``"zero"`` for the zero vector, ``"mean"`` for
            the mean of the embedding matrix. The zero vector has no direction, which a model that normalises its
            embeddings before anything else cannot do without: see
            :func:`regex_lib.attributions.integrated_gradients`. A padding token's embedding can be zero, too.

    Raises:
        ValueError: if ``baseline`` is none of the four.
    """
    if baseline not in ("pad", "mask", "zero", "mean"):
        raise ValueError(f"baseline must be 'pad', 'mask', 'zero' or 'mean', got {baseline!r}")
    content = batch.content_mask[..., None]
    with torch.no_grad():
        if baseline == "zero":
            return classifier.embed(batch.input_ids) * ~content
        if baseline == "mean":
            mean = classifier.model.get_input_embeddings().weight.mean(dim=0)
            return torch.where(content, mean, classifier.embed(batch.input_ids))
        token = classifier.mask_id if baseline == "mask" else classifier.pad_id
        return classifier.embed(batch.input_ids.masked_fill(batch.content_mask, token))


@register("gradient_norm")
def _gradient_norm(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    embeddings = classifier.embed(batch.input_ids)
    return gradient_norm(classifier.forward_func(), embeddings, batch.attention_mask, target)


@register("input_x_gradient")
def _input_x_gradient(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    embeddings = classifier.embed(batch.input_ids).detach()
    gradient = target_gradient(classifier.forward_func(), embeddings, batch.attention_mask, target)
    scores = (embeddings * gradient).sum(dim=-1)
    lengths = (embeddings.norm(dim=-1) * gradient.norm(dim=-1))[batch.content_mask].float()
    found = scores[batch.content_mask].float().abs()
    # A single token may be at right angles to its gradient by chance.
    if len(lengths) > 1 and lengths.any() and found.sum() <= 1e-3 * lengths.sum():
        warnings.warn(
            "input_x_gradient is next to 0 by construction: this model's prediction hardly depends on the length of "
            "an embedding; use gradient_norm or integrated_gradients",
            stacklevel=2,
        )
    return scores


@register("smooth_grad")
def _smooth_grad(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    n_samples: int = 20,
    noise: float = 1.0,
    seed: int = 0,
) -> Float[Tensor, "batch tokens"]:
    return smooth_grad(
        classifier.forward_func(),
        classifier.embed(batch.input_ids),
        batch.attention_mask,
        target,
        example_generators(batch, seed),
        n_samples=n_samples,
        noise=noise,
    )
