"""The description of a study, and the tasks that follow from it."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import datasets

from regex_lib.data import find_source, load_data
from regex_lib.errors import UserError, unknown_name
from regex_lib.study.measurements import import_modules, models_needed, resolve_options
from regex_lib.study.tasks import Job, Task, digest_of_rows, identity_of_model
from regex_lib.training import Recipe, find_recipe

__all__ = ["Grid", "Measure", "Study", "TrainSettings", "plan", "read_study"]

AXES = ("split", "replacement", "level", "contiguous", "shortcut")
"""Options of a measurement that may be lists, of which each value is a measurement of its own."""


@dataclass(frozen=True)
class TrainSettings:
    """How every model of the study is trained: the options of :func:`regex_lib.training.train`."""

    layers: int | None = None
    """Keep only the encoder's first so many layers."""
    max_train: int | None = None
    """Train on so many texts."""
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 2e-4
    max_length: int | None = None
    """Cut longer texts, in training and in measuring."""
    precision: str = "fp32"


@dataclass(frozen=True)
class Grid:
    """The models of the study: one for each combination."""

    data: list[str]
    recipes: list[str]
    seeds: list[int]
    models: list[str] = field(default_factory=lambda: ["minilm"])
    """Encoders."""


@dataclass(frozen=True)
class Measure:
    """One thing that is measured of the models."""

    kind: str
    """A name in :data:`regex_lib.study.MEASUREMENTS`."""
    options: dict[str, Any]
    """Its options; lists of values for those in :data:`AXES`."""
    on: dict[str, list[str]]
    """For a training data set, the data sets on which its models are measured; its own where it is missing."""
    only: dict[str, list[Any]]
    """Measure only the models of these recipes, seeds and the like."""

    def applies_to(self, training: Task) -> bool:
        """Whether a model is to be measured."""
        return all(training.labels[name] in values for name, values in self.only.items())


@dataclass(frozen=True)
class Study:
    """A study, as its file describes it."""

    train: TrainSettings
    grid: Grid
    recipes: dict[str, Recipe]
    """Those of the grid, by the names it uses."""
    measures: list[Measure]
    modules: list[str] = field(default_factory=list)
    """Modules to import first, which add measurements, attributions or metrics of one's own."""


def read_study(path: str | Path) -> Study:
    """The study that a TOML file describes.

    Raises:
        UserError: if the file cannot be read, or a name or a value in it is not as it should be.
    """
    try:
        text = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the study {str(path)!r}: {error}") from error
    try:
        _check_names("table", text, ("modules", "train", "grid", "recipes", "measure"))
        modules = _list(text.get("modules", []))
        import_modules(modules)
        grid = _grid(text.get("grid", {}))
        return Study(
            train=_train_settings(text.get("train", {})),
            grid=grid,
            recipes={name: _recipe(name, text.get("recipes", {})) for name in grid.recipes},
            measures=[_measure(table, grid) for table in text.get("measure", [])],
            modules=modules,
        )
    except UserError as error:
        raise UserError(f"{str(path)!r}: {error}") from error


def plan(study: Study) -> list[Job]:
    """The tasks of a study: a job for each model, those of the first seed first. Reads the data sets."""
    for cached in (_load, _digest):  # within a plan: a file may have changed since the last one
        cached.cache_clear()
    jobs, seeds = [], study.grid.seeds
    for seed, data, model, recipe in product(seeds, study.grid.data, study.grid.models, study.grid.recipes):
        training = _training(study, data, model, recipe, seed)
        place = seeds.index(seed)
        others = [_training(study, data, model, recipe, other) for other in seeds[place + 1 :] + seeds[:place]]
        measurements = [
            task
            for measure in study.measures
            if measure.applies_to(training)
            for task in _measurements(study, measure, training, others)
        ]
        jobs.append(Job((training, *dict.fromkeys(measurements))))
    return jobs


