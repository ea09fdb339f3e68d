import pandas as pd
import pytest

from regex_lib.errors import UserError
from regex_lib.study import published, read_table


def test_the_tables_of_the_repository_are_found_by_name():
    table = read_table("sst/differences")
    assert {"recipe", "base", "difference", "low", "high"} <= set(table)
    assert len(table)


def test_an_installed_package_has_its_own(tmp_path, monkeypatch):
    installed = tmp_path / "regex_lib"
    (installed / "tables" / "sst").mkdir(parents=True)
    pd.DataFrame({"recipe": ["vanilla"]}).to_csv(installed / "tables" / "sst" / "means.csv", index=False)
    monkeypatch.setattr(published, "__file__", str(installed / "study" / "published.py"))
    assert read_table("sst/means")["recipe"].tolist() == ["vanilla"]


def test_a_table_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"sst/changes.*sst/differences"):
        read_table("sst/changes")
