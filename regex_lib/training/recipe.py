"""What to train for: the weights, schedule and options of each loss, under a name."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from regex_lib.errors import UserError, unknown_name
from regex_lib.losses.adversarial import Divergence, PerturbationNorm
from regex_lib.losses.attention import Direction, Normalisation
from regex_lib.losses.gradient import GradientNorm

__all__ = ["RECIPES", "Recipe", "find_recipe"]


@dataclass(frozen=True)
class Recipe:
    """The weights, schedule and options of a training run.

    The loss is cross-entropy + igr_weight * IGR + vat_weight * VAT + kl_weight * (KL on x + KL on the masked x).

    Times are shares of the whole training: 0 is its first step, 1 its end.

    Raises:
        UserError: if a weight is negative, a share is outside [0, 1] or an option is unknown.

    Example:
        >>> recipe = Recipe(kl_weight=0.02, guidance_from=0.5, guidance_warmup=0.25)
        >>> [recipe.guidance_at(progress) for progress in (0.0, 0.5, 0.625, 0.75, 1.0)]
        [0.0, 0.0, 0.01, 0.02, 0.02]
    """

    igr_weight: float = 0.0
    """Weight of input gradient regularisation."""
    igr_norm: GradientNorm = "squared_l2"
    """How the input gradient is measured."""

    vat_weight: float = 0.0
    """Weight of virtual adversarial training."""
    vat_epsilon: float = 0.1
    """Size of the perturbation as a share of the embeddings' norm."""
    vat_xi: float = 0.1
    """Size of the probe that looks for the direction, as a share of the embeddings' norm."""
    vat_power_iterations: int = 1
    """How often the direction is refined."""
    vat_norm: PerturbationNorm = "l2"
    """Whether the perturbation is bounded per text or per token."""
    vat_divergence: Divergence = "kl"
    """How the two predictions are compared."""

    robust_until: float = 1.0
    """When the robustness losses (IGR, VAT) end."""

    kl_weight: float = 0.0
    """Weight of the explanation-guided losses: attention towards attribution, on x and on the masked x."""
    kl_direction: Direction = "attention_to_attribution"
    """Which distribution comes first in the divergence."""
    kl_normalise: Normalisation = "sum"
    """How attributions become a distribution."""
    kl_temperature: float = 1.0
    """Of the softmax, where that is how."""
    kl_smoothing: float = 0.1
    """Share of the uniform distribution mixed into both distributions."""

    guidance_from: float = 0.5
    """When the guidance starts. From the first step it would pull towards the attributions of an untrained model."""
    guidance_warmup: float = 0.0
    """How long its weight takes to grow from 0 to ``kl_weight``."""

    attribution_steps: int = 3
    """Steps of the Integrated Gradients that guide."""
    mask_ratio: float = 0.3
    """Share of the content tokens that are masked: the paper's K."""
    selector: Literal["lowest", "random"] = "lowest"
    """Which tokens are masked: those whose attribution is smallest in magnitude or, as a control, any."""
    target: Literal["attribution", "shuffled"] = "attribution"
    """What attention is pulled towards: the attribution or, as a control, the same scores in random order."""

    def __post_init__(self) -> None:
        for name in ("igr_weight", "vat_weight", "kl_weight", "vat_epsilon", "vat_xi"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("robust_until", "guidance_from", "guidance_warmup", "mask_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.attribution_steps < 1:
            raise UserError(f"attribution_steps must be 1 or more, got {self.attribution_steps}")
        if self.selector not in ("lowest", "random"):
            raise UserError(f"selector must be 'lowest' or 'random', got {self.selector!r}")
        if self.target not in ("attribution", "shuffled"):
            raise UserError(f"target must be 'attribution' or 'shuffled', got {self.target!r}")

    def robustness_at(self, progress: float) -> bool:
        """Whether the robustness losses are on at a time of the training."""
        weighted = self.igr_weight > 0 or self.vat_weight > 0
        return weighted and (progress < self.robust_until or self.robust_until == 1.0)

    def guidance_at(self, progress: float) -> float:
        """The weight of the explanation-guided losses at a time of the training."""
        if progress < self.guidance_from:
            return 0.0
        if self.guidance_warmup == 0:
            return self.kl_weight
        return self.kl_weight * min(1.0, (progress - self.guidance_from) / self.guidance_warmup)

    def changed(self, **options: Any) -> "Recipe":
        """The same recipe with other options.

        Raises:
            UserError: if there is no such option.

        Example:
            >>> RECIPES["vat"].changed(vat_weight=2.0).vat_weight
            2.0
        """
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise unknown_name("recipe option", name, known)
        return replace(self, **options)


_IGR: dict[str, Any] = {"igr_weight": 3e-4}
_VAT: dict[str, Any] = {"vat_weight": 0.5}
_EGT: dict[str, Any] = {"kl_weight": 0.02}

RECIPES: dict[str, Recipe] = {
    "vanilla": Recipe(),
    "igr": Recipe(**_IGR),
    "vat": Recipe(**_VAT),
    "robust": Recipe(**_IGR, **_VAT),
    "egt": Recipe(**_EGT),
    "regex": Recipe(**_IGR, **_VAT, **_EGT),
    "regex_two_stage": Recipe(**_IGR, **_VAT, **_EGT, robust_until=0.5, guidance_from=0.5),
    "regex_random_mask": Recipe(**_IGR, **_VAT, **_EGT, selector="random"),
    "regex_shuffled_target": Recipe(**_IGR, **_VAT, **_EGT, target="shuffled"),
}
"""The named recipes. The paper's own coefficients are not known; these were chosen on validation data."""


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
