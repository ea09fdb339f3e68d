"""A task: one training or one measurement, known by the hash of all that its result depends on."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets

from regex_lib.models.loading import ENCODERS

__all__ = ["Job", "Task", "digest", "digest_of_rows", "identity_of_model"]

FORMAT = 1
"""Part of every hash: raised when the same configuration no longer means the same, so that results are not mixed."""


def digest(value: Any) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of anything that JSON can tell; the order of keys is no matter.

    Example:
        >>> digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def digest_of_rows(rows: datasets.Dataset) -> str:
    """A digest of texts and labels."""
    return digest([rows["text"][:], rows["label"][:]])


def identity_of_model(name: str) -> str:
    """What a model's name stands for: a commit on the hub, or a digest of a folder's files."""
    if name in ENCODERS:
        return f"{ENCODERS[name].hub_id}@{ENCODERS[name].revision}"
    if not Path(name).is_dir():
        return name
    files = sorted(file for file in Path(name).iterdir() if file.suffix in (".json", ".safetensors", ".txt", ".model"))
    return digest([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


@dataclass(frozen=True, eq=False)
class Task:
    """One training or one measurement."""

    kind: str
    """``"train"``, or the name of a measurement."""
    config: dict[str, Any]
    """All that the result depends on, but for the models that are needed."""
    labels: dict[str, Any]
    """What it goes by in tables: data, recipe, seed and the like. The result does not depend on names."""
    source: dict[str, Any]
    """Where to find what the configuration knows by its digest: names of data sets and models, or their paths."""
    needs: tuple["Task", ...] = ()
    """The trainings whose models it needs, the model that is measured first."""

    @cached_property
    def hash(self) -> str:
        """What its result is filed under."""
        return digest([FORMAT, self.kind, self.config, [task.hash for task in self.needs]])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.hash == self.hash

    def __hash__(self) -> int:
        return hash(self.hash)


@dataclass(frozen=True)
class Job:
    """Tasks for one worker, one after another: a training and what is measured of its model."""

    tasks: tuple[Task, ...]

    def only(self, wanted: Callable[[Task], bool]) -> "Job":
        """The job with some of its tasks."""
        return replace(self, tasks=tuple(task for task in self.tasks if wanted(task)))
