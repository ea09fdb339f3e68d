r"""Infidelity and max-sensitivity: whether an attribution predicts what small changes do, and how much it moves itself.

Both take the perturbations as a tensor, so that a user may choose them: noise from :func:`random_perturbations`, or the
difference between the input and one with tokens removed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["infidelity", "max_sensitivity", "random_perturbations"]


def infidelity(
    forward: Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, " batch"]],
    inputs: Float[Tensor, "batch *shape"],
    attribution: Float[Tensor, "batch *shape"],
    perturbations: Float[Tensor, "samples batch *shape"],
    *,
    normalise: bool = False,
) -> Float[Tensor, " batch"]:
    r"""Infidelity: how badly an attribution predicts by how much a perturbation lowers the output. Lower is better.

    .. math:: \mathrm{INFD} = \mathbb{E}_I \big[ \big( \beta \, I^\top \Phi(x) - (f(x) - f(x - I)) \big)^2 \big]

    Args:
        forward: inputs to one number for each example, such as the explained class's logit.
        inputs: embeddings, (batch, tokens, dim); or, for scores of whole tokens, ones of (batch, tokens), with a
            ``forward`` that takes each token's presence.
        attribution: :math:`\Phi(x)`, of the inputs' shape: a score for what is *changed* (a gradient), not yet
            multiplied by the input.
        perturbations: :math:`I`; 0 where nothing is to change, such as at padding.
        normalise: choose the :math:`\beta` with the lowest error for each example, so that scaling the attribution
            changes nothing; otherwise it is 1. As in the paper :math:`\beta` may be below 0: an attribution and its
            negative have the same value, so that only without it a wrong sign is seen.

    Returns:
        0 or more, in squared units of the output. Models with other outputs have other scales: compare attributions of
        one model only.

    References:
        Yeh et al. 2019, definition 2.1. Equal to ``captum.metrics.infidelity`` with the same perturbations.

    Example:
        >>> def forward(x):
        ...     return 3.0 * x[:, 0]
        >>> x, moved = torch.tensor([[1.0, 2.0]]), torch.tensor([[[0.5, 0.0]]])
        >>> infidelity(forward, x, torch.tensor([[3.0, 0.0]]), moved)
        tensor([0.])
        >>> infidelity(forward, x, torch.tensor([[1.0, 0.0]]), moved)
        tensor([1.])
    """
    output = forward(inputs)
    drops = torch.stack([output - forward(inputs - perturbation) for perturbation in perturbations])
    predicted = (perturbations * attribution).flatten(2).sum(dim=-1)
    if normalise:
        power = predicted.square().sum(dim=0)
        predicted = predicted * (predicted * drops).sum(dim=0) / torch.where(power > 0, power, 1.0)
    return (predicted - drops).square().mean(dim=0)


def max_sensitivity(
    explain: Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, "batch *scores"]],
    inputs: Float[Tensor, "batch *shape"],
    perturbations: Float[Tensor, "samples batch *shape"],
) -> Float[Tensor, " batch"]:
    r"""Max-sensitivity: how far an attribution moves, at most, when its input is perturbed.

    .. math:: \mathrm{SENS} = \max_\delta \frac{\| \Phi(x + \delta) - \Phi(x) \|_2}{\| \Phi(x) \|_2}

    **Never report it alone.** It falls by construction when a model is trained to be robust (input gradient
    regularisation, virtual adversarial training), and a constant attribution has the optimal value 0: a lower value
    says that an explanation is stable, not that it is faithful.

    Args:
        explain: inputs to attributions of any shape, one row for each example. The explained class should stay that of
            the unperturbed input.
        inputs: embeddings.
        perturbations: :math:`\delta`; 0 at padding.

    Returns:
        0 or more. An attribution of zeros is taken to have the norm 1.

    References:
        Yeh et al. 2019, definition 3.1, which does not divide by the norm. Equal to ``captum.metrics.sensitivity_max``
        with the same perturbations.

    Example:
        >>> def explain(x):
        ...     return x.square()
        >>> max_sensitivity(explain, torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.5, 0.0]], [[-0.5, 0.0]]]))
        tensor([1.2500])
    """
    attribution = explain(inputs).flatten(1)
    norm = attribution.norm(dim=-1)
    moved = torch.stack([(explain(inputs + delta).flatten(1) - attribution).norm(dim=-1) for delta in perturbations])
    return moved.amax(dim=0) / torch.where(norm > 0, norm, 1.0)


def random_perturbations(
    embeddings: Float[Tensor, "batch tokens dim"],
    mask: Bool[Tensor, "batch tokens"],
    *,
    samples: int = 10,
    radius: float = 0.02,
    relative: bool = True,
    seeds: Int64[Tensor, " batch"],
) -> Float[Tensor, "samples batch tokens dim"]:
    """Noise drawn uniformly from a cube around each input (the ball of the maximum norm).

    Args:
        embeddings: what will be perturbed.
        mask: true where a token is perturbed.
        samples: how many perturbations of each example.
        radius: half the cube's edge, in the units of ``relative``.
        relative: take the radius as a share of the root mean square of the example's embeddings, because embeddings of
            pre-trained encoders are not normalised; otherwise it is absolute, as captum's default .02 is.
        seeds: one for each example; the noise does not depend on padding or on what else is in the batch.

    Raises:
        ValueError: if ``samples`` is below 1 or ``radius`` is negative.

    Example:
        >>> noise = random_perturbations(
        ...     torch.ones(1, 2, 3), torch.tensor([[True, False]]), samples=4, radius=0.5, seeds=torch.tensor([0])
        ... )
        >>> noise.shape, bool(noise[:, :, 0].abs().amax() < 0.5), bool(noise[:, :, 1].any())
        (torch.Size([4, 1, 2, 3]), True, False)
    """
    if samples < 1 or radius < 0:
        raise ValueError(f"samples must be 1 or more and radius 0 or more, got {samples} and {radius}")
    mask = mask.bool()  # 0 and 1 would be places
    noise = torch.zeros(len(embeddings), samples, *embeddings.shape[1:], dtype=embeddings.dtype)
    for rows, attended, seed in zip(noise, mask.cpu(), seeds.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(samples, int(attended.sum()), embeddings.shape[-1], generator=generator)
        rows[:, attended] = (2.0 * drawn - 1.0).to(noise.dtype)
    noise = radius * noise.transpose(0, 1).to(embeddings.device)
    if not relative:
        return noise
    squares = embeddings.square().sum(dim=-1).masked_fill(~mask, 0.0).sum(dim=-1)
    entries = mask.sum(dim=-1).clamp(min=1) * embeddings.shape[-1]
    return noise * (squares / entries).sqrt()[:, None, None]
