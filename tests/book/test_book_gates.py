"""Every chapter's twin passes the gates, and each gate fails on the defect it is there for."""

from pathlib import Path

import nbformat
import pytest

from regex_lib.book.gates import check_twin, failing, hollow, mismatched, stale, unknown_parameters, unsolved
from regex_lib.book.layout import find_book
from regex_lib.book.notebooks import INJECTED, INJECTED_NOTE, code_cells, read_twin, tags_of, twin_of
from regex_lib.cli.demo import DEMO_PARAMETERS

BOOK = find_book(Path(__file__))


@pytest.mark.parametrize("source", BOOK.sources, ids=lambda path: path.stem)
def test_the_twin_is_the_executed_source(source):
    assert check_twin(source) == []


@pytest.mark.parametrize("source", BOOK.sources, ids=lambda path: path.stem)
def test_the_values_of_the_run_say_that_they_replace_the_settings(source):
    injected = [cell.source for cell in read_twin(twin_of(source)).cells if INJECTED in tags_of(cell)]
    assert [values.splitlines()[0] for values in injected] == [INJECTED_NOTE] * len(injected)


@pytest.mark.parametrize("source", BOOK.sources, ids=lambda path: path.stem)
def test_the_sizes_name_the_chapters_parameters(source):
    for names in (BOOK.test_sizes(source.stem)["parameters"], BOOK.cpu_parameters(source.stem)):
        assert unknown_parameters(twin_of(source), names) == []


def test_every_size_is_that_of_a_chapter():
    import tomllib

    chapters = {source.stem for source in BOOK.sources}
    for path in (BOOK.root / "tests" / "book" / "chapters.toml", BOOK.folder / "cpu_sizes.toml"):
        assert set(tomllib.loads(path.read_text())) <= chapters


def test_the_published_quickstart_is_the_demo():
    assert BOOK.cpu_parameters("01_quickstart") == DEMO_PARAMETERS


def test_a_right_twin_passes(small_book, write_twin):
    write_twin(small_book.source("01_chapter"))
    assert check_twin(small_book.source("01_chapter")) == []


def test_a_missing_twin_is_found(small_book):
    assert check_twin(small_book.source("01_chapter")) == [
        "there is no executed twin: run `regex-lib book execute 01_chapter`"
    ]


def test_a_stale_twin_is_found(small_book, write_twin):
    source = small_book.source("01_chapter")
    twin = write_twin(source)
    source.write_text(source.read_text().replace("A chapter", "Another chapter"))
    (problem,) = stale(source, twin)
    assert "changed after" in problem
    (problem,) = mismatched(source, twin)
    assert problem == "cell 0 of the twin is not that of the source"


def test_a_twin_without_a_stamp_is_found(small_book, write_twin):
    source = small_book.source("01_chapter")
    twin = write_twin(source)
    twin.metadata.clear()
    (problem,) = stale(source, twin)
    assert "no stamp" in problem


def test_a_twin_with_another_cell_is_found(small_book, write_twin):
    source = small_book.source("01_chapter")
    twin = write_twin(source)
    twin.cells.append(nbformat.v4.new_code_cell("1 + 1"))
    (problem,) = mismatched(source, twin)
    assert "the source has 3 cells, the twin 4" in problem


def test_injected_parameters_do_not_make_a_twin_another(small_book, write_twin):
    source = small_book.source("01_chapter")
    twin = write_twin(source)
    twin.cells.insert(2, nbformat.v4.new_code_cell("epochs = 1", metadata={"tags": ["injected-parameters"]}))
    assert mismatched(source, twin) == []


def test_a_twin_without_outputs_is_found(small_book, write_twin):
    twin = write_twin(small_book.source("01_chapter"))
    for cell in code_cells(twin):
        cell.outputs = []
    assert hollow(twin) == ["no cell of the twin has an output"]


def test_a_cell_that_was_not_executed_is_found(small_book, write_twin):
    twin = write_twin(small_book.source("01_chapter"))
    code_cells(twin)[1].execution_count = None
    assert hollow(twin) == ["cell 'print(epochs)' was not executed"]


def test_an_error_output_is_found(small_book, write_twin):
    twin = write_twin(small_book.source("01_chapter"))
    code_cells(twin)[1].outputs = [nbformat.v4.new_output("error", ename="NameError", evalue="no epochs", traceback=[])]
    assert failing(twin) == ["cell 'print(epochs)' failed: NameError: no epochs"]


def test_an_unknown_parameter_is_found(small_book, write_twin):
    write_twin(small_book.source("01_chapter"))
    path = twin_of(small_book.source("01_chapter"))
    assert unknown_parameters(path, ["epochs"]) == []
    assert unknown_parameters(path, ["epoch"]) == ["01_chapter has no parameter 'epoch', only: epochs"]


@pytest.mark.parametrize(
    ("verdict", "found"),
    [("Correct.", 0), ("Not yet: the answer differs by 0.1.", 1), ("Not answered yet: replace the dots.", 1)],
)
def test_a_solution_that_does_not_solve_is_found(verdict, found):
    shown = nbformat.v4.new_output("execute_result", data={"text/plain": verdict}, execution_count=1)
    untried = nbformat.v4.new_output("execute_result", data={"text/plain": "Not answered yet."}, execution_count=1)
    cells = [
        nbformat.v4.new_code_cell("answer = ...", outputs=[untried]),
        nbformat.v4.new_markdown_cell("```{solution-start} ex\n```"),
        nbformat.v4.new_code_cell("answer = 1", outputs=[shown]),
        nbformat.v4.new_markdown_cell("```{solution-end}\n```"),
    ]
    assert len(unsolved(nbformat.v4.new_notebook(cells=cells))) == found
