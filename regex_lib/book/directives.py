"""MyST markdown in plain markdown and HTML, for places such as Colab that would show its directives as text."""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from regex_lib.errors import UserError

__all__ = ["Names", "leftovers", "to_plain"]

_FENCE = re.compile(r"^\s*(?P<marks>`{3,}|:{3,})(?:\{(?P<name>[\w:-]+)\})?\s*(?P<argument>.*?)\s*$")
_ROLE = re.compile(r"(?<!`)\{(?P<name>[\w:]+)\}`(?P<content>[^`]+)`")
_TITLED = re.compile(r"^(?P<title>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
_ADMONITIONS = ("attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip", "warning")
_SILENT = ("bibliography", "exercise-end", "index", "solution-end", "tableofcontents")


@dataclass(frozen=True)
class Names:
    """What roles refer to."""

    citations: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Authors and year by the key of the bibliography."""
    figures: Mapping[str, int] = field(default_factory=dict)
    """The numbers of the notebook's own figures, by their names."""
    site: str = ""
    """The address of the published pages; without one, a link to a page is plain text."""
    equations: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """The number of each equation that has a label, and the page that it is on."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The titles of the pages, by their names."""


def to_plain(markdown: str, names: Names | None = None) -> str:
    r"""Markdown that any reader of notebooks shows well.

    Raises:
        UserError: for a directive or a role that has no plain form here.

    Example:
        >>> print(to_plain(":::{tip}\nTry {math}`x^2`.\n:::"))
        > **Tip.**
        >
        > Try $x^2$.
    """
    return "\n".join(_blocks(markdown.splitlines(), names or Names()))


def leftovers(markdown: str) -> list[str]:
    """Directives and roles that still stand in a text, outside its code."""
    found = [match["name"] for _, match in _opened(markdown.splitlines()) if match["name"]]
    return found + [match["name"] for line, match in _outside_code(markdown) if match]


def _blocks(lines: list[str], names: Names) -> Iterator[str]:
    index = 0
    while index < len(lines):
        opened = _FENCE.match(lines[index])
        if opened is None:
            yield from _line(lines[index], names)
            index += 1
            continue
        end = _closing(lines, index, opened["marks"])
        if opened["name"] == "solution-start":  # the rest of the cell is the solution
            yield from _folded(_title("solution", "", names), list(_blocks(lines[end + 1 :], names)))
            return
        if opened["name"] is None:  # code stays as it is
            yield from lines[index : end + 1]
        else:
            yield from _directive(opened["name"], opened["argument"], lines[index + 1 : end], names)
        index = end + 1


def _closing(lines: list[str], start: int, marks: str) -> int:
    for index in range(start + 1, len(lines)):
        line = lines[index].strip()
        if line and set(line) == {marks[0]} and len(line) >= len(marks):
            return index
    return len(lines)


def _directive(name: str, argument: str, lines: list[str], names: Names) -> list[str]:
    options, body = _options(lines)
    if name in _SILENT:
        return []
    if name == "math":
        return ["$$", *body, *_tag(options.get("label", ""), names), "$$"]
    if name in ("code", "code-block"):
        return [f"```{argument}", *body, "```"]
    if name in ("figure", "image"):
        return _picture(argument, options, list(_blocks(body, names)))
    plain = list(_blocks(body, names))
    title = _title(name, argument, names)
    if name.endswith("-start"):
        return [f"**{title}**", "", *plain]
    if name == "dropdown" or "dropdown" in options.get("class", ""):
        return _folded(title, plain)
    return [f"> **{title}**", ">", *(f"> {line}".rstrip() for line in plain)]


def _folded(title: str, plain: list[str]) -> list[str]:
    text = "\n".join(plain).strip()
    return ["<details>", f"<summary>{html.escape(title)}</summary>", "", text, "", "</details>"] if text else []


def _title(name: str, argument: str, names: Names) -> str:
    kind = name.removesuffix("-start")
    given = _roles(argument, names)
    if kind == "solution":
        return "Solution."
    if kind in ("admonition", "dropdown", "margin", "sidebar", "topic"):
        return given
    if kind in _ADMONITIONS or kind == "exercise":
        word = "See also" if kind == "seealso" else kind.capitalize()
        return f"{word}. {given}" if given else f"{word}."
    raise UserError(
        f"the directive {{{name}}} has no plain form: use another, or add one to regex_lib/book/directives.py"
    )


def _options(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    for index, line in enumerate(lines):
        match = re.match(r"^\s*:([\w-]+):\s*(.*)$", line)
        if match is None:
            return options, lines[index + 1 :] if options and not line.strip() else lines[index:]
        options[match[1]] = match[2]
    return options, []


def _picture(path: str, options: Mapping[str, str], caption: list[str]) -> list[str]:
    return [f"![{options.get('alt', '')}]({path})", "", *caption]


def _line(line: str, names: Names) -> list[str]:
    if re.match(r"^\([\w:-]+\)=\s*$", line) or line.startswith("% "):
        return []
    labelled = re.match(r"^(\s*\$\$)\s*\(([\w:-]+)\)\s*$", line)
    if labelled:  # the end of an equation
        return [*_tag(labelled[2], names), labelled[1]]
    return [_roles(line, names)]


def _tag(label: str, names: Names) -> list[str]:
    return [f"\\tag{{{names.equations[label][0]}}}"] if label in names.equations else []


def _roles(line: str, names: Names) -> str:
    return _ROLE.sub(lambda match: _role(match["name"], match["content"], names), line)


def _role(name: str, content: str, names: Names) -> str:
    titled = _TITLED.match(content)
    title, target = (titled["title"], titled["target"]) if titled else ("", content)
    if name.startswith("cite"):
        return _citation(content, names, in_text=name.endswith(":t"))
    if name.startswith("py:"):
        return f"`{title or target.removeprefix('~')}`"
    forms: dict[str, Callable[[], str]] = {
        "doc": lambda: _page_link(title or names.titles.get(target, target), f"{target}.html", names),
        "eq": lambda: _equation(target, names),
        "math": lambda: f"${content}$",
        "numref": lambda: f"Figure {names.figures[target]}" if target in names.figures else f"*{title or target}*",
        "ref": lambda: title or target.replace("-", " "),
        "term": lambda: title or target,
    }
    if name not in forms:
        raise UserError(
            f"the role {{{name}}} has no plain form: use another, or add one to regex_lib/book/directives.py"
        )
    return forms[name]()


def _citation(keys: str, names: Names, *, in_text: bool) -> str:
    parts = []
    for key in map(str.strip, keys.split(",")):
        if key not in names.citations:
            raise UserError(f"the bibliography has no {key!r}")
        authors, year = names.citations[key]
        parts.append(f"{authors} ({year})" if in_text else f"{authors}, {year}")
    return ", ".join(parts) if in_text else f"({'; '.join(parts)})"


def _equation(label: str, names: Names) -> str:
    if label not in names.equations:
        return f"the equation *{label}*"
    number, page = names.equations[label]
    return _page_link(f"({number})", f"{page}.html#equation-{label}", names)


def _page_link(text: str, target: str, names: Names) -> str:
    return f"[{text}]({names.site}/{target})" if names.site else text


def _opened(lines: list[str]) -> Iterator[tuple[int, "re.Match[str]"]]:
    index = 0
    while index < len(lines):
        opened = _FENCE.match(lines[index])
        if opened is None:
            index += 1
            continue
        yield index, opened
        index = _closing(lines, index, opened["marks"]) + 1 if opened["name"] is None else index + 1


def _outside_code(markdown: str) -> Iterator[tuple[str, "re.Match[str] | None"]]:
    inside = False
    for line in markdown.splitlines():
        inside ^= line.lstrip().startswith("```")
        if not inside:
            yield line, _ROLE.search(line)
