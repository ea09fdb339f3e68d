"""Figures of faithfulness reports."""

from collections.abc import Iterable, Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from regex_lib.errors import UserError
from regex_lib.evaluation import FaithfulnessReport
from regex_lib.plots.style import RECIPE_COLOURS, figure_style

__all__ = ["faithfulness_bars"]

_METRICS = ("sufficiency", "comprehensiveness")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")
"""Of the models in turn: in grey print their colours look alike."""


def faithfulness_bars(reports: Mapping[str, FaithfulnessReport]) -> Figure:
    """Sufficiency and comprehensiveness of each attribution, models side by side, with 95 % intervals over examples.

    Args:
        reports: a report per model; a model that goes by a recipe's name gets that recipe's colour, the others get
            what is left.

    Returns:
        The figure, not yet shown.

    Raises:
        UserError: if there is no report, or one lacks one of the two metrics.
    """
    if not reports:
        raise UserError("there is no report to show: give one or more, by the names of their models")
    for name, report in reports.items():
        for metric in _METRICS:
            if metric not in report.examples:
                raise UserError(f"the report of {name!r} has no {metric}: evaluate with metrics={list(_METRICS)}")
    rows = pd.concat([report.examples.assign(model=name) for name, report in reports.items()], ignore_index=True)
    rows["attribution"] = rows["attribution"].str.replace("_", " ")
    with figure_style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
        for axis, metric in zip(axes, _METRICS, strict=True):
            sns.barplot(
                rows, y="attribution", x=metric, hue="model", palette=_palette(reports), saturation=1,
                errorbar=("ci", 95), seed=0, ax=axis, legend=False,
            )  # fmt: skip
            for bars, hatch in zip(axis.containers, cycle(_HATCHES), strict=False):
                for bar in bars:
                    bar.set(hatch=hatch, edgecolor="white", linewidth=0)
            axis.set(xlim=(0, 1), xlabel=f"normalised {metric}", ylabel="")
        figure.legend(axes[0].containers, list(reports), loc="outside upper center", ncols=min(3, len(reports)))
    plt.close(figure)  # or a notebook would show it twice
    return figure


def _palette(models: Iterable[str]) -> dict[str, str]:
    models = list(models)
    left = cycle([colour for name, colour in RECIPE_COLOURS.items() if name not in models] or ["#000000"])
    return {name: RECIPE_COLOURS.get(name) or next(left) for name in models}
