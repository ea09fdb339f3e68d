"""A Hugging Face encoder with a classification head: embeddings in, logits and attention out."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from regex_lib.errors import UserError
from regex_lib.models.attention import ATTENTION, AttentionTap, LayerTrace, listening
from regex_lib.models.modes import evaluating
from regex_lib.models.quiet import quiet_transformers

__all__ = ["ClassifierOutput", "TextClassifier", "TokenBatch"]


@dataclass(frozen=True)
class TokenBatch:
    """Texts as padded tensors, with what is needed to find each token in its text again."""

    input_ids: Int64[Tensor, "batch tokens"]
    attention_mask: Bool[Tensor, "batch tokens"]
    """True where a token is not padding."""
    content_mask: Bool[Tensor, "batch tokens"]
    """True where a token is neither padding nor special."""
    offsets: list[list[tuple[int, int]]]
    """For every token, its first character and the one after its last, (0, 0) for special tokens and padding."""
    truncated: list[bool]
    """For every text, whether its end did not fit."""

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch with its tensors on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            content_mask=self.content_mask.to(device),
        )


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
    """An encoder with a classification head, and its tokenizer.

    The model takes input embeddings, so that everything can be differentiated per position, and gives logits and, when
    asked, the pooling row of the last layer's attention. It runs on fused attention kernels; the one exception is
    ``double_backward=True``.

    Args:
        model: any ``AutoModelForSequenceClassification`` of the BERT, RoBERTa or DistilBERT families. Its attention
            implementation is switched to this library's, in place; what it computes stays the same.
        tokenizer: its fast tokenizer.

    Raises:
        UserError: if the tokenizer has no offsets or no padding token, or the model is not such an encoder with two
            classes or more.

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
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(f"{type(tokenizer).__name__} has no character offsets: load its fast version")
        if int(model.config.num_labels) < 2:
            raise UserError(f"the model has {model.config.num_labels} class: a classifier needs 2 or more")
        if tokenizer.pad_token_id is None:
            raise UserError("the tokenizer has no padding token: set tokenizer.pad_token first")
        self.model = model
        self.tokenizer = tokenizer
        model.set_attn_implementation(ATTENTION)
        # In a tuple, because a module assigned to a module would be registered, and its weights saved, twice.
        self._pooling_layer = (self._find_pooling_layer(),)
        self.training = model.training  # a new module says that it trains, whatever its parts do

    def _find_pooling_layer(self) -> nn.Module:
        """The last layer's attention module: the last one that a forward pass goes through."""
        trace, name = LayerTrace(), type(self.model).__name__
        with listening(trace), evaluating(self.model), torch.no_grad():
            ids = torch.full((1, 2), self.tokenizer.pad_token_id, device=self.device)
            self.model(inputs_embeds=self.embed(ids), attention_mask=torch.ones_like(ids))
        if not trace.layers:
            raise UserError(
                f"{name} does not route its attention through transformers' AttentionInterface, "
                "so its attention weights cannot be read"
            )
        if getattr(trace.layers[-1], "is_causal", False):
            raise UserError(f"{name} is a decoder: only encoders that pool their first token are supported")
        return trace.layers[-1]

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
        return [self.model.config.id2label[label] for label in range(self.num_labels)]

    @label_names.setter
    def label_names(self, names: Sequence[str]) -> None:
        if len(names) != self.num_labels:
            raise UserError(f"the model has {self.num_labels} classes, but there are {len(names)} names")
        self.model.config.id2label = dict(enumerate(names))
        self.model.config.label2id = {name: label for label, name in enumerate(names)}

    def check_labels(self, labels: Sequence[int]) -> None:
        """Refuse labels that are not among the classes.

        Raises:
            UserError: if there is one; it names the label.
        """
        for label in (min(labels, default=0), max(labels, default=0)):
            if not 0 <= label < self.num_labels:
                raise UserError(f"the data has label {label}, but the model has {self.num_labels} classes")

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
        """The id of the padding token: what removed tokens become in the paper's protocol."""
        return int(self.tokenizer.pad_token_id)

    @property
    def mask_id(self) -> int:
        """The id of the mask token, or of the padding token where the tokenizer has no mask."""
        return self.pad_id if self.tokenizer.mask_token_id is None else int(self.tokenizer.mask_token_id)

    @property
    def boundary_ids(self) -> set[int]:
        """The ids of special tokens that structure the input; [MASK] and [UNK] are content, and not here."""
        names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
        return {i for n in names if (i := getattr(self.tokenizer, n, None)) is not None}

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> TokenBatch:
        """Texts as one padded batch on the model's device.

        Args:
            texts: one string or more. A text of only special tokens, or none, has an empty content mask.
            max_length: cut texts to this many tokens, special ones included; the model's own maximum by default.

        Raises:
            UserError: if ``max_length`` is above the model's maximum.
        """
        longest = self.max_length if max_length is None else max_length
        if not 3 <= longest <= self.max_length:
            raise UserError(f"max_length must be between 3 and the model's {self.max_length}, got {longest}")
        encoded = self.tokenizer(
            list(texts),
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=longest,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        ids, attended = encoded["input_ids"], encoded["attention_mask"].bool()
        boundary = torch.isin(ids, torch.tensor(sorted(self.boundary_ids)))
        content = attended & ~encoded["special_tokens_mask"].bool() & ~boundary
        offsets = [[(int(a), int(b)) for a, b in row] for row in encoded["offset_mapping"]]
        truncated = [bool(encoding.overflowing) for encoding in encoded.encodings]
        return TokenBatch(ids, attended, content, offsets, truncated).to(self.device)

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
            embeddings: from :meth:`embed`, or any change of them.
            attention_mask: true where a token is not padding.
            return_attention: record the pooling row, per head.
            double_backward: use an attention kernel whose gradient can be differentiated again, which input gradient
                regularisation needs and fused kernels do not have.
        """
        tap = AttentionTap(*self._pooling_layer) if return_attention else None
        kernel = sdpa_kernel(SDPBackend.MATH) if double_backward else nullcontext()
        with listening(tap), kernel:
            logits = self.model(inputs_embeds=embeddings, attention_mask=attention_mask.long()).logits
        return ClassifierOutput(logits, tap.row if tap else None)

    def forward_func(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The classifier as a function of embeddings and attention mask to logits, as captum and the losses take it."""
        return lambda embeddings, attention_mask: self(embeddings, attention_mask).logits

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors), configuration and tokenizer, so that ``from_pretrained`` opens the folder."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
