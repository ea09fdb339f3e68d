"""Run chapters: at their published size, with a stamp, or at the small size of the tests."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
import papermill

from regex_lib.book.layout import Book
from regex_lib.book.notebooks import INJECTED, code_cells, read_twin, strip, tags_of, to_notebook, twin_of
from regex_lib.book.stamps import KEY, digest, make_stamp
from regex_lib.errors import UserError

__all__ = ["execute", "execute_all", "publish", "reword"]


def execute(
    notebook: nbformat.NotebookNode,
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    kernel: str = "python3",
    seconds: int | None = None,
) -> nbformat.NotebookNode:
    """Run a notebook in a folder, with some of its parameters replaced.

    Args:
        notebook: the notebook, without outputs.
        folder: where it runs, and where papermill's files are left.
        parameters: the values that replace the notebook's own.
        kernel: the name of a Jupyter kernel.
        seconds: the limit for one cell.

    Raises:
        papermill.PapermillExecutionError: if a cell fails.
    """
    clean, executed = folder / "clean.ipynb", folder / "executed.ipynb"
    nbformat.write(notebook, clean)
    papermill.execute_notebook(
        clean,
        executed,
        dict(parameters),
        kernel_name=kernel,
        cwd=folder,
        start_timeout=300,  # a kernel imports torch, beside whatever else runs
        execution_timeout=seconds,
        progress_bar=False,
    )
    return read_twin(executed)


def publish(source: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run a chapter in a folder of its own, and write its twin with a stamp.

    Returns:
        The stamp.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(to_notebook(source), Path(folder), parameters)
    strip(notebook)
    stamp = make_stamp(source, parameters, time.perf_counter() - start)
    notebook.metadata[KEY] = stamp
    nbformat.write(notebook, twin_of(source))
    return stamp


def execute_all(book: Book, chapters: Sequence[str], *, small: bool = False, jobs: int = 1) -> dict[str, Any]:
    """Publish chapters, several at once if asked for.

    Args:
        book: the book.
        chapters: their names.
        small: use the sizes of the tests, for a quick look; otherwise a machine without a GPU takes the sizes in
            ``cpu_sizes.toml``, and one with a GPU the chapters' own.
        jobs: how many run at once.

    Returns:
        For each chapter its stamp, or the exception that ended it.
    """
    runs = {name: (book.source(name), _parameters(book, name, small)) for name in chapters}
    results: dict[str, Any] = {}
    share = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), _share_cores, (share,)) as pool:
        futures = {name: pool.submit(publish, *run) for name, run in runs.items()}
        for name, future in futures.items():
            results[name] = future.exception() or future.result()
    return results


def reword(source: Path) -> None:
    """Bring the text of a source into its twin, without running it: its code and its settings must be those that ran.

    The outputs and the stamp stay those of the run; captions and alternative texts of figures are text.

    Raises:
        UserError: if there is no stamped twin, or the code is not what ran.
    """
    again = f"run `regex-lib book execute {source.stem}`"
    if not twin_of(source).is_file() or KEY not in (twin := read_twin(twin_of(source))).metadata:
        raise UserError(f"{source.stem} has no executed twin with a stamp: {again}")
    notebook, ran = to_notebook(source), code_cells(twin)
    if [(cell.source, tags_of(cell)) for cell in code_cells(notebook)] != [
        (cell.source, tags_of(cell)) for cell in ran
    ]:
        raise UserError(f"the code of {source.stem} is not what ran: {again}")
    for cell, executed in zip(code_cells(notebook), ran, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    for cell in twin.cells:
        if INJECTED in tags_of(cell):
            notebook.cells.insert([tags_of(own) for own in notebook.cells].index(["parameters"]) + 1, cell)
    notebook.metadata = twin.metadata
    notebook.metadata[KEY]["source_sha256"] = digest(source)
    strip(notebook)
    nbformat.write(notebook, twin_of(source))


def _share_cores(threads: int) -> None:
    """For the kernels that this process starts: chapters that run side by side would wait for each other's threads."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def _parameters(book: Book, chapter: str, small: bool) -> dict[str, Any]:
    import torch

    if small:
        return book.test_sizes(chapter)["parameters"]
    return {} if torch.cuda.is_available() else book.cpu_parameters(chapter)
