"""The file that describes a study, read and checked before anything is trained."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import product
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
        grid = _grid(_table("grid", text.get("grid", {})))
        recipes = _table("recipes", text.get("recipes", {}))
        measures = [_measure(table, train, grid) for table in _tables(text.get("measure", []))]
        _check_cells(measures, train, grid)
        return Study(train, grid, {name: _recipe(name, recipes) for name in grid.recipes}, measures, modules)
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


def _tables(value: Any) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(table, dict) for table in value)):
        raise UserError("measurements are tables in double brackets: [[measure]]")
    return value


def _measure(table: dict[str, Any], train: TrainSettings, grid: Grid) -> Measure:
    options = dict(table)
    kind, on, only = options.pop("kind", None), options.pop("on", {}), _table("only", options.pop("only", {}))
    if not isinstance(kind, str):
        raise UserError("a [[measure]] must name its kind")
    known: dict[str, list[Any]] = {"data": grid.data, "model": grid.models, "recipe": grid.recipes, "seed": grid.seeds}
    check_names("option of only", only, known)
    for name, values in only.items():
        check_names(name, _some(f"{name} of only", values), known[name])
    by_data = on if isinstance(on, dict) else dict.fromkeys(grid.data, on)
    check_names("data set of [grid]", by_data, grid.data)
    for name in [name for name in options if name in AXES]:
        _some(f"{name} of {kind}", options[name])
    measure = Measure(kind, options, {data: _some("on", names) for data, names in by_data.items()},
                      {name: _list(values) for name, values in only.items()})  # fmt: skip
    list(measure.combinations(train))  # each is checked
    if models_needed(kind) > len(grid.seeds):
        raise UserError(f"{kind} compares models of {models_needed(kind)} seeds, and [grid] has {len(grid.seeds)}")
    return measure


def _check_cells(measures: Sequence[Measure], train: TrainSettings, grid: Grid) -> None:
    """Of two measurements of the same models and data, tables must tell the scores apart, or they must be the same."""
    cells: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, measure in enumerate(measures, start=1):
        trained = product(measure.only.get("data", grid.data), measure.only.get("model", grid.models))
        for (data, model), options in product(trained, list(measure.combinations(train))):
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
