"""What a worker does: the tasks of a job that nobody has done and nobody else is doing."""

import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import torch

from regex_lib.data import find_source, load_data, map_labels
from regex_lib.errors import UserError
from regex_lib.models import TextClassifier, load_classifier
from regex_lib.packages import package_versions
from regex_lib.study.measurements import MEASUREMENTS, TrainedModel, import_modules
from regex_lib.study.plan import TrainSettings
from regex_lib.study.store import Store
from regex_lib.study.tasks import Job, Task, digest_of_rows
from regex_lib.training import Recipe, train

__all__ = ["provenance", "work", "work_in_process"]

_PACKAGES = ("regex-lib", "torch", "transformers", "datasets", "captum", "numpy", "scipy")


def work_in_process(job: Job, folder: Path, threads: int) -> None:
    """Do a job in a process of its own, which ends when its parent ends."""
    parent = parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    torch.set_num_threads(threads)
    work(job, Store(folder))


def work(job: Job, store: Store) -> None:
    """Do the tasks of a job one after another. Results, and how tasks failed, are in the store.

    A task that another process is doing is left out, and so is what needs its model.
    """
    datasets.disable_progress_bars()
    models: dict[str, TrainedModel] = {}
    for task in job.tasks:
        try:
            if task.kind == "train":
                _ensure_model(task, store)
            elif not store.has(task):
                _measure(task, store, models)
        except _BeingTrained:
            continue
        except _TrainingFailed as failed:
            store.fail(failed.training, failed.error)
            return
        except Exception as error:  # whatever it is, it is told, and other tasks go on
            store.fail(task, error)


class _BeingTrained(Exception):  # noqa: N818 - nothing is wrong
    """Another process is training the model."""


class _TrainingFailed(Exception):  # noqa: N818 - the error is what it carries
    def __init__(self, training: Task, error: Exception) -> None:
        self.training, self.error = training, error


def _measure(task: Task, store: Store, models: dict[str, TrainedModel]) -> None:
    for training in task.needs:
        if training.hash not in models:
            models[training.hash] = _trained_model(training, load_classifier(_ensure_model(training, store)))
    with store.lock(task) as free:
        if not free or store.has(task):
            return
        import_modules(task.source["modules"])
        config, needed = dict(task.config), [models[training.hash] for training in task.needs]
        splits = _with_labels_of(task, needed[0].classifier, config.pop("texts"))
        started = time.perf_counter()
        rows = MEASUREMENTS[task.kind](needed, splits, **config)
        store.write(task, rows, provenance(time.perf_counter() - started))


def _with_labels_of(task: Task, classifier: TextClassifier, texts: str) -> Mapping[str, datasets.Dataset]:
    """The splits of the data that a task is about, with the labels of the training's data, by their names if known."""
    on, split = task.source["on"], task.config["split"]
    splits = load_data(on)
    _check_texts(splits[split], texts, on)
    own = task.needs[0].source["data"]
    if on == own or not (find_source(on) and find_source(own)):
        return splits
    return {**splits, split: map_labels(splits[split], on, classifier.label_names)}


def _ensure_model(training: Task, store: Store) -> Path:
    """The folder of a trained model, trained now if it is not there: a store may have lost its models."""
    folder = store.model(training)
    if folder.is_dir() and store.has(training):
        return folder
    with store.lock(training) as free:
        if not free:
            raise _BeingTrained
        try:
            if not (folder.is_dir() and store.has(training)):
                _train(training, store)
        except Exception as error:
            raise _TrainingFailed(training, error) from error
    return folder


def _train(training: Task, store: Store) -> None:
    started = time.perf_counter()
    untrained = _trained_model(training)
    _check_texts(untrained.train_rows, training.config["texts"], training.source["data"])
    classifier = untrained.classifier
    known = find_source(training.source["data"])
    if known:
        classifier.label_names = known.label_names
    if classifier.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(classifier.device)  # of trainings before it in this process
    with store.new_model(training) as folder:
        at_start = time.process_time()
        run = train(
            classifier, {"train": untrained.train_rows}, untrained.recipe, folder, seed=untrained.seed,
            provenance=training.labels, **untrained.settings,
        )  # fmt: skip
        cpu_seconds = time.process_time() - at_start
    losses = {f"loss_{name}": value for name, value in run.history[-1].items() if name not in ("epoch", "step")}
    row = {
        "seconds": run.seconds, "cpu_seconds": cpu_seconds, "memory_mib": _peak_memory(classifier.device),
        "train_texts": run.settings["train_texts"], "texts_cut": run.settings["texts_cut"], **losses,
    }  # fmt: skip
    store.write(training, pd.DataFrame([row]), provenance(time.perf_counter() - started))


def _trained_model(training: Task, classifier: TextClassifier | None = None) -> TrainedModel:
    """A model with all that its training depends on; one that is not trained yet, without a classifier."""
    config, source = training.config, training.source

    def new_classifier(seed: int) -> TextClassifier:
        return load_classifier(source["model"], num_labels=config["num_labels"], layers=config["layers"], seed=seed)

    return TrainedModel(
        classifier=classifier or new_classifier(config["seed"]),
        new_classifier=new_classifier,
        train_rows=load_data(source["data"])["train"],
        recipe=Recipe(**config["recipe"]),
        seed=config["seed"],
        settings={field.name: config[field.name] for field in fields(TrainSettings) if field.name != "layers"},
    )


def _check_texts(rows: datasets.Dataset, expected: str, data: str) -> None:
    if digest_of_rows(rows) != expected:
        raise UserError(f"the texts of {data!r} have changed since the study was started: start it again")


def _peak_memory(device: torch.device) -> float:
    """In MiB: of the GPU's memory, or of this process as a whole."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return float("nan")
    if (status := Path("/proc/self/status")).exists():  # of this process alone: ru_maxrss begins with its parent's
        peaks = re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())
        if peaks:
            return int(peaks[0]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on a Mac, in KiB elsewhere
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def provenance(seconds: float) -> dict[str, Any]:
    """When, where, with what and how long."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "commit": _commit(),
        "packages": package_versions(_PACKAGES),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


@cache
def _commit() -> str | None:
    """The commit of this library, if it is used from its repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        done = subprocess.run([*git, "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
