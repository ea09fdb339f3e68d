"""Where on the path from baseline to input the gradients are taken, and how much each of them counts."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import Polynomial
from torch import Tensor

__all__ = ["Quadrature", "path_ends", "path_points"]

Quadrature = Literal["equal_angle", "midpoint", "gauss_legendre"]

_ADDED = 1 / 3  # length of what a model adds to an embedding (its position...), as a share of the embedding's own
_SPREAD = Polynomial([0, 40320, 0, 6720, 0, 3024, 0, 1800, 0, 1225]) / 53089  # the arcsine's, up to degree 9


def path_points(
    embeddings: Float[Tensor, "batch tokens dim"],
    baselines: Float[Tensor, "batch tokens dim"],
    n_steps: int,
    quadrature: Quadrature,
) -> tuple[Float[Tensor, "batch points"], Float[Tensor, "batch points"]]:
    """The points of each example's path, in (0, 1), and their weights, which sum to 1.

    Args:
        embeddings: where the path ends.
        baselines: where it starts.
        n_steps: how many points.
        quadrature: ``"midpoint"`` for the middles of pieces of equal length; ``"gauss_legendre"``; ``"equal_angle"``
            for points that are evenly spread over the mean angle by which the tokens turn. There they are those of
            Gauss-Legendre after a map that makes them almost equidistant: as exact where the model is smooth, and less
            wasteful where it is not.

    References:
        Hale and Trefethen 2008 (New quadrature formulas from conformal maps). The angles are this library's own.

    Example:
        >>> path_points(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), 2, "midpoint")
        (tensor([[0.2500, 0.7500]]), tensor([[0.5000, 0.5000]]))
    """
    if quadrature == "midpoint":
        ends = path_ends(embeddings, baselines, n_steps, quadrature)
        return (ends[:, 1:] + ends[:, :-1]) / 2, ends.diff(dim=1)
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    if quadrature == "gauss_legendre":
        even = torch.from_numpy(np.stack([(nodes + 1) / 2, weights / 2])).to(_at_least_single(embeddings))
        return even[0].expand(len(embeddings), -1), even[1].expand(len(embeddings), -1)
    points, rates = _points_at((_SPREAD(nodes) + 1) / 2, embeddings, baselines)
    shares = torch.from_numpy(weights * _SPREAD.deriv()(nodes)).to(rates) / rates
    return points, shares / shares.sum(dim=1, keepdim=True)


def path_ends(
    embeddings: Float[Tensor, "batch tokens dim"],
    baselines: Float[Tensor, "batch tokens dim"],
    pieces: int,
    quadrature: Quadrature,
) -> Float[Tensor, "batch ends"]:
    """Where the pieces of each example's path begin and end, from 0 to 1; twice the pieces halve each of them.

    Args:
        embeddings: where the path ends.
        baselines: where it starts.
        pieces: how many.
        quadrature: ``"midpoint"`` for pieces of equal length, ``"equal_angle"`` for pieces in which the tokens turn by
            the same mean angle.

    Example:
        >>> x, baseline = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 0.1]]])
        >>> path_ends(x, baseline, 4, "equal_angle")  # short vectors turn fast
        tensor([[0.0000, 0.1121, 0.2482, 0.4633, 1.0000]])
    """
    levels = np.arange(pieces + 1) / pieces
    if quadrature == "midpoint":
        return torch.from_numpy(levels).to(_at_least_single(embeddings)).expand(len(embeddings), -1)
    return _points_at(levels, embeddings, baselines)[0]


Turning = Callable[[Float[Tensor, "batch points"]], tuple[Float[Tensor, "batch points"], Float[Tensor, "batch points"]]]


def _turning(embeddings: Float[Tensor, "batch tokens dim"], baselines: Float[Tensor, "batch tokens dim"]) -> Turning:
    """By what share of its whole angle each example has turned at some points of its path, and how fast it turns there.

    The angle is that of an embedding to which something at right angles to the path is added, as models add positions,
    a third of the embedding in length. It is summed over the tokens that differ from the baseline.
    """
    difference = embeddings - baselines
    squared = difference.square().sum(dim=-1)  # (batch, tokens)
    moves = squared > 0
    still = ~moves.any(dim=1, keepdim=True)
    longer = torch.maximum(embeddings.norm(dim=-1), baselines.norm(dim=-1))
    length = (longer * moves).sum(dim=1) / moves.sum(dim=1).clamp(min=1)
    along = (baselines * difference).sum(dim=-1)
    start = baselines.square().sum(dim=-1) + (_ADDED * length).square()[:, None]
    across = (squared * start - along.square()).clamp(min=0).sqrt().where(moves, 1.0)
    before = torch.atan2(along, across)[:, None]

    def turned(points: Float[Tensor, "batch points"]) -> tuple[Tensor, Tensor]:
        reach = along[:, None] + squared[:, None] * points[..., None]  # (batch, points, tokens)
        angle = (torch.atan2(reach, across[:, None]) - before).sum(dim=-1)
        speed = ((squared * across)[:, None] / (across[:, None].square() + reach.square())).sum(dim=-1)
        return angle.where(~still, points), speed.where(~still, 1.0)

    whole, _ = turned(torch.ones_like(along[:, :1]))

    def shares(points: Float[Tensor, "batch points"]) -> tuple[Tensor, Tensor]:
        angle, speed = turned(points)
        return angle / whole, speed / whole

    return shares


def _points_at(
    levels: np.ndarray, embeddings: Float[Tensor, "batch tokens dim"], baselines: Float[Tensor, "batch tokens dim"]
) -> tuple[Float[Tensor, "batch points"], Float[Tensor, "batch points"]]:
    """Where each example has turned by some shares of its angle, and how fast it turns there."""
    embeddings, baselines = _at_least_single(embeddings), _at_least_single(baselines)
    turning, grid = _turning(embeddings, baselines), np.linspace(0, 1, 129)
    turned, _ = turning(torch.from_numpy(grid).to(embeddings).expand(len(embeddings), -1))
    rough = np.stack([np.interp(levels, row, grid) for row in turned.double().cpu().numpy()])
    points = torch.from_numpy(rough).to(embeddings)
    turned, rate = turning(points)
    points = points + (torch.from_numpy(levels).to(embeddings) - turned) / rate  # a step of Newton's method
    return points, turning(points)[1]


def _at_least_single(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32))
