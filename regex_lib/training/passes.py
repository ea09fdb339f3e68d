"""The passes through the model that a training step may need, each made once, when it is first asked for."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regex_lib.attributions import baseline_embeddings, integrated_gradients
from regex_lib.losses import adversarial_direction, input_gradient, text_rank, uniform_cross_entropy
from regex_lib.masks import bottom_k_mask, kept_positions, random_k_mask, replace, token_budget
from regex_lib.models import ClassifierOutput, TextClassifier, TokenBatch, evaluating
from regex_lib.training.recipe import Recipe

__all__ = ["MaskedTexts", "Passes"]


@dataclass(frozen=True)
class MaskedTexts:
    """The batch with its least important tokens masked, and what its attention is pulled towards."""

    input_ids: Int64[Tensor, "batch kept"]
    attention_mask: Bool[Tensor, "batch kept"]
    content_mask: Bool[Tensor, "batch kept"]
    target: Float[Tensor, "batch kept"]


class Passes:
    """What the terms of one step are computed from.

    Args:
        classifier: the model.
        recipe: with which options.
        batch: the texts.
        labels: their classes.
        terms: the names of the terms that will be asked for, so that each pass records what they need and no more.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        recipe: Recipe,
        batch: TokenBatch,
        labels: Int64[Tensor, " batch"],
        terms: Collection[str],
    ) -> None:
        self.classifier = classifier
        self.recipe = recipe
        self.batch = batch
        self.labels = labels
        self._terms = terms
        self._randomness = _random_state(batch.input_ids.device)
        self._exact = "igr" in terms and recipe.igr_estimator == "exact"
        self._fine = "smart" in terms or ("igr" in terms and recipe.igr_estimator == "finite_difference")
        # Other kernels, or an attention row with its own dropout, would draw the dropout of a replayed pass otherwise.
        self._passing = {"return_attention": "kl" in terms, "double_backward": self._exact}

    @cached_property
    def embeddings(self) -> Float[Tensor, "batch tokens dim"]:
        """The input embeddings, which are differentiated even where their weights are frozen."""
        embeddings = self.classifier.embed(self.batch.input_ids)
        return embeddings.requires_grad_() if torch.is_grad_enabled() else embeddings

    @cached_property
    def clean(self) -> ClassifierOutput:
        """The forward pass on x."""
        return self._pass(self.embeddings, self.batch.attention_mask)

    @cached_property
    def losses(self) -> Float[Tensor, " batch"]:
        """The cross-entropy of the clean pass."""
        return F.cross_entropy(self.clean.logits, self.labels, reduction="none")

    @cached_property
    def penalised_losses(self) -> Float[Tensor, " batch"]:
        """The loss whose input gradient counts: the cross-entropy, with the labels or without."""
        return self.losses if self.recipe.igr_loss == "cross_entropy" else uniform_cross_entropy(self.clean.logits)

    @cached_property
    def gradient(self) -> Float[Tensor, "batch tokens dim"]:
        """The input gradient, with its graph where the penalty needs one."""
        with self.precision():
            return input_gradient(
                self.penalised_losses, self.embeddings, self.batch.attention_mask, create_graph=self._exact
            )

    @cached_property
    def loss_gradient(self) -> Float[Tensor, "batch tokens dim"]:
        """The gradient of the cross-entropy, which guides; that of the penalty where they are the same."""
        if self.recipe.igr_loss == "cross_entropy":
            return self.gradient
        return input_gradient(self.losses, self.embeddings, self.batch.attention_mask)

    def logits_at(
        self, embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        """A forward pass near x, with the dropout of the clean pass: else dropout would be measured as well."""
        with _replayed(self._randomness, embeddings.device):
            return self._pass(embeddings, attention_mask).logits

    def _pass(
        self, embeddings: Float[Tensor, "batch tokens dim"], attention_mask: Bool[Tensor, "batch tokens"]
    ) -> ClassifierOutput:
        """On x or near it."""
        with self.precision():
            return self.classifier(embeddings, attention_mask, **self._passing)

    def precision(self) -> AbstractContextManager[object]:
        """Of what is compared: float32 where mixed precision would blur the difference between two near passes."""
        return torch.autocast(self.batch.input_ids.device.type, enabled=False) if self._fine else nullcontext()

    def losses_at(self, embeddings: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, " batch"]:
        """The cross-entropy near x."""
        return F.cross_entropy(self.logits_at(embeddings, self.batch.attention_mask), self.labels, reduction="none")

    def penalised_losses_at(self, embeddings: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, " batch"]:
        """The loss whose input gradient counts, near x."""
        if self.recipe.igr_loss == "cross_entropy":
            return self.losses_at(embeddings)
        return uniform_cross_entropy(self.logits_at(embeddings, self.batch.attention_mask))

    def perturbation(self) -> Float[Tensor, "batch tokens dim"] | None:
        """The perturbation of virtual adversarial training, where the input gradient gives its direction."""
        if self.recipe.vat_direction == "power_iteration":
            return None
        return adversarial_direction(
            self.gradient.detach(),
            self.embeddings.detach(),
            self.batch.attention_mask,
            epsilon=self.recipe.vat_epsilon,
            norm=self.recipe.vat_norm,
        )

    @cached_property
    def attribution(self) -> Float[Tensor, "batch tokens"]:
        """What guides: scores of the content tokens, without a graph."""
        scores = _ATTRIBUTIONS[self.recipe.attribution](self).detach().masked_fill(~self.batch.content_mask, 0.0)
        return _degraded(scores, self.batch.content_mask, self.recipe.attribution_noise)

    @cached_property
    def target(self) -> Float[Tensor, "batch tokens"]:
        """What attention is pulled towards."""
        shuffled = self.recipe.target == "shuffled"
        return _shuffled(self.attribution, self.batch.content_mask) if shuffled else self.attribution

    @cached_property
    def masked(self) -> MaskedTexts:
        """The texts with their least important tokens, or any tokens, masked."""
        recipe, batch = self.recipe, self.batch
        budget = token_budget(batch.content_mask, recipe.mask_ratio, rounding="down")
        if recipe.masking == "delete":
            budget = budget.minimum(batch.attention_mask.sum(dim=-1) - 1)  # a token must be left to read
        if recipe.selector == "random":
            masked = random_k_mask(batch.content_mask, budget)
        else:
            masked = bottom_k_mask(self.attribution.abs(), batch.content_mask, budget)
        target = self.target if "kl_masked" in self._terms else torch.zeros_like(masked, dtype=torch.float)
        if recipe.masking == "delete":
            order, kept = kept_positions(batch.attention_mask, masked)
            ids = batch.input_ids.gather(-1, order).masked_fill(~kept, self.classifier.pad_id)
            return MaskedTexts(ids, kept, batch.content_mask.gather(-1, order) & kept, target.gather(-1, order))
        token = self.classifier.mask_id if recipe.masking == "mask" else self.classifier.pad_id
        return MaskedTexts(replace(batch.input_ids, masked, token), batch.attention_mask, batch.content_mask, target)

    @cached_property
    def masked_output(self) -> ClassifierOutput:
        """The forward pass on the masked x."""
        embeddings = self.classifier.embed(self.masked.input_ids)
        return self.classifier(embeddings, self.masked.attention_mask, return_attention="kl_masked" in self._terms)

    @cached_property
    def masked_attention(self) -> Float[Tensor, "batch kept"]:
        """The attention on the masked x. Where its logits are not needed, the pass ends there."""
        if {"saliency_guided", "masked_cross_entropy"} & set(self._terms):
            return self.masked_output.attention
        embeddings = self.classifier.embed(self.masked.input_ids)
        return self.classifier.pooling_attention(embeddings, self.masked.attention_mask)


def _integrated_gradients(passes: Passes) -> Float[Tensor, "batch tokens"]:
    """Of the predicted class, without dropout."""
    classifier, batch = passes.classifier, passes.batch
    target = passes.clean.logits.argmax(dim=-1)
    with evaluating(classifier):
        return integrated_gradients(
            classifier.forward_func(),
            passes.embeddings.detach(),
            baseline_embeddings(classifier, batch),
            batch.attention_mask,
            target,
            n_steps=passes.recipe.attribution_steps,
            quadrature="gauss_legendre",
        )


def _input_gradient(passes: Passes) -> Float[Tensor, "batch tokens"]:
    """Integrated Gradients with one step at the input; of the loss, not of a class."""
    difference = passes.embeddings - baseline_embeddings(passes.classifier, passes.batch)
    return (difference * passes.loss_gradient).sum(dim=-1)


def _gradient_norm(passes: Passes) -> Float[Tensor, "batch tokens"]:
    return passes.loss_gradient.norm(dim=-1)


def _text_rank(passes: Passes) -> Float[Tensor, "batch tokens"]:
    return text_rank(passes.batch.input_ids, passes.batch.content_mask)


_ATTRIBUTIONS = {
    "integrated_gradients": _integrated_gradients,
    "input_gradient": _input_gradient,
    "gradient_norm": _gradient_norm,
    "text_rank": _text_rank,
}


def _shuffled(
    scores: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Each example's scores in random order over its content tokens."""
    draws = torch.rand_like(scores).masked_fill(~content_mask, torch.inf)
    # The i-th smallest draw's position receives the score of the i-th content token.
    source = (~content_mask).long().argsort(dim=-1, stable=True)
    return torch.zeros_like(scores).scatter(-1, draws.argsort(dim=-1), scores.gather(-1, source))


def _degraded(
    scores: Float[Tensor, "batch tokens"], content_mask: Bool[Tensor, "batch tokens"], share: float
) -> Float[Tensor, "batch tokens"]:
    """Each token is chosen with the probability ``share``; the scores of an example's chosen tokens are shuffled.

    An example keeps the scores it has, so that only their places degrade. Of n tokens a token keeps its own score with
    the probability (1 - share) + (1 - (1 - share)^n) / n, which falls from 1 to the 1 / n of a shuffled target.
    """
    if not share:  # and no random number is drawn
        return scores
    chosen = content_mask & (torch.rand_like(scores) < share)
    return torch.where(chosen, _shuffled(scores, chosen), scores)


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
