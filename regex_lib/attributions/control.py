"""The control that every attribution has to beat."""

import zlib

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions.registry import register
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["random"]


@register("random")
def random(
    classifier: TextClassifier, batch: TokenBatch, target: Int64[Tensor, " batch"], *, seed: int = 0
) -> Float[Tensor, "batch tokens"]:
    """Uniform random scores in [0, 1).

    They are drawn from the seed and the text's own tokens, so that a text gets the same scores whatever else is in its
    batch, and different models are compared on the same random ranking.
    """
    scores = torch.zeros(batch.input_ids.shape)
    for row, ids, attended in zip(scores, batch.input_ids.cpu(), batch.attention_mask.cpu(), strict=True):
        tokens = ids[attended]
        digest = zlib.crc32(tokens.numpy().tobytes(), seed)
        row[: len(tokens)] = torch.rand(len(tokens), generator=torch.Generator().manual_seed(digest))
    return scores.to(batch.input_ids.device)
