"""The engine for clusters, on a real cluster of two nodes."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from counted import calls

from regex_lib.study import Store, plan, read_study

PROGRAM = Path(__file__).with_name("studied_on_a_cluster.py")


@pytest.mark.slow
def test_a_node_that_is_killed_costs_no_more_than_what_it_was_at(world):
    acts = ("first", "wait", "last")
    path = world.study([{"kind": "counted", "act": act} for act in acts], seeds=[0, 1])
    store = Store(world.folder / "store")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(
        [sys.executable, PROGRAM, path, store.folder],
        env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failures"] == 0
    assert len(told["deaths"]) == 1
    assert "the worker or its machine has died" in told["deaths"][0]
    assert all(store.has(task) for job in plan(read_study(path)) for task in job.tasks)
    counts = Counter(name.split(maxsplit=1)[1] for name in calls().elements())
    assert counts == {"first": 2, "wait": 3, "last": 2}  # only what was at work there was begun twice
