"""Which tokens count, how they are ranked, and how they are kept, masked or dropped.

Two masks run through the whole library. ``attention_mask`` marks what is not padding. ``content_mask`` marks what is
neither padding nor special ([CLS], [SEP], ``<s>``...): only content tokens are ranked, masked, normalised and counted.
Masks of 0 and 1, as tokenizers give them, are taken as well.

Ties are broken the same way everywhere: of equal scores, the earlier token ranks first.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = [
    "bottom_k_mask",
    "content_distribution",
    "drop",
    "kept_positions",
    "random_k_mask",
    "ranks",
    "replace",
    "token_budget",
    "top_k_mask",
]

# A product such as .07 * 100 comes out as 7.000000000000001, whose ceiling is one token too many.
_ROUNDING = 1e-6


def token_budget(
    content_mask: Bool[Tensor, "batch tokens"], ratio: float, *, rounding: str = "up"
) -> Int64[Tensor, " batch"]:
    """How many content tokens a ratio stands for, per example.

    Args:
        content_mask: true where a token counts.
        ratio: share of the content tokens, in [0, 1].
        rounding: ``"up"`` for the metrics (k = ceil(ratio x n), so that a short text still loses a token) or ``"down"``
            for training masks (floor, so that a one-token text keeps its token).

    Returns:
        Whole numbers between 0 and the number of content tokens.

    Raises:
        ValueError: if ``ratio`` is outside [0, 1] or ``rounding`` is neither of the two.

    Example:
        >>> token_budget(torch.tensor([[True] * 5, [True] * 3 + [False] * 2]), 0.2)
        tensor([1, 1])
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"ratio must be between 0 and 1, got {ratio}")
    exact = ratio * content_mask.sum(dim=-1).double()
    if rounding == "up":
        return torch.ceil(exact - _ROUNDING).long()
    if rounding == "down":
        return torch.floor(exact + _ROUNDING).long()
    raise ValueError(f"rounding must be 'up' or 'down', got {rounding!r}")


