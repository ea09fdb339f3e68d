"""Trainings that are killed and go on must end as if nothing had happened."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from killed_training import SETTINGS, splits

from regex_lib.errors import UserError
from regex_lib.models import load_classifier
from regex_lib.training import read_run, train
from regex_lib.training.checkpoints import last_checkpoint

PROGRAM = Path(__file__).with_name("killed_training.py")
AFTER_STEPS = ["4", "9", "14"]  # in every epoch, neither near its start nor its end
IN_FILES = ["6/training_args.bin", "6/optimizer.pt", "8/trainer_state.json"]


class Steps(transformers.TrainerCallback):
    """Notes the steps that are taken."""

    def __init__(self):
        self.taken = []

    def on_step_end(self, args, state, control, **_):
        self.taken.append(state.global_step)


def weights(classifier):
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


@pytest.fixture(scope="module")
def model(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_tiny("bert").save(folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(model, tmp_path_factory):
    classifier, folder = load_classifier(model, device="cpu"), tmp_path_factory.mktemp("whole")
    run = train(classifier, splits(), "regex", folder, **SETTINGS)
    return weights(classifier), run, folder


@pytest.fixture(scope="module")
def killed(model, tmp_path_factory):
    """The folders that killed trainings left."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(PROGRAM), str(model), str(folder), *AFTER_STEPS, *IN_FILES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def resumed(model, folder, **options):
    """The classifier of a training that goes on; what it starts with does not count."""
    classifier = load_classifier(model, device="cpu")
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(1.0)
    return classifier, train(classifier, splits(), "regex", folder, **SETTINGS | {"resume": True} | options)


def test_checkpoints_change_nothing(model, uninterrupted):
    classifier = load_classifier(model, device="cpu")
    train(classifier, splits(), "regex", **SETTINGS | {"save_every": None})
    assert_same(weights(classifier), uninterrupted[0])


@pytest.mark.slow
@pytest.mark.parametrize("step", AFTER_STEPS)
def test_a_training_killed_after_a_step_ends_with_the_same_weights(model, killed, uninterrupted, tmp_path, step):
    folder = shutil.copytree(killed / step, tmp_path / "run")
    expected = (int(step) - 1) // 2 * 2  # the step that killed it came before its own checkpoint
    checkpoint = last_checkpoint(folder)
    assert checkpoint == (folder / f"checkpoint-{expected}" if expected else None)
    steps = Steps()
    classifier, run = resumed(model, folder, callbacks=[steps])
    assert steps.taken == list(range(expected + 1, 16))
    assert_same(weights(classifier), uninterrupted[0])
    assert_same(weights(load_classifier(folder, device="cpu")), uninterrupted[0])
    assert read_run(folder) == run


@pytest.mark.slow
@pytest.mark.parametrize("place", IN_FILES)
def test_a_training_killed_while_it_saves_goes_on_from_the_checkpoint_before(
    model, killed, uninterrupted, tmp_path, place
):
    folder = shutil.copytree(killed / place.replace("/", "-"), tmp_path / "run")
    step, _, file = place.partition("/")
    assert (folder / f"checkpoint-{step}" / file).is_file()
    assert last_checkpoint(folder) == folder / f"checkpoint-{int(step) - 2}"
    classifier, _ = resumed(model, folder)
    assert_same(weights(classifier), uninterrupted[0])


@pytest.mark.slow
def test_a_finished_training_is_resumed_without_another_step(model, uninterrupted, tmp_path):
    expected, run, folder = uninterrupted
    steps = Steps()
    classifier, again = resumed(model, shutil.copytree(folder, tmp_path / "run"), callbacks=[steps])
    assert_same(weights(classifier), expected)
    assert steps.taken == []
    assert again.history == run.history


def test_without_a_checkpoint_the_training_begins(model, uninterrupted, tmp_path):
    classifier = load_classifier(model, device="cpu")
    run = train(classifier, splits(), "regex", tmp_path, **SETTINGS, resume=True)
    assert_same(weights(classifier), uninterrupted[0])
    assert run.history == uninterrupted[1].history


