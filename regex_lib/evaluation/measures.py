"""The metrics by name: what each removes from a text, and what it makes of the model's answers.

A metric is a function of an :class:`regex_lib.evaluation.chunk.Explained` (texts, scores, and the model through
``explained.chunk.removals``), so that a metric of one's own is one function and one entry in :data:`METRICS`. Features
are ranked as everywhere: of equal scores, the earlier one is the more important.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regex_lib.errors import unknown_name
from regex_lib.evaluation import perturbed
from regex_lib.evaluation.chunk import Explained
from regex_lib.masks import ranks, token_budget, top_k_mask
from regex_lib.metrics import (
    AopcBounds,
    aopc_bounds,
    decision_flip,
    flip_fraction,
    leave_one_out_tau,
    monotonicity,
    normalised_aopc,
    normalised_comprehensiveness,
    normalised_sufficiency,
    removal_curve,
    removal_curve_area,
)

__all__ = ["METRICS", "Metric", "directions", "find_metric"]

Answers = Float[Tensor, "examples removals classes"]

_PAIRED = 16  # texts whose pairs of features are in memory at once


@dataclass(frozen=True)
class Metric:
    """One faithfulness metric: a column of the tables that goes by the metric's name.

    Example:
        >>> METRICS["spread"] = Metric(lambda explained: explained.scores.std(dim=1))
        >>> METRICS["flip_at_half"] = Metric(
        ...     lambda explained, answers: (answers[:, 0].argmax(dim=-1) != explained.chunk.removals.target).double(),
        ...     plan=lambda explained: ranks(explained.scores, mask := explained.chunk.removals.features.mask)[:, None]
        ...     < token_budget(mask, 0.5)[:, None, None],
        ... )
        >>> del METRICS["spread"], METRICS["flip_at_half"]
    """

    compute: Callable[..., Tensor]
    """``(explained, **options)`` to a score per example; or one per example and ratio, whose AOPC is the example's
    score and whose means are in the report's curves. NaN where the metric is not defined."""
    plan: Callable[..., Bool[Tensor, "examples removals features"]] | None = None
    """``(explained, **options)`` to what will be removed, if that is known before: what all attributions and metrics
    plan is run together, and ``compute`` gets the class probabilities, (examples, removals, classes), as its second
    argument. A metric without a plan asks the model itself, through ``explained.chunk.removals``."""
    higher_is_better: bool = True
    always_defined: bool = True
    """Whether no score is NaN; otherwise the table has the share of NaN beside the mean of the rest."""
    measures_faithfulness: bool = True
    """Whether it may stand alone in a table."""


def find_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        UserError: if there is none, with the nearest names.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def directions(columns: Iterable[str]) -> str:
    """For which metrics of a table a higher value is better, and for which a lower one. Other columns are passed over.

    Example:
        >>> directions(["attribution", "comprehensiveness", "loo_tau", "infidelity", "accuracy"])
        'Higher is better: comprehensiveness, loo_tau. Lower is better: infidelity.'
    """
    names = [name for name in columns if name in METRICS]
    sides = {
        "Higher": [name for name in names if METRICS[name].higher_is_better],
        "Lower": [name for name in names if not METRICS[name].higher_is_better],
    }
    return " ".join(f"{side} is better: {', '.join(found)}." for side, found in sides.items() if found)


def _rationales(explained: Explained) -> Bool[Tensor, "examples ratios features"]:
    """For each ratio, the top features."""
    mask = explained.chunk.removals.features.mask
    budgets = [token_budget(mask, ratio) for ratio in explained.chunk.ratios]
    return torch.stack([top_k_mask(explained.scores, mask, budget) for budget in budgets], dim=1)


def _rests(explained: Explained) -> Bool[Tensor, "examples ratios features"]:
    """For each ratio, all but the top features."""
    return explained.chunk.removals.features.mask[:, None] & ~_rationales(explained)


def _first(explained: Explained) -> Bool[Tensor, "examples 1 features"]:
    """The top feature."""
    mask = explained.chunk.removals.features.mask
    return top_k_mask(explained.scores, mask, torch.ones(len(mask), dtype=torch.long))[:, None]


def _of_target(explained: Explained, answers: Answers) -> Float[Tensor, "examples removals"]:
    target = explained.chunk.removals.target[:, None, None]
    return answers.take_along_dim(target, dim=2).squeeze(2)


def _sufficiency(explained: Explained, answers: Answers) -> Float[Tensor, "examples ratios"]:
    full, empty = explained.chunk.full[:, None], explained.chunk.empty[:, None]
    return normalised_sufficiency(full, _of_target(explained, answers), empty)


