"""A Hugging Face model with a classification head: embeddings in, logits and attention out."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from regex_lib.errors import UserError
from regex_lib.models.attention import (
    AttentionFound,
    AttentionRecord,
    AttentionTap,
    differentiable_twice,
    listening,
    recomputation,
)
from regex_lib.models.families import (
    attention_layers,
    family_of,
    pooled_logits,
    pooling_positions,
    pooling_weights,
)
from regex_lib.models.quiet import quiet_transformers
from regex_lib.models.tokens import TokenBatch, boundary_ids, check_tokenizer, tokenize

__all__ = ["ClassifierOutput", "TextClassifier"]


@dataclass(frozen=True)
class ClassifierOutput:
    """What a forward pass gives."""

    logits: Float[Tensor, "batch classes"]
    head_attention: Float[Tensor, "batch heads tokens"] | None
    """The pooling query's row in the last layer, before dropout, if it was asked for."""

    @property
    def attention(self) -> Float[Tensor, "batch tokens"]:
        """The pooling query's row, mean over heads."""
        if self.head_attention is None:
            raise ValueError("attention was not recorded: call the classifier with return_attention=True")
        return self.head_attention.mean(dim=1)


class TextClassifier(nn.Module):
    """An encoder or decoder with a classification head, and its tokenizer.

    The model takes input embeddings, so that everything can be differentiated per position, and gives logits and, when
    asked, the pooling row of the last layer's attention. The pooling token is the one the head reads: the first in most
    encoders, the last that is not padding in decoders. A model whose head averages over all tokens (ModernBERT with
    ``classifier_pooling="mean"``) has no such row, but everything else. Models run on fused attention kernels; the
    exceptions are ``double_backward=True``, and DeBERTa, for which there are none. A classifier serves one thread at a
    time: the mode it is put into, and what its attention reports, are its own state.

    Args:
        model: an ``AutoModelForSequenceClassification`` of one of the :data:`regex_lib.models.FAMILIES`. Its attention
            is made to report to this library, in place; what it computes stays the same. But its own
            ``model(..., output_attentions=True).attentions`` are ``()`` from then on: see :meth:`all_attention`.
        tokenizer: its fast tokenizer.

    Raises:
        UserError: if the tokenizer has no offsets, no padding token, a padding or mask token that the model does not
            embed, or ends every text of a decoder with its padding; or the model is of another family, has fewer than
            two classes, or classes that do not exclude each other.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> classifier = load_classifier("minilm", layers=1)
        >>> batch = classifier.tokenize(["A fine film.", "Dull"])
        >>> output = classifier(classifier.embed(batch.input_ids), batch.attention_mask, return_attention=True)
        >>> output.logits.shape, output.attention.shape
        (torch.Size([2, 2]), torch.Size([2, 6]))
    """

    def __init__(self, model: transformers.PreTrainedModel, tokenizer: Any) -> None:
        super().__init__()
        if int(model.config.num_labels) < 2:
            raise UserError(f"the model has {model.config.num_labels} class: a classifier needs 2 or more")
        kind = model.config.problem_type
        if kind in ("multi_label_classification", "regression"):
            raise UserError(f"the model was made for {kind}, expected is single_label_classification: one class a text")
        check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings)
        model.config.return_dict = True  # a checkpoint may say otherwise
        self.model = model
        self.tokenizer = tokenizer
        family = family_of(model)
        family.open_attention(model)
        self._pooling = family.pooling(model.config)
        self._use_cache = getattr(model.config, "use_cache", False)
        if self._pooling == "last":
            if model.config.pad_token_id is None:
                model.config.pad_token_id = tokenizer.pad_token_id  # by which transformers finds the last token
            _check_ending(tokenizer, model.config.pad_token_id)
        # In a tuple, because a module assigned to a module would be registered, and its weights saved, twice.
        self._attention_layers = tuple(attention_layers(model, self._pooling, self.pad_id))
        self.training = model.training  # a new module says that it trains, whatever its parts do

    def _logits(
        self, embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        return pooled_logits(self.model, self._pooling, embeddings, attention_mask)

    def _tap(self, attention_mask: Bool[Tensor, "batch tokens"], *, stop: bool = False) -> AttentionTap:
        """For the pooling row of the last layer."""
        last, positions = self._attention_layers[-1], pooling_positions(self._pooling, attention_mask)
        return AttentionTap(last, self._attention_layers.count(last), positions, stop)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def num_labels(self) -> int:
        """How many classes there are."""
        return int(self.model.config.num_labels)

    @property
    def label_names(self) -> list[str]:
        """The classes' names, which are saved with the model; LABEL_0 and so on until they are set."""
        return [self.model.config.id2label.get(label, f"LABEL_{label}") for label in range(self.num_labels)]

    @label_names.setter
    def label_names(self, names: Sequence[str]) -> None:
        if len(names) != self.num_labels:
            raise UserError(f"the model has {self.num_labels} classes, but there are {len(names)} names")
        self.model.config.id2label = dict(enumerate(names))
        self.model.config.label2id = {name: label for label, name in enumerate(names)}

    def check_labels(self, labels: Sequence[int]) -> None:
        """Refuse labels that are not among the classes.

        Raises:
            UserError: if there is one, or one that is no whole number; it names the label.
        """
        classes = range(self.num_labels)
        for label in labels:
            if label not in classes:
                raise UserError(f"the data has label {label!r}, but the model has {self.num_labels} classes")

    @property
    def max_length(self) -> int:
        """The longest input, in tokens with the special ones."""
        positions = [int(self.model.config.max_position_embeddings)]
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # RoBERTa counts its positions from the padding index on.
                positions.append(module.num_embeddings - (-1 if module.padding_idx is None else module.padding_idx) - 1)
        return min(int(self.tokenizer.model_max_length), *positions)

    @property
    def pad_id(self) -> int:
        """The id of the padding token: what removed tokens become by default."""
        return int(self.tokenizer.pad_token_id)

    @property
    def mask_id(self) -> int:
        """The id of the mask token, or of the padding token where the tokenizer has no mask."""
        return self.pad_id if self.tokenizer.mask_token_id is None else int(self.tokenizer.mask_token_id)

    @property
    def boundary_ids(self) -> set[int]:
        """The ids of special tokens that structure the input; [MASK] and [UNK] are content, and not here."""
        return boundary_ids(self.tokenizer)

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> TokenBatch:
        """Texts as one padded batch on the model's device.

        Args:
            texts: one string or more. A text of only special tokens, or none, has an empty content mask.
            max_length: cut texts to this many tokens, special ones included; the model's own maximum by default.

        Raises:
            UserError: if ``texts`` is a single string, or ``max_length`` is above the model's maximum.
        """
        longest = self.max_length if max_length is None else max_length
        if not 3 <= longest <= self.max_length:
            raise UserError(f"max_length must be between 3 and the model's {self.max_length}, got {longest}")
        return tokenize(self.tokenizer, texts, longest).to(self.device)

    def embed(self, input_ids: Int64[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """The input embeddings, before positions and layer normalisation."""
        return self.model.get_input_embeddings()(input_ids)

    def forward(
        self,
        embeddings: Float[Tensor, "batch tokens dim"],
        attention_mask: Bool[Tensor, "batch tokens"],
        *,
        return_attention: bool = False,
        double_backward: bool = False,
    ) -> ClassifierOutput:
        """Logits, and the pooling row of the last layer's attention when asked.

        Args:
            embeddings: from :meth:`embed`, or any change of them, padded on the right.
            attention_mask: true where a token is not padding.
            return_attention: record the pooling row, per head.
            double_backward: use an attention kernel whose gradient can be differentiated again, which input gradient
                regularisation needs and fused kernels do not have.

        Raises:
            UserError: if attention is asked for and the model has no pooling token.
        """
        tap = self._tap(attention_mask) if return_attention else None
        with listening(tap), differentiable_twice() if double_backward else nullcontext():
            logits = self._logits(embeddings, attention_mask)
        return ClassifierOutput(_at_least_single(logits), None if tap is None else tap.row)

    def pooling_attention(
        self, embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens"]:
        """The pooling row of the last layer's attention, mean over heads, where nothing else is wanted.

        The forward pass ends at that row: it costs neither the rest of the last layer nor the head.

        Args:
            embeddings: from :meth:`embed`, or any change of them.
            attention_mask: true where a token is not padding.

        Raises:
            UserError: if the model has no pooling token.
        """
        tap = self._tap(attention_mask, stop=True)
        with listening(tap), suppress(AttentionFound):
            self._logits(embeddings, attention_mask)
        assert tap.row is not None  # found when the classifier was made
        return tap.row.mean(dim=1)

    def all_attention(
        self, embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "layers batch tokens tokens"]:
        """Every layer's attention weights, mean over heads: rows are queries, and sum to 1.

        Memory: layers x batch x tokens^2 numbers stay (for 12 layers, 32 texts of 512 tokens, in single precision, 400
        MB), and each layer's weights, heads times as many as one of these, are formed on the way. Rows of padding mean
        nothing.

        Args:
            embeddings: from :meth:`embed`, or any change of them.
            attention_mask: true where a token is not padding.
        """
        record = AttentionRecord(len(self._attention_layers))
        with listening(record), suppress(AttentionFound):
            self._logits(embeddings, attention_mask)
        return torch.stack(record.layers)

    def pooling_weights(self, attention_mask: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
        """What share each token's last state has in what the head reads: 1 for a pooling token, or equal shares."""
        return pooling_weights(self._pooling, attention_mask)

    def checkpoint_activations(self, **kwargs: Any) -> None:
        """Trade time for memory in training: keep only the layers' inputs, and compute the rest again when needed.

        The last layer is left out, because its attention row is handed out and its forward pass may end early.
        :meth:`keep_activations` undoes it.

        Args:
            **kwargs: for transformers' ``activation_checkpointing_enable``.
        """
        options = {"use_reentrant": False} | (kwargs.pop("activation_checkpointing_kwargs", None) or {})
        options["context_fn"] = recomputation
        self.model.config.use_cache = False
        self.model.activation_checkpointing_enable(activation_checkpointing_kwargs=options, **kwargs)
        for module in self.model.modules():
            if isinstance(module, GradientCheckpointingLayer) and self._attention_layers[-1] in module.modules():
                module.gradient_checkpointing = False

    def keep_activations(self) -> None:
        """Undo :meth:`checkpoint_activations`."""
        self.model.activation_checkpointing_disable()
        self.model.config.use_cache = self._use_cache

    def forward_func(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The classifier as a function of embeddings and attention mask to logits, as captum and the losses take it."""
        return lambda embeddings, attention_mask: self(embeddings, attention_mask).logits

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors), configuration and tokenizer, so that ``from_pretrained`` opens the folder."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def _check_ending(tokenizer: Any, pad_id: int) -> None:
    """Of a text that ends in the padding's token, transformers would read another last token than this library."""
    if set(tokenizer("a")["input_ids"][-1:]) & {tokenizer.pad_token_id, pad_id}:
        raise UserError(
            f"the tokenizer ends every text with the padding token {tokenizer.pad_token!r}: first set "
            "tokenizer.pad_token and model.config.pad_token_id to a token of its own"
        )


def _at_least_single(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Mixed precision ends where losses begin: a divergence of two half-precision predictions can be below 0."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