def test_a_finished_training_of_a_part_of_an_epoch_takes_no_further_step(model, tmp_path):
    options = SETTINGS | {"epochs": 1.5}
    classifier, steps = load_classifier(model, device="cpu"), Steps()
    run = train(classifier, splits(), "regex", tmp_path, **options)
    again, repeated = resumed(model, tmp_path, epochs=1.5, callbacks=[steps])
    assert steps.taken == []
    assert_same(weights(again), weights(classifier))
    assert repeated.history == run.history


# With patience

PATIENT = {"epochs": 9.0, "batch_size": 4, "learning_rate": 3e-3, "patience": 2}


class InterruptedAfter(transformers.TrainerCallback):
    """Ends a training when an epoch's checkpoint is saved."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_save(self, args, state, control, **_):
        if state.epoch == self.epoch:
            raise KeyboardInterrupt


def misleading():
    """Texts whose validation split has other labels, so that its loss falls, rises, falls and rises for good."""
    texts, labels = (splits()["train"][name][:] for name in ("text", "label"))
    others = [label if i % 3 else 1 - label for i, label in enumerate(labels)]
    return splits() | {"validation": datasets.Dataset.from_dict({"text": texts, "label": others})}


def patient(model, folder, data=None, **options):
    """A classifier after a training with patience, its record and the steps it took."""
    classifier, steps = load_classifier(model, device="cpu"), Steps()
    callbacks = [steps, *options.pop("callbacks", [])]
    run = train(classifier, data or misleading(), "vanilla", folder, **PATIENT, callbacks=callbacks, **options)
    return classifier, run, steps.taken


@pytest.fixture(scope="module")
def stopped(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient") / "run"
    classifier, run, steps = patient(model, folder)
    assert len(steps) == 30, "of 45: it is to be stopped after six epochs, of which the fourth is the best"
    return weights(classifier), run, folder


def interrupted(model, folder, epoch):
    with pytest.raises(KeyboardInterrupt):
        patient(model, folder, callbacks=[InterruptedAfter(epoch)])
    return folder


@pytest.mark.parametrize("epoch", [1, 3, 4, 5, 6])
def test_a_resumed_training_is_as_patient_as_it_was(model, stopped, tmp_path, epoch):
    classifier, run, steps = patient(model, interrupted(model, tmp_path, epoch), resume=True)
    assert steps == list(range(5 * epoch + 1, 31))
    assert_same(weights(classifier), stopped[0])
    assert (run.history, run.validation) == (stopped[1].history, stopped[1].validation)


def test_a_training_that_lost_its_patience_is_resumed_without_another_step(model, stopped, tmp_path):
    classifier, run, steps = patient(model, shutil.copytree(stopped[2], tmp_path / "run"), resume=True)
    assert steps == []
    assert_same(weights(classifier), stopped[0])
    assert (run.history, run.validation) == (stopped[1].history, stopped[1].validation)


def test_the_best_epoch_is_found_in_a_folder_that_was_moved(model, stopped, tmp_path):
    patient(model, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    classifier, _, steps = patient(model, tmp_path / "after", resume=True)
    assert steps == []
    assert_same(weights(classifier), stopped[0])


def test_with_patience_the_validation_texts_may_not_change(model, stopped):
    for changed in (misleading()["validation"].select(range(9)), splits()["train"]):
        with pytest.raises(UserError, match=r"cannot resume '.*checkpoint-30': its validation_texts was '.*', and is"):
            patient(model, stopped[2], misleading() | {"validation": changed}, resume=True)


def test_without_patience_the_validation_texts_may_change(model, uninterrupted, tmp_path):
    folder = shutil.copytree(uninterrupted[2], tmp_path / "run")
    run = train(load_classifier(model, device="cpu"), misleading(), "regex", folder, **SETTINGS, resume=True)
    assert run.validation["loss"] > 0


# The time


class Clock(transformers.TrainerCallback):
    """What tells the time: 20 s more after each step, and nothing else takes any."""

    def __init__(self):
        self.now = 0.0

    def on_step_end(self, args, state, control, **_):
        self.now += 20.0


def test_the_time_is_that_of_all_legs(model, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    for start, epoch in ((0.0, 1), (7.0, 3)):
        clock.now = start
        with pytest.raises(KeyboardInterrupt):
            patient(model, tmp_path, callbacks=[clock, InterruptedAfter(epoch)], resume=True)
    for _ in range(2):  # the second is resumed when it has ended
        clock.now = 3.0
        assert patient(model, tmp_path, callbacks=[clock], resume=True)[1].seconds == 600.0


def test_a_checkpoint_without_the_time_is_resumed(model, tmp_path):
    state = interrupted(model, tmp_path, 1) / "checkpoint-5" / "trainer_state.json"
    content = json.loads(state.read_text())
    content["stateful_callbacks"] = {
        name: kept for name, kept in content["stateful_callbacks"].items() if name.startswith(("Early", "Trainer"))
    }
    state.write_text(json.dumps(content))
    assert patient(model, tmp_path, resume=True)[2] == list(range(6, 31))


# What is resumed must be the same training


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 0.02}, "its learning_rate was 0.01, and is 0.02 now"),
        ({"seed": 3}, "its seed was 0, and is 3 now"),
        ({"batch_size": 6}, "its batch_size was 4, and is 6 now"),
        ({"precision": "bf16"}, "its precision was 'fp32', and is 'bf16' now"),
        ({"recipe": "vanilla"}, "its igr_weight was 0.01, and is 0.0 now"),
        ({"provenance": {"model": "other"}}, "its model was None, and is 'other' now"),
        ({"max_train": 9}, "its train_texts was 18, and is 9 now"),
        ({"seed": 3, "save_every": None}, "its seed was 0, and is 3 now"),
    ],
)
def test_another_training_is_not_resumed(model, uninterrupted, changed, said):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted[2].rglob("*") if path.is_file()}
    options = {"recipe": "regex", **SETTINGS, "resume": True, **changed}
    with pytest.raises(UserError, match=f"cannot resume '.*checkpoint-15': {re.escape(said)}"):
        train(load_classifier(model, device="cpu"), splits(), output_dir=uninterrupted[2], **options)
    assert {path: path.stat().st_mtime_ns for path in uninterrupted[2].rglob("*") if path.is_file()} == before


def test_how_often_to_save_may_change(model, uninterrupted, tmp_path):
    classifier, _ = resumed(model, shutil.copytree(uninterrupted[2], tmp_path / "run"), save_every=5)
    assert_same(weights(classifier), uninterrupted[0])


@pytest.mark.parametrize("options", [{}, {"save_every": None, "patience": 1}])
def test_checkpoints_of_another_training_are_neither_resumed_nor_lost(model, uninterrupted, tmp_path, options):
    folder = shutil.copytree(uninterrupted[2], tmp_path / "run")
    before = sorted(folder.rglob("*"))
    data = splits() | {"validation": splits()["train"]}
    with pytest.raises(UserError, match=r"'.*run' holds checkpoints of a run: resume it, or remove them"):
        train(load_classifier(model, device="cpu"), data, "regex", folder, **SETTINGS | {"seed": 3} | options)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("damaged", ["", "{", '{"epoch": 1.0}'])
def test_a_checkpoint_without_a_whole_state_does_not_count(uninterrupted, tmp_path, damaged):
    folder = shutil.copytree(uninterrupted[2], tmp_path / "run")
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-14", "checkpoint-15"}
    (folder / "checkpoint-15" / "trainer_state.json").write_text(damaged)
    assert last_checkpoint(folder) == folder / "checkpoint-14"
    (folder / "checkpoint-14" / "trainer_state.json").unlink()
    assert last_checkpoint(folder) is None


def test_there_is_no_checkpoint_where_there_is_no_folder(tmp_path):
    assert last_checkpoint(tmp_path / "nowhere") is None
