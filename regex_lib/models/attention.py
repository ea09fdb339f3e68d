"""Fused attention that hands out the weights the library reads: the last layer's pooling row, or every layer's mean."""

import contextvars
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

__all__ = [
    "ATTENTION",
    "AttentionFound",
    "AttentionRecord",
    "AttentionTap",
    "LayerTrace",
    "differentiable_twice",
    "hear_probabilities",
    "listening",
    "recomputation",
]

ATTENTION = "regex_lib"
"""The name under which transformers knows the attention function of this module."""


class AttentionFound(Exception):  # noqa: N818 - it ends a forward pass early, and nothing is wrong
    """Raised in an attention layer when what was listened for is there and nothing else is wanted."""


@dataclass
class LayerTrace:
    """The attention modules that a forward pass went through, in order."""

    layers: list[nn.Module] = field(default_factory=list)


@dataclass
class AttentionTap:
    """Where an attention layer leaves the pooling row of one forward pass."""

    layer: nn.Module
    passes: int
    """How often the forward pass goes through the layer, whose last time counts: ALBERT has one layer for all."""
    positions: Int64[Tensor, " batch"]
    """Where each example's pooling token stands."""
    stop: bool = False
    """End the forward pass as soon as the row is there."""
    row: Float[Tensor, "batch heads tokens"] | None = None

    def reached(self, layer: nn.Module) -> bool:
        """Whether this is the pass through the layer whose row is wanted."""
        self.passes -= layer is self.layer
        return layer is self.layer and self.passes == 0

    def leave(self, row: Float[Tensor, "batch heads tokens"]) -> None:
        """Keep the row."""
        self.row = row
        if self.stop:
            raise AttentionFound


@dataclass
class AttentionRecord:
    """Where the attention layers leave their weights, mean over heads; the forward pass ends with the last of them."""

    count: int
    """How many layers there are."""
    layers: list[Float[Tensor, "batch queries keys"]] = field(default_factory=list)

    def add(self, probabilities: Float[Tensor, "batch heads queries keys"]) -> None:
        """Keep one layer's weights."""
        self.layers.append(probabilities.mean(dim=1))
        if len(self.layers) == self.count:
            raise AttentionFound


Listener = AttentionTap | AttentionRecord | LayerTrace

_active: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let the attention layers of the forward passes inside report to a listener."""
    token = _active.set(listener)
    try:
        yield
    finally:
        _active.reset(token)


_twice: contextvars.ContextVar[bool] = contextvars.ContextVar("twice", default=False)


@contextmanager
def differentiable_twice() -> Iterator[None]:
    """Attention kernels whose gradient can be differentiated again; the fused ones have no such gradient."""
    token = _twice.set(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _twice.reset(token)


class _SameKernels:
    """A context that can be entered more than once: a double backward computes a layer again for each backward."""

    def __init__(self, *, twice: bool) -> None:
        self._twice = twice

    def __enter__(self) -> None:
        self._entered = differentiable_twice() if self._twice else nullcontext()
        self._entered.__enter__()

    def __exit__(self, *failure: Any) -> None:
        self._entered.__exit__(*failure)


def recomputation() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For activation checkpointing: a layer is computed again with the kernels it was computed with at first."""
    return nullcontext(), _SameKernels(twice=_twice.get())


def _attention_forward(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Fused attention that also hands out weights where somebody listens.

    For a tap one row per example is formed explicitly, and the pooling token's output is computed from it, so that
    gradients with respect to the row are those of the prediction. No other weights are formed. The row is in single
    precision or better, whatever the weights are in: a copy made later would be no part of the prediction.
    """
    listener = _active.get()
    if isinstance(listener, LayerTrace):
        listener.layers.append(module)
    elif isinstance(listener, AttentionRecord):
        visible = _visible(module, query, attention_mask, kwargs.get("is_causal"))
        listener.add(_probabilities(query, key, visible, kwargs.get("scaling")))
    elif isinstance(listener, AttentionTap) and listener.reached(module):
        examples = torch.arange(len(query), device=query.device)
        visible = _visible(module, query, attention_mask, kwargs.get("is_causal"))
        if visible is not None:
            visible = visible.expand(len(query), -1, -1, -1)[examples, :, listener.positions].unsqueeze(2)
        pooling = query[examples, :, listener.positions].unsqueeze(2)  # (batch, heads, 1, dim)
        row = _probabilities(pooling, key, visible, kwargs.get("scaling"))
        row = row.squeeze(2).to(torch.promote_types(row.dtype, torch.float32))
        listener.leave(row)
        # The pooled output has to come from the very tensor handed out, or no gradient would reach it.
        dropped = nn.functional.dropout(row, kwargs.get("dropout", 0.0), training=module.training).to(value.dtype)
        pooled = (dropped.unsqueeze(2) @ repeat_kv(value, query.shape[1] // value.shape[1])).squeeze(2)
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output.index_put((examples, listener.positions), pooled.to(output.dtype)), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def _visible(
    module: nn.Module, query: Tensor, attention_mask: Tensor | None, is_causal: bool | None
) -> Bool[Tensor, "#batch 1 tokens tokens"] | None:
    """Which keys each query sees. Where no text is padded, transformers tells the kernel "causal" instead of a mask."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is not None or not causal:
        return attention_mask
    tokens = query.shape[2]
    return torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=query.device).tril()


def _probabilities(
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch groups keys dim"],
    visible: Bool[Tensor, "#batch 1 queries keys"] | None,
    scaling: float | None,
) -> Float[Tensor, "batch heads queries keys"]:
    """Attention weights, written out. Several heads may share one group of keys."""
    key = repeat_kv(key, query.shape[1] // key.shape[1])
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if visible is not None:
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def hear_probabilities(dropout: nn.Dropout) -> None:
    """Let a layer report that writes its attention out, by a hook on the dropout of its weights."""
    if _heard_probabilities not in dropout._forward_pre_hooks.values():
        dropout.register_forward_pre_hook(_heard_probabilities)


def _heard_probabilities(dropout: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
    """Hand out the pooling row, and put it back, so that the prediction is computed from what was handed out."""
    (probabilities,) = inputs  # (batch, heads, queries, keys)
    listener = _active.get()
    if isinstance(listener, LayerTrace):
        listener.layers.append(dropout)
    elif isinstance(listener, AttentionRecord):
        listener.add(probabilities)
    elif isinstance(listener, AttentionTap) and listener.reached(dropout):
        examples, heads = (torch.arange(size, device=probabilities.device) for size in probabilities.shape[:2])
        place = examples[:, None], heads, listener.positions[:, None]
        row = probabilities[place].to(torch.promote_types(probabilities.dtype, torch.float32))
        listener.leave(row)
        return (probabilities.index_put(place, row.to(probabilities.dtype)),)
    return None


AttentionInterface.register(ATTENTION, _attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
