"""Text can be mended without a run, code cannot."""

import pytest

from regex_lib.book.execution import reword
from regex_lib.book.gates import check_twin
from regex_lib.book.notebooks import INJECTED, INJECTED_NOTE, code_cells, read_twin, tags_of, twin_of
from regex_lib.book.stamps import KEY
from regex_lib.errors import UserError


@pytest.fixture
def source(small_book, write_twin):
    source = small_book.source("01_chapter")
    write_twin(source)
    return source


def test_changed_text_comes_into_the_twin_and_the_run_stays(source):
    before = read_twin(twin_of(source))
    source.write_text(source.read_text().replace("A chapter", "Another chapter"))
    assert check_twin(source) != []
    reword(source)
    after = read_twin(twin_of(source))
    assert check_twin(source) == []
    assert any("Another chapter" in cell.source for cell in after.cells)
    assert [cell.outputs for cell in code_cells(after)] == [cell.outputs for cell in code_cells(before)]
    changed = {name for name in before.metadata[KEY] if after.metadata[KEY][name] != before.metadata[KEY][name]}
    assert changed == {"source_sha256"}


def test_what_papermill_put_in_stays_behind_the_settings(source):
    import nbformat

    twin = read_twin(twin_of(source))
    place = next(number for number, cell in enumerate(twin.cells) if "parameters" in tags_of(cell))
    cell = nbformat.v4.new_code_cell(
        "# Parameters\ntexts = 2", metadata={"tags": [INJECTED]}, execution_count=1, id=INJECTED
    )
    twin.cells.insert(place + 1, cell)
    nbformat.write(twin, twin_of(source))
    reword(source)
    after = read_twin(twin_of(source))
    assert [tags_of(cell) for cell in after.cells[place : place + 2]] == [["parameters"], [INJECTED]]
    assert after.cells[place + 1].source.splitlines() == [INJECTED_NOTE, "texts = 2"]
    assert check_twin(source) == []


def test_a_twin_that_is_right_is_left_as_it_is(source):
    before = twin_of(source).read_bytes()
    reword(source)
    assert twin_of(source).read_bytes() == before


def test_changed_code_is_refused(source):
    before = twin_of(source).read_bytes()
    source.write_text(source.read_text() + "\n# %%\nprint(4)\n")
    with pytest.raises(UserError, match="is not what ran: run `regex-lib book execute 01_chapter`"):
        reword(source)
    assert twin_of(source).read_bytes() == before


def test_without_a_run_there_is_nothing_to_reword(source):
    twin_of(source).unlink()
    with pytest.raises(UserError, match="has no executed twin"):
        reword(source)
