"""One colour for each recipe and each attribution, and a style that stays inside its figures."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from regex_lib.evaluation import ATTRIBUTIONS
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style
from regex_lib.training import RECIPES

COLOURS = pytest.mark.parametrize("colours", [RECIPE_COLOURS, ATTRIBUTION_COLOURS], ids=["recipes", "attributions"])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
EYES = {  # what is left of linear RGB, by Viénot, Brettel and Mollon (1999)
    "all cones": np.eye(3),
    "no red cones": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "no green cones": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


def test_every_recipe_has_a_colour():
    assert set(RECIPE_COLOURS) == set(RECIPES)


def test_every_default_attribution_has_a_colour():
    assert set(ATTRIBUTION_COLOURS) >= set(ATTRIBUTIONS)


@COLOURS
def test_no_two_colours_are_the_same(colours):
    assert len({to_rgb(colour) for colour in colours.values()}) == len(colours)


def linear(colour):
    """Linear RGB."""
    channels = np.array(to_rgb(colour))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


@COLOURS
def test_a_line_in_any_colour_is_seen_on_white(colours):
    """WCAG 1.4.11: a contrast of 3 for what has to be seen."""
    contrast = {name: 1.05 / (linear(colour) @ TO_XYZ[1] + 0.05) for name, colour in colours.items()}
    assert {name: value for name, value in contrast.items() if value < 3} == {}


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(("colours", "apart"), [(RECIPE_COLOURS, 5), (ATTRIBUTION_COLOURS, 15)])
def test_colour_blind_eyes_tell_the_colours_apart(colours, apart, eyes):
    """In steps of CIELAB, of which about 2 can be seen side by side."""
    seen = {name: lab(np.clip(EYES[eyes] @ linear(colour), 0, 1)) for name, colour in colours.items()}
    alike = [(a, b) for a, b in combinations(seen, 2) if np.linalg.norm(seen[a] - seen[b]) < apart]
    assert alike == []


def lab(channels):
    """CIELAB of linear RGB."""
    shares = TO_XYZ @ channels / TO_XYZ.sum(axis=1)
    x, y, z = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_style_ends_with_the_figure():
    before = dict(mpl.rcParams)
    with figure_style():
        assert mpl.rcParams["figure.dpi"] == 110
    assert dict(mpl.rcParams) == before
