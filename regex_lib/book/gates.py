"""What a chapter's twin must be before the book shows it. Each gate returns what is wrong, in sentences."""

from collections.abc import Iterable
from pathlib import Path

import nbformat
import papermill

from regex_lib.book.notebooks import code_cells, own_cells, read_twin, tags_of, to_notebook, twin_of
from regex_lib.book.stamps import KEY, digest

__all__ = ["check_twin", "failing", "hollow", "mismatched", "stale", "unknown_parameters", "unsolved"]

AGAIN = "run `regex-lib book execute {}`"


def check_twin(source: Path) -> list[str]:
    """Everything that is wrong with the twin of a source."""
    if not twin_of(source).is_file():
        return [f"there is no executed twin: {AGAIN.format(source.stem)}"]
    twin = read_twin(twin_of(source))
    return [*stale(source, twin), *mismatched(source, twin), *hollow(twin), *failing(twin), *unsolved(twin)]


def stale(source: Path, twin: nbformat.NotebookNode) -> list[str]:
    """The twin's stamp is missing, or that of another source."""
    stamp = twin.metadata.get(KEY)
    if stamp is None:
        return [f"the twin has no stamp: {AGAIN.format(source.stem)}"]
    if stamp["source_sha256"] != digest(source):
        return [f"the source was changed after the twin was made: {AGAIN.format(source.stem)}"]
    return []


def mismatched(source: Path, twin: nbformat.NotebookNode) -> list[str]:
    """The cells of the twin are not those of the source."""
    pairs = [
        [(cell.cell_type, cell.source, tags_of(cell)) for cell in own_cells(it)] for it in (to_notebook(source), twin)
    ]
    if len(pairs[0]) != len(pairs[1]):
        return [f"the source has {len(pairs[0])} cells, the twin {len(pairs[1])}: {AGAIN.format(source.stem)}"]
    different = [number for number, (one, other) in enumerate(zip(*pairs, strict=True)) if one != other]
    return [f"cell {number} of the twin is not that of the source" for number in different]


def hollow(twin: nbformat.NotebookNode) -> list[str]:
    """A cell was not executed, or the whole twin shows no outputs."""
    code = code_cells(twin)
    problems = [f"cell {_first_line(cell)!r} was not executed" for cell in code if not cell.execution_count]
    if code and not any(cell.outputs for cell in code):
        problems.append("no cell of the twin has an output")
    return problems


def failing(twin: nbformat.NotebookNode) -> list[str]:
    """A cell of the twin shows an error."""
    return [
        f"cell {_first_line(cell)!r} failed: {output.ename}: {output.evalue}"
        for cell in code_cells(twin)
        for output in cell.outputs
        if output.output_type == "error"
    ]


def unsolved(notebook: nbformat.NotebookNode) -> list[str]:
    """A solution does not pass the check of its exercise."""
    problems = []
    for cell in solution_cells(notebook):
        texts = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        problems += [f"the solution {_first_line(cell)!r} says: {text}" for text in texts if text.startswith("Not ")]
    return problems


def unknown_parameters(path: Path, names: Iterable[str]) -> list[str]:
    """Parameters that the notebook at the path does not have; papermill would pass over them with a line in its log."""
    known = papermill.inspect_notebook(str(path))
    return [f"{path.stem} has no parameter {name!r}, only: {', '.join(known)}" for name in names if name not in known]


def solution_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of code between the start and the end of a solution."""
    inside, cells = False, []
    for cell in own_cells(notebook):
        if cell.cell_type == "markdown":
            inside = "{solution-start}" in cell.source or (inside and "{solution-end}" not in cell.source)
        elif inside:
            cells.append(cell)
    return cells


def _first_line(cell: nbformat.NotebookNode) -> str:
    return cell.source.partition("\n")[0]
