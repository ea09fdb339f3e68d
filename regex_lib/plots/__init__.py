"""Heat maps and figures."""

from regex_lib.plots.faithfulness import faithfulness_bars
from regex_lib.plots.heatmap import Heatmap, heatmap, terminal_heatmap
from regex_lib.plots.style import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style

__all__ = [
    "ATTRIBUTION_COLOURS",
    "RECIPE_COLOURS",
    "Heatmap",
    "faithfulness_bars",
    "figure_style",
    "heatmap",
    "terminal_heatmap",
]
