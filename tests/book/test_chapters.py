"""Every chapter runs as Colab would run its copy: from the set-up cell on, in a clean environment that has torch."""

import hashlib
import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock

from regex_lib.book.build import revision_of
from regex_lib.book.colab import citations, colab_copy, set_up_cell
from regex_lib.book.directives import Names
from regex_lib.book.execution import execute
from regex_lib.book.gates import unsolved
from regex_lib.book.layout import find_book
from regex_lib.book.notebooks import code_cells, read_twin, tags_of, to_notebook, twin_of

BOOK = find_book(Path(__file__))
ENVIRONMENT = BOOK.root / "_build" / "colab"
KERNEL = "like-colab"
# What stands in for the address of the repository: this clone's files as they are now.
REPOSITORY = f"file://{ENVIRONMENT / 'repository'}"


def kinds_of_output(notebook: nbformat.NotebookNode) -> list[set[str]]:
    cells = [cell for cell in code_cells(notebook) if "set-up" not in tags_of(cell)]
    return [{kind for out in cell.outputs for kind in out.get("data", {"text": ""})} for cell in cells]


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """An environment that was set up by the set-up cell, once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    ENVIRONMENT.mkdir(parents=True, exist_ok=True)
    with FileLock(ENVIRONMENT / "lock"):
        if not (shared / "set-up").exists():
            make_repository(ENVIRONMENT / "repository")
            make_environment()
            (shared / "run").mkdir()
            cell = set_up_cell(REPOSITORY, revision_of(ENVIRONMENT / "repository"))
            notebook = nbformat.v4.new_notebook(cells=[cell])
            with pytest.MonkeyPatch.context() as patch:
                use_environment(patch)
                execute(notebook, shared / "run", {}, kernel=KERNEL)
            (shared / "set-up").touch()
    return ENVIRONMENT


def make_repository(folder: Path) -> None:
    """The files of the package, committed."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "book/01_quickstart.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BOOK.root / name, folder / name)
    for name in ("regex_lib", "results/tables"):
        shutil.copytree(BOOK.root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "package"]):
        subprocess.run([*git, *command], check=True)


def make_environment() -> None:
    """What Colab has before the set-up cell: torch and a kernel. What is there already is used again, without ours."""
    made_of = hashlib.sha256((BOOK.root / "constraints.txt").read_bytes()).hexdigest()
    record, python = ENVIRONMENT / "made-of", str(ENVIRONMENT / "env" / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if record.is_file() and record.read_text() == made_of:
        subprocess.run([*pip, "uninstall", "--yes", "regex-lib"], check=True)
        return
    venv.create(ENVIRONMENT / "env", clear=True, with_pip=True)
    subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)  # Python 3.11's own refuses git+file addresses
    subprocess.run([*pip, "install", "--constraint", BOOK.root / "constraints.txt", "torch", "ipykernel"], check=True)
    spec = ENVIRONMENT / "jupyter" / "kernels" / KERNEL / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": KERNEL, "language": "python"}))
    record.write_text(made_of)


def use_environment(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("JUPYTER_PATH", str(ENVIRONMENT / "jupyter"))
    patch.setenv("PIP_CONSTRAINT", str(BOOK.root / "constraints.txt"))
    patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    patch.setenv("OMP_NUM_THREADS", "1")  # beside other tests, a second thread only waits
    patch.delenv("PYTHONPATH", raising=False)


def installed(environment: Path, package: str) -> Path:
    (folder,) = environment.glob(f"env/lib/python*/site-packages/{package}-*.dist-info")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the paths of the environment are those of Unix")
def test_the_set_up_cell_installs_the_package_and_leaves_torch(clean_environment: Path) -> None:
    direct = json.loads((installed(clean_environment, "regex_lib") / "direct_url.json").read_text())
    assert direct["vcs_info"]["commit_id"] == revision_of(clean_environment / "repository")
    assert installed(clean_environment, "torch").stat().st_mtime < installed(clean_environment, "numpy").stat().st_mtime
    assert (installed(clean_environment, "torch") / "REQUESTED").is_file()  # by us, before; not by the cell


@pytest.mark.slow
@pytest.mark.parametrize("source", BOOK.sources, ids=lambda path: path.stem)
def test_the_chapter_runs_at_small_size(
    source: Path, clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_environment(monkeypatch)
    names = Names(citations(BOOK.folder / "references.bib"))
    notebook = colab_copy(to_notebook(source), REPOSITORY, revision_of(clean_environment / "repository"), names)
    sizes = BOOK.test_sizes(source.stem)
    ran = execute(notebook, tmp_path, sizes["parameters"], kernel=KERNEL, seconds=sizes["seconds"])
    assert kinds_of_output(ran) == kinds_of_output(read_twin(twin_of(source))), (
        "the run shows something else than the book"
    )
    assert unsolved(with_solutions_marked(ran, source)) == []


def with_solutions_marked(ran: nbformat.NotebookNode, source: Path) -> nbformat.NotebookNode:
    """The source's cells with the outputs of the copy: the copy no longer says where a solution starts."""
    marked = to_notebook(source)
    outputs = {cell["id"]: cell.outputs for cell in ran.cells if cell.cell_type == "code"}
    for cell in marked.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs[cell["id"]]
    return marked
