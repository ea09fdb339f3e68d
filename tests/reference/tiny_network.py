"""A smooth classifier small enough for finite differences: a tanh layer, attention pooling over real tokens, logits."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Weights = tuple[Tensor, Tensor, Tensor]
HIDDEN = 3


def random_weights(dim: int, classes: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(dim, HIDDEN), (HIDDEN,), (HIDDEN, classes)]
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)


def predict(embeddings: Tensor, attention_mask: Tensor, weights: Weights) -> Tensor:
    """Logits. As in real encoders, a row of padding alone attends to its padding evenly instead of being NaN."""
    inner, query, outer = weights
    hidden = torch.tanh(embeddings @ inner)
    scores = (hidden @ query).masked_fill(~attention_mask, torch.finfo(embeddings.dtype).min)
    return (scores.softmax(dim=-1)[..., None] * hidden).sum(dim=1) @ outer


def random_batch(lengths: list[int], dim: int, dtype: torch.dtype = torch.float64, seed: int = 2):
    """Embeddings, noise on the padding included, and an attention mask for texts of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = max(1, *lengths)
    embeddings = torch.randn((len(lengths), tokens, dim), generator=generator, dtype=torch.float64).to(dtype)
    return embeddings, torch.arange(tokens) < torch.tensor(lengths)[:, None]


def in_numpy(weights: Weights, attended: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The logits of one text as a function of its embeddings, (tokens, dim), in numpy and float64."""
    inner, query, outer = (weight.detach().double().numpy() for weight in weights)
    real = attended.numpy()

    def logits(embeddings: np.ndarray) -> np.ndarray:
        hidden = np.tanh(embeddings @ inner)
        exponentials = np.exp(hidden @ query) * (real if real.any() else 1.0)
        return (exponentials / exponentials.sum()) @ hidden @ outer

    return logits
