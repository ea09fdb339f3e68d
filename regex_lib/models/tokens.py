"""Texts as padded tensors, with the way back from each token to its place in the text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from regex_lib.errors import UserError

__all__ = ["TokenBatch", "boundary_ids", "check_tokenizer", "tokenize"]


@dataclass(frozen=True)
class TokenBatch:
    """Texts as padded tensors, with what is needed to find each token in its text again."""

    input_ids: Int64[Tensor, "batch tokens"]
    attention_mask: Bool[Tensor, "batch tokens"]
    """True where a token is not padding."""
    content_mask: Bool[Tensor, "batch tokens"]
    """True where a token is neither padding nor special."""
    offsets: list[list[tuple[int, int]]]
    """For every token, its first character and the one after its last, without the white space around it; (0, 0) for
    special tokens and padding."""
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


def check_tokenizer(tokenizer: Any, embedded: int) -> None:
    """Refuse a tokenizer that cannot do what is asked of it here.

    Args:
        tokenizer: any.
        embedded: how many tokens the model embeds.

    Raises:
        UserError: if it has no character offsets, no padding token, or a padding or mask token that the model does not
            embed.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{type(tokenizer).__name__} has no character offsets: load its fast version")
    if tokenizer.pad_token_id is None:
        raise UserError("the tokenizer has no padding token: set tokenizer.pad_token first, to its eos_token say")
    for name, number in (("padding", tokenizer.pad_token_id), ("mask", tokenizer.mask_token_id)):
        if number is not None and number >= embedded:
            raise UserError(
                f"the {name} token is number {number}, but the model embeds {embedded} tokens: "
                "call model.resize_token_embeddings(len(tokenizer)) first"
            )


def boundary_ids(tokenizer: Any) -> set[int]:
    """The ids of special tokens that structure the input; [MASK] and [UNK] are content, and not here."""
    names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
    structure = {i for n in names if (i := getattr(tokenizer, n, None)) is not None}
    # Many decoders pad with their unknown token, which is content where it stands in a text.
    return structure | ({tokenizer.pad_token_id} - {tokenizer.unk_token_id})


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> TokenBatch:
    """Texts as one batch, padded on the right and cut to a length.

    A text without any token, as tokenizers without special tokens make of an empty one, becomes a single attended
    padding token, so that a decoder has a last token to read.

    Args:
        tokenizer: a fast tokenizer with a padding token.
        texts: one string or more.
        max_length: in tokens, special ones included.

    Raises:
        UserError: if ``texts`` is a single string, whose letters would be taken for texts.
    """
    if isinstance(texts, str):
        raise UserError("texts must be a list of texts, got a single one: put it into brackets")
    encoded = tokenizer(
        list(texts),
        padding=True,
        padding_side="right",
        truncation=True,
        max_length=max_length,
        return_attention_mask=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    width = max([1, *map(len, encoded["input_ids"])])
    ids, attended, special = (
        torch.tensor([row + [fill] * (width - len(row)) for row in encoded[name]], dtype=torch.long)
        for name, fill in (("input_ids", tokenizer.pad_token_id), ("attention_mask", 0), ("special_tokens_mask", 1))
    )
    boundary = torch.isin(ids, torch.tensor(sorted(boundary_ids(tokenizer)), dtype=torch.long))
    content = attended.bool() & ~special.bool() & ~boundary
    attended[:, :1] |= attended.sum(dim=1, keepdim=True) == 0
    offsets = [
        [_without_space(text, *span) for span in row] + [(0, 0)] * (width - len(row))
        for text, row in zip(texts, encoded["offset_mapping"], strict=True)
    ]
    truncated = [bool(encoding.overflowing) for encoding in encoded.encodings]
    return TokenBatch(ids, attended.bool(), content, offsets, truncated)


def _without_space(text: str, start: int, stop: int) -> tuple[int, int]:
    """Byte-level and SentencePiece tokenizers count the space before a word into it; some tokens are only space."""
    piece = text[start:stop]
    if not piece.strip():
        return start, stop
    return start + len(piece) - len(piece.lstrip()), stop - len(piece) + len(piece.rstrip())
