"""One visual voice: the same colours for the same recipe and the same attribution in every figure."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import seaborn as sns

from regex_lib.evaluation import figure

__all__ = ["ATTRIBUTION_COLOURS", "RECIPE_COLOURS", "figure_style"]

RECIPE_COLOURS = {
    "vanilla": "#6b6b6b",
    "igr": figure.PALETTE[0],
    "vat": "#1d9be2",
    "robust": figure.PALETTE[2],
    "egt": figure.PALETTE[4],
    "regex": figure.PALETTE[3],
    "regex_two_stage": "#331200",
    "regex_random_mask": "#c27f48",
    "regex_shuffled_target": "#454121",
    "regex_fast": "#b3008b",
    "random_mask_only": figure.PALETTE[7],
    "igr_random_mask": figure.DARK[3],
    "saliency_guided": figure.DARK[0],
    "saloss": figure.DARK[1],
    "smart": figure.DARK[2],
    "freelb": figure.DARK[4],
}
"""A colour-blind-safe colour for each recipe; none is too pale for a line on white, as some of the palette's are."""

ATTRIBUTION_COLOURS = figure.ATTRIBUTION_COLOURS
"""A colour-blind-safe colour for each attribution, none too pale for a line on white."""


@contextmanager
def figure_style() -> Iterator[None]:
    """Seaborn's white grid at a size that reads on a phone, for the figures made inside."""
    with (
        sns.axes_style("whitegrid"),
        sns.plotting_context("notebook", font_scale=1.1),
        plt.rc_context({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False}),
    ):
        yield
