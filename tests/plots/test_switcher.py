"""The widget holds every heat map, and a browser can switch between them without a kernel."""

import ipywidgets
import nbclient
import nbformat
import pytest
from ipywidgets.embed import dependency_state

from regex_lib.attributions import Explanation
from regex_lib.errors import UserError
from regex_lib.plots import attribution_switcher, heatmap

METHODS = ["attention", "input_x_gradient", "deep_lift"]
NASTY = "</style><script>alert(1)</script><b>"


def explain(method, text="so dull", **changes):
    facts = {"target": 1, "prediction": 1, "probability": 0.75, "truncated": False} | changes
    return Explanation(text=text, method=method, offsets=[(0, 2), (3, 7)], scores=[0.1, -0.9], **facts)


def states(model, state):
    """The states of all widgets of a kind."""
    return [entry["state"] for entry in state.values() if entry["model_name"] == model]


def saved(explanations, **options):
    """What a notebook saves of the widget: a model's name and state by the model's number."""
    return dependency_state(attribution_switcher(explanations, **options))


def test_a_button_for_every_method_shows_its_heat_map():
    rows = [explain(method) for method in METHODS]
    controls, _ = attribution_switcher(rows).children
    buttons, maps = controls.children
    assert list(buttons.options) == METHODS
    assert [child.value for child in maps.children] == [heatmap(row).markup for row in rows]
    assert buttons.index == maps.selected_index == 0


def test_the_link_is_saved_with_the_page():
    state = saved([explain(method) for method in METHODS])
    (link,) = states("LinkModel", state)
    places = [(reference.removeprefix("IPY_MODEL_"), name) for reference, name in (link["source"], link["target"])]
    assert [(state[number]["model_name"], name) for number, name in places] == [
        ("ToggleButtonsModel", "index"),
        ("StackModel", "selected_index"),
    ]


def test_the_buttons_are_labelled():
    (buttons,) = states("ToggleButtonsModel", saved([explain(method) for method in METHODS]))
    assert buttons["_options_labels"] == tuple(METHODS)
    assert buttons["description"] == "Attribution"
    assert [tip.rpartition(" ")[2] for tip in buttons["tooltips"]] == METHODS


def test_paper_has_all_heat_maps_and_no_buttons():
    rows = [explain(method) for method in METHODS]
    controls, paper = attribution_switcher(rows).children
    assert heatmap(rows).markup in paper.value
    assert controls._dom_classes == ("regex-screen-only",)
    assert paper._dom_classes == ("regex-print-only",)
    assert "@media print{.regex-screen-only{display:none!important}}" in paper.value
    assert "@media screen{.regex-print-only{display:none!important}}" in paper.value


def test_ipywidgets_without_a_stack_shows_what_paper_has(monkeypatch):
    """Version 7, which Colab has loaded before anything is installed."""
    rows = [explain(method) for method in METHODS]
    monkeypatch.delattr(ipywidgets, "Stack")
    (everything,) = attribution_switcher(rows).children
    assert everything.value == heatmap(rows).markup


def test_titles_of_a_mapping_are_on_the_buttons_and_in_the_captions():
    controls, paper = attribution_switcher({"plain": explain("attention"), "REGEX": explain("attention")}).children
    buttons, maps = controls.children
    assert list(buttons.options) == ["plain", "REGEX"]
    for child, title in zip(maps.children, buttons.options, strict=True):
        assert f">{title}, attention: predicted" in child.value
        assert f">{title}, attention: predicted" in paper.value


def test_texts_labels_and_methods_are_escaped():
    rows = {NASTY: explain(NASTY, text=NASTY), "other": explain("other")}
    state = saved(rows, label_names=["no", NASTY])
    html = "".join(entry["value"] for entry in states("HTMLModel", state))
    assert NASTY not in html
    assert html.count("<style>") == html.count("</style>") == 1
    assert "<script" not in html
    assert not any(entry["state"].get("description_allow_html") for entry in state.values())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no explanations to show"),
        ({}, "there are no explanations to show"),
        ([explain("attention"), explain("attention")], "several explanations go by one name"),
    ],
)
def test_what_cannot_be_switched_is_refused(rows, message):
    with pytest.raises(UserError, match=message):
        attribution_switcher(rows)


def test_an_executed_notebook_holds_the_widget(tmp_path):
    code = f"""
from regex_lib.attributions import Explanation
from regex_lib.plots import attribution_switcher
attribution_switcher([
    Explanation("so dull", method, [(0, 2), (3, 7)], [0.1, -0.9], 1, 1, 0.75, False) for method in {METHODS}
])
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": tmp_path}}
    client = nbclient.NotebookClient(
        notebook, timeout=300, startup_timeout=300, kernel_name="python3", resources=resources
    )
    client.execute()
    shown = notebook.cells[0].outputs[-1]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert state[shown]["model_name"] == "VBoxModel"
    assert len(states("LinkModel", state)) == 1
    html = "".join(entry["value"] for entry in states("HTMLModel", state))
    for method in METHODS:
        assert html.count(f">{method}: predicted") == 2  # on the screen and on paper
