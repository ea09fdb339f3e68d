"""A new chapter runs as it comes, passes the gates, and has its place in the book."""

import tomllib

import pytest

from regex_lib.book.chapters import new_chapter
from regex_lib.book.execution import execute_all
from regex_lib.book.gates import check_twin, solution_cells, unknown_parameters
from regex_lib.book.layout import find_book
from regex_lib.book.notebooks import read_twin, twin_of
from regex_lib.book.stamps import KEY
from regex_lib.errors import UserError


def test_it_has_its_place_and_its_sizes(small_book):
    source = new_chapter(small_book, "02_masks", "Masks")
    assert "# # Masks" in source.read_text()
    assert not {"TITLE", "LABEL"} & set(source.read_text().split())
    assert (small_book.root / "_toc.yml").read_text().splitlines()[-2:] == [
        "  - file: 01_chapter",
        "  - file: 02_masks",
    ]
    assert set(tomllib.loads((small_book.root / "tests/book/chapters.toml").read_text())) == {"01_chapter", "02_masks"}


@pytest.mark.slow
def test_it_runs_and_passes_the_gates(small_book, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    source = new_chapter(small_book, "02_masks", "Masks")
    (stamp,) = execute_all(small_book, ["02_masks"], small=True).values()
    twin = read_twin(twin_of(source))
    assert check_twin(source) == []
    assert unknown_parameters(twin_of(source), small_book.test_sizes("02_masks")["parameters"]) == []
    assert twin.metadata[KEY] == stamp
    assert stamp["parameters"] == {"texts": 2}
    assert stamp["seconds"] > 0
    (solution,) = solution_cells(twin)
    assert solution.outputs[0]["data"]["text/plain"] == "Correct."


@pytest.mark.slow
def test_a_chapter_that_fails_does_not_touch_its_twin(small_book, write_twin):
    source = small_book.source("01_chapter")
    write_twin(source)
    before = twin_of(source).read_bytes()
    source.write_text(source.read_text() + "\n# %%\n1 / 0\n")
    (error,) = execute_all(small_book, ["01_chapter"]).values()
    assert "ZeroDivisionError" in str(error)
    assert twin_of(source).read_bytes() == before


@pytest.mark.parametrize("name", ["Masks", "02 masks", "../02_masks", "02_masks.py", ""])
def test_a_wrong_name_is_refused(small_book, name):
    with pytest.raises(UserError, match="is no name for a chapter"):
        new_chapter(small_book, name, "Masks")


def test_a_name_that_is_taken_is_refused(small_book):
    with pytest.raises(UserError, match="there is a chapter '01_chapter' already"):
        new_chapter(small_book, "01_chapter", "Again")


def test_a_chapter_that_is_not_there_is_told(small_book):
    with pytest.raises(UserError, match="unknown chapter '01_chaptr': did you mean '01_chapter'"):
        small_book.source("01_chaptr")
    with pytest.raises(UserError, match="no sizes for the chapter '09_none'"):
        small_book.test_sizes("09_none")


def test_a_folder_without_a_book_is_told(tmp_path):
    with pytest.raises(UserError, match="no book in"):
        find_book(tmp_path)
