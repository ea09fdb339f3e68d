"""The figure of faithfulness reports: the right bars, names and colours."""

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from regex_lib.errors import UserError
from regex_lib.evaluation import FaithfulnessReport
from regex_lib.plots import RECIPE_COLOURS, faithfulness_bars

ATTRIBUTIONS = ["random", "input_x_gradient"]


@pytest.fixture(autouse=True, scope="module")
def _no_window():
    before = mpl.get_backend()
    plt.switch_backend("agg")
    yield
    plt.switch_backend(before)


def report(*means):
    """A report of two examples, 0.1 below and above the mean sufficiency of each attribution."""
    rows = [
        {"example": i, "attribution": name, "sufficiency": mean + error, "comprehensiveness": 1 - mean - error}
        for name, mean in zip(ATTRIBUTIONS, means, strict=True)
        for i, error in enumerate((-0.1, 0.1))
    ]
    return FaithfulnessReport(pd.DataFrame(rows), pd.DataFrame(), {"accuracy": 0.9}, {"left_out": 0})


def bars(axis):
    """The lengths of the bars of each model, in the order of the attributions."""
    return [[round(bar.get_width(), 6) for bar in container] for container in axis.containers]


def colours(figure):
    return [to_hex(container[0].get_facecolor()) for container in figure.axes[0].containers]


def legend(figure):
    (shown,) = figure.legends
    return [text.get_text() for text in shown.get_texts()]


def test_one_report_has_a_bar_for_each_attribution():
    sufficiency, comprehensiveness = faithfulness_bars({"regex": report(0.2, 0.6)}).axes
    assert bars(sufficiency) == [[0.2, 0.6]]
    assert bars(comprehensiveness) == [[0.8, 0.4]]


def test_two_reports_stand_side_by_side():
    figure = faithfulness_bars({"vanilla": report(0.2, 0.6), "regex": report(0.3, 0.7)})
    assert bars(figure.axes[0]) == [[0.2, 0.6], [0.3, 0.7]]
    assert legend(figure) == ["vanilla", "regex"]


def test_the_bars_are_named():
    figure = faithfulness_bars({"vanilla": report(0.2, 0.6), "regex": report(0.3, 0.7)})
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["random", "input x gradient"]
    assert all(label.get_visible() for label in figure.axes[0].get_yticklabels())


def test_the_axes_are_named_and_share_one_scale():
    axes = faithfulness_bars({"regex": report(0.2, 0.6)}).axes
    assert [axis.get_xlabel() for axis in axes] == ["normalised sufficiency", "normalised comprehensiveness"]
    assert [axis.get_xlim() for axis in axes] == [(0, 1), (0, 1)]


def test_every_bar_has_an_interval():
    axis = faithfulness_bars({"regex": report(0.2, 0.6)}).axes[0]
    spans = [sorted(line.get_xdata()) for line in axis.lines]
    assert [[round(float(end), 6) for end in span] for span in spans] == [[0.1, 0.3], [0.5, 0.7]]


def test_a_report_of_other_metrics_is_refused():
    examples = report(0.2, 0.6).examples.rename(columns={"sufficiency": "naopc_sufficiency"})
    other = FaithfulnessReport(examples, pd.DataFrame(), {"accuracy": 0.9}, {"left_out": 0})
    with pytest.raises(
        UserError, match=r"the report of 'b' has no sufficiency: evaluate with metrics=\['sufficiency', "
    ):
        faithfulness_bars({"a": report(0.2, 0.6), "b": other})


def test_a_recipe_keeps_its_colour():
    figure = faithfulness_bars({"regex": report(0.2, 0.6), "vanilla": report(0.3, 0.7)})
    assert colours(figure) == [RECIPE_COLOURS["regex"], RECIPE_COLOURS["vanilla"]]


def test_other_models_get_other_colours():
    figure = faithfulness_bars({name: report(0.2, 0.6) for name in ("mine", "regex", "yours", "vanilla")})
    assert len(set(colours(figure))) == 4


def test_the_legend_of_many_models_stays_on_the_figure():
    figure = faithfulness_bars({name: report(0.2, 0.6) for name in RECIPE_COLOURS})
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_the_report_is_left_as_it_was():
    given = report(0.2, 0.6)
    before = given.examples.copy()
    faithfulness_bars({"regex": given})
    pd.testing.assert_frame_equal(given.examples, before)


def test_no_figure_stays_open():
    faithfulness_bars({"regex": report(0.2, 0.6)})
    assert plt.get_fignums() == []


def test_the_figure_can_be_saved(tmp_path):
    faithfulness_bars({"regex": report(0.2, 0.6)}).savefig(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_models_can_be_told_apart_without_colours():
    figure = faithfulness_bars({name: report(0.2, 0.6) for name in ("vanilla", "regex", "mine")})
    for axis in figure.axes:
        assert len({container[0].get_hatch() for container in axis.containers}) == 3
    (shown,) = figure.legends
    assert len({handle.get_hatch() for handle in shown.legend_handles}) == 3


def test_a_figure_needs_a_report():
    with pytest.raises(UserError, match="there is no report to show: give one or more"):
        faithfulness_bars({})
