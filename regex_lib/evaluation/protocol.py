"""What is measured, and how: checked before any work is done."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from regex_lib.attributions import find_method
from regex_lib.attributions.registry import check_options
from regex_lib.errors import UserError
from regex_lib.evaluation.measures import METRICS, find_metric
from regex_lib.evaluation.prediction import Precision
from regex_lib.evaluation.removals import Level, Replacement

__all__ = ["Convention", "Protocol", "check_attributions", "names_of", "plain", "plain_or_named"]

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
            check_options(name, own, metric.compute, 2 if metric.plan else 1)
            if metric.plan:
                check_options(name, own, metric.plan, 1)
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


def plain(value: Any) -> Any:
    """The value of an option, whole, as JSON can tell it: arrays, columns and sets as lists, paths and types by name.

    Raises:
        UserError: if it is of another kind. Its ``repr`` would not do, which is cut short for long columns and arrays.
    """
    if isinstance(value, Path | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UserError(
        f"an option cannot be kept with the results, a {type(value).__name__}: give numbers, texts and lists"
    )


def plain_or_named(value: Any) -> Any:
    """As :func:`plain`, for a record that nothing is found by: a function, say, is told by its name."""
    try:
        return plain(value)
    except UserError:
        return repr(value)


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
        check_options(name, options.get(name, {}), method, 3)
