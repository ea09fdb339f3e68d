"""A report as a figure."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regex_lib.evaluation.measures import METRICS

__all__ = ["ATTRIBUTION_COLOURS", "DARK", "PALETTE", "report_figure"]

_COLUMNS = 3  # panels side by side
_GREY = "#6b6b6b"  # of the control, which also is the only one with a dashed line
PALETTE = sns.color_palette("colorblind", 10).as_hex()
DARK = [to_hex(sns.set_hls_values(colour, l=0.25)) for colour in PALETTE]
ATTRIBUTION_COLOURS = {
    "random": _GREY,
    "attention": PALETTE[0],
    "scaled_attention": DARK[9],
    "input_x_gradient": DARK[1],
    "integrated_gradients": PALETTE[3],
}  # the same for an attribution in every figure
_OTHERS = [*(PALETTE[i] for i in (2, 4)), *(DARK[i] for i in (0, 2, 3, 4, 5, 6, 8))]
_MARKERS = "osD^vP*X<>pdhH8"


def report_figure(table: pd.DataFrame, curves: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """A panel for each metric: its curve over the ratios, or bars of its means where it has none.

    Colours are safe for the colour-blind; markers and names tell attributions apart without them.

    Args:
        table: one row per attribution.
        curves: one row per attribution and ratio.
        metrics: which columns to draw.
    """
    names = list(table["attribution"])
    styles = _styles(names)
    width = min(_COLUMNS, len(metrics))
    height = -(-len(metrics) // width)
    with sns.axes_style("whitegrid"), plt.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(
            height, width, figsize=(4.2 * width, 3.2 * height + 0.6), layout="constrained", squeeze=False
        )
        for axis, metric in zip(axes.flat, metrics, strict=False):
            if metric in curves:
                _draw_curves(axis, curves, metric, styles)
            else:
                _draw_bars(axis, table, metric, styles)
            axis.set_title(_title(metric), fontsize="medium")
        for axis in axes.flat[len(metrics) :]:
            axis.remove()
        if any(metric in curves for metric in metrics):
            handles = [Line2D([], [], label=name.replace("_", " "), **style) for name, style in styles.items()]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(names)))
    plt.close(figure)  # or a notebook would show it twice
    return figure


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour, marker and line for each attribution."""
    others = [name for name in names if name not in ATTRIBUTION_COLOURS]
    colours = ATTRIBUTION_COLOURS | {name: _OTHERS[place % len(_OTHERS)] for place, name in enumerate(others)}
    return {
        name: {
            "color": colours[name],
            "marker": _MARKERS[place % len(_MARKERS)],
            "linestyle": "--" if name == "random" else "-",
        }
        for place, name in enumerate(names)
    }


def _title(metric: str) -> str:
    title = metric.replace("_", " ")
    if metric not in METRICS:
        return title
    return f"{title} ({'higher' if METRICS[metric].higher_is_better else 'lower'} is better)"


def _draw_curves(axis: Axes, curves: pd.DataFrame, metric: str, styles: dict[str, dict[str, Any]]) -> None:
    for name, style in styles.items():
        points = curves[curves["attribution"] == name].sort_values("ratio")
        axis.plot(points["ratio"], points[metric], clip_on=False, zorder=3, **style)
    axis.set(xlabel="share of the text in the rationale", xlim=(0, None))


def _draw_bars(axis: Axes, table: pd.DataFrame, metric: str, styles: dict[str, dict[str, Any]]) -> None:
    """With the number at each bar; a metric that is defined for no example has none."""
    names = [name.replace("_", " ") for name in table["attribution"]]
    bars = axis.barh(names, table[metric], color=[style["color"] for style in styles.values()], zorder=3)
    labels = ["" if pd.isna(value) else f"{value:.2f}" for value in table[metric]]
    axis.bar_label(bars, labels, padding=2, fontsize="small")
    axis.invert_yaxis()  # the first attribution on top, as in the table
    axis.margins(x=0.15)
    axis.grid(visible=False, axis="y")
