"""The copies of the chapters that Colab opens: a set-up cell first, and nothing that only the book understands."""

import copy
import dataclasses
import re
from pathlib import Path

import nbformat

from regex_lib.book.directives import Names, to_plain
from regex_lib.book.gates import solution_cells
from regex_lib.book.layout import Book
from regex_lib.book.notebooks import own_cells, read_twin, twin_of
from regex_lib.book.stamps import KEY, provenance

__all__ = ["citations", "colab_copy", "equations", "set_up_cell", "titles", "write_colab_copies"]


def set_up_cell(repository: str, revision: str) -> nbformat.NotebookNode:
    """Two lines that install the package from a commit or a tag. Torch, which Colab has, is left as it is."""
    source = (
        "# Installs the book's package; torch stays as it is. Outside Colab, skip this cell if you have it already.\n"
        f'%pip install --quiet "regex-lib[offline] @ git+{repository}@{revision}"'
    )
    return nbformat.v4.new_code_cell(source, id="set-up", metadata={"tags": ["set-up"]})


def colab_copy(
    notebook: nbformat.NotebookNode, repository: str, revision: str, names: Names | None = None
) -> nbformat.NotebookNode:
    """The copy of an executed twin.

    Args:
        notebook: the twin; it is not changed.
        repository: the address of the repository, as git takes it.
        revision: the commit or tag that has the package of the notebook.
        names: what the citations and references in the text stand for.
    """
    names = names or Names()
    notebook = copy.deepcopy(notebook)
    solutions = {cell["id"] for cell in solution_cells(notebook)}
    figures = [name for cell in own_cells(notebook) if (name := _figure(cell).get("name"))]
    names = dataclasses.replace(names, figures={name: number for number, name in enumerate(figures, start=1)})
    cells = [set_up_cell(repository, revision)]
    for cell in own_cells(notebook):
        cells += _plain_cells(cell, names, folded=cell["id"] in solutions)
    stamp = notebook.metadata.get(KEY)
    if stamp:
        cells.insert(1, nbformat.v4.new_markdown_cell(f"*{provenance(stamp)}*", id="provenance"))
    metadata = {key: notebook.metadata[key] for key in ("kernelspec", "widgets") if key in notebook.metadata}
    metadata |= {"accelerator": "GPU", "colab": {"provenance": []}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def write_colab_copies(book: Book, folder: Path, repository: str, revision: str, site: str) -> list[Path]:
    """Write the copies of all chapters that have a twin into a folder."""
    names = Names(citations(book.folder / "references.bib"), {}, site, equations(book), titles(book))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for twin in filter(Path.is_file, map(twin_of, book.sources)):
        nbformat.write(colab_copy(read_twin(twin), repository, revision, names), folder / twin.name)
        written.append(folder / twin.name)
    return written


def citations(bibliography: Path) -> dict[str, tuple[str, str]]:
    """Authors and year of every entry of a bibliography, by its key."""
    from pybtex.database import parse_file

    entries = parse_file(str(bibliography)).entries
    return {key: (_authors(entry), entry.fields.get("year", "n.d.")) for key, entry in entries.items()}


def equations(book: Book) -> dict[str, tuple[int, str]]:
    """Number and page of every equation with a label, as the pages have them: counted through the whole book."""
    pages = sorted([*book.sources, *book.folder.glob("*.md")], key=lambda path: path.stem)
    labels = [
        (label, page.stem)
        for page in pages
        for label in re.findall(r"^(?:# )?\$\$ \(([\w-]+)\)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    return {label: (number, page) for number, (label, page) in enumerate(labels, start=1)}


def titles(book: Book) -> dict[str, str]:
    """The titles of the pages, by their names."""
    heads = {".py": r"^# # (.+)$", ".md": r"^# (.+)$"}
    found = {
        page.stem: re.search(heads[page.suffix], page.read_text(encoding="utf-8"), re.MULTILINE)
        for page in [*book.sources, *book.folder.glob("*.md")]
    }
    return {name: match[1] for name, match in found.items() if match}


def _authors(entry: "object") -> str:
    people = entry.persons.get("author") or entry.persons.get("editor") or []  # type: ignore[attr-defined]
    names = [" ".join(person.prelast_names + person.last_names).strip("{}") for person in people]
    if not names:
        return entry.fields.get("title", "Anonymous")  # type: ignore[attr-defined]
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _plain_cells(cell: nbformat.NotebookNode, names: Names, *, folded: bool) -> list[nbformat.NotebookNode]:
    if cell.cell_type == "markdown":
        cell.source = to_plain(cell.source, names)
        return [cell] if cell.source.strip() else []
    if folded:  # Colab hides the code of a form until it is asked for
        cell.source = f"#@title Solution (double-click to see the code)\n{cell.source}"
        cell.metadata["cellView"] = "form"
        cell.outputs, cell.execution_count = [], None  # they would stand below it, open
    figure = _figure(cell)
    if "caption" not in figure:
        return [cell]
    number = f"**Figure {names.figures[figure['name']]}.** " if figure.get("name") in names.figures else ""
    caption = to_plain(figure["caption"], names)
    return [cell, nbformat.v4.new_markdown_cell(f"{number}*{caption}*", id=f"{cell['id'][-56:]}-caption")]


def _figure(cell: nbformat.NotebookNode) -> dict[str, str]:
    return cell.metadata.get("mystnb", {}).get("figure", {})
