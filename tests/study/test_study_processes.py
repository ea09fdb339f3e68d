"""Real processes that are killed, and that share a store: nothing is lost, and nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from counted import calls, let_go

from regex_lib.study import LocalPool, Store, plan, read_study, run_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "REGEX_UNFINISHED" not in os.environ,
        reason="a killed study and two at once: not passing on every machine yet: set REGEX_UNFINISHED to run it",
    ),
]
PROGRAM = Path(sys.executable).parent / "regex-lib"


def study_of(world, *acts, **settings):
    return world.study([{"kind": "counted", "act": act} for act in acts], **settings)


def start(path, store):
    """`regex-lib study run`, in the background."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [PROGRAM, "study", "run", path, "--store", store.folder]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def wait_until(condition):
    deadline = time.monotonic() + 200
    while not condition():
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
    path = study_of(world, "first", "wait", "last", seeds=[0, 1])
    tasks = [task for job in plan(read_study(path)) for task in job.tasks]

    process = start(path, store)
    wait_until(lambda: acts()["wait"])
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)))  # although nobody told them
    done = [task for task in tasks if store.has(task)]
    assert [task.kind for task in done] == ["train", "counted"]
    before = files(store)
    assert not any(map(store.is_locked, tasks))

    let_go()
    out = finish(start(path, store))
    assert "8 tasks" in out
    assert "2 of them done" in out
    assert all(map(store.has, tasks))
    assert files(store).items() >= before.items()
    assert acts() == {"first": 2, "wait": 3, "last": 2}  # only what it was killed at was begun twice

    everything = files(store)
    out = finish(start(path, store))
    assert "8 of them done" in out
    assert files(store) == everything
    assert acts() == {"first": 2, "wait": 3, "last": 2}


def test_workers_that_are_killed_are_replaced(world, store):
    """The first model's second measurement kills its process once, the third one each time."""
    jobs = plan(
        read_study(world.study([{"kind": "counted", "act": act} for act in ("die once", "die always", "nothing")]))
    )
    progress = []
    failures = run_jobs(jobs, store, LocalPool(store, processes=1, threads=1), attempts=2, report=progress.append)
    assert list(failures) == [jobs[0].tasks[2]]
    assert "was killed by signal 9" in failures[jobs[0].tasks[2]]
    assert acts() == {"die once": 2, "die always": 2, "nothing": 1}
    assert [store.has(task) for task in jobs[0].tasks] == [True, True, False, True]
    assert [[task.config["act"] for task in one.failures] for one in progress] == [
        ["die once"], ["die always"], ["die always"], [],
    ]  # fmt: skip


def test_two_studies_share_a_store(world, store):
    path = world.study(
        [{"kind": "counted", "act": act} for act in ("first", "second")], recipes=["vanilla", "igr"], seeds=[0, 1]
    )
    tasks = [task for job in plan(read_study(path)) for task in job.tasks]
    processes = [start(path, store) for _ in range(2)]
    seen = {}  # each file as it was first seen
    while any(process.poll() is None for process in processes):
        seen = files(store) | seen
        time.sleep(0.02)
    outs = [finish(process) for process in processes]
    assert all("all tasks are done" in out for out in outs)
    assert all(map(store.has, tasks))
    assert acts() == {"first": 4, "second": 4}
    assert len(calls()) == 8  # four models, two measurements
    finished = {path: facts for path, facts in seen.items() if ".part" not in str(path)}
    assert files(store).items() >= finished.items()
    assert all(out.count("seed=") for out in outs)  # both had a share of the work