def _training(study: Study, data: str, model: str, recipe: str, seed: int) -> Task:
    if "train" not in _load(data):
        raise UserError(f"{data!r} has no train split")
    config = {
        "texts": _digest(data, "train"),
        "num_labels": _num_labels(data),
        "model": identity_of_model(model),
        # What differs from the defaults: a new option whose default changes nothing does not change the hash.
        "recipe": _differences(asdict(study.recipes[recipe]), asdict(Recipe())),
        "seed": seed,
        **asdict(study.train),
    }
    labels = {"data": data, "model": model, "recipe": recipe, "seed": seed}
    return Task("train", config, labels, {"data": data, "model": model})


def _measurements(study: Study, measure: Measure, training: Task, others: list[Task]) -> Iterator[Task]:
    """What is to be measured of one model; ``others`` are those of the other seeds, the next seed's first."""
    lists = {name: _list(value) for name, value in measure.options.items() if name in AXES}
    needs = (training, *others)[: models_needed(measure.kind)]
    for on in measure.on.get(training.labels["data"], [training.labels["data"]]):
        for values in product(*lists.values()):
            options = {"max_length": study.train.max_length} | measure.options | dict(zip(lists, values, strict=True))
            options = resolve_options(
                measure.kind, {name: value for name, value in options.items() if value is not None}
            )
            split = options["split"]
            if split not in _load(on):
                raise UserError(f"{on!r} has no split {split!r}, only: {', '.join(_load(on))}")
            named = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
            yield Task(
                kind=measure.kind,
                config={"texts": _digest(on, split), **options},
                labels={**training.labels, "kind": measure.kind, "on": on, **named},
                source={"on": on, "modules": study.modules},
                needs=needs,
            )


def _differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != defaults[name]}


@cache
def _load(data: str) -> Mapping[str, datasets.Dataset]:
    return load_data(data)


@cache
def _digest(data: str, split: str) -> str:
    return digest_of_rows(_load(data)[split])


def _num_labels(data: str) -> int:
    source = find_source(data)
    return source.num_labels if source else max(2, 1 + max(max(rows["label"]) for rows in _load(data).values()))


def _train_settings(table: dict[str, Any]) -> TrainSettings:
    known = {field.name: field.type for field in fields(TrainSettings)}
    _check_names("option of [train]", table, known)
    values: dict[str, Any] = {}
    for name, value in table.items():
        values[name] = float(value) if known[name] is float and isinstance(value, int) else value
        if not isinstance(values[name], known[name]):  # type: ignore[arg-type]  # they are types
            raise UserError(f"{name} of [train] cannot be {value!r}")
    return TrainSettings(**values)


def _grid(table: dict[str, Any]) -> Grid:
    _check_names("option of [grid]", table, [field.name for field in fields(Grid)])
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
    changes, defaults = dict(tables[name]), asdict(Recipe())
    recipe = find_recipe(changes.pop("base", name))
    for option, value in changes.items():
        default = defaults.get(option, value)
        changes[option] = float(value) if isinstance(default, float) and isinstance(value, int) else value
        if not isinstance(changes[option], type(default)):
            raise UserError(f"{option} of the recipe {name!r} cannot be {value!r}")
    return recipe.changed(**changes)


def _measure(table: dict[str, Any], grid: Grid) -> Measure:
    options = dict(table)
    kind = options.pop("kind", None)
    if kind is None:
        raise UserError("a [[measure]] must name its kind")
    on = options.pop("on", {})
    only = options.pop("only", {})
    _check_names("option of only", only, ("data", "model", "recipe", "seed"))
    resolve_options(kind, {name: _list(value)[0] if name in AXES else value for name, value in options.items()})
    if models_needed(kind) > len(grid.seeds):
        raise UserError(f"{kind} compares models of {models_needed(kind)} seeds, and [grid] has {len(grid.seeds)}")
    by_data = on if isinstance(on, dict) else dict.fromkeys(grid.data, _list(on))
    return Measure(kind, options, {data: _list(names) for data, names in by_data.items()},
                   {name: _list(values) for name, values in only.items()})  # fmt: skip


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_names(kind: str, given: Mapping[str, Any], known: Any) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known)
