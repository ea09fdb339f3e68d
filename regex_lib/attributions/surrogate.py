"""Attributions from a linear model fitted to the predictions around a text: LIME and Kernel SHAP, by captum.

Both explain the target's probability, are signed, and depend on the seed and the text only. Samples replace content
tokens and keep special ones; each distinct one costs a forward pass. Several times as many as the text has tokens are
needed. A text of one token gets the difference that the token makes.
"""

import math
from typing import Any, Literal

import captum.attr
import torch
from captum._utils.models.linear_model import SkLearnRidge
from jaxtyping import Float, Int64
from torch import Tensor

from regex_lib.attributions.perturbation import class_probabilities, target_probabilities
from regex_lib.attributions.registry import register
from regex_lib.attributions.sampling import example_generators
from regex_lib.errors import UserError
from regex_lib.models import TextClassifier, TokenBatch
from regex_lib.models.loading import seeded

__all__ = ["kernel_shap", "lime"]

# Both are the defaults that the authors' package has for texts.
_KERNEL_WIDTH = 0.25  # in cosine distance
_RIDGE = 1.0


@register("lime")
def lime(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    n_samples: int = 200,
    replacement: Literal["mask", "pad"] = "mask",
    batch_size: int = 64,
    seed: int = 0,
) -> Float[Tensor, "batch tokens"]:
    r"""LIME: coefficients of a ridge regression of the probability on which tokens are kept.

    Each token of a sample is kept with probability 1/2. A sample counts by :math:`\exp(-d^2 / (2 \cdot 0.25^2))`, where
    :math:`d` is the cosine distance between what it keeps and the full text.

    Args:
        classifier: what to explain.
        batch: the texts.
        target: the class to explain, per example.
        n_samples: samples per text.
        replacement: what removed tokens become.
        batch_size: samples per pass.
        seed: of the samples.

    Raises:
        UserError: if ``n_samples`` is below 2 or ``replacement`` is neither of the two.

    References:
        Ribeiro et al. 2016, section 3.
    """

    def similarity(_: Tensor, __: Tensor, kept: Tensor, **options: Any) -> float:
        distance = 1 - math.sqrt(float(kept.double().mean()))
        return math.exp(-(distance**2) / (2 * _KERNEL_WIDTH**2))

    def explainer(explained: Any) -> captum.attr.Lime:
        return captum.attr.Lime(explained, SkLearnRidge(alpha=_RIDGE), similarity)

    return _coefficients(explainer, classifier, batch, target, n_samples, replacement, batch_size, seed)


@register("kernel_shap")
def kernel_shap(
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    *,
    n_samples: int = 200,
    replacement: Literal["mask", "pad"] = "mask",
    batch_size: int = 64,
    seed: int = 0,
) -> Float[Tensor, "batch tokens"]:
    """Kernel SHAP: Shapley values of the tokens, estimated by a regression whose samples follow the Shapley kernel.

    The scores of a text sum to its probability minus that of the text with all content replaced.

    Args:
        classifier: what to explain.
        batch: the texts.
        target: the class to explain, per example.
        n_samples: samples per text; the first two are the full text and the one without content.
        replacement: what removed tokens become.
        batch_size: samples per pass.
        seed: of the samples.

    Raises:
        UserError: if ``n_samples`` is below 2 or ``replacement`` is neither of the two.

    References:
        Lundberg and Lee 2017, section 4.1.
    """
    return _coefficients(captum.attr.KernelShap, classifier, batch, target, n_samples, replacement, batch_size, seed)


def _coefficients(
    explainer: Any,
    classifier: TextClassifier,
    batch: TokenBatch,
    target: Int64[Tensor, " batch"],
    n_samples: int,
    replacement: str,
    batch_size: int,
    seed: int,
) -> Float[Tensor, "batch tokens"]:
    """What an explainer of captum's gives for the content tokens of each text, one text after another."""
    if n_samples < 2:
        raise UserError(f"n_samples must be 2 or more, got {n_samples}")
    if replacement not in ("mask", "pad"):
        raise UserError(f"replacement must be 'mask' or 'pad', got {replacement!r}")
    token = classifier.mask_id if replacement == "mask" else classifier.pad_id
    predict = class_probabilities(classifier)
    scores = torch.zeros(batch.input_ids.shape, device=batch.input_ids.device)
    for row, generator in enumerate(example_generators(batch, seed)):
        attended, content = batch.attention_mask[row], batch.content_mask[row]
        ids, counts = batch.input_ids[row, attended][None], content[attended]
        removed = ids.masked_fill(counts, token)

        def explained(
            variants: Int64[Tensor, "samples kept"], wanted: Int64[Tensor, " one"] = target[row : row + 1]
        ) -> Float[Tensor, " samples"]:
            everything = torch.ones_like(variants, dtype=torch.bool)
            wanted = wanted.expand(len(variants))
            return target_probabilities(predict, variants, everything, wanted, classifier.pad_id, batch_size)

        if counts.sum() == 1:  # captum's Kernel SHAP needs two features, and one has nothing to estimate
            scores[row, content] = (explained(ids) - explained(removed)).to(scores)
        elif counts.any():
            # Special tokens share the first token's feature, which cannot change them: they are in both texts.
            features = (counts.cumsum(dim=0) - 1).masked_fill(~counts, 0)[None]
            with seeded(generator.initial_seed()):
                scores[row, content] = (
                    explainer(explained)
                    .attribute(
                        ids,
                        baselines=removed,
                        feature_mask=features,
                        n_samples=n_samples,
                        perturbations_per_eval=n_samples,
                        return_input_shape=False,
                    )
                    .flatten()
                    .to(scores)
                )
    return scores
