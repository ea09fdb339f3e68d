"""A widget that steps through attribution methods, in a page without a kernel too."""

from collections.abc import Mapping, Sequence

import ipywidgets

from regex_lib.attributions import Explanation
from regex_lib.errors import UserError
from regex_lib.plots.heatmap import heatmap

__all__ = ["attribution_switcher", "frames_behind"]

_SCREEN_ONLY, _PRINT_ONLY = "regex-screen-only", "regex-print-only"
_MEDIA = (
    f"<style>@media screen{{.{_PRINT_ONLY}{{display:none!important}}}}"
    f"@media print{{.{_SCREEN_ONLY}{{display:none!important}}}}</style>"
)


def attribution_switcher(
    explanations: Sequence[Explanation] | Mapping[str, Explanation], label_names: Sequence[str] | None = None
) -> ipywidgets.VBox:
    """Heat maps of one text behind a row of buttons, one for each attribution method.

    Buttons and heat maps are linked in the browser, so that a page without a kernel can be operated too, by mouse and
    keyboard. On paper, where nothing can be pressed, all heat maps stand one below the other, as those of
    :func:`heatmap`; so they do with ipywidgets 7, which has nothing to switch with.

    Args:
        explanations: from :func:`regex_lib.attributions.attribute`; the methods' names are on the buttons, or the
            titles of a mapping, such as the names of several models.
        label_names: the classes' names; their numbers by default.

    Raises:
        UserError: if there are no explanations, or several by one name.

    Example:
        >>> from regex_lib.attributions import Explanation
        >>> rows = [
        ...     Explanation("so dull", method, [(0, 2), (3, 7)], [0.1, 0.9], 0, 0, 0.8, False)
        ...     for method in ("attention", "deep_lift")
        ... ]
        >>> controls, _ = attribution_switcher(rows, ["negative", "positive"]).children
        >>> buttons, maps = controls.children
        >>> buttons.options, [child.value.count("<figure") for child in maps.children]
        (('attention', 'deep_lift'), [1, 1])
    """
    if isinstance(explanations, Mapping):
        names, maps = list(explanations), [heatmap({title: row}, label_names) for title, row in explanations.items()]
    else:
        names, maps = [row.method for row in explanations], [heatmap(row, label_names) for row in explanations]
    if not maps:
        raise UserError("there are no explanations to show")
    if len(set(names)) < len(names):
        raise UserError(f"several explanations go by one name, {names}: give a mapping with a title for each")
    buttons = ipywidgets.ToggleButtons(
        options=names,
        description="Attribution",
        tooltips=[f"Show the heat map of {name}" for name in names],
        style={"button_width": "auto", "description_width": "initial"},
    )
    everything = heatmap(explanations, label_names).markup
    return frames_behind(buttons, [ipywidgets.HTML(each.markup) for each in maps], everything)


def frames_behind(control: ipywidgets.Widget, frames: Sequence[ipywidgets.Widget], paper: str) -> ipywidgets.VBox:
    """A control with a frame for each of its places, linked in the browser, and what paper has instead.

    Colab has loaded ipywidgets 7 before anything is installed, and that has no ``Stack``: there, ``paper`` is shown.

    Args:
        control: a widget with an ``index``.
        frames: as many as the control has places.
        paper: HTML that shows all of them.
    """
    if not hasattr(ipywidgets, "Stack"):
        return ipywidgets.VBox([ipywidgets.HTML(paper)])
    stack = ipywidgets.Stack(frames, selected_index=0)
    ipywidgets.jslink((control, "index"), (stack, "selected_index"))
    screen = ipywidgets.VBox([control, stack]).add_class(_SCREEN_ONLY)
    return ipywidgets.VBox([screen, ipywidgets.HTML(_MEDIA + paper).add_class(_PRINT_ONLY)])
