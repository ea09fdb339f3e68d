"""Attribution by leaving out: what the target's probability becomes without a token. No gradients."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot, pad

from regex_lib.attributions.registry import register
from regex_lib.errors import UserError
from regex_lib.masks import drop, replace
from regex_lib.models import TextClassifier, TokenBatch

__all__ = ["Predict", "class_probabilities", "leave_one_out", "target_probabilities"]

Predict = Callable[[Int64[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]], Float[Tensor, "batch classes"]]
"""Token ids and attention mask to class probabilities, for any number of tokens."""


def class_probabilities(classifier: TextClassifier) -> Predict:
    """The classifier as a function of token ids and attention mask to probabilities in float64, without gradients."""

    def predict(
        input_ids: Int64[Tensor, "batch tokens"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        with torch.no_grad():
            return classifier(classifier.embed(input_ids), attention_mask).logits.double().softmax(dim=-1)

    return predict


def leave_one_out(
    predict: Predict,
    input_ids: Int64[Tensor, "batch tokens"],
    attention_mask: Bool[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
    target: Int64[Tensor, " batch"],
    *,
    replacement: int | None,
    pad_id: int,
    unchanged: Float[Tensor, " batch"] | None = None,
    batch_size: int = 64,
) -> Float[Tensor, "batch tokens"]:
    r"""Leave-one-out: how much the target's probability drops without a token, :math:`p_c(x) - p_c(x \setminus i)`.

    Every distinct input is predicted once, whatever example it comes from, in batches of similar length.

    Args:
        predict: token ids and attention mask to class probabilities; see :func:`class_probabilities`.
        input_ids: the texts, padded on the right.
        attention_mask: true where a token is not padding.
        content_mask: true where a token counts; only these are left out.
        target: the class to explain, per example.
        replacement: the id that takes a token's place; without one the token is deleted, and the text gets shorter.
            Where nothing is left of it, one padding token is attended.
        pad_id: what fills up the shorter texts.
        unchanged: the target's probability for the full texts, if it is known already.
        batch_size: inputs per pass.

    Returns:
        Drops in [-1, 1]: positive where a token speaks for the class, 0 outside the content mask.

    References:
        Li et al. 2016 (Understanding neural networks through representation erasure), with probabilities in place of
        log-likelihoods, as in Jain and Wallace 2019, section 4.1.

    Example:
        >>> def predict(ids, attention_mask):  # the share of sevens
        ...     share = ((ids == 7) & attention_mask).sum(1) / attention_mask.sum(1)
        ...     return torch.stack([1 - share, share], dim=-1)
        >>> ids, attended = torch.tensor([[7, 5, 7, 7]]), torch.ones(1, 4, dtype=torch.bool)
        >>> leave_one_out(predict, ids, attended, attended, torch.tensor([1]), replacement=0, pad_id=0)
        tensor([[0.2500, 0.0000, 0.2500, 0.2500]])
        >>> leave_one_out(predict, ids, attended, attended, torch.tensor([1]), replacement=None, pad_id=0)
        tensor([[ 0.0833, -0.2500,  0.0833,  0.0833]])
    """
    attention_mask, content_mask = attention_mask.bool(), content_mask.bool()
    examples, positions = content_mask.nonzero(as_tuple=True)
    left_out = one_hot(positions, input_ids.shape[1]).bool()
    ids, attended = input_ids[examples], attention_mask[examples]
    if replacement is not None:
        ids = replace(ids, left_out, replacement)
    elif len(ids):
        ids, attended = (pad(x, (0, input_ids.shape[1] - x.shape[1])) for x in drop(ids, attended, left_out, pad_id))
        nothing = ~attended.any(dim=1)
        ids[nothing, 0], attended[nothing, 0] = pad_id, True
    wanted = target[examples]
    if unchanged is None:
        ids, attended = torch.cat([input_ids, ids]), torch.cat([attention_mask, attended])
        wanted = torch.cat([target, wanted])
    explained = target_probabilities(predict, ids, attended, wanted, pad_id, batch_size)
    if unchanged is None:
        unchanged, explained = explained[: len(target)], explained[len(target) :]
    drops = torch.zeros(input_ids.shape, dtype=explained.dtype, device=input_ids.device)
    drops[content_mask] = unchanged[examples] - explained
    return drops


def target_probabilities(
    predict: Predict,
    input_ids: Int64[Tensor, "inputs tokens"],
    attention_mask: Bool[Tensor, "inputs tokens"],
    target: Int64[Tensor, " inputs"],
    pad_id: int,
    batch_size: int,
) -> Float[Tensor, " inputs"]:
    """The target's probability for each input, from one prediction per distinct input, in batches of similar length.

    Args:
        predict: token ids and attention mask to class probabilities.
        input_ids: the inputs, padded on the right.
        attention_mask: true where a token is not padding.
        target: the class, per input.
        pad_id: what fills up shorter inputs.
        batch_size: inputs per pass.
    """
    if not len(input_ids):
        return torch.zeros(0, dtype=torch.float64, device=input_ids.device)
    distinct, index = torch.where(attention_mask, input_ids, -1).unique(dim=0, return_inverse=True)
    lengths = (distinct >= 0).sum(dim=1)
    order = lengths.argsort()
    parts = []
    for rows in order.split(batch_size):
        ids = distinct[rows, : int(lengths[rows].max())]
        parts.append(predict(ids.where(ids >= 0, pad_id), ids >= 0))
    predicted = torch.cat(parts)[order.argsort()]
    return predicted[index].gather(1, target[:, None]).squeeze(1)


@register("leave_one_out")
def _leave_one_out(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    replacement: Literal["mask", "pad", "delete"] = "mask",
    batch_size: int = 64,
) -> Float[Tensor, "batch tokens"]:
    tokens = {"mask": classifier.mask_id, "pad": classifier.pad_id, "delete": None}
    if replacement not in tokens:
        raise UserError(f"replacement must be 'mask', 'pad' or 'delete', got {replacement!r}")
    return leave_one_out(
        class_probabilities(classifier),
        batch.input_ids,
        batch.attention_mask,
        batch.content_mask,
        target,
        replacement=tokens[replacement],
        pad_id=classifier.pad_id,
        batch_size=batch_size,
    )
