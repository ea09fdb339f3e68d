import pandas as pd
import pytest

from regex_lib.errors import UserError
from regex_lib.study import differences_figure, published, read_rows, read_table


def test_the_tables_of_the_repository_are_found_by_name():
    table = read_table("sst/differences")
    assert {"recipe", "base", "difference", "low", "high"} <= set(table)
    assert len(table)


def test_the_figure_of_a_table_is_drawn_as_it_is_read():
    table = read_table("sst/differences")
    assert set(table["minus"]) == {"", "random"}
    shown = table[(table["recipe"] == "regex") & (table["kind"] == "faithfulness") & (table["level"] == "token")]
    assert differences_figure(shown, ["sufficiency"]).axes


def test_an_installed_package_has_its_own(tmp_path, monkeypatch):
    installed = tmp_path / "regex_lib"
    (installed / "tables" / "sst").mkdir(parents=True)
    pd.DataFrame({"recipe": ["vanilla"]}).to_csv(installed / "tables" / "sst" / "means.csv", index=False)
    monkeypatch.setattr(published, "__file__", str(installed / "study" / "published.py"))
    assert read_table("sst/means")["recipe"].tolist() == ["vanilla"]


def test_a_table_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"sst/changes.*sst/differences"):
        read_table("sst/changes")


def test_rows_with_certain_values():
    table = read_table("sst/differences")
    rows = read_rows("sst/differences", recipe="regex", kind="quality")
    pd.testing.assert_frame_equal(rows, table[(table["recipe"] == "regex") & (table["kind"] == "quality")])
    assert len(rows)


@pytest.mark.parametrize("name", ["sst/means", "sst/changes"])
def test_what_is_not_measured_yet_is_an_empty_table_and_a_line(name, capsys):
    rows = read_rows(name, kind="telepathy", recipe="regex")
    assert rows.empty
    assert {"recipe", "metric", "attribution", "mean", "seeds"} <= set(rows)
    assert capsys.readouterr().out == f"{name}, kind=telepathy, recipe=regex: not measured yet\n"
