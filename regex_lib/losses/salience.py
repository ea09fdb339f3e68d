"""Salience without a model, by TextRank, and the loss that pulls attention towards it."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.losses.attention import Direction, attention_attribution_divergence

__all__ = ["saloss", "text_rank"]


def text_rank(
    input_ids: Int64[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    *,
    window: int = 8,
    damping: float = 0.85,
    iterations: int = 50,
) -> Float[Tensor, "batch tokens"]:
    r"""TextRank: how central each token is in the graph of tokens that occur close to each other.

    The vertices are the distinct ids of a text, and those that occur within a window of each other are linked, without
    direction or weight. The score is PageRank's, by power iteration,

    .. math:: S_i = \frac{1 - d}{n} + d \sum_{j \sim i} \frac{S_j}{\deg j}

    Args:
        input_ids: the tokens.
        content_mask: true where a token counts; all others are left out before distances are counted.
        window: how many content tokens in a row a window holds: 2 links neighbours only.
        damping: :math:`d`, the share that comes from the neighbours.
        iterations: of the power iteration; after 50, a score is off by less than a thousandth of itself.

    Returns:
        Each content token has the score of its id, and the scores of the :math:`n` distinct ids of a text sum to 1,
        so that a row with repeated tokens sums to more. 0 elsewhere.

    Raises:
        ValueError: if ``window`` is below 2, ``damping`` is outside [0, 1) or ``iterations`` is negative.

    References:
        Mihalcea and Tarau 2004, sections 2 and 3.1, with windows of 2 to 10 words. Chrysostomou and Aletras 2021 rank
        word pieces, whatever their part of speech; a window of 8 is their published code's.

    Example:
        >>> ids, content = torch.tensor([[101, 7, 8, 7, 9, 102]]), torch.tensor([[False] + [True] * 4 + [False]])
        >>> text_rank(ids, content, window=2).round(decimals=3)
        tensor([[0.0000, 0.4860, 0.2570, 0.4860, 0.2570, 0.0000]])
    """
    if window < 2 or not 0 <= damping < 1 or iterations < 0:
        raise ValueError(
            "window must be 2 or more, damping in [0, 1) and iterations 0 or more, "
            f"got {window}, {damping} and {iterations}"
        )
    content_mask = content_mask.bool()
    same = (input_ids[:, :, None] == input_ids[:, None, :]) & content_mask[:, None, :]
    first = same.int().argmax(dim=-1)  # where a token's id occurs first: the vertex of that id
    vertex = content_mask & (first == torch.arange(input_ids.shape[1], device=input_ids.device))
    count = vertex.sum(dim=-1, keepdim=True).clamp(min=1)

    links = _links(first, content_mask, window)
    shares = links / links.sum(dim=1, keepdim=True).clamp(min=1)  # (batch, to, from)
    scores = vertex / count
    with torch.autocast(input_ids.device.type, enabled=False):  # half precision would round at every iteration
        for _ in range(iterations):
            scores = (1 - damping) * vertex / count + damping * (shares @ scores[..., None])[..., 0]
    # A single vertex has no neighbour to get its share from; nor has a text without any a sum.
    total = scores.sum(dim=-1, keepdim=True)
    return (scores / torch.where(total > 0, total, 1.0)).gather(-1, first) * content_mask


def saloss(
    attention: Float[Tensor, "batch tokens"],
    input_ids: Int64[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    *,
    smoothing: float = 0.1,
    direction: Direction = "attention_to_attribution",
) -> Float[Tensor, ""]:
    r"""SaLoss: attention pulled towards TextRank salience, which needs no model and no annotation.

    .. math:: L = \frac{1}{B} \sum_b D_{KL}\big(\mathrm{att}(x_b) \,\|\, \mathrm{TextRank}(x_b)\big)

    By :func:`regex_lib.losses.attention_attribution_divergence`, over the content tokens, both divided by their sums,
    so that it can be compared with the explanation-guided loss. The published code instead applies a softmax to the
    attention, which makes it nearly uniform, and to the salience, and squares the divergence summed over the batch.

    Args:
        attention: the pooling query's row, 0 or more, (batch, tokens).
        input_ids: the tokens.
        content_mask: true where a token counts.
        smoothing: share of the uniform distribution mixed into both, in (0, 1].
        direction: which distribution comes first, with the salience as the attribution.

    Returns:
        A scalar in nats, 0 or more. An example without content tokens adds 0.

    Raises:
        ValueError: if ``direction`` is unknown or ``smoothing`` is not in (0, 1].

    References:
        Chrysostomou and Aletras 2021, section 3. [ours: the smoothing, and no softmax]

    Example:
        >>> ids, content = torch.tensor([[101, 7, 8, 102]]), torch.tensor([[False, True, True, False]])
        >>> saloss(torch.tensor([[0.6, 0.2, 0.2, 0.0]]), ids, content)
        tensor(0.)
    """
    salience = text_rank(input_ids, content_mask)
    return attention_attribution_divergence(attention, salience, content_mask, direction=direction, smoothing=smoothing)


def _links(
    vertices: Int64[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"], window: int
) -> Bool[Tensor, "batch tokens tokens"]:
    """Whether two vertices occur within a window of each other anywhere in the text; none with itself."""
    batch, tokens = vertices.shape
    order = (~content_mask).long().argsort(dim=-1, stable=True)  # content first, in its own order
    vertices, counts = vertices.gather(-1, order), content_mask.gather(-1, order)
    links = torch.zeros(batch, tokens, tokens, dtype=torch.bool, device=vertices.device)
    rows = torch.arange(batch, device=vertices.device)[:, None]
    for gap in range(1, min(window, tokens)):
        here, there = vertices[:, :-gap], vertices[:, gap:]
        links[rows, here, torch.where(counts[:, gap:], there, here)] = True
    itself = torch.eye(tokens, dtype=torch.bool, device=vertices.device)
    return (links | links.mT) & ~itself
