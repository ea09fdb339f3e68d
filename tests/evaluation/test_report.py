"""Reports: their tables, notes and figure."""

import math

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from regex_lib.attributions import METHODS
from regex_lib.evaluation import METRICS, FaithfulnessReport, directions
from regex_lib.evaluation.figure import _styles, report_figure
from regex_lib.plots.style import ATTRIBUTION_COLOURS

ROWS = pd.DataFrame(
    {
        "example": [0, 1, 0, 1],
        "attribution": ["random", "random", "attention", "attention"],
        "degenerate": [True, False, True, False],
        "truncated": [False, True, False, True],
        "sufficiency@0.1": [0.0, 0.2, 0.4, 0.6],
        "sufficiency": [0.1, 0.3, 0.5, 0.7],
        "loo_tau": [None, 0.5, None, None],
        "flip_fraction": [1.0, 0.5, 0.25, 0.25],
    }
)
CURVES = pd.DataFrame({"attribution": ["random", "attention"], "ratio": [0.1, 0.1], "sufficiency": [0.1, 0.5]})


@pytest.fixture(autouse=True, scope="module")
def _no_window():
    before = mpl.get_backend()
    plt.switch_backend("agg")
    yield
    plt.switch_backend(before)


@pytest.fixture
def report():
    rows = ROWS.astype({"loo_tau": float})
    return FaithfulnessReport(rows, CURVES, {"accuracy": 0.9}, {"left_out": 3})


def test_the_table_averages_what_is_defined_and_counts_what_is_not(report):
    assert {row.pop("attribution"): row for row in report.table.to_dict("records")} == {
        "random": {
            "sufficiency": pytest.approx(0.2), "loo_tau": 0.5, "flip_fraction": 0.75, "accuracy": 0.9,
            "degenerate_share": 0.5, "loo_tau_undefined": 0.5, "examples": 2,
        },
        "attention": {
            "sufficiency": pytest.approx(0.6), "loo_tau": pytest.approx(math.nan, nan_ok=True), "flip_fraction": 0.25,
            "accuracy": 0.9, "degenerate_share": 0.5, "loo_tau_undefined": 1.0, "examples": 2,
        },
    }  # fmt: skip


def test_points_of_curves_are_no_scores(report):
    assert list(report.examples) == [name for name in ROWS if "@" not in name]
    assert not any("@" in name for name in report.table)


def test_notes_tell_what_is_cut_and_left_out(report):
    assert report.notes == [
        "Longer than the model takes, and cut: 1 of the texts.",
        "Without content tokens, and left out: 3 of the texts.",
    ]


def test_directions_are_told_for_every_metric_of_a_table(report):
    assert directions(report.table) == "Higher is better: sufficiency, loo_tau. Lower is better: flip_fraction."
    assert directions(METRICS).count(", ") == len(METRICS) - 2
    assert directions(["attribution", "accuracy"]) == ""


def test_the_figure_has_a_curve_or_bars_for_each_metric(report):
    figure = report.plot()
    assert [axis.get_title() for axis in figure.axes] == [
        "sufficiency (higher is better)", "loo tau (higher is better)", "flip fraction (lower is better)",
    ]  # fmt: skip
    curves, undefined, bars = figure.axes
    assert [line.get_ydata().tolist() for line in curves.lines] == [[0.1], [0.5]]
    assert curves.get_xlabel() == "share of the text in the rationale"
    assert [bar.get_width() for bar in bars.patches] == [0.75, 0.25]
    for axis, numbers in ((undefined, ["0.50", ""]), (bars, ["0.75", "0.25"])):
        assert [label.get_text() for label in axis.get_yticklabels()] == ["random", "attention"]
        assert [text.get_text() for text in axis.texts] == numbers
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random", "attention"]
    assert plt.get_fignums() == []


def test_a_legend_stands_beside_curves_only(report):
    rows = ROWS.astype({"loo_tau": float}).drop(columns=["sufficiency", "sufficiency@0.1"])
    without = FaithfulnessReport(rows, CURVES[["attribution", "ratio"]], {"accuracy": 0.9}, {"left_out": 0})
    assert not without.plot().legends


def test_attributions_look_the_same_as_in_other_figures_and_differ_from_each_other():
    styles = _styles(list(METHODS))
    assert {name: styles[name]["color"] for name in ATTRIBUTION_COLOURS} == ATTRIBUTION_COLOURS
    assert len({(str(style["color"]), style["marker"]) for style in styles.values()}) == len(METHODS)
    assert [name for name, style in styles.items() if style["linestyle"] == "--"] == ["random"]


def test_many_metrics_are_drawn_in_rows_of_three():
    names = [f"m{number}" for number in range(7)]
    table = pd.DataFrame({"attribution": ["random"], **{name: [0.5] for name in names}})
    figure = report_figure(table, CURVES[["attribution", "ratio"]], names)
    assert [axis.get_title() for axis in figure.axes] == names
    assert figure.axes[-1].get_subplotspec().rowspan.start == 2


def test_the_figure_can_be_saved(report, tmp_path):
    report.plot().savefig(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
