"""Sphinx: the provenance line of each chapter, the table of all chapters' runs, and references by the public names."""

import json
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from regex_lib.book.stamps import KEY, provenance

__all__ = ["setup"]

_UNSTAMPED = "This run has no record of where and when it was made."


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this file has with Sphinx."""
    app.add_directive("chapter-runs", ChapterRuns)
    app.connect("doctree-read", _add_provenance)
    app.connect("html-page-context", _without_thebe, priority=900)
    app.connect("missing-reference", _by_public_name)
    app.connect("autodoc-process-docstring", _returns_have_no_types, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _add_provenance(app: Sphinx, doctree: nodes.document) -> None:
    path = Path(app.env.doc2path(app.env.docname))
    title = next(iter(doctree.findall(nodes.title)), None)
    if path.suffix != ".ipynb" or title is None:
        return
    stamp = _stamp(path)
    line = nodes.paragraph(text=provenance(stamp) if stamp else _UNSTAMPED, classes=["provenance"])
    title.parent.insert(title.parent.index(title) + 1, line)


class ChapterRuns(Directive):
    """A table of all chapters: device, seconds, date, commit; and the packages they ran with."""

    def run(self) -> list[nodes.Node]:
        """The table, and a list of packages."""
        env = self.state.document.settings.env
        env.note_reread()  # it shows other files than its own
        paths = sorted(Path(env.srcdir).glob("*.ipynb"))
        stamps = {path.stem: _stamp(path) for path in paths}
        rows = [_row(name, stamp) for name, stamp in stamps.items()]
        versions = {
            f"{name} {number}" for stamp in stamps.values() if stamp for name, number in stamp["packages"].items()
        }
        packages = nodes.paragraph(text=f"Packages: {', '.join(sorted(versions)) or 'not recorded'}.")
        return [_table(["Chapter", "Device", "Seconds", "Date", "Commit"], rows), packages]


def _row(name: str, stamp: dict[str, Any] | None) -> list[str]:
    if stamp is None:
        return [name, "not recorded", "", "", ""]
    return [name, stamp["device"], str(stamp["seconds"]), stamp["date"], stamp["commit"]]


def _table(heads: list[str], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    head, body = nodes.thead(), nodes.tbody()
    head += _table_row(heads)
    body += [_table_row(row) for row in rows]
    group += [head, body]
    table = nodes.table()
    table += group
    return table


def _table_row(cells: list[str]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry("", nodes.paragraph(text=cell)) for cell in cells]
    return row


def _stamp(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get(KEY)


def _without_thebe(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:  # noqa: ARG001
    """Jupyter Book loads Thebe on every page, twice where two extensions ask for it. The book has no live code."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script} {getattr(script, 'attributes', '')}".lower()
    ]


def _by_public_name(app: Sphinx, env: Any, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """A reference to a name by the module that defines it leads to the page of the package that offers it.

    What no page describes, but is there, is code without a link. What is not there stays a broken reference.
    """
    name = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not name:
        return None
    python, last = env.domains["py"], name.rpartition(".")[2]
    package = ".".join((name if name.startswith("regex_lib.") else node.get("py:module") or "").split(".")[:2])
    if f"{package}.{last}" in python.objects:
        refdoc, target = node.get("refdoc"), f"{package}.{last}"
        return python.resolve_xref(env, refdoc, app.builder, "obj", target, node, contnode)
    return contnode if package and _exists(package, name) else None


def _exists(package: str, name: str) -> bool:
    """Whether a name is that of a module, or stands in one of the package's."""
    with suppress(ImportError):
        import_module(package)
    last = name.rpartition(".")[2]
    inside = [module for path, module in sys.modules.items() if path == package or path.startswith(f"{package}.")]
    return name in sys.modules or any(hasattr(module, last) for module in inside)


def _returns_have_no_types(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Types are in the signatures. Napoleon would take a docstring's first words for one, up to a colon."""
    if what in ("attribute", "property", "data") and lines:
        lines[0] = f": {lines[0]}"
    for index, line in enumerate(lines[:-1]):
        if line.strip() in ("Returns:", "Yields:"):
            text = lines[index + 1]
            lines[index + 1] = text[: len(text) - len(text.lstrip())] + ": " + text.lstrip()
