"""Figures of faithfulness reports."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from regex_lib.evaluation import FaithfulnessReport
from regex_lib.plots.style import RECIPE_COLOURS, figure_style

__all__ = ["faithfulness_bars"]

_METRICS = ("sufficiency", "comprehensiveness")


def faithfulness_bars(reports: Mapping[str, FaithfulnessReport]) -> Figure:
    """Sufficiency and comprehensiveness of each attribution, models side by side, with 95 % intervals over examples.

    Args:
        reports: a report per model; a model that goes by a recipe's name gets that recipe's colour.

    Returns:
        The figure, not yet shown.
    """
    rows = pd.concat([report.examples.assign(model=name) for name, report in reports.items()], ignore_index=True)
    palette = {name: RECIPE_COLOURS.get(name, f"C{i}") for i, name in enumerate(reports)}
    with figure_style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
        for axis, metric in zip(axes, _METRICS, strict=True):
            sns.barplot(
                rows, y="attribution", x=metric, hue="model", palette=palette, errorbar=("ci", 95), seed=0, ax=axis,
                legend=metric == _METRICS[0],
            )  # fmt: skip
            axis.set(xlim=(0, 1), xlabel=f"normalised {metric}", ylabel="")
            axis.set_yticks(axis.get_yticks(), [t.get_text().replace("_", " ") for t in axis.get_yticklabels()])
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(reports))
        axes[0].get_legend().remove()
    plt.close(figure)  # or a notebook would show it twice
    return figure
