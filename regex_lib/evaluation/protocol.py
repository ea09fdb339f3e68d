"""What is measured, and how: checked before any work is done."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from regex_lib.attributions import find_method
from regex_lib.errors import UserError, unknown_name
from regex_lib.evaluation.measures import METRICS, find_metric
from regex_lib.evaluation.prediction import Precision
from regex_lib.evaluation.removals import Level, Replacement

__all__ = ["Convention", "Protocol", "check_attributions", "names_of"]

Convention = Literal["mean", "acl2022"]


@dataclass(frozen=True)
class Protocol:
    """All that the results depend on, but for the model and the texts."""

    attributions: tuple[str, ...]
    metrics: tuple[str, ...]
    ratios: tuple[float, ...]
    aopc: Convention
    level: Level
    replacement: Replacement
    max_length: int | None
    precision: Precision
    options: Mapping[str, dict[str, Any]]
    """Of attributions, by their names."""
    metric_options: Mapping[str, dict[str, Any]]

    def __post_init__(self) -> None:
        check_attributions(self.attributions, self.options)
        for name in self.metrics:
            find_metric(name)
        for name, own in self.metric_options.items():
            metric = find_metric(name)
            _check_options(name, own, metric.compute, 2 if metric.plan else 1)
            if metric.plan:
                _check_options(name, own, metric.plan, 1)
        for kind, names in (("attributions", self.attributions), ("metrics", self.metrics)):
            if not names or len(set(names)) < len(names):
                raise UserError(f"{kind} must be one or more different names, got {', '.join(names) or 'none'}")
        if not any(METRICS[name].measures_faithfulness for name in self.metrics):
            raise UserError(
                f"{', '.join(self.metrics)} says nothing of faithfulness: it falls when a model is trained to be "
                "robust, and a constant explanation has the best value; ask for a metric of faithfulness beside it, "
                "such as comprehensiveness"
            )
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise UserError(f"ratios must lie above 0 and at most at 1, got {list(self.ratios)}")
        for name, kinds in (
            ("aopc", Convention),
            ("level", Level),
            ("replacement", Replacement),
            ("precision", Precision),
        ):
            allowed = get_args(kinds)
            if getattr(self, name) not in allowed:
                known = f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
                raise UserError(f"{name} must be {known}, got {getattr(self, name)!r}")


def names_of(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names as they were given, but for a single one, whose letters would be taken for names.

    Args:
        kind: what they are, such as ``"metrics"``.
        names: a list of names.

    Raises:
        UserError: if it is a single name.
    """
    if isinstance(names, str):
        raise UserError(f"{kind} must be a list of names, got {names!r}: put it into brackets")
    return tuple(names)


def check_attributions(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse attributions that are not known, and options that they do not take.

    Args:
        names: of the attributions.
        options: of single attributions by their names, whether they are among these or not.

    Raises:
        UserError: if there is no such attribution, or no such option, with the nearest names.
    """
    for name in (*names, *options):
        method = find_method(name)
        _check_options(name, options.get(name, {}), method, 3)


def _check_options(name: str, options: Mapping[str, Any], function: Callable[..., Any], inputs: int) -> None:
    """Refuse options that a function does not take beside its inputs."""
    signature = inspect.signature(function)

    def takes(option: str) -> bool:
        try:
            signature.bind_partial(*[None] * inputs, **{option: None})
        except TypeError:
            return False
        return True

    for option in options:
        if not takes(option):
            known = list(filter(takes, signature.parameters))
            if not known:
                raise UserError(f"{name} has no options, got {option!r}")
            raise unknown_name(f"{name} option", option, known)