def _comprehensiveness(explained: Explained, answers: Answers) -> Float[Tensor, "examples ratios"]:
    full, empty = explained.chunk.full[:, None], explained.chunk.empty[:, None]
    return normalised_comprehensiveness(full, _of_target(explained, answers), empty)


def _probability_drop(explained: Explained, answers: Answers) -> Float[Tensor, "examples ratios"]:
    """ERASER's scores, DeYoung et al. 2020, equations 1 and 2: p(x) - p(r) and p(x) - p(x without r)."""
    return explained.chunk.full[:, None] - _of_target(explained, answers)


def _decision_flip(explained: Explained, answers: Answers) -> Float[Tensor, " examples"]:
    return decision_flip(explained.chunk.removals.full, answers[:, 0]).double()


def _flip_fraction(explained: Explained) -> Float[Tensor, " examples"]:
    """Removes 1 and 2, then 3 to 6, 7 to 14 features...: most texts flip early, and the others need few calls."""
    removals = explained.chunk.removals
    mask, count = removals.features.mask, removals.features.mask.sum(dim=1)
    position = ranks(explained.scores, mask)
    fraction = torch.ones(len(mask), dtype=torch.float64)
    going, first = explained.chunk.everyone, 1
    while len(going):
        steps = torch.arange(first, 2 * first + 1)
        removed = (position[going, None] < steps[:, None]) & mask[going, None]
        answers = removals.probabilities(going.repeat_interleave(len(steps)), removed.flatten(0, 1))
        curve = torch.cat([removals.full[going, None], answers.unflatten(0, (len(going), len(steps)))], dim=1)
        taken = torch.cat([torch.zeros(1, dtype=torch.long), steps]).expand(len(going), -1)
        fraction[going] = flip_fraction(curve, taken, count[going])
        going = going[(fraction[going] == 1.0) & (count[going] > steps[-1])]
        first = int(steps[-1]) + 1
    return fraction


def _loo_tau(explained: Explained) -> Float[Tensor, " examples"]:
    chunk = explained.chunk
    pieces = (x.split(_PAIRED) for x in (explained.scores.double(), chunk.drops, chunk.removals.features.mask))
    return torch.cat([leave_one_out_tau(*piece) for piece in zip(*pieces, strict=True)])


def _monotonicity(explained: Explained) -> Float[Tensor, " examples"]:
    return monotonicity(_curve(explained, "most_important"))


def _naopc_comprehensiveness(
    explained: Explained, *, method: str = "local", beam_size: int = 5
) -> Float[Tensor, " examples"]:
    bounds = _bounds(explained, method, beam_size)
    return normalised_aopc(removal_curve_area(_curve(explained, "most_important")), bounds.lower, bounds.upper)


def _naopc_sufficiency(
    explained: Explained, *, method: str = "local", beam_size: int = 5
) -> Float[Tensor, " examples"]:
    bounds = _bounds(explained, method, beam_size)
    area = removal_curve_area(_curve(explained, "least_important"))
    return normalised_aopc(area, bounds.lower, bounds.upper, higher_is_better=False)


def _curve(explained: Explained, first: str) -> Float[Tensor, "examples steps"]:
    removals = explained.chunk.removals
    return removal_curve(removals, explained.scores, removals.features.mask, first=first)  # type: ignore[arg-type]


def _bounds(explained: Explained, method: str, beam_size: int) -> AopcBounds:
    """Of the texts, whatever the attribution."""
    removals = explained.chunk.removals
    return explained.chunk.shared(
        ("bounds", method, beam_size),
        lambda: aopc_bounds(removals, removals.features.mask, method=method, beam_size=beam_size),  # type: ignore[arg-type]
    )


METRICS: dict[str, Metric] = {
    "sufficiency": Metric(_sufficiency, _rests),
    "comprehensiveness": Metric(_comprehensiveness, _rationales),
    "eraser_sufficiency": Metric(_probability_drop, _rests, higher_is_better=False),
    "eraser_comprehensiveness": Metric(_probability_drop, _rationales),
    "naopc_sufficiency": Metric(_naopc_sufficiency, always_defined=False),
    "naopc_comprehensiveness": Metric(_naopc_comprehensiveness, always_defined=False),
    "decision_flip": Metric(_decision_flip, _first),
    "flip_fraction": Metric(_flip_fraction, higher_is_better=False),
    "loo_tau": Metric(_loo_tau, always_defined=False),
    "monotonicity": Metric(_monotonicity),
    "soft_sufficiency": Metric(perturbed.soft_sufficiency),
    "soft_comprehensiveness": Metric(perturbed.soft_comprehensiveness),
    "infidelity": Metric(perturbed.infidelity, higher_is_better=False),
    "max_sensitivity": Metric(perturbed.max_sensitivity, higher_is_better=False, measures_faithfulness=False),
}
