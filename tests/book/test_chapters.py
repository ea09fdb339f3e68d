"""Every chapter runs, and the twin that the book shows is the executed form of its source."""

import importlib.util
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = tomllib.loads((Path(__file__).parent / "chapters.toml").read_text())
SOURCES = sorted(path for path in (ROOT / "book").glob("*.py") if path.name != "execute.py")


def load_execute():
    spec = importlib.util.spec_from_file_location("execute", ROOT / "book" / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def own_cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    return [(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", []))) for cell in cells]


def kinds_of_output(notebook: nbformat.NotebookNode) -> list[set[str]]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    own = [cell for cell in code if "injected-parameters" not in cell.metadata.get("tags", [])]
    return [{kind for out in cell.outputs for kind in out.get("data", {"text": ""})} for cell in own]


def test_every_chapter_has_its_test_sizes() -> None:
    assert [path.stem for path in SOURCES] == sorted(CHAPTERS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_twin_is_the_executed_source(source: Path) -> None:
    twin = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert own_cells(twin) == own_cells(load_execute().to_notebook(source)), "run: make chapters"
    code = [cell for cell in twin.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "a cell was not executed"
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert sum(bool(cell.outputs) for cell in code) >= 3, "the twin shows no outputs"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_parameters_of_the_test_are_the_chapters(source: Path) -> None:
    known = papermill.inspect_notebook(str(source.with_suffix(".ipynb")))
    assert set(CHAPTERS[source.stem]["parameters"]) <= set(known)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_chapter_runs_at_small_size(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # beside other tests, a second thread only waits
    clean, executed = tmp_path / "clean.ipynb", tmp_path / "executed.ipynb"
    nbformat.write(load_execute().to_notebook(source), clean)
    sizes = CHAPTERS[source.stem]
    papermill.execute_notebook(
        clean, executed, sizes["parameters"], kernel_name="python3", cwd=tmp_path, execution_timeout=sizes["seconds"],
        progress_bar=False,
    )  # fmt: skip
    ran, twin = (nbformat.read(path, as_version=4) for path in (executed, source.with_suffix(".ipynb")))
    assert kinds_of_output(ran) == kinds_of_output(twin), "the run shows something else than the book does"
