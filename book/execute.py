"""Execute the chapters: from each percent source (name.py) to its executed twin (name.ipynb).

    python book/execute.py [CHAPTER ...]

Run it after every change of a source; a test fails when the two disagree. On a machine without a GPU the parameters in
``CPU_PARAMETERS`` are used, and stand in the twin as injected parameters.
"""

import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
import torch

from regex_lib.cli.demo import DEMO_PARAMETERS

BOOK = Path(__file__).parent
CPU_PARAMETERS: dict[str, dict[str, object]] = {"01_quickstart": DEMO_PARAMETERS}


def execute(source: Path) -> None:
    """Run one chapter in a folder of its own, and write its twin without timings or other noise."""
    with tempfile.TemporaryDirectory() as folder:
        clean, executed = Path(folder, "clean.ipynb"), Path(folder, "executed.ipynb")
        nbformat.write(to_notebook(source), clean)
        parameters = {} if torch.cuda.is_available() else CPU_PARAMETERS.get(source.stem, {})
        papermill.execute_notebook(clean, executed, parameters, kernel_name="python3", cwd=folder)
        notebook = nbformat.read(executed, as_version=4)
    strip(notebook)
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def to_notebook(source: Path) -> nbformat.NotebookNode:
    """The notebook of a percent source, with cell ids that depend on nothing but the order of the cells."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem.replace('_', '-')}-{number:02d}"[:64]
    return notebook


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what changes from run to run and tells a reader nothing."""
    for metadata in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
        for key in ("papermill", "execution", "language_info"):
            metadata.pop(key, None)
        if metadata.get("tags") == []:
            del metadata["tags"]
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"


if __name__ == "__main__":
    for name in sys.argv[1:] or [path.stem for path in sorted(BOOK.glob("*.py")) if path != Path(__file__)]:
        execute(BOOK / f"{name}.py")
