"""Whether an attribution survives changes of the input that the prediction survives.

**Never report stability alone.** A constant attribution is perfectly stable, and one by position nearly so: a higher
value says that an explanation does not move, not that it is faithful. The functions of :mod:`regex_lib.checks` always
give comprehensiveness beside it.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["embedding_noise", "surviving_scores"]


def surviving_scores(
    perturbed: Float[Tensor, "batch perturbed_tokens"],
    positions: Int64[Tensor, "batch tokens"],
) -> tuple[Float[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """The scores of a changed text in the places of the original's tokens.

    Compare them with the original's by :func:`regex_lib.metrics.rank_correlation` and
    :func:`regex_lib.metrics.top_k_jaccard`, with the second result as their content mask.

    Args:
        perturbed: scores of the changed text.
        positions: for every token of the original its position in the changed text; -1 for a token that did not
            survive, and for one that does not count.

    Returns:
        The scores, 0 where there is no token; and where there is one.

    Example:
        >>> perturbed = torch.tensor([[0.0, 0.7, 0.1, 0.2]])  # of "[CLS] a very film", where "fine" was before
        >>> scores, survived = surviving_scores(perturbed, torch.tensor([[-1, 1, -1, 3]]))
        >>> scores, survived
        (tensor([[0.0000, 0.7000, 0.0000, 0.2000]]), tensor([[False,  True, False,  True]]))
    """
    survived = positions >= 0
    return perturbed.gather(-1, positions.clamp(min=0)).masked_fill(~survived, 0.0), survived


def embedding_noise(
    embeddings: Float[Tensor, "batch tokens dim"],
    content_mask: Bool[Tensor, "batch tokens"],
    *,
    size: float = 0.05,
    seeds: Int64[Tensor, " batch"],
) -> Float[Tensor, "batch tokens dim"]:
    r"""Noise in a random direction, of a given size beside the embeddings.

    .. math:: \delta = \mathrm{size} \cdot \|e\|_2 \frac{z}{\|z\|_2}, \qquad z \sim \mathcal{N}(0, I)

    with both norms over all content tokens of a text.

    Args:
        embeddings: :math:`e`, the input embeddings.
        content_mask: true where a token counts; the noise of all others is 0.
        size: the length of the noise as a share of that of the embeddings, 0 or more.
        seeds: one for each example, so that its noise does not depend on the rest of the batch or on padding.

    Raises:
        ValueError: if ``size`` is negative.

    Example:
        >>> x, content = torch.randn(1, 3, 4), torch.tensor([[False, True, True]])
        >>> noise = embedding_noise(x, content, size=0.1, seeds=torch.tensor([0]))
        >>> noise[0, 0].any().item(), round((noise.norm() / x[content].norm()).item(), 4)
        (False, 0.1)
    """
    if size < 0:
        raise ValueError(f"size must be 0 or more, got {size}")
    content_mask = content_mask.bool()  # 0 and 1 would be places
    noise = torch.zeros(embeddings.shape, dtype=embeddings.dtype)
    for row, content, seed in zip(noise, content_mask.cpu(), seeds.tolist(), strict=True):
        drawn = torch.randn(
            int(content.sum()), embeddings.shape[-1], generator=torch.Generator().manual_seed(seed)
        ).double()
        row[content] = (drawn / drawn.norm().clamp(min=1e-12)).to(noise.dtype)
    length = embeddings.masked_fill(~content_mask[..., None], 0.0).flatten(1).norm(dim=1)
    return size * length[:, None, None] * noise.to(embeddings.device)
