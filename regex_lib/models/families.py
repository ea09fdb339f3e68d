"""What differs between families of models: how they pool their tokens, and how their attention is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from regex_lib.errors import UserError
from regex_lib.models.attention import ATTENTION, LayerTrace, hear_probabilities, listening
from regex_lib.models.modes import evaluating

__all__ = [
    "FAMILIES",
    "Family",
    "Pooling",
    "attention_layers",
    "family_of",
    "pooled_logits",
    "pooling_positions",
    "pooling_weights",
]

Pooling = Literal["first", "last", "mean"]
"""What the head reads: the first token, the last one that is not padding, or the mean of all that are not."""


@dataclass(frozen=True)
class Family:
    """How models of one family pool their tokens, and how their attention is read."""

    pooling: Callable[[Any], Pooling]
    """From the model's configuration."""
    open_attention: Callable[[transformers.PreTrainedModel], None]
    """Makes the model's attention layers report to :func:`regex_lib.models.attention.listening`."""
    adds_positions: Callable[[Any], bool]
    """Whether positions are added to the embeddings before the first normalisation, from the model's configuration.
    Where they are not, a token whose embedding is zero has no direction."""


def _route_attention(model: transformers.PreTrainedModel) -> None:
    """Where attention goes through transformers' AttentionInterface, it goes through our function."""
    model.set_attn_implementation(ATTENTION)


def _hook_disentangled_attention(model: transformers.PreTrainedModel) -> None:
    """DeBERTa adds scores of positions to those of contents, and writes its attention out."""
    for module in model.modules():
        if type(module).__name__ == "DisentangledSelfAttention":
            hear_probabilities(module.dropout)


_ENCODER = Family(lambda _: "first", _route_attention, lambda _: True)
_DEBERTA = Family(lambda _: "first", _hook_disentangled_attention, lambda config: config.position_biased_input)
_MODERNBERT = Family(
    lambda config: "first" if config.classifier_pooling == "cls" else "mean", _route_attention, lambda _: False
)
_GPT2 = Family(lambda _: "last", _route_attention, lambda _: True)
_DECODER = Family(lambda _: "last", _route_attention, lambda _: False)

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(["albert", "bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"], _ENCODER),
    **dict.fromkeys(["deberta", "deberta-v2"], _DEBERTA),
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    **dict.fromkeys(["gemma", "llama", "mistral", "phi3", "qwen2", "qwen3"], _DECODER),
}
"""The supported families by the ``model_type`` of their configuration; ``deberta-v2`` is DeBERTa-v3's too. One that
works like another can be added: ``FAMILIES["ernie"] = FAMILIES["bert"]``."""


def family_of(model: transformers.PreTrainedModel) -> Family:
    """The family of a model.

    Raises:
        UserError: if it is not in :data:`FAMILIES`.
    """
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise UserError(
            f"{type(model).__name__} is of the family {kind!r}, for which there is neither a pooling rule nor an "
            f"attention hook; known: {', '.join(FAMILIES)}. If it pools and attends like one of these, say so by "
            f"regex_lib.models.FAMILIES[{kind!r}] = FAMILIES['bert']"
        )
    return FAMILIES[kind]


def pooling_positions(pooling: Pooling, attention_mask: Bool[Tensor, "batch tokens"]) -> Int64[Tensor, " batch"]:
    """Where each example's pooling token stands.

    Raises:
        UserError: if the model averages over all tokens.

    Example:
        >>> attended = torch.tensor([[True, True, False], [True, True, True]])
        >>> pooling_positions("last", attended)
        tensor([1, 2])
    """
    if pooling == "first":
        return attention_mask.new_zeros(len(attention_mask), dtype=torch.long)
    if pooling == "last":
        return (attention_mask * torch.arange(attention_mask.shape[1], device=attention_mask.device)).argmax(dim=1)
    raise UserError(
        "the model averages over all tokens: no token pools, so there is no row of attention that the prediction is "
        "computed from; choose another attribution, or train with config.classifier_pooling = 'cls'"
    )


def pooling_weights(pooling: Pooling, attention_mask: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    """What share each token's last state has in what the head reads; rows sum to 1.

    Example:
        >>> attended = torch.tensor([[True, True, False]])
        >>> pooling_weights("last", attended), pooling_weights("mean", attended)
        (tensor([[0., 1., 0.]]), tensor([[0.5000, 0.5000, 0.0000]]))
    """
    if pooling == "mean":
        return attention_mask / attention_mask.sum(dim=1, keepdim=True).clamp(min=1)
    positions = pooling_positions(pooling, attention_mask)
    return torch.nn.functional.one_hot(positions, attention_mask.shape[1]).float()


def pooled_logits(
    model: transformers.PreTrainedModel,
    pooling: Pooling,
    embeddings: Float[Tensor, "batch tokens dim"],
    attention_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, "batch classes"]:
    """The model's logits for embeddings in place of ids."""
    inputs = {"inputs_embeds": embeddings, "attention_mask": attention_mask.long()}
    if pooling != "last":
        return model(**inputs).logits
    # Decoders find their last token by the padding's id. Of embeddings they would take the last, padding or not.
    hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    examples = torch.arange(len(hidden), device=hidden.device)
    return model.score(hidden[examples, pooling_positions(pooling, attention_mask)])


def attention_layers(model: transformers.PreTrainedModel, pooling: Pooling, pad_id: int) -> list[nn.Module]:
    """The modules that report attention, in the order in which a forward pass goes through them.

    Raises:
        UserError: if none reports, or the last cannot be that of a model that pools so.
    """
    trace, name = LayerTrace(), type(model).__name__
    ids = torch.full((1, 2), pad_id, device=model.device)
    with listening(trace), evaluating(model), torch.no_grad():
        pooled_logits(model, pooling, model.get_input_embeddings()(ids), torch.ones_like(ids, dtype=torch.bool))
    if not trace.layers:
        raise UserError(
            f"{name} does not route its attention through transformers' AttentionInterface, and there is no hook "
            "that reads its attention weights: its entry in regex_lib.models.FAMILIES needs one"
        )
    if pooling == "first" and getattr(trace.layers[-1], "is_causal", False):
        raise UserError(f"{name} is a decoder, whose first token sees nothing: it cannot be the one that pools")
    return trace.layers
