"""The explanation-guided loss: attention pulled towards an attribution."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.masks import content_distribution

__all__ = ["Direction", "Normalisation", "attention_attribution_divergence"]

Direction = Literal["attention_to_attribution", "attribution_to_attention", "symmetric"]
Normalisation = Literal["sum", "softmax"]


def attention_attribution_divergence(
    attention: Float[Tensor, "batch tokens"],
    attribution: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    *,
    direction: Direction = "attention_to_attribution",
    normalise: Normalisation = "sum",
    temperature: float = 1.0,
    smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    r"""KL divergence between attention and attribution over the content tokens.

    .. math:: L_{kl} = \frac{1}{B} \sum_b D_{KL}\big(\mathrm{att}(x_b) \,\|\, \mathrm{attr}(x_b)\big)

    Both become distributions by :func:`regex_lib.masks.content_distribution`: attention always by its sum, the
    attribution as asked. Gradients flow into whatever carries a graph; training detaches the attribution.

    Args:
        attention: the pooling query's row, 0 or more, (batch, tokens).
        attribution: any real scores; their magnitudes are used.
        content_mask: true where a token counts.
        direction: ``"attention_to_attribution"`` is :math:`D_{KL}(\mathrm{att} \| \mathrm{attr})`, the paper's order of
            arguments; ``"attribution_to_attention"`` swaps them; ``"symmetric"`` is the mean of both.
        normalise: how the attribution becomes a distribution: ``"sum"`` or ``"softmax"``.
        temperature: of the softmax.
        smoothing: share of the uniform distribution mixed into both, in (0, 1]. Many tokens have an attribution of
            almost 0, where the divergence would be infinite: with smoothing :math:`s` and :math:`n` tokens it is
            at most :math:`\log(n / s)`.

    Returns:
        A scalar in nats, 0 or more. An example without content tokens adds 0.

    Raises:
        ValueError: if ``direction`` or ``normalise`` is unknown, or ``smoothing`` is not in (0, 1].

    References:
        REGEX (arXiv 2312.17591), explanation-guided training. [inferred: how scores become a distribution, and the
        smoothing]

    Example:
        >>> import torch
        >>> content = torch.tensor([[False, True, True]])
        >>> same = torch.tensor([[0.8, 0.15, 0.05]])
        >>> attention_attribution_divergence(same, torch.tensor([[0.0, -3.0, 1.0]]), content) < 1e-6
        tensor(True)
        >>> loss = attention_attribution_divergence(same, torch.tensor([[0.0, 1.0, 3.0]]), content)
        >>> round(loss.item(), 4)
        0.4362
    """
    if not 0.0 < smoothing <= 1.0:
        raise ValueError(f"smoothing must be above 0 and at most 1, got {smoothing}")
    p = content_distribution(attention, content_mask, smoothing=smoothing)
    q = content_distribution(
        attribution, content_mask, normalise=normalise, temperature=temperature, smoothing=smoothing
    )
    if direction == "attention_to_attribution":
        divergence = _kl(p, q)
    elif direction == "attribution_to_attention":
        divergence = _kl(q, p)
    elif direction == "symmetric":
        divergence = (_kl(p, q) + _kl(q, p)) / 2
    else:
        raise ValueError(
            "direction must be 'attention_to_attribution', 'attribution_to_attention' or 'symmetric', "
            f"got {direction!r}"
        )
    return divergence.mean()


def _kl(p: Float[Tensor, "batch tokens"], q: Float[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    """Divergence of two distributions that are positive on the same tokens and 0 elsewhere."""
    outside = p == 0
    log_p, log_q = p.masked_fill(outside, 1.0).log(), q.masked_fill(outside, 1.0).log()
    return (p * (log_p - log_q)).sum(dim=-1)
