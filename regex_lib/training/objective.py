"""The training objective: each pass through the model once, each loss from the passes it needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from regex_lib.attributions import baseline_embeddings, integrated_gradients
from regex_lib.losses import attention_attribution_divergence, input_gradient_penalty, virtual_adversarial_loss
from regex_lib.masks import bottom_k_mask, random_k_mask, replace, token_budget
from regex_lib.models import ClassifierOutput, TextClassifier, TokenBatch, evaluating
from regex_lib.training.recipe import Recipe

__all__ = ["RegexObjective"]


class RegexObjective(nn.Module):
    """A classifier and a recipe as one module whose forward pass gives the loss and its terms.

    In training mode the clean pass serves the cross-entropy, IGR, the target of VAT, the prediction to explain and the
    attention on x. In evaluation mode there is only the cross-entropy.

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
        recipe = self.recipe
        robust = self.training and recipe.robustness_at(progress)
        guidance = recipe.guidance_at(progress) if self.training else 0.0
        passing = {"return_attention": guidance > 0, "double_backward": robust and recipe.igr_weight > 0}

        randomness = _random_state(input_ids.device)
        embeddings = self.classifier.embed(input_ids)
        clean = self.classifier(embeddings, attention_mask, **passing)
        losses = F.cross_entropy(clean.logits, labels, reduction="none")
        terms = {"cross_entropy": losses.mean()}
        weights = {"cross_entropy": 1.0}
        if robust and recipe.igr_weight > 0:
            terms["igr"] = input_gradient_penalty(losses, embeddings, attention_mask, norm=recipe.igr_norm)
            weights["igr"] = recipe.igr_weight
        if robust and recipe.vat_weight > 0:
            terms["vat"] = self._virtual_adversarial(embeddings, attention_mask, clean, randomness, passing)
            weights["vat"] = recipe.vat_weight
        if guidance > 0:
            terms |= self._explanation_guided(batch, clean)
            weights |= {"kl": guidance, "kl_masked": guidance}
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": loss, "logits": clean.logits, **terms}

    def _virtual_adversarial(
        self,
        embeddings: Float[Tensor, "batch tokens dim"],
        attention_mask: Bool[Tensor, "batch tokens"],
        clean: ClassifierOutput,
        randomness: Tensor,
        passing: dict[str, Any],
    ) -> Float[Tensor, ""]:
        def forward(perturbed: Tensor, mask: Tensor) -> Tensor:
            # The clean pass's dropout, or the divergence would measure dropout instead of the perturbation.
            with _replayed(randomness, perturbed.device):
                return self.classifier(perturbed, mask, **passing).logits

        return virtual_adversarial_loss(
            forward,
            embeddings,
            attention_mask,
            clean.logits,
            epsilon=self.recipe.vat_epsilon,
            xi=self.recipe.vat_xi,
            power_iterations=self.recipe.vat_power_iterations,
            norm=self.recipe.vat_norm,
            divergence=self.recipe.vat_divergence,
        )

    def _explanation_guided(self, batch: TokenBatch, clean: ClassifierOutput) -> dict[str, Tensor]:
        """Attention on x and on the masked x, both towards the attribution on x."""
        recipe, classifier = self.recipe, self.classifier
        scores = self._attribution(batch, clean.logits.argmax(dim=-1))
        budget = token_budget(batch.content_mask, recipe.mask_ratio, rounding="down")
        if recipe.selector == "random":
            masked = random_k_mask(batch.content_mask, budget)
        else:
            masked = bottom_k_mask(scores.abs(), batch.content_mask, budget)
        target = _shuffled(scores, batch.content_mask) if recipe.target == "shuffled" else scores
        masked_ids = replace(batch.input_ids, masked, classifier.mask_id)
        guided = classifier(classifier.embed(masked_ids), batch.attention_mask, return_attention=True)
        divergences = [
            attention_attribution_divergence(
                attention,
                target,
                batch.content_mask,
                direction=recipe.kl_direction,
                normalise=recipe.kl_normalise,
                temperature=recipe.kl_temperature,
                smoothing=recipe.kl_smoothing,
            )
            for attention in (clean.attention, guided.attention)
        ]
        return {"kl": divergences[0], "kl_masked": divergences[1]}

    def _attribution(self, batch: TokenBatch, target: Int64[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
        """Integrated Gradients without dropout and without a graph."""
        classifier = self.classifier
        with evaluating(classifier):
            return integrated_gradients(
                classifier.forward_func(),
                classifier.embed(batch.input_ids).detach(),
                baseline_embeddings(classifier, batch),
                batch.attention_mask,
                target,
                n_steps=self.recipe.attribution_steps,
            ).masked_fill(~batch.content_mask, 0.0)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The Hugging Face model's own state dict, so that checkpoints are ordinary ones."""
        return self.classifier.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load what :meth:`state_dict` gave."""
        return self.classifier.model.load_state_dict(*args, **kwargs)


def _shuffled(
    scores: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Each example's scores in random order over its content tokens."""
    draws = torch.rand_like(scores).masked_fill(~content_mask, torch.inf)
    # The i-th smallest draw's position receives the score of the i-th content token.
    source = (~content_mask).long().argsort(dim=-1, stable=True)
    return torch.zeros_like(scores).scatter(-1, draws.argsort(dim=-1), scores.gather(-1, source))


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _replayed(state: Tensor, device: torch.device) -> Iterator[None]:
    """Draw again the random numbers that followed a state; afterwards all is as if they had not been drawn."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        if on_cuda:
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield
