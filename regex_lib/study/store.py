"""A folder of results: one file per finished task, each whole or not there. Several studies can write to it at once.

``tasks/<kind>/<hash>.parquet`` are the results, with configuration and provenance in the file's metadata under
``regex_study``; ``<hash>.error.json`` tells how a task failed last. ``models/<hash>`` are the trained models, and
``locks`` is for the time of the work; both can be deleted when nothing runs.
"""

import json
import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from regex_lib.errors import UserError
from regex_lib.study.tasks import Task

__all__ = ["Store"]

_KEY = b"regex_study"


class Store:
    """The folder. On a cluster it must be shared by all machines, on a file system with locks (NFS 4 has them)."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()

    def create(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            UserError: if it cannot be written to.
        """
        try:
            for name in ("tasks", "models", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {str(self.folder)!r}: {error.strerror}") from error

    def path(self, task: Task) -> Path:
        """Where the result of a task is, or will be."""
        return self.folder / "tasks" / task.kind / f"{task.hash}.parquet"

    def model(self, training: Task) -> Path:
        """Where the model of a training is, or will be: the folder is there when it is complete."""
        return self.folder / "models" / training.hash

    def has(self, task: Task) -> bool:
        """Whether a task is finished."""
        try:
            pq.read_metadata(self.path(task))
        except (OSError, pa.ArrowInvalid):
            return False
        return True

    def read(self, task: Task) -> pd.DataFrame:
        """The rows of a finished task, with the names that this study gives it."""
        return pd.read_parquet(self.path(task)).assign(**task.labels)

    def facts(self, task: Task) -> dict[str, Any]:
        """Configuration and provenance of a finished task."""
        return json.loads(pq.read_metadata(self.path(task)).metadata[_KEY])

    def write(self, task: Task, rows: pd.DataFrame, provenance: dict[str, Any]) -> None:
        """File the result of a task."""
        facts = {
            "kind": task.kind, "hash": task.hash, "needs": [need.hash for need in task.needs], "config": task.config,
            "labels": task.labels, "provenance": provenance,
        }  # fmt: skip
        names = {name: pd.Categorical.from_codes([0] * len(rows), [value]) for name, value in task.labels.items()}
        table = pa.Table.from_pandas(_compact(rows).assign(**names), preserve_index=False)
        table = table.replace_schema_metadata((table.schema.metadata or {}) | {_KEY: json.dumps(facts).encode()})
        with _atomically(self.path(task)) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
        self._error(task).unlink(missing_ok=True)

    @contextmanager
    def new_model(self, training: Task) -> Iterator[Path]:
        """A folder to save a model to, which takes its place when the block has ended well.

        The caller holds the training's lock.
        """
        unfinished, folder = self.model(training).with_suffix(".part"), self.model(training)
        shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that was killed
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.replace(folder)

    def fail(self, task: Task, error: BaseException) -> None:
        """Note how a task failed."""
        record = {
            "error": f"{type(error).__name__}: {error}",
            "final": isinstance(error, UserError),
            "labels": task.labels,
            "config": task.config,
            "traceback": "".join(traceback.format_exception(error)),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with _atomically(self._error(task)) as unfinished:
            unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def failure(self, task: Task) -> dict[str, Any] | None:
        """How a task failed last; nothing if it did not, or is finished. ``final`` is what would happen again."""
        try:
            return json.loads(self._error(task).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def forget_failure(self, task: Task) -> None:
        """Before it is tried again."""
        self._error(task).unlink(missing_ok=True)

    @contextmanager
    def lock(self, task: Task, timeout: float = 1.0) -> Iterator[bool]:
        """Holds a task's lock for the time of the block; false if another process has it.

        The system frees it when a process ends, however it ends. :meth:`is_locked` holds it for a moment, so that a
        worker waits for longer than that.

        Args:
            task: whose lock.
            timeout: seconds to wait for it.
        """
        lock = FileLock(self._lock(task))
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def is_locked(self, task: Task) -> bool:
        """Whether another process is at work on a task."""
        if not self._lock(task).exists():
            return False
        with self.lock(task, timeout=0.0) as free:
            return not free

    def _lock(self, task: Task) -> Path:
        return self.folder / "locks" / f"{task.hash}.lock"

    def _error(self, task: Task) -> Path:
        return self.path(task).with_suffix(".error.json")


@contextmanager
def _atomically(path: Path) -> Iterator[Path]:
    """A path to write to, which is renamed when the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _compact(rows: pd.DataFrame) -> pd.DataFrame:
    """Single precision for scores and categories for names: a study has millions of them."""
    kinds = dict.fromkeys(rows.select_dtypes("float64"), "float32")
    kinds |= dict.fromkeys(rows.select_dtypes(["object", "str"]), "category")
    return rows.astype(kinds)
