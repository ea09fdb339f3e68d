"""The tables that come with the library."""

from pathlib import Path

import pandas as pd

from regex_lib.errors import unknown_name

__all__ = ["read_table"]


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
    return pd.read_csv(tables[name])
