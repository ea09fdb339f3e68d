"""Heat maps, figures and a widget."""

from regex_lib.plots.faithfulness import faithfulness_bars
from regex_lib.plots.heatmap import Heatmap, heatmap, terminal_heatmap
from regex_lib.plots.style import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style
from regex_lib.plots.switcher import attribution_switcher
from regex_lib.plots.widgets import mask_ratio_stepper, perturbation_slider

__all__ = [
    "ATTRIBUTION_COLOURS",
    "RECIPE_COLOURS",
    "Heatmap",
    "attribution_switcher",
    "faithfulness_bars",
    "figure_style",
    "heatmap",
    "mask_ratio_stepper",
    "perturbation_slider",
    "terminal_heatmap",
]
