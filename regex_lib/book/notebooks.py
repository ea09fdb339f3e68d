"""A chapter's two forms: its percent source, which people edit, and its executed twin, which the book shows."""

from pathlib import Path
from typing import Any

import jupytext
import nbformat

__all__ = ["INJECTED", "INJECTED_NOTE", "code_cells", "own_cells", "read_twin", "strip", "to_notebook", "twin_of"]

INJECTED = "injected-parameters"
"""The tag of the cell in which papermill puts the parameters of a run."""

INJECTED_NOTE = "# What you see was run with these values. Delete this cell to run with the settings above."
"""The first line of that cell, for who changes the settings and wonders why nothing happens."""


def twin_of(source: Path) -> Path:
    """The path of a source's executed twin."""
    return source.with_suffix(".ipynb")


def to_notebook(source: Path) -> nbformat.NotebookNode:
    """The notebook of a percent source, with cell ids that depend on nothing but the order of the cells."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem.replace('_', '-')}-{number:02d}"[-64:]
    return notebook


def read_twin(path: Path) -> nbformat.NotebookNode:
    """A notebook from a file."""
    return nbformat.read(path, as_version=4)


def tags_of(cell: nbformat.NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def own_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that stand in the source too."""
    return [cell for cell in notebook.cells if INJECTED not in tags_of(cell)]


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of code that stand in the source too."""
    return [cell for cell in own_cells(notebook) if cell.cell_type == "code"]


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what changes from run to run and tells a reader nothing."""
    holders: list[Any] = [notebook.metadata, *(cell.metadata for cell in notebook.cells)]
    for metadata in holders:
        for key in ("papermill", "execution", "language_info"):
            metadata.pop(key, None)
        if metadata.get("tags") == []:
            del metadata["tags"]
    for cell in notebook.cells:
        if INJECTED in tags_of(cell):
            cell["id"] = INJECTED
            cell.source = cell.source.replace("# Parameters", INJECTED_NOTE, 1)
