"""Fused attention that hands out the one row of weights the library reads: the last layer's pooling query."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

__all__ = ["ATTENTION", "AttentionTap", "LayerTrace", "listening"]

ATTENTION = "regex_lib"
"""The name under which transformers knows the attention function of this module."""


@dataclass
class AttentionTap:
    """Where the attention function leaves the pooling row of one layer during one forward pass."""

    layer: nn.Module
    row: Tensor | None = None


@dataclass
class LayerTrace:
    """The attention modules that a forward pass went through, in order."""

    layers: list[nn.Module] = field(default_factory=list)


_active: contextvars.ContextVar[AttentionTap | LayerTrace | None] = contextvars.ContextVar("listener", default=None)


@contextmanager
def listening(listener: AttentionTap | LayerTrace | None) -> Iterator[None]:
    """Let the attention layers of the forward passes inside report to a listener."""
    token = _active.set(listener)
    try:
        yield
    finally:
        _active.reset(token)


def _attention_forward(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Fused attention that can also hand out, in one layer, the pooling query's row of attention weights.

    That one row is formed explicitly, and the pooling position's output is computed from it, so that gradients with
    respect to the row are those of the prediction. No other weights are ever formed.
    """
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    listener = _active.get()
    if isinstance(listener, LayerTrace):
        listener.layers.append(module)
    if not isinstance(listener, AttentionTap) or listener.layer is not module:
        return output, None
    scaling = kwargs.get("scaling") or query.size(-1) ** -0.5
    scores = query[:, :, :1] @ key.transpose(2, 3) * scaling  # (batch, heads, 1, tokens)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask[:, :, :1], torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    listener.row = weights.squeeze(2)
    # The pooled output has to come from the very tensor handed out, or no gradient would reach it.
    dropped = nn.functional.dropout(listener.row, kwargs.get("dropout", 0.0), training=module.training)
    pooled = dropped.unsqueeze(2) @ value
    return torch.cat([pooled.transpose(1, 2), output[:, 1:]], dim=1), None


AttentionInterface.register(ATTENTION, _attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
