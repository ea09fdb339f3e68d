"""What a worker does must be what a user would do by hand."""

import copy
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from counted import calls

from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.study import Store, plan, read_study
from regex_lib.study.work import work
from regex_lib.training import RECIPES, read_run, train

FAITHFUL = {
    "kind": "faithfulness",
    "split": "test",
    "attributions": ["random", "attention"],
    "metrics": ["sufficiency", "loo_tau"],
    "max_examples": 4,
}


def jobs_of(path):
    return plan(read_study(path))


@pytest.fixture
def store(world):
    return Store(world.folder / "store")


def test_it_trains_and_measures_as_by_hand(world, store):
    measures = [{"kind": "quality", "split": ["validation", "test"]}, FAITHFUL | {"replacement": "mask"}]
    settings = {"epochs": 2.0, "batch_size": 4, "learning_rate": 1e-2, "max_length": 5, "max_train": 10}
    path = world.study(
        measures, recipes=["mine"], seeds=[3], extra='[recipes.mine]\nbase = "igr"\nigr_weight = 0.25', **settings
    )
    (job,) = jobs_of(path)
    work(job, store)
    training, validation, test, faithful = job.tasks

    data = load_data(world.data)
    classifier = load_classifier(world.model, num_labels=2, seed=3)
    run = train(classifier, {"train": data["train"]}, RECIPES["igr"].changed(igr_weight=0.25), seed=3, **settings)
    stored = load_classifier(store.model(training))
    for name, weights in classifier.model.state_dict().items():
        assert torch.equal(weights, stored.model.state_dict()[name]), name
    cost = store.read(training).iloc[0]
    assert cost["train_texts"] == 10
    assert cost["loss_igr"] == pytest.approx(run.history[-1]["igr"], rel=1e-5)
    assert cost["seconds"] == pytest.approx(read_run(store.model(training)).seconds)
    assert 100 < cost["memory_mib"] < 100_000

    for task, split in ((validation, "validation"), (test, "test")):
        rows = store.read(task)
        expected = classify(classifier, data[split], max_length=5)
        assert rows["accuracy"].mean() == pytest.approx(expected["accuracy"], rel=1e-6)
        assert rows[["macro_f1", "ece"]].drop_duplicates().values.tolist() == [
            [pytest.approx(expected["macro_f1"], rel=1e-6), pytest.approx(expected["ece"], rel=1e-6)]
        ]
        assert rows["label"].tolist() == data[split]["label"][:]
        assert rows["example"].tolist() == list(range(6))

    report = evaluate_faithfulness(
        classifier, data["test"], ["random", "attention"], ["sufficiency", "loo_tau"], replacement="mask",
        max_examples=4, max_length=5,
    )  # fmt: skip
    rows = store.read(faithful)
    for name in ("example", "attribution", "label", "prediction"):
        assert rows[name].tolist() == report.examples[name].tolist()
    for name in ("sufficiency", "loo_tau", "probability"):
        np.testing.assert_allclose(rows[name], report.examples[name], rtol=1e-6)
    assert rows[["recipe", "seed", "replacement", "on"]].drop_duplicates().values.tolist() == [
        ["mine", 3, "mask", str(world.data)]
    ]


def test_every_result_says_how_it_came_about(world, store):
    (job,) = jobs_of(world.study([{"kind": "quality"}]))
    work(job, store)
    for task in job.tasks:
        facts = store.facts(task)
        assert facts["config"] == task.config
        assert facts["provenance"].keys() == {
            "date", "seconds", "commit", "packages", "python", "device", "machine", "threads",
        }  # fmt: skip
        assert facts["provenance"]["packages"]["torch"] == torch.__version__
        assert facts["provenance"]["threads"] == torch.get_num_threads()


def test_what_is_done_is_not_done_again(world, store):
    (job,) = jobs_of(world.study([{"kind": "counted"}]))
    work(job, store)
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*") if path.is_file()}
    work(job, store)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list(calls().values()) == [1]


def test_a_lost_model_is_trained_again_when_it_is_needed(world, store):
    (job,) = jobs_of(world.study([{"kind": "counted", "act": "first"}]))
    work(job, store)
    store.model(job.tasks[0]).rename(world.folder / "lost")  # as in a store that was committed without its models
    (more,) = jobs_of(world.study([{"kind": "counted", "act": "first"}, {"kind": "counted", "act": "second"}]))
    work(more.only(lambda task: task.kind != "train"), store)
    assert sorted(name.split(maxsplit=1)[1] for name in calls().elements()) == ["first", "second"]
    assert len({name.split()[0] for name in calls()}) == 1  # the same weights
    assert store.model(job.tasks[0]).is_dir()


def test_a_failure_leaves_the_rest(world, store):
    acts = ["fail always", "nothing"]
    (job,) = jobs_of(world.study([{"kind": "counted", "act": act} for act in acts]))
    work(job, store)
    assert [store.has(task) for task in job.tasks] == [True, False, True]
    failure = store.failure(job.tasks[1])
    assert failure["error"] == "RuntimeError: call 1 failed"
    assert "counted.py" in failure["traceback"]


def test_without_a_model_nothing_is_measured(world, store):
    (job,) = jobs_of(world.study([{"kind": "counted"}], batch_size=0))
    work(job, store)
    assert not any(map(store.has, job.tasks))
    assert "batch_size must be 1 or more" in store.failure(job.tasks[0])["error"]
    assert store.failure(job.tasks[0])["final"]
    assert not calls()
    assert not list(store.folder.glob("models/*[!t]"))  # but for an unfinished one, .part


def test_texts_that_change_meanwhile_are_noticed(world, store):
    (job,) = jobs_of(world.study([{"kind": "quality"}]))
    for split in ("test", "train"):
        rows = pd.read_json(world.data / f"{split}.jsonl", lines=True)
        rows.assign(label=1 - rows["label"]).to_json(world.data / f"{split}.jsonl", orient="records", lines=True)
        work(job, store)
        task = job.tasks[split == "test"]
        assert "have changed since the study was started" in store.failure(task)["error"]
        store.forget_failure(task)
        store.path(job.tasks[0]).unlink(missing_ok=True)


@pytest.mark.parametrize("number", [0, 1])
def test_what_another_process_does_is_left_to_it(world, store, number):
    (job,) = jobs_of(world.study([{"kind": "counted", "act": act} for act in ("first", "second")]))
    busy = job.tasks[number]
    with store.lock(copy.copy(busy)) as free:
        assert free
        work(job, store)
    expected = [False] * 3 if number == 0 else [True, False, True]  # nothing can be done without the model
    assert [store.has(task) for task in job.tasks] == expected
    assert not any(map(store.failure, job.tasks))
    work(job, store)
    assert all(map(store.has, job.tasks))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is asked for in another way")
def test_memory_is_that_of_the_worker_and_not_of_who_started_it():
    measured = "import torch; from regex_lib.study.work import _peak_memory; print(_peak_memory(torch.device('cpu')))"
    large = f"import subprocess, sys; x = b'x' * 3 * 2**30; del x; subprocess.run([sys.executable, '-c', {measured!r}])"
    own, below = (
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (measured, large)
    )
    assert 50 < own < 2000
    assert below == pytest.approx(own, rel=0.2)
