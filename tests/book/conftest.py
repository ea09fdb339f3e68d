"""The book of this clone, and a small one to break."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from regex_lib.book.layout import Book
from regex_lib.book.notebooks import to_notebook, twin_of
from regex_lib.book.stamps import KEY, make_stamp

HEADER = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""
CHAPTER = """# %% [markdown]
# # A chapter

# %% tags=["parameters"]
epochs: int = 3

# %%
print(epochs)
"""


@pytest.fixture
def small_book(tmp_path: Path) -> Book:
    """A book of one chapter without a twin."""
    for folder in ("book", "tests/book"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n  - file: 01_chapter\n")
    (tmp_path / "book" / "01_chapter.py").write_text(HEADER + CHAPTER)
    (tmp_path / "tests" / "book" / "chapters.toml").write_text(
        "[01_chapter]\nseconds = 60\nparameters = { epochs = 1 }\n"
    )
    return Book(tmp_path)


@pytest.fixture
def write_twin() -> Callable[..., nbformat.NotebookNode]:
    """Writes a twin as an execution would leave it, without the execution."""

    def write(source: Path) -> nbformat.NotebookNode:
        notebook = to_notebook(source)
        for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.execution_count = number + 1
            cell.outputs = [nbformat.v4.new_output("stream", text="3\n")] if "print" in cell.source else []
        notebook.metadata[KEY] = make_stamp(source, {}, 1.0)
        nbformat.write(notebook, twin_of(source))
        return notebook

    return write
