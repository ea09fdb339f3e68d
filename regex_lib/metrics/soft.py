r"""Soft sufficiency and comprehensiveness: each token's vector is kept in part, as its attribution says.

Hard erasure keeps or removes the top tokens as a whole and treats them alike. Here every entry of a token's embedding
is kept with the token's scaled attribution as its probability (sufficiency), or removed with it (comprehensiveness).

An attribution with many high scores keeps more than one with few, so that part of a score is the sheer amount kept:
compare with the random attribution, and see Huang and Chan 2026 (arXiv 2601.03089) on this flaw.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.metrics.erasure import normalised_comprehensiveness, normalised_sufficiency

__all__ = ["scaled_attribution", "soft_comprehensiveness", "soft_keep_mask", "soft_sufficiency"]

ProbabilityOf = Callable[[Float[Tensor, "batch tokens dim"]], Float[Tensor, " batch"]]
"""Embeddings to the probability of each example's explained class."""


def soft_sufficiency(
    probability_of: ProbabilityOf,
    embeddings: Float[Tensor, "batch tokens dim"],
    attribution: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    full: Float[Tensor, " batch"],
    empty: Float[Tensor, " batch"],
    *,
    seeds: Int64[Tensor, " batch"],
    samples: int = 1,
) -> Float[Tensor, " batch"]:
    """Soft normalised sufficiency (Soft-NS): how much of the prediction the kept parts preserve. Higher is better.

    Args:
        probability_of: the model.
        embeddings: the input embeddings, before positions.
        attribution: scaled by :func:`scaled_attribution`.
        content_mask: true where a token counts; all other tokens are kept whole.
        full: ``probability_of(embeddings)``.
        empty: ``probability_of`` the embeddings with those of all content tokens zero, the paper's zero baseline (but
            special tokens stay, as everywhere here).
        seeds: one for each example, such as its row in the data set, so that a score does not depend on its batch.
        samples: how many draws to average; each costs a pass. The paper draws once.

    Returns:
        In [0, 1], or NaN where an attribution is not finite. See :func:`regex_lib.metrics.is_degenerate` on where it
        means nothing.

    Raises:
        ValueError: if ``samples`` is below 1.

    References:
        Zhao and Aletras 2023.

    Example:
        >>> def probability_of(embeddings):
        ...     return embeddings.sum(dim=(1, 2))
        >>> x, content = torch.tensor([[[0.6], [0.2]]]), torch.ones(1, 2, dtype=torch.bool)
        >>> full, empty = probability_of(x), torch.zeros(1)
        >>> scores = torch.tensor([[1.0, 0.0]])  # the first token is kept for certain, the second never
        >>> soft_sufficiency(probability_of, x, scores, content, full, empty, seeds=torch.tensor([0]))
        tensor([0.7500])
    """
    keep = scaled_attribution(attribution, content_mask)
    perturbed = _perturbed(probability_of, embeddings, keep, content_mask, seeds, samples)
    return normalised_sufficiency(full, perturbed, empty).mean(dim=0)


def soft_comprehensiveness(
    probability_of: ProbabilityOf,
    embeddings: Float[Tensor, "batch tokens dim"],
    attribution: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    full: Float[Tensor, " batch"],
    empty: Float[Tensor, " batch"],
    *,
    seeds: Int64[Tensor, " batch"],
    samples: int = 1,
) -> Float[Tensor, " batch"]:
    """Soft normalised comprehensiveness (Soft-NC): how much of it goes with the removed parts. Higher is better.

    What :func:`soft_sufficiency` keeps is removed here with the same probability; all else is as there.

    Example:
        >>> def probability_of(embeddings):
        ...     return embeddings.sum(dim=(1, 2))
        >>> x, content = torch.tensor([[[0.6], [0.2]]]), torch.ones(1, 2, dtype=torch.bool)
        >>> full, empty = probability_of(x), torch.zeros(1)
        >>> scores = torch.tensor([[1.0, 0.0]])
        >>> soft_comprehensiveness(probability_of, x, scores, content, full, empty, seeds=torch.tensor([0]))
        tensor([0.7499])
    """
    keep = 1.0 - scaled_attribution(attribution, content_mask)
    perturbed = _perturbed(probability_of, embeddings, keep, content_mask, seeds, samples)
    return normalised_comprehensiveness(full, perturbed, empty).mean(dim=0)


def scaled_attribution(
    attribution: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Scores moved and stretched so that the content tokens of each example span [0, 1]; 0 elsewhere.

    The lowest score becomes 0 and the highest 1. Equal scores, and the score of a single token, become one half. If one
    of an example's scores is NaN, so are all of them.

    Example:
        >>> content = torch.tensor([[False, True, True, True]])
        >>> scaled_attribution(torch.tensor([[9.0, -1.0, 1.0, 0.0]]), content)
        tensor([[0.0000, 0.0000, 1.0000, 0.5000]])
    """
    content_mask = content_mask.bool()
    lowest = attribution.masked_fill(~content_mask, torch.inf).amin(dim=-1, keepdim=True)
    highest = attribution.masked_fill(~content_mask, -torch.inf).amax(dim=-1, keepdim=True)
    differ = ~(highest <= lowest)
    # Halves first: the difference of the two largest floats would be infinite.
    span = torch.where(differ, highest / 2 - lowest / 2, 1.0)
    scaled = (attribution / 2 - torch.where(differ, lowest / 2, 0.0)) / span
    return torch.where(differ, scaled, 0.5).clamp(0.0, 1.0).masked_fill(~content_mask, 0.0)


def soft_keep_mask(
    keep_probability: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    dim: int,
    generators: Sequence[torch.Generator],
) -> Bool[Tensor, "batch tokens dim"]:
    """True where an entry of an embedding is kept: with its token's probability, independently of all others.

    Args:
        keep_probability: in [0, 1]; ignored outside the content mask, where everything is kept.
        content_mask: true where a token counts.
        dim: the embeddings' size.
        generators: one on the CPU for each example, so that its draws do not depend on padding or on what else is in
            the batch.

    Example:
        >>> content = torch.tensor([[False, True, True]])
        >>> soft_keep_mask(torch.tensor([[0.0, 1.0, 0.0]]), content, 2, [torch.Generator()])[0]
        tensor([[ True,  True],
                [ True,  True],
                [False, False]])
    """
    content_mask = content_mask.bool()  # 0 and 1 would be places
    noise = torch.zeros(*content_mask.shape, dim)
    for row, content, generator in zip(noise, content_mask.cpu(), generators, strict=True):
        row[content] = torch.rand(int(content.sum()), dim, generator=generator)
    return (noise.to(keep_probability.device) < keep_probability[..., None]) | ~content_mask[..., None]


def _perturbed(
    probability_of: ProbabilityOf,
    embeddings: Float[Tensor, "batch tokens dim"],
    keep_probability: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    seeds: Int64[Tensor, " batch"],
    samples: int,
) -> Float[Tensor, "samples batch"]:
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples}")
    generators = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    answers = []
    for _ in range(samples):
        keep = soft_keep_mask(keep_probability, content_mask, embeddings.shape[-1], generators)
        answers.append(probability_of(embeddings * keep))
    defined = ~keep_probability.isnan().any(dim=-1)
    return torch.stack(answers).where(defined, torch.nan)
