"""A cluster as a pool: jobs run wherever Ray has room for them."""

import os
import time
from pathlib import Path

import ray
import torch

from regex_lib.errors import UserError
from regex_lib.study.store import Store
from regex_lib.study.tasks import Job
from regex_lib.study.work import work

__all__ = ["RayPool"]

_VARIABLES = ("REGEX_DATA", "HF_HOME", "HF_HUB_OFFLINE")


class RayPool:
    """The machines of a Ray cluster. All must have this library and its data, and share the store's folder.

    Args:
        store: where results go.
        address: of the cluster; without it, the one that ``RAY_ADDRESS`` names, or a new one on this machine.
        threads: of each job: as many cores are reserved for it.
        gpus: of each job; .25 lets four jobs share one.

    Raises:
        UserError: if there is no cluster at the address.
    """

    def __init__(self, store: Store, address: str | None = None, threads: int = 1, gpus: float = 0.0) -> None:
        self.store, self.threads = store, threads
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"there is no Ray cluster at {address!r}: {error}") from error
        # A process for each job, so that it starts with the same memory; whether it is tried again is decided here.
        options = ray.remote(num_cpus=threads, num_gpus=gpus, max_calls=1, max_retries=0)
        self._work = options(_work_on_cluster)
        self.running: dict[ray.ObjectRef, Job] = {}

    def has_room(self) -> bool:
        """Always: Ray keeps jobs until there is room."""
        return True

    def is_idle(self) -> bool:
        """Whether no job runs or is kept."""
        return not self.running

    def start(self, job: Job) -> None:
        """Give Ray a job."""
        variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        self.running[self._work.remote(job, self.store.folder, self.threads, variables)] = job

    def wait(self, seconds: float) -> list[tuple[Job, str | None]]:
        """The jobs that have ended, as soon as one does."""
        if not self.running:  # other studies are doing the rest
            time.sleep(seconds)
            return []
        ended, _ = ray.wait(list(self.running), num_returns=1, timeout=seconds)
        return [(self.running.pop(reference), _death(reference)) for reference in ended]

    def stop(self) -> None:
        """End what runs: it loses no more than the task it is at."""
        for reference in self.running:
            ray.cancel(reference, force=True)
        ray.shutdown()


def _work_on_cluster(job: Job, folder: Path, threads: int, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    torch.set_num_threads(threads)
    work(job, Store(folder))


def _death(reference: "ray.ObjectRef") -> str | None:
    try:
        ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"the worker or its machine has died: {str(error).splitlines()[0]}"
    return None
