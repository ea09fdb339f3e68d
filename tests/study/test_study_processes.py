"""Real processes that are killed, and that share a store: nothing is lost, and nothing is done twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from counted import calls, let_go

from regex_lib.study import LocalPool, Store, plan, read_study, run_jobs

pytestmark = pytest.mark.slow
PROGRAM = Path(sys.executable).parent / "regex-lib"


LONG = 900  # seconds; every process imports torch and transformers, on a machine that may be busy


def study_of(world, *acts, **settings):
    return world.study([{"kind": "counted", "act": act} for act in acts], **settings)


def start(path, store):
    """`regex-lib study run`, in the background."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [PROGRAM, "study", "run", path, "--store", store.folder]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_here(path, store, **settings):
    """The same in this process, which has the imports done; its workers are processes all the same."""
    jobs, progress = plan(read_study(path)), []
    failures = run_jobs(jobs, store, LocalPool(store, threads=1), report=progress.append, **settings)
    return failures, progress


def wait_until(condition, process=None):
    deadline = time.monotonic() + LONG
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def acts():
    return Counter(name.split(maxsplit=1)[1] for name in calls().elements())


def files(store):
    """Every result and model with when it was written, and which file it is: a second writing would change both."""
    found = [*store.folder.glob("tasks/*/*"), *store.folder.glob("models/*/*")]
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


@pytest.fixture
def store(world):
    return Store(world.folder / "store")


def test_a_study_that_is_killed_goes_on_where_it_was(world, store):
    path = study_of(world, "first", "wait", "last")
    (job,) = plan(read_study(path))
    _, _, waits, last = job.tasks

    process = start(path, store)
    wait_until(lambda: acts()["wait"], process)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    assert "4 tasks" in out
    wait_until(lambda: not any(map(is_alive, workers)))  # although nobody told them
    assert [store.has(task) for task in job.tasks] == [True, True, False, False]
    assert not any(map(store.is_locked, job.tasks))
    before = files(store)

    let_go()
    failures, progress = run_here(path, store)
    assert failures == {}
    assert [one.job.tasks for one in progress] == [(waits, last)]
    assert all(map(store.has, job.tasks))
    assert files(store).items() >= before.items()
    assert acts() == {"first": 1, "wait": 2, "last": 1}  # only what it was killed at was begun twice

    everything = files(store)
    assert run_here(path, store) == ({}, [])
    assert files(store) == everything
    assert sum(acts().values()) == 4


def test_a_worker_that_is_killed_is_replaced(world, store):
    path = study_of(world, "die once", "nothing")
    failures, progress = run_here(path, store)
    assert failures == {}
    (died,) = progress[0].failures.items()
    assert died[0].config["act"] == "die once"
    assert "was killed by signal 9" in died[1]
    assert progress[1].failures == {}
    assert acts() == {"die once": 2, "nothing": 1}
    assert all(store.has(task) for job in plan(read_study(path)) for task in job.tasks)


def test_two_studies_share_a_store(world, store):
    """While one is at work on the first model, another one takes the second."""
    path = study_of(world, "wait", seeds=[0, 1])
    tasks = [task for job in plan(read_study(path)) for task in job.tasks]
    process = start(path, store)
    wait_until(lambda: acts()["wait"] == 1, process)
    before = files(store)

    def let_both_go():
        wait_until(lambda: acts()["wait"] == 2)
        let_go()

    threading.Thread(target=let_both_go, daemon=True).start()
    failures, progress = run_here(path, store)
    out, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, out
    assert "all tasks are done" in out
    assert failures == {}
    assert tasks[2:] in [list(one.job.tasks) for one in progress]
    assert all(map(store.has, tasks))
    assert acts() == {"wait": 2}
    assert len(calls()) == 2  # of two models
    assert files(store).items() >= before.items()  # the first model is not trained again
