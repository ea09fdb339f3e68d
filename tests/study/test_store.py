"""The folder of results: whole files or none, and one worker for each task."""

import os
import subprocess
import sys
import threading

import pandas as pd
import pytest
from filelock import FileLock

from regex_lib.errors import UserError
from regex_lib.study import Store, Task

TRAINING = Task("train", {"seed": 0}, {"recipe": "regex", "seed": 0}, {})
TASK = Task("quality", {"split": "test"}, {"recipe": "regex", "seed": 0}, {}, needs=(TRAINING,))
ROWS = pd.DataFrame({"example": [3, 4], "attribution": ["random", "attention"], "accuracy": [0.1, 1.0]})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_what_is_written_is_read(store):
    assert not store.has(TASK)
    store.write(TASK, ROWS, {"seconds": 1.5})
    assert store.has(TASK)
    rows = store.read(TASK)
    assert rows["accuracy"].dtype == "float32"
    assert rows["attribution"].dtype == "category"
    assert rows.astype({"accuracy": "float64"}).round(6).to_dict("list") == ROWS.to_dict("list") | {
        "recipe": ["regex"] * 2, "seed": [0] * 2,
    }  # fmt: skip
    assert store.facts(TASK) == {
        "kind": "quality", "hash": TASK.hash, "needs": [TRAINING.hash], "config": {"split": "test"},
        "labels": {"recipe": "regex", "seed": 0}, "provenance": {"seconds": 1.5},
    }  # fmt: skip
    assert not list(store.folder.rglob("*.part"))


def test_a_reader_gives_its_own_names(store):
    store.write(TASK, ROWS, {})
    renamed = Task(TASK.kind, TASK.config, {"recipe": "mine", "seed": 0}, {}, TASK.needs)
    assert renamed == TASK
    assert store.read(renamed)["recipe"].unique().tolist() == ["mine"]


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_file_that_is_cut_off_is_not_a_result(store, size):
    store.write(TASK, ROWS, {})
    path = store.path(TASK)
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    assert not store.has(TASK)


def test_a_failed_write_leaves_nothing(store, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    store.write(TASK, ROWS, {"seconds": 1.0})
    monkeypatch.setattr("regex_lib.study.store.pq.write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        store.write(TASK, ROWS.head(1), {"seconds": 2.0})
    assert store.facts(TASK)["provenance"] == {"seconds": 1.0}
    assert len(store.read(TASK)) == 2
    assert [path.name for path in store.path(TASK).parent.iterdir()] == [f"{TASK.hash}.parquet"]


def test_failures_are_noted_and_forgotten(store):
    assert store.failure(TASK) is None
    store.fail(TASK, RuntimeError("out of luck"))
    noted = store.failure(TASK)
    assert (noted["error"], noted["final"], noted["labels"]) == ("RuntimeError: out of luck", False, TASK.labels)
    store.fail(TASK, UserError("mend this"))
    assert store.failure(TASK)["final"]
    store.write(TASK, ROWS, {})
    assert store.failure(TASK) is None
    store.fail(TASK, RuntimeError("again"))
    store.forget_failure(TASK)
    assert store.failure(TASK) is None


def test_a_model_is_there_when_it_is_whole(store):
    def fail():
        with store.new_model(TRAINING) as folder:
            folder.mkdir()
            (folder / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not store.model(TRAINING).exists()
    for name in ("first", "second"):  # which finds what the one that failed has left, and replaces the first
        with store.new_model(TRAINING) as folder:
            folder.mkdir()
            (folder / name).touch()
        assert [path.name for path in store.model(TRAINING).iterdir()] == [name]


HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(20)
"""


def test_a_lock_is_held_by_one_process_and_freed_when_it_is_killed(store):
    path = store.folder / "locks" / f"{TASK.hash}.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert store.is_locked(TASK)
        assert not store.is_locked(TRAINING)
        with store.lock(TASK) as free:
            assert not free
        process.kill()
    assert not store.is_locked(TASK)
    with store.lock(TASK) as free:
        assert free


def test_a_worker_waits_for_a_probe_and_a_probe_for_nobody(store):
    probe = FileLock(store.folder / "locks" / f"{TASK.hash}.lock", thread_local=False)
    probe.acquire()
    threading.Timer(0.5, probe.release).start()
    assert store.is_locked(TASK)
    with store.lock(TASK) as free:
        assert free


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to '.*store': Not a directory"):
        Store(tmp_path / "file" / "store").create()


def test_who_only_looks_leaves_no_trace(store):
    assert not store.has(TASK)
    assert not store.is_locked(TASK)
    assert store.failure(TASK) is None
    assert not store.folder.exists()
