"""The figure of a study: how far each recipe is from another, with its interval."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regex_lib.errors import UserError
from regex_lib.plots.style import RECIPE_COLOURS, figure_style
from regex_lib.study.tables import NUMBERS

__all__ = ["differences_figure"]

_NOT_PANELS = ("recipe", "attribution", "metric", "minus", *NUMBERS)

_MARKERS = "osD^vPX*<>phd8"


def differences_figure(
    table: pd.DataFrame, metrics: Sequence[str] = ("sufficiency", "comprehensiveness"), *, minus: str = ""
) -> Figure:
    """A dot and its 95 % interval for each recipe and attribution; a column of panels for each metric.

    Cells of different data, bases and the like have rows of panels of their own.

    Args:
        table: from :func:`regex_lib.study.differences`.
        metrics: what to show.
        minus: ``"random"`` for what is left when the random attribution of each model is subtracted.

    Returns:
        The figure, not yet shown.

    Raises:
        UserError: if the table has none of the metrics.
    """
    shown = table[table["metric"].isin(metrics) & (table.get("minus", "") == minus)].dropna(subset=["low", "high"])
    if shown.empty:
        raise UserError(f"the table has no differences of {', '.join(metrics)}")
    metrics = [metric for metric in metrics if (shown["metric"] == metric).any()]
    names = [name for name in shown if name not in _NOT_PANELS]
    shown, cell = shown.assign(attribution=shown.get("attribution", "")), [*names, "attribution"]
    shown = shown.astype(dict.fromkeys(cell, object)).fillna(dict.fromkeys(cell, ""))
    panels = [name for name in names if shown[name].nunique() > 1]
    told = [name for name in names if name not in panels and name != "base"]
    title = " ".join(dict.fromkeys(str(shown[name].iloc[0]) for name in told))
    groups = list(shown.groupby(panels, sort=False, observed=True)) if panels else [((), shown)]
    recipes = list(shown["recipe"].unique())
    over = f" over {minus}" if minus else ""
    with figure_style():
        heights = [0.8 + rows["attribution"].nunique() * (0.3 + 0.12 * len(recipes)) for _, rows in groups]
        figure, axes = plt.subplots(
            len(groups), len(metrics), figsize=(4.5 * len(metrics) + 2, sum(heights) + 0.7), squeeze=False,
            layout="constrained", height_ratios=heights, sharex="col",
        )  # fmt: skip
        for (name, rows), row_of_axes in zip(groups, axes, strict=True):
            attributions = list(rows["attribution"].unique())
            for metric, axis in zip(metrics, row_of_axes, strict=True):
                _intervals(axis, rows[rows["metric"] == metric], recipes, attributions)
                axis.set_xlabel(f"{metric}{over}: minus {rows['base'].iloc[0]}")
            row = [str(value) for panel, value in zip(panels, name, strict=True) if value and panel != "base"]
            row_of_axes[0].set_title(" ".join(row), fontsize="small", loc="left")
            for axis in row_of_axes[1:]:
                axis.set_yticklabels([])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=min(4, len(recipes)), fontsize="small", title=title,
            title_fontsize="small",
        )  # fmt: skip
    plt.close(figure)  # or a notebook would show it twice
    return figure


def _intervals(axis: Axes, rows: pd.DataFrame, recipes: Sequence[str], attributions: Sequence[str]) -> None:
    shifts = np.linspace(-0.35, 0.35, len(recipes))
    for number, (recipe, shift) in enumerate(zip(recipes, shifts, strict=True)):
        ours = rows[rows["recipe"] == recipe]
        places = [attributions.index(name) + (shift if len(recipes) > 1 else 0.0) for name in ours["attribution"]]
        errors = [ours["difference"] - ours["low"], ours["high"] - ours["difference"]]
        colour = RECIPE_COLOURS.get(recipe, f"C{number % 10}")  # a variant that a study defines has none of its own
        axis.errorbar(
            ours["difference"], places, xerr=errors, fmt=_MARKERS[number % len(_MARKERS)], ms=5, color=colour,
            markeredgecolor="black", markeredgewidth=0.6, lw=1.5, label=recipe,
        )  # fmt: skip
    axis.axvline(0, color="#6b6b6b", lw=1)
    axis.set_yticks(range(len(attributions)), [name.replace("_", " ") for name in attributions])
    axis.set_ylim(len(attributions) - 0.5, -0.5)