def ranks(
    scores: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"]
) -> Int64[Tensor, "batch tokens"]:
    """The rank of every token by descending score: 0 for the highest; tokens that do not count come last.

    Example:
        >>> ranks(torch.tensor([[9.0, 0.2, 0.7, 0.2]]), torch.tensor([[False, True, True, True]]))
        tensor([[3, 1, 0, 2]])
    """
    content_mask = content_mask.bool()
    order = scores.masked_fill(~content_mask, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    # A content token may itself score -inf; a second stable sort keeps every content token before the others.
    order = order.gather(-1, (~content_mask).gather(-1, order).long().argsort(dim=-1, stable=True))
    return order.argsort(dim=-1)


def top_k_mask(
    scores: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    k: Int64[Tensor, " batch"],
) -> Bool[Tensor, "batch tokens"]:
    """True at the ``k`` content tokens with the highest scores of each example.

    Example:
        >>> content = torch.tensor([[False, True, True, True]])
        >>> top_k_mask(torch.tensor([[9.0, 0.2, 0.7, 0.2]]), content, torch.tensor([2]))
        tensor([[False,  True,  True, False]])
    """
    return (ranks(scores, content_mask) < k[:, None]) & content_mask.bool()


def bottom_k_mask(
    scores: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    k: Int64[Tensor, " batch"],
) -> Bool[Tensor, "batch tokens"]:
    """True at the ``k`` content tokens with the lowest scores: the last ``k`` of the descending ranking.

    Example:
        >>> content = torch.tensor([[False, True, True, True]])
        >>> bottom_k_mask(torch.tensor([[-9.0, 0.2, 0.7, 0.2]]), content, torch.tensor([1]))
        tensor([[False, False, False,  True]])
    """
    keep = content_mask.sum(dim=-1) - k
    return (ranks(scores, content_mask) >= keep[:, None]) & content_mask.bool()


def random_k_mask(
    content_mask: Bool[Tensor, "batch tokens"],
    k: Int64[Tensor, " batch"],
    *,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "batch tokens"]:
    """True at ``k`` content tokens drawn uniformly without replacement: the control for every ranking.

    Example:
        >>> content = torch.tensor([[False, True, True, True]])
        >>> random_k_mask(content, torch.tensor([2]), generator=torch.Generator().manual_seed(0)).sum()
        tensor(2)
    """
    scores = torch.rand(content_mask.shape, generator=generator, device=content_mask.device)
    return top_k_mask(scores, content_mask, k)


def replace(
    input_ids: Int64[Tensor, "batch tokens"], remove: Bool[Tensor, "batch tokens"], token_id: int
) -> Int64[Tensor, "batch tokens"]:
    """The ids with every removed token replaced in place: length, positions and attention mask stay as they are.

    Example:
        >>> replace(torch.tensor([[101, 7, 8, 102]]), torch.tensor([[False, True, False, False]]), 0)
        tensor([[101,   0,   8, 102]])
    """
    return input_ids.masked_fill(remove.bool(), token_id)


def kept_positions(
    attention_mask: Bool[Tensor, "batch tokens"], remove: Bool[Tensor, "batch tokens"]
) -> tuple[Int64[Tensor, "batch kept"], Bool[Tensor, "batch kept"]]:
    """Where the tokens that are not removed stand, in order, padded on the right to the longest text left.

    Returns:
        Positions to ``gather`` from anything of shape (batch, tokens), and which of them are not padding.

    Example:
        >>> remove = torch.tensor([[False, True, False, False], [False, True, True, False]])
        >>> kept_positions(torch.ones(2, 4, dtype=torch.bool), remove)[1]
        tensor([[ True,  True,  True],
                [ True,  True, False]])
    """
    keep = attention_mask.bool() & ~remove.bool()
    order = (~keep).long().argsort(dim=-1, stable=True)[:, : int(keep.sum(dim=-1).max())]
    return order, keep.gather(-1, order)


def drop(
    input_ids: Int64[Tensor, "batch tokens"],
    attention_mask: Bool[Tensor, "batch tokens"],
    remove: Bool[Tensor, "batch tokens"],
    pad_id: int,
) -> tuple[Int64[Tensor, "batch kept"], Bool[Tensor, "batch kept"]]:
    """The ids without the removed tokens, moved together and padded on the right to the longest text left.

    Returns:
        The shorter ids and their attention mask.

    Example:
        >>> ids, attended = torch.tensor([[101, 7, 8, 102]]), torch.ones(1, 4, dtype=torch.bool)
        >>> drop(ids, attended, torch.tensor([[False, True, False, False]]), 0)[0]
        tensor([[101,   8, 102]])
    """
    order, kept = kept_positions(attention_mask, remove)
    return input_ids.gather(-1, order).masked_fill(~kept, pad_id), kept


def content_distribution(
    scores: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    *,
    normalise: str = "sum",
    temperature: float = 1.0,
    smoothing: float = 0.0,
) -> Float[Tensor, "batch tokens"]:
    r"""Magnitudes of scores as a probability distribution over the content tokens.

    .. math:: P_i = (1 - s) \frac{|a_i|}{\sum_j |a_j|} + \frac{s}{n}
        \quad\text{or}\quad P_i = (1 - s) \operatorname{softmax}(|a| / \tau)_i + \frac{s}{n}

    Args:
        scores: any real scores; those outside the content mask are ignored.
        content_mask: true where a token counts; :math:`n` is its sum.
        normalise: ``"sum"`` divides the magnitudes by their sum; ``"softmax"`` tempers them. A softmax over small raw
            attributions is almost uniform, so ``"sum"`` is the default.
        temperature: :math:`\tau` of the softmax; ignored by ``"sum"``.
        smoothing: :math:`s` in [0, 1], the share of the uniform distribution mixed in. Above 0 it bounds logarithms.

    Returns:
        Rows that sum to 1 over the content tokens, in single precision or better. A row of zeros becomes uniform; one
        without content, 0. A row with a score that is NaN is NaN at every content token.

    Raises:
        ValueError: if ``normalise`` is neither of the two, ``temperature`` is not positive or ``smoothing`` is outside
            [0, 1].

    Example:
        >>> content = torch.tensor([[False, True, True, True]])
        >>> content_distribution(torch.tensor([[5.0, -1.0, 3.0, 0.0]]), content)
        tensor([[0.0000, 0.2500, 0.7500, 0.0000]])
    """
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"smoothing must be between 0 and 1, got {smoothing}")
    scores, content_mask = scores.to(torch.promote_types(scores.dtype, torch.float32)), content_mask.bool()
    magnitude = scores.abs().masked_fill(~content_mask, 0.0)
    count = content_mask.sum(dim=-1, keepdim=True)
    uniform = content_mask.to(scores.dtype) / count.clamp(min=1)
    largest = magnitude.amax(dim=-1, keepdim=True).detach()
    if normalise == "sum":
        # Dividing by the largest first keeps tiny and huge rows from under- and overflowing.
        # A row near the smallest float counts as zeros: its gradient, about 1 / largest, would overflow.
        nonzero = ~(largest <= torch.finfo(scores.dtype).tiny ** 0.9)
        scaled = magnitude / torch.where(nonzero, largest, 1.0)
        distribution = scaled / scaled.sum(dim=-1, keepdim=True).clamp(min=0.5)
        distribution = torch.where(nonzero, distribution, uniform)
    elif normalise == "softmax":
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        logits = ((magnitude - largest) / temperature).masked_fill(~content_mask, torch.finfo(scores.dtype).min)
        distribution = logits.softmax(dim=-1)
    else:
        raise ValueError(f"normalise must be 'sum' or 'softmax', got {normalise!r}")
    return (1.0 - smoothing) * distribution.masked_fill(~content_mask, 0.0) + smoothing * uniform
