"""Losses on what the model says near an input: virtual adversarial training."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.losses.norms import PerturbationNorm, size_of, unit

__all__ = [
    "Divergence",
    "Forward",
    "PerturbationNorm",
    "adversarial_direction",
    "output_divergence",
    "virtual_adversarial_loss",
    "virtual_adversarial_perturbation",
]

Divergence = Literal["kl", "symmetric_kl"]
Forward = Callable[[Float[Tensor, "batch tokens dim"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]]


def output_divergence(
    logits: Float[Tensor, "batch classes"],
    other_logits: Float[Tensor, "batch classes"],
    *,
    divergence: Divergence = "kl",
) -> Float[Tensor, " batch"]:
    r"""How far two predictions are apart, per example, in nats; in single precision or better.

    Args:
        logits: the reference :math:`p`.
        other_logits: the other prediction :math:`q`.
        divergence: ``"kl"`` is :math:`D_{KL}(p \| q)`; ``"symmetric_kl"`` adds :math:`D_{KL}(q \| p)`.

    Example:
        >>> output_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([0.])
    """
    # In half precision the divergence of two close predictions can come out below 0.
    log_p, log_q = (
        each.log_softmax(dim=-1, dtype=torch.promote_types(each.dtype, torch.float32))
        for each in (logits, other_logits)
    )
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

    A direction stays random where the prediction does not react to the probe: in a saturated model, and of a few texts
    in half precision, whose logits may not change by one step. ``Recipe(vat_direction="input_gradient")`` needs no
    probe.

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
    embeddings, logits = embeddings.detach(), logits.detach()
    mask = attention_mask[..., None]
    scale = _scale_of(embeddings, attention_mask, relative, norm)
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device, dtype=embeddings.dtype)
    direction = unit(noise * mask, norm)
    for _ in range(power_iterations):
        probe = (xi * scale * direction).requires_grad_()
        with torch.enable_grad():
            distance = output_divergence(logits, forward(embeddings + probe, attention_mask), divergence=divergence)
            (gradient,) = torch.autograd.grad(distance.sum(), probe)
        refined = unit(gradient * mask, norm)
        # Where the prediction does not react at all, the direction stays as it was.
        direction = torch.where(size_of(refined, norm) > 0, refined, direction)
    return epsilon * scale * direction


def adversarial_direction(
    gradient: Float[Tensor, "batch tokens dim"],
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    *,
    epsilon: float = 0.1,
    relative: bool = True,
    norm: PerturbationNorm = "l2",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch tokens dim"]:
    r"""The perturbation that :func:`virtual_adversarial_perturbation` looks for, from an input gradient at hand.

    For two classes, the Hessian of :math:`D_{KL}(p(x) \| p(x + r))` at :math:`r = 0` is :math:`p (1 - p)\, v v^\top`,
    with :math:`v` the gradient of the difference of the two logits. The power iteration, which converges to the
    dominant eigenvector as :math:`\xi \to 0`, therefore converges to :math:`v` up to sign; and the input gradient of
    the cross-entropy with any label is a multiple of :math:`v`. So where that gradient has been computed, the search
    needs no pass of its own. For more classes the Hessian has further eigenvectors and this is an approximation.

    Args:
        gradient: the gradient of a loss of the prediction with respect to ``embeddings``; used without its history.
        embeddings: the clean input embeddings, whose norm ``relative`` refers to; used without their history.
        attention_mask: true where a token is not padding; the perturbation is 0 elsewhere.
        epsilon: size of the perturbation, in the units of ``relative``.
        relative: take ``epsilon`` as a share of the embeddings' own norm; otherwise it is absolute.
        norm: ``"l2"`` bounds the whole sequence; ``"token_l2"`` bounds each token on its own.
        generator: the source of the random sign of each example, because an eigenvector has none.

    Returns:
        The perturbation, without a graph, of norm ``epsilon`` (times the embeddings' norm); 0 where the gradient is 0.

    Raises:
        ValueError: if ``epsilon`` is negative or ``norm`` is unknown.

    References:
        Miyato et al. 2018, section 3.3, for the eigenvector. [ours: its closed form for two classes]

    Example:
        >>> gradient, x = torch.tensor([[[0.0, -2.0]]]), torch.tensor([[[3.0, 4.0]]])
        >>> adversarial_direction(gradient, x, torch.tensor([[True]]), epsilon=0.1).abs()
        tensor([[[0.0000, 0.5000]]])
    """
    if epsilon < 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")
    gradient, embeddings = gradient.detach(), embeddings.detach()
    direction = unit(gradient * attention_mask[..., None], norm)
    draws = torch.rand((len(gradient), 1, 1), generator=generator, device=gradient.device)
    sign = torch.where(draws < 0.5, -1.0, 1.0).to(direction.dtype)
    return epsilon * _scale_of(embeddings, attention_mask, relative, norm) * sign * direction


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
    perturbation: Float[Tensor, "batch tokens dim"] | None = None,
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
        perturbation: a perturbation found elsewhere, such as by :func:`adversarial_direction`; used as it is, without
            its history, in place of the search, so that of the options only ``divergence`` still matters.

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
    if perturbation is None:
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
    perturbed_logits = forward(embeddings + perturbation.detach(), attention_mask)
    return output_divergence(logits.detach(), perturbed_logits, divergence=divergence).mean()


def _scale_of(
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
    relative: bool,
    norm: PerturbationNorm,
) -> Float[Tensor, "batch _ 1"]:
    """What a size of 1 stands for: the embeddings' own norm without the padding, or 1."""
    scale = size_of(embeddings * attention_mask[..., None], norm)
    return scale if relative else torch.ones_like(scale)
