"""What to train for: the weights, schedule and options of each loss, under a name."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from regex_lib.errors import UserError, check_names, unknown_name
from regex_lib.losses.adversarial import Divergence, PerturbationNorm
from regex_lib.losses.attention import Direction, Normalisation
from regex_lib.losses.gradient import GradientNorm

__all__ = ["RECIPES", "Recipe", "find_recipe"]


@dataclass(frozen=True)
class Recipe:
    """The weights, schedule and options of a training run.

    The loss is the sum of the terms, each times its weight; a term without weight costs nothing. Times are shares of
    the whole training: 0 is its first step, 1 its end.

    Raises:
        UserError: if a number is out of its range or an option is unknown.

    Example:
        >>> recipe = Recipe(igr_weight=0.1, kl_weight=0.02, guidance_from=0.5, guidance_warmup=0.25)
        >>> recipe.weights_at(0.0)
        {'cross_entropy': 1.0, 'igr': 0.1}
        >>> [recipe.weights_at(progress)["kl"] for progress in (0.625, 0.75, 1.0)]
        [0.01, 0.02, 0.02]
    """

    cross_entropy_weight: float = 1.0
    """Weight of the classification loss."""

    igr_weight: float = 0.0
    """Weight of input gradient regularisation."""
    igr_norm: GradientNorm = "squared_l2"
    """How the input gradient is measured."""
    igr_loss: Literal["cross_entropy", "uniform"] = "cross_entropy"
    """Of what the gradient is taken: the classification loss, or the label-free cross-entropy to the uniform one."""
    igr_estimator: Literal["exact", "finite_difference"] = "exact"
    """A double backward pass, or one more forward and backward pass near the input."""
    igr_step: float = 0.01
    """How near, as a share of the embeddings' norm."""

    vat_weight: float = 0.0
    """Weight of virtual adversarial training."""
    vat_epsilon: float = 0.1
    """Size of the perturbation as a share of the embeddings' norm."""
    vat_direction: Literal["power_iteration", "input_gradient"] = "power_iteration"
    """How the direction is found. For two classes the input gradient is what power iteration converges to."""
    vat_xi: float = 0.1
    """Size of the probe that looks for the direction, as a share of the embeddings' norm."""
    vat_power_iterations: int = 1
    """How often the direction is refined."""
    vat_norm: PerturbationNorm = "l2"
    """Whether the perturbation is bounded per text or per token."""
    vat_divergence: Divergence = "kl"
    """How the two predictions are compared."""

    smart_weight: float = 0.0
    """Weight of SMART's smoothness."""
    smart_step: float = 0.001
    """Its largest change of an embedding's entry."""
    freelb_weight: float = 0.0
    """Weight of FreeLB's adversarial classification loss."""
    freelb_epsilon: float = 0.02
    """Size of its perturbation as a share of the embeddings' norm; its start and its steps are half as large.

    A small encoder may learn nothing at this size: with three layers of MiniLM on SST, 0.005 was the largest of those
    tried at which it did.
    """
    freelb_steps: int = 3
    """Its steps of ascent, each with its own forward and backward pass."""

    robust_until: float = 1.0
    """When the losses above, other than cross-entropy, end."""

    kl_weight: float = 0.0
    """Weight of the explanation-guided losses: attention towards attribution."""
    kl_inputs: Literal["both", "clean", "masked"] = "both"
    """Whose attention: that on x, on the masked x, or both."""
    kl_direction: Direction = "attention_to_attribution"
    """Which distribution comes first in the divergence."""
    kl_normalise: Normalisation = "sum"
    """How attributions become a distribution."""
    kl_temperature: float = 1.0
    """Of the softmax, where that is how."""
    kl_smoothing: float = 0.1
    """Share of the uniform distribution mixed into both distributions."""
    saliency_guided_weight: float = 0.0
    """Weight of the divergence between the predictions on x and on the masked x."""
    masked_cross_entropy_weight: float = 0.0
    """Weight of the classification loss on the masked x."""

    guidance_from: float = 0.5
    """When the losses on attention and on the masked x start. From the first step, attention would be pulled towards
    the attributions of an untrained model."""
    guidance_warmup: float = 0.0
    """How long their weights take to grow from 0."""

    attribution: Literal["integrated_gradients", "input_gradient", "gradient_norm", "text_rank"] = (
        "integrated_gradients"
    )
    """What guides. ``"input_gradient"`` is (x - baseline) times the gradient of the loss, and ``"gradient_norm"`` its
    norm: both cost nothing where that gradient is at hand. ``"text_rank"`` does not look at the model. Of a model that
    normalises each embedding before anything else (DeBERTa, ModernBERT), ``"input_gradient"`` is 0 by construction
    where the padding token's embedding is zero: use ``"gradient_norm"`` there."""
    attribution_steps: int = 3
    """Steps of the Integrated Gradients."""
    attribution_noise: float = 0.0
    """Share of the tokens, drawn anew in every step, whose scores are in random order among them: 0 leaves the
    attribution as it is, 1 shuffles it. It decides the mask and the target alike."""
    mask_ratio: float = 0.3
    """Share of the content tokens that are masked: the paper's K."""
    masking: Literal["mask", "pad", "delete"] = "mask"
    """What becomes of them: the mask token, the padding token, or nothing, so that the text gets shorter. Of a text
    without special tokens, one token is never deleted."""
    selector: Literal["lowest", "random"] = "lowest"
    """Which tokens are masked: those whose attribution is smallest in magnitude or, as a control, any."""
    target: Literal["attribution", "shuffled"] = "attribution"
    """What attention is pulled towards: the attribution or, as a control, the same scores in random order."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, choices = getattr(self, name), get_args(hint)
            if choices and value not in choices:
                raise UserError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
            if name in _SHARES and not 0 <= value <= 1:
                raise UserError(f"{name} must be between 0 and 1, got {value}")
            if name in _COUNTS and value < _COUNTS[name]:
                raise UserError(f"{name} must be {_COUNTS[name]} or more, got {value}")
            if name in _POSITIVE and not value > 0:
                raise UserError(f"{name} must be above 0, got {value}")
            if hint is float and not value >= 0:
                raise UserError(f"{name} must be 0 or more, got {value}")
        if not self.kl_smoothing:
            raise UserError("kl_smoothing must be above 0, or the divergence is infinite where an attribution is 0")
        if not all(self.weights_at(progress) for progress in (0.0, self.robust_until, self.guidance_from, 1.0)):
            raise UserError("a part of the training has nothing to train for: cross_entropy_weight must be above 0")

    def weights_at(self, progress: float) -> dict[str, float]:
        """The terms of the loss at a time of the training, with their weights; those without weight are left out."""
        robust = self.robust_until == 1.0 or progress < self.robust_until
        guidance = self._guidance_at(progress)
        weights = {
            "cross_entropy": self.cross_entropy_weight,
            "igr": robust * self.igr_weight,
            "vat": robust * self.vat_weight,
            "smart": robust * self.smart_weight,
            "freelb": robust * self.freelb_weight,
            "kl": guidance * self.kl_weight * (self.kl_inputs != "masked"),
            "kl_masked": guidance * self.kl_weight * (self.kl_inputs != "clean"),
            "saliency_guided": guidance * self.saliency_guided_weight,
            "masked_cross_entropy": guidance * self.masked_cross_entropy_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}

    def _guidance_at(self, progress: float) -> float:
        """The share of their weights that the losses of the guidance have."""
        if progress < self.guidance_from:
            return 0.0
        return min(1.0, (progress - self.guidance_from) / self.guidance_warmup) if self.guidance_warmup else 1.0

    def changed(self, **options: Any) -> "Recipe":
        """The same recipe with other options.

        Raises:
            UserError: if there is no such option.

        Example:
            >>> RECIPES["vat"].changed(vat_weight=2.0).vat_weight
            2.0
        """
        check_names("recipe option", options, [field.name for field in fields(self)])
        return replace(self, **options)


_SHARES = ("robust_until", "guidance_from", "guidance_warmup", "attribution_noise", "mask_ratio", "kl_smoothing")
_COUNTS = {"attribution_steps": 1, "freelb_steps": 1, "vat_power_iterations": 0}
_POSITIVE = ("igr_step", "kl_temperature")

_IGR: dict[str, Any] = {"igr_weight": 0.01}
_ROBUST = _IGR | {"vat_weight": 0.1}
_EGT: dict[str, Any] = {"kl_weight": 0.005}
_REGEX = _ROBUST | _EGT
# The rivals do not wait for attributions to settle: they have none, or take part from the first step.
_FROM_THE_START: dict[str, Any] = {"guidance_from": 0.0}
_RANDOM_MASK: dict[str, Any] = {"masked_cross_entropy_weight": 1.0, "selector": "random"} | _FROM_THE_START

RECIPES: dict[str, Recipe] = {
    "vanilla": Recipe(),
    "igr": Recipe(**_IGR),
    "vat": Recipe(vat_weight=0.5),
    "robust": Recipe(**_ROBUST),
    "egt": Recipe(**_EGT),
    "regex": Recipe(**_REGEX),
    "regex_two_stage": Recipe(**_REGEX, robust_until=0.5, guidance_from=0.5),
    "regex_fast": Recipe(**_REGEX, vat_direction="input_gradient", attribution="input_gradient"),
    "regex_random_mask": Recipe(**_REGEX, selector="random"),
    "regex_shuffled_target": Recipe(**_REGEX, target="shuffled"),
    "random_mask_only": Recipe(**_RANDOM_MASK),
    "igr_random_mask": Recipe(**_IGR, **_RANDOM_MASK),
    "saliency_guided": Recipe(saliency_guided_weight=1.0, attribution="gradient_norm", **_FROM_THE_START),
    "saloss": Recipe(kl_weight=0.02, kl_inputs="clean", attribution="text_rank", **_FROM_THE_START),
    "smart": Recipe(smart_weight=1.0),
    "freelb": Recipe(cross_entropy_weight=0.0, freelb_weight=1.0, freelb_epsilon=0.005),
}
"""The named recipes. The paper's own coefficients are not known; these were chosen on validation data, by
``results/recipe_search.py``."""


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        UserError: if there is none, with the nearest names.

    Example:
        >>> find_recipe("vanilla") == Recipe()
        True
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
