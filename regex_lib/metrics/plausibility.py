"""Whether an attribution marks what people marked.

This is *not* faithfulness. A model may rest on other words than people do, and an attribution that says so is right; a
plausible attribution of such a model is wrong. Read these numbers as how the explanations look to people, beside a
measure of faithfulness and the model's accuracy.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["auprc", "iou_f1", "token_f1"]


def token_f1(selected: Bool[Tensor, "batch tokens"], human: Bool[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    r"""F1 of the selected tokens against those that people marked, per example.

    .. math:: F_1 = \frac{2 |S \cap H|}{|S| + |H|}

    Args:
        selected: true at the tokens of the rationale, such as those with the highest scores.
        human: true at the tokens that people marked.

    Returns:
        In [0, 1], in double precision. Higher is better; NaN where people marked nothing.

    References:
        DeYoung et al. 2020, section 4.1.

    Example:
        >>> token_f1(torch.tensor([[True, True, False]]), torch.tensor([[False, True, False]]))
        tensor([0.6667], dtype=torch.float64)
    """
    selected, human = selected.bool(), human.bool()
    common = (selected & human).sum(dim=-1).double()
    score = 2 * common / (selected.sum(dim=-1) + human.sum(dim=-1))
    return score.masked_fill(~human.any(dim=-1), torch.nan)


def iou_f1(
    selected: Bool[Tensor, "batch tokens"], human: Bool[Tensor, "batch tokens"], *, threshold: float = 0.5
) -> Float[Tensor, " batch"]:
    r"""F1 of whole spans: a selected span counts if its overlap with a span that people marked is large enough.

    Spans are runs of marked tokens. With the threshold at .5 or above no span has two partners:

    .. math:: F_1 = \frac{2\, |\{(s, h) : |s \cap h| / |s \cup h| > \text{threshold}\}|}{\#\,\text{selected spans}
        + \#\,\text{human spans}}

    Args:
        selected: true at the tokens of the rationale. Single tokens picked here and there are spans of one token each,
            and seldom overlap enough with whole phrases: compare attributions with the random one.
        human: true at the tokens that people marked.
        threshold: what intersection over union has to exceed, at least .5 and below 1.

    Returns:
        In [0, 1], in double precision. Higher is better; NaN where people marked nothing.

    Raises:
        ValueError: if ``threshold`` is below .5, or not below 1.

    References:
        DeYoung et al. 2020, section 4.1, where a match needs more than .5 too. Their public code also counts a match of
        exactly .5.

    Example:
        >>> human = torch.tensor([[True, True, True, False, True]])
        >>> iou_f1(torch.tensor([[True, True, False, False, False]]), human)
        tensor([0.6667], dtype=torch.float64)
    """
    if not 0.5 <= threshold < 1.0:
        raise ValueError(f"threshold must be at least 0.5 and below 1, got {threshold}")
    selected, human = selected.bool(), human.bool()
    ours, theirs = _span_numbers(selected), _span_numbers(human)
    scores = []
    for first, second in zip(ours, theirs, strict=True):
        overlap = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64, device=first.device)
        overlap.index_put_((first, second), torch.ones_like(first, dtype=torch.float64), accumulate=True)
        sizes, others = overlap.sum(dim=1)[1:], overlap.sum(dim=0)[1:]
        common = overlap[1:, 1:]  # span 0 is what is in no span
        matches = (common / (sizes[:, None] + others - common) > threshold).sum()
        scores.append(2 * matches.double() / (len(sizes) + len(others)))
    return torch.stack(scores).masked_fill(~human.any(dim=-1), torch.nan)


def auprc(
    scores: Float[Tensor, "batch tokens"],
    human: Bool[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """The area under the precision-recall curve of the scores against the tokens that people marked.

    It needs no choice of how many tokens are selected. Tokens of equal scores are taken together, so that their order
    does not matter; the curve is joined by straight lines and starts at recall 0 with precision 1, as in ERASER's code.

    Args:
        scores: of any unit, with their signs.
        human: true at the tokens that people marked; those outside the content mask do not count.
        content_mask: true where a token counts.

    Returns:
        In [0, 1], in double precision. Higher is better; a random ranking gives about the share of marked tokens, and
        more in short texts. NaN where people marked nothing, or where a content token's score is NaN.

    References:
        DeYoung et al. 2020, section 4.1.

    Example:
        >>> human = torch.tensor([[True, False, True, False]])
        >>> auprc(torch.tensor([[0.9, 0.5, 0.7, 0.1]]), human, torch.ones(1, 4, dtype=torch.bool))
        tensor([1.], dtype=torch.float64)
    """
    rows = zip(scores, human.bool(), content_mask.bool(), strict=True)  # marks of 0 and 1 would be places
    return torch.stack([_area(row[counts], true[counts]) for row, true, counts in rows])


def _area(scores: Float[Tensor, " tokens"], human: Bool[Tensor, " tokens"]) -> Float[Tensor, ""]:
    if not human.any() or scores.isnan().any():
        return torch.tensor(torch.nan, dtype=torch.float64, device=scores.device)
    ordered, order = scores.sort(descending=True)
    last_of_equals = torch.cat([ordered[1:] != ordered[:-1], human.new_ones(1)])
    found = human[order].double().cumsum(dim=0)[last_of_equals]
    taken = last_of_equals.nonzero()[:, 0] + 1
    start = found.new_zeros(1)
    return torch.trapezoid(torch.cat([start + 1, found / taken]), torch.cat([start, found / found[-1]]))


def _span_numbers(mask: Bool[Tensor, "batch tokens"]) -> Tensor:
    """For every token, which run of true values it is in, counted from 1; 0 for none."""
    before = torch.nn.functional.pad(mask, (1, 0))[:, :-1]
    return (mask & ~before).long().cumsum(dim=-1) * mask
