"""What a classifier says of texts, and of texts with tokens removed: every distinct input once, in full batches."""

import datasets
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions.explain import length_batches
from regex_lib.masks import replace
from regex_lib.metrics import classification_report
from regex_lib.models import TextClassifier, TokenBatch, evaluating

__all__ = ["class_probabilities", "classify", "removal_probabilities"]


@torch.no_grad()
def classify(
    classifier: TextClassifier, dataset: datasets.Dataset, *, batch_size: int = 64, max_length: int | None = None
) -> dict[str, float]:
    """Accuracy, macro-F1 and expected calibration error on a data set.

    Args:
        classifier: what to measure; in evaluation mode for the time of the call.
        dataset: rows of ``text`` and ``label``.
        batch_size: texts per pass; those of similar length are batched together.
        max_length: cut longer texts; the model's maximum by default.

    Raises:
        UserError: if a label is not one of the model's classes, or ``batch_size`` is below 1.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> rows = datasets.Dataset.from_dict({"text": ["A fine film.", "Dull."], "label": [1, 0]})
        >>> sorted(classify(load_classifier("minilm", layers=1), rows))
        ['accuracy', 'ece', 'macro_f1']
    """
    texts, labels = list(dataset["text"]), list(dataset["label"])
    classifier.check_labels(labels)
    order, parts = [], []
    with evaluating(classifier):
        for rows in length_batches(texts, batch_size):
            batch = classifier.tokenize([texts[row] for row in rows], max_length)
            parts.append(class_probabilities(classifier, batch.input_ids, batch.attention_mask, batch_size).cpu())
            order += rows
    return classification_report(torch.cat(parts), torch.tensor([labels[row] for row in order]))


def class_probabilities(
    classifier: TextClassifier,
    input_ids: Int64[Tensor, "batch tokens"],
    attention_mask: Bool[Tensor, "batch tokens"],
    batch_size: int,
) -> Float[Tensor, "batch classes"]:
    """Probabilities in float64, each batch cut to its longest text."""
    parts = []
    for ids, attended in zip(input_ids.split(batch_size), attention_mask.split(batch_size), strict=True):
        longest = int(attended.sum(dim=1).max())
        logits = classifier(classifier.embed(ids[:, :longest]), attended[:, :longest]).logits
        parts.append(logits.double().softmax(dim=-1))
    return torch.cat(parts)


def removal_probabilities(
    classifier: TextClassifier,
    batch: TokenBatch,
    removals: Bool[Tensor, "examples removals tokens"],
    token: int,
    target: Int64[Tensor, " examples"],
    unchanged: Float[Tensor, " examples"],
    batch_size: int,
) -> Float[Tensor, "examples removals"]:
    """The target's probability for every removal, from one forward pass per distinct input.

    Args:
        classifier: what to ask.
        batch: the texts.
        removals: true where a token is removed.
        token: what removed tokens become.
        target: the class, per text.
        unchanged: its probability where nothing is removed, for which there is no second pass.
        batch_size: inputs per pass.
    """
    nothing = bytes(removals.shape[2])
    slots = {(example, nothing): example for example in range(len(removals))}
    index = torch.empty(removals.shape[:2], dtype=torch.long)
    distinct: list[tuple[int, int]] = []
    for example, masks in enumerate(removals.cpu().numpy()):
        for column, mask in enumerate(masks):
            slot = slots.setdefault((example, mask.tobytes()), len(slots))
            if slot == len(removals) + len(distinct):
                distinct.append((example, column))
            index[example, column] = slot
    if not distinct:  # no text has content
        return unchanged.cpu()[index]
    examples, columns = torch.tensor(distinct, device=removals.device).unbind(dim=1)
    ids = replace(batch.input_ids[examples], removals[examples, columns], token)
    probabilities = class_probabilities(classifier, ids, batch.attention_mask[examples], batch_size)
    explained = probabilities.gather(1, target[examples, None]).squeeze(1)
    return torch.cat([unchanged, explained]).cpu()[index]
