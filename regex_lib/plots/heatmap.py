"""Attribution scores as coloured text: HTML for notebooks and files, styled text for terminals."""

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from regex_lib.attributions import Explanation
from regex_lib.errors import UserError

__all__ = ["Heatmap", "heatmap", "pieces", "terminal_heatmap"]

# Orange and blue stay apart for every common kind of colour blindness. For grey, strength is also in the lightness, and
# the sign of a strong token in its underline.
_TOWARDS, _AWAY = (230, 120, 20), (40, 110, 190)

# A light card in dark pages too, with its colours on paper and where a system replaces colours by its own.
_STYLE = (
    "font-family:system-ui,sans-serif;line-height:2;padding:.6em .8em;border:1px solid #bbb;border-radius:6px;"
    "background:#fff;color:#111;max-width:50em;color-scheme:light;forced-color-adjust:none;"
    "-webkit-print-color-adjust:exact;print-color-adjust:exact"
)


@dataclass(frozen=True)
class Heatmap:
    """HTML that a notebook shows and that can be saved as a page."""

    markup: str
    """A ``<div>`` without scripts or outside resources; every text in it is escaped."""

    def _repr_html_(self) -> str:
        return self.markup

    def save(self, path: str | Path) -> None:
        """Write a complete HTML page.

        Raises:
            UserError: if the file cannot be written.
        """
        page = (
            '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Attribution heat map</title></head>\n<body>\n{self.markup}\n</body>\n</html>\n"
        )
        try:
            Path(path).write_text(page, encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def heatmap(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    label_names: Sequence[str] | None = None,
) -> Heatmap:
    """Explanations as coloured text: orange speaks for the explained class, blue against it.

    The deeper a colour, the stronger the token. Those of more than half the largest magnitude are underlined too, with
    a dashed line if they speak against the class, so that a grey print tells them apart. Scores are scaled by the
    largest magnitude in each explanation, as the legend says. Where several tokens stand for one character, their
    scores are summed first. A text alternative names the strongest words.

    Args:
        explanations: from :func:`regex_lib.attributions.attribute`; one, several, or several with a title each.
        label_names: the classes' names; their numbers by default.

    Raises:
        UserError: if a class has no name among them.

    Example:
        >>> from regex_lib.attributions import Explanation
        >>> explanation = Explanation("so <b>dull", "attention", [(0, 2), (6, 10)], [0.1, 0.9], 0, 0, 0.8, False)
        >>> "&lt;b&gt;" in heatmap(explanation, ["negative", "positive"]).markup
        True
    """
    if isinstance(explanations, Mapping):
        titled = [(f"{title}, ", row) for title, row in explanations.items()]
    else:
        titled = [("", row) for row in ([explanations] if isinstance(explanations, Explanation) else explanations)]
    body = "".join(_figure(row, title + _caption(row, label_names)) for title, row in titled)
    return Heatmap(f'<div class="regex-heatmap" style="{_STYLE}">{body}{_legend()}</div>')


def terminal_heatmap(explanation: Explanation, label_names: Sequence[str] | None = None) -> Text:
    """The same colours for a terminal that has them; ``rich`` leaves them out where it has none.

    Raises:
        UserError: if a class has no name among ``label_names``.
    """
    text = Text()
    text.append(_caption(explanation, label_names) + "\n", style="bold")
    for piece, share in _shares(explanation):
        if share == 0.0:
            text.append(piece)
        else:
            red, green, blue = _tint(share)
            style = f"#111111 on rgb({red},{green},{blue})" + (" underline" if abs(share) > 0.5 else "")
            text.append(piece, style=style)
    return text


def pieces(explanation: Explanation) -> list[tuple[str, list[int]]]:
    """The whole text in pieces, each with the numbers of the tokens that it stands for; none between tokens.

    Several tokens may stand for one character (an emoji in bytes): it is shown once, and all of them belong to it. Of a
    token that overlaps the one before, the rest is shown.

    Example:
        >>> pieces(Explanation("ok 🙂", "attention", [(0, 2), (3, 4), (3, 4)], [0.1, 0.2, 0.3], 0, 0, 0.8, False))
        [('ok', [0]), (' ', []), ('🙂', [1, 2])]
    """
    found: list[tuple[str, list[int]]] = [("", [])]
    end = 0
    for number, (start, stop) in enumerate(explanation.offsets):
        if stop > end:
            found += [(explanation.text[end:start], []), (explanation.text[max(start, end) : stop], [])]
            end = stop
        found[-1][1].append(number)
    return [(piece, tokens) for piece, tokens in [*found, (explanation.text[end:], [])] if piece]


def _figure(explanation: Explanation, caption: str) -> str:
    spans = "".join(_span(piece, share) for piece, share in _shares(explanation))
    note = "<em> (the end of the text did not fit into the model)</em>" if explanation.truncated else ""
    alternative = html.escape(f"{caption}. Strongest words: {_strongest(explanation)}.")
    return (
        f'<figure style="margin:0 0 .8em" role="group" aria-label="{alternative}">'
        f'<figcaption style="font-size:.85em;color:#333">{html.escape(caption)}</figcaption>'
        f'<p dir="auto" style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere">{spans}{note}</p></figure>'
    )


def _span(piece: str, share: float) -> str:
    if share == 0.0:
        return html.escape(piece)
    red, green, blue = _tint(share)
    line = "" if share > 0 else " dashed"
    underline = f"text-decoration:underline{line};" if abs(share) > 0.5 else ""
    return (
        f'<span title="{share:+.2f}" style="background:rgb({red},{green},{blue});color:#111;{underline}'
        f'border-radius:3px;padding:.1em .05em">{html.escape(piece)}</span>'
    )


def _shares(explanation: Explanation) -> list[tuple[str, float]]:
    """The pieces of the text, each with its score as a share of the largest magnitude; 0 between tokens."""
    totals = [(piece, sum(explanation.scores[number] for number in tokens)) for piece, tokens in pieces(explanation)]
    largest = max((abs(total) for _, total in totals), default=0.0) or 1.0
    return [(piece, total / largest) for piece, total in totals]


def _tint(share: float) -> tuple[int, int, int]:
    """White at 0, the full colour at 1 or -1."""
    colour, depth = (_TOWARDS if share > 0 else _AWAY), min(1.0, abs(share)) * 0.85
    red, green, blue = (round(255 - depth * (255 - channel)) for channel in colour)
    return red, green, blue


def _label(number: int, label_names: Sequence[str] | None) -> str:
    if label_names is None:
        return str(number)
    if number >= len(label_names):
        raise UserError(f"label_names has {len(label_names)} names, but there is a class {number}: name all classes")
    return label_names[number]


def _caption(explanation: Explanation, label_names: Sequence[str] | None) -> str:
    caption = (
        f"{explanation.method}: predicted {_label(explanation.prediction, label_names)} "
        f"({explanation.probability:.2f}), explaining {_label(explanation.target, label_names)}"
    )
    return caption if explanation.scores else f"{caption}. No content tokens: nothing to attribute"


def _strongest(explanation: Explanation) -> str:
    words = explanation.words()
    real = [word for word in words if not _is_punctuation(word[0])] or words
    strongest = sorted(real, key=lambda word: -abs(word[1]))[:3]
    return ", ".join(f"{word} ({score:+.2g})" for word, score in strongest) or "none"


def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(character).startswith("P") for character in word)


def _legend() -> str:
    swatches = " ".join(_span(f"{share:+.1f}", share) for share in (-1.0, -0.5, 0.5, 1.0))
    return (
        f'<p style="margin:0;font-size:.8em;color:#333">against {swatches} for the explained class; '
        "scores as a share of the largest magnitude in each text; strong tokens are underlined, dashed if against</p>"
    )
