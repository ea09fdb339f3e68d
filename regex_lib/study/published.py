"""The tables that come with the library."""

from pathlib import Path
from typing import Any

import pandas as pd

from regex_lib.errors import UserError, unknown_name

__all__ = ["read_rows", "read_table"]

_COLUMNS = (
    "data", "model", "recipe", "kind", "on", "split", "metric", "attribution", "against", "perturbation", "replacement",
    "level", "base", "minus", "mean", "difference", "low", "high", "seeds", "examples",
)  # fmt: skip
"""What a table has, or may have, of which nothing is measured yet."""


def read_table(name: str) -> pd.DataFrame:
    """A table of measured results: what ``results/tables`` has in the repository, and an installed package with it.

    Args:
        name: a path in that folder without its ending. ``"sst/differences"`` is each recipe of the SST study minus
            another, with 95 % intervals, ``"sst/means"`` the scores themselves, and ``"sst/costs"`` the trainings;
            ``"recipe_search"`` is the search that chose the recipes' weights.

    Raises:
        UserError: if there is no such table.

    Example:
        >>> table = read_table("recipe_search")
        >>> "vanilla" in set(table["recipe"])
        True
    """
    package = Path(__file__).parents[1]
    places = (package / "tables", package.parent / "results" / "tables")
    folder = next(place for place in places if place.is_dir())
    tables = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.csv"))}
    if name not in tables:
        raise unknown_name("table of results", name, tables)
    table = pd.read_csv(tables[name])
    return table.fillna({"minus": ""}) if "minus" in table else table


def read_rows(name: str, /, **values: Any) -> pd.DataFrame:
    """The rows of a table of measured results that have certain values.

    For a page that is written while its study still grows: where nothing of the kind is measured yet, it prints a line
    that says so, and the table is empty.

    Args:
        name: as for :func:`read_table`.
        values: columns and what they must be.

    Example:
        >>> set(read_rows("recipe_search", recipe="vanilla")["recipe"])
        {'vanilla'}
        >>> len(read_rows("sst/means", kind="telepathy"))
        sst/means, kind=telepathy: not measured yet
        0
    """
    try:
        rows = read_table(name)
    except UserError:
        rows = pd.DataFrame(columns=list(_COLUMNS))
    for column, value in values.items():
        rows = rows[rows[column] == value] if column in rows else rows.iloc[:0]
    if rows.empty:
        print(", ".join([name, *(f"{column}={value}" for column, value in values.items())]) + ": not measured yet")  # noqa: T201 - a page shows it
    return rows
