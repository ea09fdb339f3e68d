"""Runs the jobs of a study: those that are left, again when they fail, on any pool of workers.

All that workers have to say is in the store, so that a worker may die at any moment, and several studies, on several
machines, can run on one store at once.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, runtime_checkable

import torch

from regex_lib.study.store import Store
from regex_lib.study.tasks import Job, Task
from regex_lib.study.work import work_in_process

__all__ = ["LocalPool", "Pool", "Progress", "run_jobs"]

_PAUSE = 2.0  # seconds between looks at what other studies are doing


@runtime_checkable
class Pool(Protocol):
    """Where jobs run."""

    def has_room(self) -> bool:
        """Whether another job can start now."""

    def is_idle(self) -> bool:
        """Whether no job runs."""

    def start(self, job: Job) -> None:
        """Start a job."""

    def wait(self, seconds: float) -> list[tuple[Job, str | None]]:
        """The jobs that have ended, as soon as one does; each with how its worker died, if it did."""

    def stop(self) -> None:
        """End all workers."""


@dataclass(frozen=True)
class Progress:
    """A job has ended, for this time."""

    job: Job
    left: int
    """How many of its tasks are not finished."""
    failures: dict[Task, str]
    """What went wrong this time."""
    waiting: int
    """How many jobs are not finished."""


def run_jobs(
    jobs: Iterable[Job],
    store: Store,
    pool: Pool,
    *,
    attempts: int = 3,
    report: Callable[[Progress], object] | None = None,
) -> dict[Task, str]:
    """Do all tasks that are not finished.

    Args:
        jobs: what to do.
        store: where results are, and go.
        pool: where to do it.
        attempts: how often a task that fails, or whose worker dies, is tried. What a user has to mend is tried once.
        report: called whenever a job has ended.

    Returns:
        The tasks that failed for good, with the reason; what needs a model whose training failed is not among them.

    Raises:
        UserError: if the store cannot be written to.
    """
    store.create()
    tried: Counter[Task] = Counter()
    given_up: dict[Task, str] = {}

    def is_left(task: Task) -> bool:
        return not given_up.keys() & {task, *task.needs} and not store.has(task)

    waiting = list(jobs)
    try:
        while True:
            waiting = [left for job in waiting if (left := job.only(is_left)).tasks]
            for job in list(waiting):
                if pool.has_room() and not _is_busy(job, store):
                    waiting.remove(job)
                    for task in _involved(job):
                        store.forget_failure(task)
                    pool.start(job)
            if pool.is_idle() and not waiting:
                return given_up
            for job, death in pool.wait(_PAUSE):
                failures = _failures(job, death, store)
                tried.update(failures.keys())
                for task, failure in failures.items():
                    if failure["final"] or tried[task] >= attempts:
                        given_up[task] = failure["error"]
                left = job.only(is_left)
                waiting += [left] if left.tasks else []
                errors = {task: failure["error"] for task, failure in failures.items()}
                if report:
                    report(Progress(job, len(left.tasks), errors, len(waiting)))
    finally:
        pool.stop()


def _failures(job: Job, death: str | None, store: Store) -> dict[Task, dict[str, Any]]:
    """What went wrong in a job that has ended."""
    failures = {task: failure for task in _involved(job) if (failure := store.failure(task))}
    undone = [task for task in job.tasks if task not in failures and not store.has(task)]
    stuck = len(undone) == len(job.tasks) and not _is_busy(job, store)
    if undone and (death or stuck):  # it was at work on the first of them
        store.fail(undone[0], RuntimeError(death or "the worker has ended without a result"))
        failures[undone[0]] = store.failure(undone[0])  # type: ignore[assignment]  # it is there now
    return failures


def _is_busy(job: Job, store: Store) -> bool:
    """Whether another process is at work on what this job would begin with."""
    first = job.tasks[0]
    return any(map(store.is_locked, (*first.needs, first)))


def _involved(job: Job) -> set[Task]:
    return {*job.tasks, *(training for task in job.tasks for training in task.needs)}


class LocalPool:
    """Processes on this machine, a new one for each job, so that each starts with the same memory.

    Args:
        store: where results go.
        processes: how many at once.
        threads: of each; by default, their share of the cores.
    """

    def __init__(self, store: Store, processes: int = 1, threads: int | None = None) -> None:
        self.store, self.processes = store, processes
        self.threads = threads or max(1, torch.get_num_threads() // processes)
        self.running: list[tuple[BaseProcess, Job]] = []

    def has_room(self) -> bool:
        """Whether another process may start."""
        return len(self.running) < self.processes

    def is_idle(self) -> bool:
        """Whether no process runs."""
        return not self.running

    def start(self, job: Job) -> None:
        """Start a process for a job."""
        process = get_context("spawn").Process(
            target=work_in_process, args=(job, self.store.folder, self.threads), daemon=True
        )
        with _environment(OMP_NUM_THREADS=str(self.threads), TOKENIZERS_PARALLELISM="false"):
            process.start()
        self.running.append((process, job))

    def wait(self, seconds: float) -> list[tuple[Job, str | None]]:
        """The jobs whose processes have ended, as soon as one does."""
        if not self.running:  # other studies are doing the rest
            time.sleep(seconds)
        connection.wait([process.sentinel for process, _ in self.running], timeout=seconds)
        codes = [process.exitcode for process, _ in self.running]
        ended = [(job, _death(code)) for (_, job), code in zip(self.running, codes, strict=True) if code is not None]
        self.running = [one for one, code in zip(self.running, codes, strict=True) if code is None]
        return ended

    def stop(self) -> None:
        """Kill what runs: it loses no more than the task it is at."""
        for process, _ in self.running:
            process.kill()
            process.join()


def _death(exit_code: int | None) -> str | None:
    if not exit_code:
        return None
    by_signal = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return f"the worker {by_signal}; it may have needed more memory than there is"


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that a process started in the block inherits: threads are counted when torch is imported."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
