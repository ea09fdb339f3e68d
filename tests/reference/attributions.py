"""Attributions a second time: one example, one token and one sample after another, from the definitions."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Game = Callable[[frozenset[int]], float]


def shapley_values(value: Game, players: int) -> list[float]:
    """Shapley 1953: the mean gain that a player brings, over all orders of joining."""
    totals = [0.0] * players
    for order in itertools.permutations(range(players)):
        present: frozenset[int] = frozenset()
        for player in order:
            totals[player] += value(present | {player}) - value(present)
            present |= {player}
    return [total / math.factorial(players) for total in totals]


def path_integral(
    explained: Callable[[Tensor], Tensor], embeddings: Tensor, baseline: Tensor, points: int = 500
) -> Tensor:
    """Integrated Gradients of one text, (tokens, dim), as a fine midpoint sum."""
    total = torch.zeros_like(embeddings)
    for k in range(points):
        point = (baseline + (k + 0.5) / points * (embeddings - baseline)).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(explained(point), point)
        total += gradient / points
    return ((embeddings - baseline) * total).sum(dim=-1)


def angle_walked(embeddings: np.ndarray, baseline: np.ndarray, added: float = 1 / 3) -> tuple[np.ndarray, np.ndarray]:
    """How far one text's tokens, (tokens, dim), have turned together along the path, walked in small steps.

    Gives the places on the path and the share of the angle that lies before each. What the model adds is a coordinate
    of its own, at right angles to all others.
    """
    moving = (embeddings != baseline).any(axis=1)
    height = added * np.maximum(*(np.linalg.norm(x[moving], axis=1) for x in (embeddings, baseline))).mean()
    grid = np.linspace(0, 1, 20001)
    turned = np.zeros(len(grid))
    for end, start in zip(embeddings[moving], baseline[moving], strict=True):
        vectors = np.hstack([start + grid[:, None] * (end - start), np.full((len(grid), 1), height)])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        chords = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
        turned[1:] += np.cumsum(2 * np.arcsin(chords / 2))
    return grid, turned / turned[-1]


def leave_one_out(
    probability: Callable[[list[int]], float], ids: Sequence[int], content: Sequence[bool], replacement: int | None
) -> list[float]:
    """Drops of one text, each input predicted alone and without padding."""
    drops = []
    for place, counts in enumerate(content):
        without = [*ids[:place], *([] if replacement is None else [replacement]), *ids[place + 1 :]]
        drops.append(probability(list(ids)) - probability(without) if counts else 0.0)
    return drops


def weighted_ridge(samples: np.ndarray, outputs: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """Coefficients of a ridge regression with an intercept that is not penalised, from the normal equations."""
    design = np.hstack([samples, np.ones((len(samples), 1))])
    penalties = np.diag([penalty] * samples.shape[1] + [0.0])
    weighted = design * weights[:, None]
    return np.linalg.solve(weighted.T @ design + penalties, weighted.T @ outputs)[:-1]
