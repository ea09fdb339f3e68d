"""The file that describes a study, read and checked before anything is trained."""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import chain, product
from pathlib import Path
from typing import Any

from regex_lib.errors import UserError, check_names
from regex_lib.study.measurements import import_modules, models_needed
from regex_lib.study.plan import AXES, Grid, Measure, Study, TrainSettings, labels_of_options
from regex_lib.study.tasks import digest
from regex_lib.training import Recipe, find_recipe

__all__ = ["read_study"]


def read_study(path: str | Path) -> Study:
    """The study that a TOML file describes.

    Raises:
        UserError: if the file cannot be read, a name or a value in it is not as it should be, or two measurements
            differ only in what tables do not tell apart.
    """
    try:
        text = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the study {str(path)!r}: {error}") from error
    try:
        check_names("table", text, ("modules", "train", "grid", "recipes", "measure"))
        modules = _list(text.get("modules", []))
        import_modules(modules)
        train = _train_settings(_table("train", text.get("train", {})))
        grids = _grids(text.get("grid", {}))
        recipes = _table("recipes", text.get("recipes", {}))
        measures = [_measure(table, train, grids) for table in _tables("measure", text.get("measure", []))]
        _check_cells(measures, train, grids)
        known = {name: _recipe(name, recipes) for name in _all("recipes", grids)}
        return Study(train, grids, known, measures, modules)
    except UserError as error:
        raise UserError(f"{str(path)!r}: {error}") from error


def _train_settings(table: dict[str, Any]) -> TrainSettings:
    known = {field.name: field.type for field in fields(TrainSettings)}
    check_names("option of [train]", table, known)
    values: dict[str, Any] = {}
    for name, value in table.items():
        values[name] = float(value) if known[name] is float and isinstance(value, int) else value
        if not isinstance(values[name], known[name]):  # type: ignore[arg-type]  # they are types
            raise UserError(f"{name} of [train] cannot be {value!r}")
    return TrainSettings(**values)


def _grids(value: Any) -> list[Grid]:
    tables = _tables("grid", value) if isinstance(value, list) else [_table("grid", value)]
    grids = [_grid(table) for table in tables]
    models = [model for grid in grids for model in product(grid.data, grid.models, grid.recipes)]
    for model, times in Counter(models).items():
        if times > 1:
            raise UserError(f"two [[grid]] have a model in common, {', '.join(model)}: name all its seeds in one")
    return grids


def _all(name: str, grids: Sequence[Grid]) -> list[Any]:
    """What the grids name, each once."""
    return list(dict.fromkeys(chain.from_iterable(getattr(grid, name) for grid in grids)))


def _grid(table: dict[str, Any]) -> Grid:
    check_names("option of [grid]", table, [field.name for field in fields(Grid)])
    lists = {name: _list(value) for name, value in table.items()}
    for name in ("data", "recipes", "seeds"):
        if not lists.get(name):
            raise UserError(f"[grid] must name {name}")
    for name, values in lists.items():
        if not all(isinstance(value, int if name == "seeds" else str) for value in values):
            raise UserError(f"{name} of [grid] must be {'whole numbers' if name == 'seeds' else 'names'}, got {values}")
        if len(set(values)) < len(values):
            raise UserError(f"[grid] names {name} twice: {values}")
    return Grid(**lists)


def _recipe(name: str, tables: dict[str, Any]) -> Recipe:
    if name not in tables:
        return find_recipe(name)
    changes, defaults = dict(_table(f"the recipe {name!r}", tables[name])), asdict(Recipe())
    recipe = find_recipe(str(changes.pop("base", name)))
    for option, value in changes.items():
        default = defaults.get(option, value)
        changes[option] = float(value) if isinstance(default, float) and isinstance(value, int) else value
        if not isinstance(changes[option], type(default)):
            raise UserError(f"{option} of the recipe {name!r} cannot be {value!r}")
    return recipe.changed(**changes)


def _tables(name: str, value: Any) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(table, dict) for table in value)):
        raise UserError(f"a list of tables is written in double brackets: [[{name}]]")
    return value


_NAMES_OF = {"data": "data", "model": "models", "recipe": "recipes", "seed": "seeds"}
"""Where a grid names what a model goes by."""


def _measure(table: dict[str, Any], train: TrainSettings, grids: Sequence[Grid]) -> Measure:
    options = dict(table)
    kind, on, only = options.pop("kind", None), options.pop("on", {}), _table("only", options.pop("only", {}))
    if not isinstance(kind, str):
        raise UserError("a [[measure]] must name its kind")
    known = {label: _all(name, grids) for label, name in _NAMES_OF.items()}
    check_names("option of only", only, known)
    for name, values in only.items():
        check_names(name, _some(f"{name} of only", values), known[name])
    by_data = on if isinstance(on, dict) else dict.fromkeys(known["data"], on)
    check_names("data set of [grid]", by_data, known["data"])
    for name in [name for name in options if name in AXES]:
        _some(f"{name} of {kind}", options[name])
    measure = Measure(kind, options, {data: _some("on", names) for data, names in by_data.items()},
                      {name: _list(values) for name, values in only.items()})  # fmt: skip
    list(measure.combinations(train))  # each is checked
    for grid in grids:
        measured = all(set(values) & set(getattr(grid, _NAMES_OF[label])) for label, values in measure.only.items())
        if measured and models_needed(kind) > len(grid.seeds):
            raise UserError(f"{kind} compares models of {models_needed(kind)} seeds, and [grid] has {len(grid.seeds)}")
    return measure


def _check_cells(measures: Sequence[Measure], train: TrainSettings, grids: Sequence[Grid]) -> None:
    """Of two measurements of the same models and data, tables must tell the scores apart, or they must be the same."""
    cells: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, measure in enumerate(measures, start=1):
        data_sets, models = (measure.only.get(label, _all(_NAMES_OF[label], grids)) for label in ("data", "model"))
        for data, model, options in product(data_sets, models, list(measure.combinations(train))):
            for on in measure.on.get(data, [data]):
                named = {name: str(value) for name, value in labels_of_options(options).items()}
                cell = cells.setdefault(digest([measure.kind, data, model, on, named]), [])
                for earlier, others in cell:
                    if names := _unlike(options, others):
                        raise UserError(
                            f"the measurements {earlier} and {number} ({measure.kind}) differ only in "
                            f"{', '.join(names)}, which tables do not tell apart: put them into two studies"
                        )
                cell.append((number, options))


_COLUMNS = {"attributions": "options", "metrics": "metric_options"}
"""Lists of which each name has rows of its own in tables, and where the options of these names are."""


def _unlike(options: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """In which options two measurements differ that have scores of the same attributions and metrics."""
    options, others = dict(options), dict(others)
    for names, of_names in _COLUMNS.items():
        if names in options:
            shared = set(options.pop(names)) & set(others.pop(names))
            if not shared:
                return []
            for each in (options, others):
                each[of_names] = {name: value for name, value in each.get(of_names, {}).items() if name in shared}
    return [name for name in options | others if digest(options.get(name)) != digest(others.get(name))]


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{name} must be a table, got {value!r}")
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _some(name: str, value: Any) -> list[Any]:
    if value == []:
        raise UserError(f"{name} names nothing")
    return _list(value)
