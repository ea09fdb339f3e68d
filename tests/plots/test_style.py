"""One colour for each recipe and each attribution, and a style that stays inside its figures."""

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb

from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style
from regex_lib.training import RECIPES


def test_every_recipe_has_a_colour():
    assert set(RECIPE_COLOURS) == set(RECIPES)


def test_every_default_attribution_has_a_colour():
    assert set(ATTRIBUTION_COLOURS) >= set(ATTRIBUTIONS)


@pytest.mark.parametrize("colours", [RECIPE_COLOURS, ATTRIBUTION_COLOURS], ids=["recipes", "attributions"])
def test_no_two_colours_are_the_same(colours):
    assert len({to_rgb(colour) for colour in colours.values()}) == len(colours)


def test_the_style_ends_with_the_figure():
    before = dict(mpl.rcParams)
    with figure_style():
        assert mpl.rcParams["figure.dpi"] == 110
    assert dict(mpl.rcParams) == before
