"""One visual voice: the same colours for the same recipe and the same attribution in every figure."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.colors import to_hex

__all__ = ["ATTRIBUTION_COLOURS", "RECIPE_COLOURS", "figure_style"]

_PALETTE = sns.color_palette("colorblind", 10).as_hex()
_DARK = [to_hex(sns.set_hls_values(colour, l=0.25)) for colour in _PALETTE]

RECIPE_COLOURS = {
    "vanilla": "#6b6b6b",
    "igr": _PALETTE[0],
    "vat": "#1d9be2",
    "robust": _PALETTE[2],
    "egt": _PALETTE[4],
    "regex": _PALETTE[3],
    "regex_two_stage": "#331200",
    "regex_random_mask": "#c27f48",
    "regex_shuffled_target": "#454121",
    "regex_fast": "#b3008b",
    "random_mask_only": _PALETTE[7],
    "igr_random_mask": _DARK[3],
    "saliency_guided": _DARK[0],
    "saloss": _DARK[1],
    "smart": _DARK[2],
    "freelb": _DARK[4],
}
"""A colour-blind-safe colour for each recipe; none is too pale for a line on white, as some of the palette's are."""

ATTRIBUTION_COLOURS = {
    "random": "#6b6b6b",
    "attention": _PALETTE[0],
    "scaled_attention": _DARK[9],
    "input_x_gradient": _DARK[1],
    "integrated_gradients": _PALETTE[3],
}
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
