"""The description of a study, and the tasks that follow from it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import chain, product
from typing import Any

import datasets

from regex_lib.data import find_source, load_data
from regex_lib.errors import UserError
from regex_lib.study.measurements import find_options, models_needed, resolve_options
from regex_lib.study.tasks import Job, Task, digest_of_rows, identity_of_model
from regex_lib.training import Recipe

__all__ = ["AXES", "Grid", "Measure", "Study", "TrainSettings", "labels_of_options", "plan"]

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
    """Models of the study: one for each combination."""

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

    def combinations(self, train: TrainSettings) -> Iterator[dict[str, Any]]:
        """All options of each measurement: there is one for each combination of those that are lists.

        Raises:
            UserError: if there is no such measurement or option, or a value is of another type.
        """
        axes = {name: value for name, value in self.options.items() if name in AXES}
        lists = [value if isinstance(value, list) else [value] for value in axes.values()]
        length = {"max_length": train.max_length} if "max_length" in find_options(self.kind) else {}
        for values in product(*lists):
            options = length | self.options | dict(zip(axes, values, strict=True))
            yield resolve_options(self.kind, {name: value for name, value in options.items() if value is not None})


@dataclass(frozen=True)
class Study:
    """A study, as its file describes it."""

    train: TrainSettings
    grids: list[Grid]
    """No two have a model in common."""
    recipes: dict[str, Recipe]
    """Those of the grids, by the names they use."""
    measures: list[Measure]
    modules: list[str] = field(default_factory=list)
    """Modules to import first, which add measurements, attributions or metrics of one's own."""


def plan(study: Study) -> list[Job]:
    """The tasks of a study: a job for each model, those of the first seed first. Reads the data sets."""
    for cached in (_load, _digest):  # within a plan: a file may have changed since the last one
        cached.cache_clear()
    jobs: dict[int, list[Job]] = {seed: [] for grid in study.grids for seed in grid.seeds}
    for grid in study.grids:
        for seed, data, model, recipe in product(grid.seeds, grid.data, grid.models, grid.recipes):
            jobs[seed].append(_job(study, data, model, recipe, _ring(grid.seeds, seed)))
    return list(chain.from_iterable(jobs.values()))


def _ring(seeds: list[int], first: int) -> list[int]:
    """The seeds, beginning with one of them, and the first again after the last."""
    place = seeds.index(first)
    return seeds[place:] + seeds[:place]


def _job(study: Study, data: str, model: str, recipe: str, seeds: list[int]) -> Job:
    """What is to be done for the model of the first seed; it may be compared with the others."""
    training, *others = (_training(study, data, model, recipe, seed) for seed in seeds)
    measurements = [
        task
        for measure in study.measures
        if measure.applies_to(training)
        for task in _measurements(study, measure, training, others)
    ]
    return Job((training, *dict.fromkeys(measurements)))


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
    needs = (training, *others)[: models_needed(measure.kind)]
    for on in measure.on.get(training.labels["data"], [training.labels["data"]]):
        for options in measure.combinations(study.train):
            split = options["split"]
            if split not in _load(on):
                raise UserError(f"{on!r} has no split {split!r}, only: {', '.join(_load(on))}")
            yield Task(
                kind=measure.kind,
                config={"texts": _digest(on, split), **options},
                labels={**training.labels, "kind": measure.kind, "on": on, **labels_of_options(options)},
                source={"on": on, "modules": study.modules},
                needs=needs,
            )


def labels_of_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a measurement that its rows go by in tables.

    Example:
        >>> labels_of_options({"split": "test", "attributions": ["random"], "ratio": 0.2})
        {'split': 'test', 'ratio': 0.2}
    """
    return {name: value for name, value in options.items() if isinstance(value, str | int | float)}


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
