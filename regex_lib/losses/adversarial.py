"""Losses on what the model says near an input: virtual adversarial training."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "Divergence",
    "PerturbationNorm",
    "output_divergence",
    "virtual_adversarial_loss",
    "virtual_adversarial_perturbation",
]

Divergence = Literal["kl", "symmetric_kl"]
PerturbationNorm = Literal["l2", "token_l2"]
Forward = Callable[[Float[Tensor, "batch tokens dim"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]]


def output_divergence(
    logits: Float[Tensor, "batch classes"],
    other_logits: Float[Tensor, "batch classes"],
    *,
    divergence: Divergence = "kl",
) -> Float[Tensor, " batch"]:
    r"""How far two predictions are apart, per example, in nats.

    Args:
        logits: the reference :math:`p`.
        other_logits: the other prediction :math:`q`.
        divergence: ``"kl"`` is :math:`D_{KL}(p \| q)`; ``"symmetric_kl"`` adds :math:`D_{KL}(q \| p)`.

    Example:
        >>> output_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([0.])
    """
    log_p, log_q = logits.log_softmax(dim=-1), other_logits.log_softmax(dim=-1)
    forwards = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)
    if divergence == "kl":
        return forwards
    if divergence == "symmetric_kl":
        return forwards + F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=-1)
    raise ValueError(f"divergence must be 'kl' or 'symmetric_kl', got {divergence!r}")


def virtual_adversarial_perturbation(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    logits: Float[Tensor, "batch classes"],
    *,
    epsilon: float = 0.1,
    relative: bool = True,
    xi: float = 0.1,
    power_iterations: int = 1,
    norm: PerturbationNorm = "l2",
    divergence: Divergence = "kl",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch tokens dim"]:
    r"""The small change of the embeddings that changes the prediction most, found by power iteration.

    From a random unit direction :math:`d`, each iteration takes the gradient of
    :math:`D_{KL}(p(x) \| p(x + \xi d))` with respect to :math:`d` as the next direction. No label is used.

    Args:
        forward: embeddings and attention mask to logits; must be deterministic (the same dropout mask at each call).
        embeddings: where to start; used without their history.
        attention_mask: true where a token is not padding; the perturbation is 0 elsewhere.
        logits: ``forward(embeddings, attention_mask)``; used without their history.
        epsilon: size of the perturbation, in the units of ``relative``.
        relative: take ``epsilon`` and ``xi`` as shares of the embeddings' own norm, because the embeddings of
            pre-trained encoders are not normalised; otherwise both are absolute.
        xi: size of the probe.
        power_iterations: how often the direction is refined; 0 leaves it random.
        norm: ``"l2"`` bounds the whole sequence; ``"token_l2"`` bounds each token on its own.
        divergence: see :func:`output_divergence`.
        generator: the source of the random direction; the global one by default.

    Returns:
        The perturbation, without a graph, of norm ``epsilon`` (times the embeddings' norm).

    Raises:
        ValueError: if ``epsilon``, ``xi`` or ``power_iterations`` is negative, or an option is unknown.

    References:
        Miyato et al. 2018, algorithm 1; Miyato, Dai and Goodfellow 2017, section 3.

    Example:
        >>> def forward(embeddings, attention_mask):
        ...     return torch.stack([embeddings[:, 0, 0], torch.zeros(len(embeddings))], dim=-1)
        >>> x = torch.tensor([[[3.0, 4.0]]])
        >>> r = virtual_adversarial_perturbation(forward, x, torch.tensor([[True]]), forward(x, None), epsilon=0.1)
        >>> r.abs().round(decimals=3)
        tensor([[[0.5000, 0.0000]]])
    """
    if min(epsilon, xi, power_iterations) < 0:
        raise ValueError(
            f"epsilon, xi and power_iterations must be 0 or more, got {epsilon}, {xi} and {power_iterations}"
        )
    unit = _unit_of(norm)
    embeddings, logits = embeddings.detach(), logits.detach()
    mask = attention_mask[..., None]
    scale = _norm_of(embeddings * mask, norm) if relative else torch.ones_like(_norm_of(embeddings, norm))
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device, dtype=embeddings.dtype)
    direction = unit(noise * mask)
    for _ in range(power_iterations):
        probe = (xi * scale * direction).requires_grad_()
        with torch.enable_grad():
            distance = output_divergence(logits, forward(embeddings + probe, attention_mask), divergence=divergence)
            (gradient,) = torch.autograd.grad(distance.sum(), probe)
        refined = unit(gradient * mask)
        # Where the prediction does not react at all (a saturated model), the direction stays as it was.
        direction = torch.where(_norm_of(refined, norm) > 0, refined, direction)
    return epsilon * scale * direction


def virtual_adversarial_loss(
    forward: Forward,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    logits: Float[Tensor, "batch classes"],
    *,
    epsilon: float = 0.1,
    relative: bool = True,
    xi: float = 0.1,
    power_iterations: int = 1,
    norm: PerturbationNorm = "l2",
    divergence: Divergence = "kl",
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    r"""Virtual adversarial training (VAT): the prediction must not change under the worst small perturbation.

    .. math:: L_{vat} = \frac{1}{B} \sum_b D_{KL}\big(p(x_b) \,\|\, p(x_b + r_b)\big)

    with :math:`p(x_b)` and :math:`r_b` held constant, so that the gradient moves the perturbed prediction only.

    Args:
        forward: embeddings and attention mask to logits; must be deterministic (the same dropout mask at each call).
        embeddings: the clean input embeddings, (batch, tokens, dim). The loss trains through them too.
        attention_mask: true where a token is not padding.
        logits: the clean prediction; detached here.
        epsilon: see :func:`virtual_adversarial_perturbation`, as are all options below.
        relative: epsilon and xi as shares of the embeddings' norm.
        xi: size of the probe.
        power_iterations: how often the direction is refined.
        norm: ``"l2"`` or ``"token_l2"``.
        divergence: ``"kl"`` or ``"symmetric_kl"``.
        generator: the source of the random direction.

    Returns:
        A scalar in nats, 0 or more.

    Raises:
        ValueError: if ``epsilon``, ``xi`` or ``power_iterations`` is negative, or an option is unknown.

    References:
        Miyato et al. 2018, equations 5 and 8.

    Example:
        >>> def forward(embeddings, attention_mask):
        ...     return torch.stack([embeddings[:, 0, 0], torch.zeros(len(embeddings))], dim=-1)
        >>> x = torch.tensor([[[3.0, 4.0]]])
        >>> loss = virtual_adversarial_loss(forward, x, torch.tensor([[True]]), forward(x, None), epsilon=0.1)
        >>> 0.003 < loss.item() < 0.01
        True
    """
    perturbation = virtual_adversarial_perturbation(
        forward,
        embeddings,
        attention_mask,
        logits,
        epsilon=epsilon,
        relative=relative,
        xi=xi,
        power_iterations=power_iterations,
        norm=norm,
        divergence=divergence,
        generator=generator,
    )
    perturbed_logits = forward(embeddings + perturbation, attention_mask)
    return output_divergence(logits.detach(), perturbed_logits, divergence=divergence).mean()


def _norm_of(vectors: Float[Tensor, "batch tokens dim"], norm: PerturbationNorm) -> Float[Tensor, "batch _ 1"]:
    """The norm that ``norm`` bounds, shaped to multiply the vectors: one per example, or one per token."""
    if norm == "l2":
        return vectors.flatten(1).norm(dim=-1)[:, None, None]
    if norm == "token_l2":
        return vectors.norm(dim=-1, keepdim=True)
    raise ValueError(f"norm must be 'l2' or 'token_l2', got {norm!r}")


def _unit_of(norm: PerturbationNorm) -> Callable[[Tensor], Tensor]:
    """A function that scales vectors to unit norm and leaves zero vectors at zero."""

    def unit(vectors: Tensor) -> Tensor:
        # Gradients of a confident model can be as small as 1e-30: dividing by the largest entry first keeps them.
        largest = vectors.abs().amax(dim=(1, 2) if norm == "l2" else 2, keepdim=True)
        scaled = vectors / torch.where(largest > 0, largest, 1.0)
        size = _norm_of(scaled, norm)
        return scaled / torch.where(size > 0, size, 1.0)

    return unit
