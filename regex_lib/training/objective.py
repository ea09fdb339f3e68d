"""The training objective: a classifier and a recipe as one module that gives the loss and its terms."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from regex_lib.losses import (
    attention_attribution_divergence,
    finite_difference_penalty,
    freelb_loss,
    gradient_penalty,
    saliency_guided_loss,
    smart_loss,
    virtual_adversarial_loss,
)
from regex_lib.models import TextClassifier, TokenBatch
from regex_lib.training.passes import Passes
from regex_lib.training.recipe import Recipe

__all__ = ["RegexObjective"]


class RegexObjective(nn.Module):
    """A classifier and a recipe as one module whose forward pass gives the loss and its terms.

    In training mode each term is computed from the :class:`regex_lib.training.passes.Passes` of the step, so that a
    pass which serves several terms is made once. In evaluation mode there is only the cross-entropy.

    As a module it can be wrapped by whatever wraps modules (``DistributedDataParallel`` and its kin): all the passes of
    a step lie inside one forward call. Its state dict is that of the Hugging Face model.

    Args:
        classifier: what to train.
        recipe: what for.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> from regex_lib.training import RECIPES
        >>> objective = RegexObjective(load_classifier("minilm", layers=1), RECIPES["regex"]).train()
        >>> batch = objective.classifier.tokenize(["A fine film.", "Dull."])
        >>> terms = objective(batch.input_ids, batch.attention_mask, batch.content_mask, torch.tensor([1, 0]))
        >>> sorted(terms)
        ['cross_entropy', 'igr', 'kl', 'kl_masked', 'logits', 'loss', 'vat']
    """

    def __init__(self, classifier: TextClassifier, recipe: Recipe) -> None:
        super().__init__()
        self.classifier = classifier
        self.recipe = recipe

    def forward(
        self,
        input_ids: Int64[Tensor, "batch tokens"],
        attention_mask: Bool[Tensor, "batch tokens"],
        content_mask: Bool[Tensor, "batch tokens"],
        labels: Int64[Tensor, " batch"],
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """The loss of a batch, its terms by name (each before weighting), and the logits.

        Args:
            input_ids: the tokens.
            attention_mask: true where a token is not padding.
            content_mask: true where a token is neither padding nor special.
            labels: the true classes.
            progress: share of the training done, in [0, 1]; the recipe's schedule depends on it.
        """
        batch = TokenBatch(input_ids, attention_mask, content_mask, offsets=[], truncated=[])
        weights = self.recipe.weights_at(progress) if self.training else {"cross_entropy": 1.0}
        passes = Passes(self.classifier, self.recipe, batch, labels, weights)
        terms = {name: TERMS[name](passes) for name in weights}
        loss = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        return {"loss": loss, "logits": passes.clean.logits, **terms}

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """What ``TrainingArguments(activation_checkpointing=True)`` calls."""
        self.classifier.checkpoint_activations(**kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The Hugging Face model's own state dict, so that checkpoints are ordinary ones."""
        return self.classifier.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load what :meth:`state_dict` gave."""
        return self.classifier.model.load_state_dict(*args, **kwargs)


def _cross_entropy(passes: Passes) -> Float[Tensor, ""]:
    return passes.losses.mean()


def _igr(passes: Passes) -> Float[Tensor, ""]:
    recipe = passes.recipe
    if recipe.igr_estimator == "exact":
        return gradient_penalty(passes.gradient, norm=recipe.igr_norm)
    return finite_difference_penalty(
        passes.penalised_losses_at,
        passes.embeddings,
        passes.batch.attention_mask,
        passes.gradient,
        passes.penalised_losses,
        norm=recipe.igr_norm,
        step=recipe.igr_step,
    )


def _vat(passes: Passes) -> Float[Tensor, ""]:
    recipe = passes.recipe
    return virtual_adversarial_loss(
        passes.logits_at,
        passes.embeddings,
        passes.batch.attention_mask,
        passes.clean.logits,
        epsilon=recipe.vat_epsilon,
        xi=recipe.vat_xi,
        power_iterations=recipe.vat_power_iterations,
        norm=recipe.vat_norm,
        divergence=recipe.vat_divergence,
        perturbation=passes.perturbation(),
    )


def _smart(passes: Passes) -> Float[Tensor, ""]:
    with passes.precision():
        return smart_loss(
            passes.logits_at,
            passes.embeddings,
            passes.batch.attention_mask,
            passes.clean.logits,
            step_size=passes.recipe.smart_step,
        )


def _freelb(passes: Passes) -> Float[Tensor, ""]:
    return freelb_loss(
        passes.losses_at,
        passes.embeddings,
        passes.batch.attention_mask,
        steps=passes.recipe.freelb_steps,
        step_size=passes.recipe.freelb_epsilon / 2,
        init_size=passes.recipe.freelb_epsilon / 2,
        max_norm=passes.recipe.freelb_epsilon,
    )


def _kl(passes: Passes) -> Float[Tensor, ""]:
    return _divergence(passes, passes.clean.attention, passes.target, passes.batch.content_mask)


def _kl_masked(passes: Passes) -> Float[Tensor, ""]:
    return _divergence(passes, passes.masked_attention, passes.masked.target, passes.masked.content_mask)


def _divergence(
    passes: Passes,
    attention: Float[Tensor, "batch tokens"],
    target: Float[Tensor, "batch tokens"],
    content_mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, ""]:
    recipe = passes.recipe
    return attention_attribution_divergence(
        attention,
        target,
        content_mask,
        direction=recipe.kl_direction,
        normalise=recipe.kl_normalise,
        temperature=recipe.kl_temperature,
        smoothing=recipe.kl_smoothing,
    )


def _saliency_guided(passes: Passes) -> Float[Tensor, ""]:
    return saliency_guided_loss(passes.clean.logits, passes.masked_output.logits)


def _masked_cross_entropy(passes: Passes) -> Float[Tensor, ""]:
    return F.cross_entropy(passes.masked_output.logits, passes.labels)


TERMS: dict[str, Callable[[Passes], Float[Tensor, ""]]] = {
    "cross_entropy": _cross_entropy,
    "igr": _igr,
    "vat": _vat,
    "smart": _smart,
    "freelb": _freelb,
    "kl": _kl,
    "kl_masked": _kl_masked,
    "saliency_guided": _saliency_guided,
    "masked_cross_entropy": _masked_cross_entropy,
}
"""How each term of the loss is computed from the passes of a step."""
