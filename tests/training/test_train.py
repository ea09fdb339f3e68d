import json

import datasets
import pandas as pd
import pytest
import torch
import transformers
from reference.unchecked import without_type_checks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.training import RECIPES, Recipe, read_run, train

TEXTS = ["a fine film", "dull and very bad acting", "great plot", "never", "not great not bad", "a dull film"] * 3


@pytest.fixture
def data():
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1, 0, 1, 0] * 3})
    return datasets.DatasetDict({"train": rows, "validation": rows.select(range(6))})


def quickly(classifier, data, recipe="regex", output_dir=None, **options):
    return train(classifier, data, recipe, output_dir, **{"epochs": 1.0, "batch_size": 4, **options})


def state(classifier):
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_recipe_trains(make_tiny, data, recipe):
    classifier = make_tiny()
    before = state(classifier)
    run = quickly(classifier, data, recipe)
    assert run.recipe_name == recipe
    assert not same(state(classifier), before)
    assert all(parameter.isfinite().all() for parameter in classifier.parameters())


def test_data_without_a_train_split_is_refused(make_tiny, data):
    with pytest.raises(UserError, match="there is no train split, only: validation"):
        quickly(make_tiny(), {"validation": data["validation"]})


@pytest.mark.parametrize(("labels", "told"), [(["pos", "neg"], "'pos'"), ([0.6, 0.9], "0.6"), ([None, 1], "None")])
def test_labels_that_are_no_classes_are_refused(make_tiny, labels, told):
    rows = datasets.Dataset.from_dict({"text": TEXTS[:2], "label": labels})
    with without_type_checks(), pytest.raises(UserError, match=f"the data has label {told}, but the model has 2"):
        quickly(make_tiny(), {"train": rows})


def test_the_same_seed_gives_the_same_weights_and_the_same_table(make_tiny, data):
    states, tables = [], []
    for noise in (1, 2):
        classifier = make_tiny()
        torch.manual_seed(noise)  # what the process has drawn before must not matter
        quickly(classifier, data, seed=7)
        states.append(state(classifier))
        tables.append(evaluate_faithfulness(classifier, data["validation"]).table)
    assert same(*states)
    pd.testing.assert_frame_equal(*tables)


def test_another_seed_gives_other_weights(make_tiny, data):
    states = []
    for seed in (1, 2):
        classifier = make_tiny()
        quickly(classifier, data, seed=seed)
        states.append(state(classifier))
    assert not same(*states)


def test_the_classifier_is_left_in_evaluation_mode(make_tiny, data):
    classifier = make_tiny()
    quickly(classifier, data)
    assert not any(module.training for module in classifier.modules())


def test_a_run_opens_everywhere(make_tiny, data, tmp_path):
    classifier = make_tiny()
    run = quickly(classifier, data, output_dir=tmp_path / "deep" / "run")
    folder = tmp_path / "deep" / "run"
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert same(state(classifier), plain.state_dict())
    assert same(state(classifier), state(load_classifier(folder)))
    assert read_run(folder) == run


def test_a_run_is_its_model_and_its_record_and_nothing_else(make_tiny, data, tmp_path):
    quickly(make_tiny(), data, output_dir=tmp_path / "run")
    files = {path.name for path in (tmp_path / "run").rglob("*")}
    assert files == {"config.json", "model.safetensors", "regex_run.json", "tokenizer.json", "tokenizer_config.json"}


def test_nothing_is_written_by_default(make_tiny, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quickly(make_tiny(), data)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed(make_tiny, data, tmp_path, capfd):
    quickly(make_tiny(), data, output_dir=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_record_tells_how_the_run_was_done(make_tiny, data, tmp_path):
    quickly(make_tiny(), data, output_dir=tmp_path, max_train=9, seed=3, provenance={"data": "tiny", "model": "bert"})
    record = json.loads((tmp_path / "regex_run.json").read_text())
    assert record["recipe_name"] == "regex"
    assert Recipe(**record["recipe"]) == RECIPES["regex"]
    expected = {"epochs": 1, "batch_size": 4, "train_texts": 9, "seed": 3, "data": "tiny", "model": "bert"}
    assert record["settings"].items() >= expected.items()
    assert {"cross_entropy", "igr", "vat"} <= record["history"][0].keys()
    assert record["validation"].keys() == {"accuracy", "macro_f1", "ece", "loss"}
    assert {"torch", "transformers", "python"} <= record["packages"].keys()
    assert record["device"].startswith("cpu")


def test_the_history_has_both_stages_of_a_training(make_tiny, data):
    recipe = Recipe(
        cross_entropy_weight=0.0,
        freelb_weight=1.0,
        robust_until=0.5,
        guidance_from=0.5,
        masked_cross_entropy_weight=1.0,
    )
    history = quickly(make_tiny(layers=1), data, recipe, epochs=4.0).history
    assert [entry["step"] for entry in history] == list(range(1, 21))
    assert ["freelb" in entry for entry in history] == [True] * 10 + [False] * 10
    assert ["masked_cross_entropy" in entry for entry in history] == [False] * 10 + [True] * 10


def test_a_recipe_of_ones_own_is_recorded_whole(make_tiny, data):
    recipe = Recipe(vat_weight=0.2, vat_norm="token_l2", vat_divergence="symmetric_kl")
    run = quickly(make_tiny(), data, recipe)
    assert run.recipe_name == "custom"
    assert Recipe(**run.recipe) == recipe


def test_without_a_validation_split_nothing_is_measured(make_tiny, data):
    del data["validation"]
    assert quickly(make_tiny(), data).validation == {}


def test_max_train_takes_the_same_texts_whatever_the_seed(make_tiny, data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "regex_lib.training.trainer.tokenize_dataset",
        lambda classifier, rows, max_length: seen.append(rows["text"][:]) or original(classifier, rows, max_length),
    )
    from regex_lib.training import tokenize_dataset as original

    del data["validation"]
    for seed in (1, 2):
        quickly(make_tiny(), data, max_train=5, seed=seed)
    assert len(seen[0]) == 5
    assert seen[0] == seen[1] != TEXTS[:5]


def test_callbacks_are_called(make_tiny, data):
    class Counter(transformers.TrainerCallback):
        steps = 0

        def on_step_end(self, args, state, control, **kwargs):
            self.steps += 1

    counter = Counter()
    quickly(make_tiny(), data, callbacks=[counter])
    assert counter.steps == 5  # 18 texts, four at a time


# Early stopping


class EpochEnds(transformers.TrainerCallback):
    """Notes the weights after each epoch."""

    def __init__(self, classifier):
        self.classifier, self.states = classifier, []

    def on_epoch_end(self, args, _, control, **kwargs):
        self.states.append(state(self.classifier))


@pytest.fixture
def misleading(data):
    """The more a classifier learns from these texts, the worse it is on the validation split."""
    wrong = [1 - label for label in data["train"]["label"]]
    return {"train": data["train"], "validation": datasets.Dataset.from_dict({"text": TEXTS, "label": wrong})}


def test_patience_stops_the_training_and_keeps_the_best_epoch(make_tiny, misleading, tmp_path):
    classifier = make_tiny()
    ends = EpochEnds(classifier)
    options = {"epochs": 9.0, "learning_rate": 5e-3, "patience": 2, "callbacks": [ends]}
    run = quickly(classifier, misleading, "vanilla", tmp_path, **options)
    best = int(min(range(len(ends.states)), key=lambda epoch: losses_of(ends.states[epoch], make_tiny(), misleading)))
    assert len(ends.states) == best + 1 + 2 < 9
    assert same(state(classifier), ends.states[best])
    assert same(state(load_classifier(tmp_path)), ends.states[best])
    assert run.validation["loss"] == pytest.approx(losses_of(ends.states[best], make_tiny(), misleading))
    assert run.settings["patience"] == 2
    assert read_run(tmp_path) == run


def losses_of(weights, classifier, data):
    """The validation loss, computed plainly."""
    classifier.model.load_state_dict(weights)
    batch = classifier.tokenize(data["validation"]["text"][:])
    with torch.no_grad():
        logits = classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits
    return torch.nn.functional.cross_entropy(logits, torch.tensor(data["validation"]["label"])).item()


def test_a_training_that_keeps_getting_better_runs_to_its_end(make_tiny, data, tmp_path):
    classifier = make_tiny(layers=1)
    ends = EpochEnds(classifier)
    options = {"epochs": 3.0, "batch_size": 18, "learning_rate": 2e-3, "patience": 1, "callbacks": [ends]}
    quickly(classifier, data, "vanilla", tmp_path, **options)
    assert len(ends.states) == 3
    assert same(state(classifier), ends.states[2])


# TensorBoard


def test_tensorboard_shows_each_term_and_the_validation(make_tiny, data, tmp_path):
    recipe = RECIPES["regex"].changed(guidance_from=0.0)
    run = quickly(make_tiny(), data, recipe, tmp_path, epochs=2.0, tensorboard=True)
    events = EventAccumulator(str(next((tmp_path / "runs").iterdir()))).Reload()
    for name in ("loss", *recipe.weights_at(1.0)):
        logged = {entry["step"]: entry[name] for entry in run.history}
        assert {event.step: event.value for event in events.Scalars(f"train/{name}")} == pytest.approx(logged)
    assert events.Scalars("eval/accuracy")[-1].value == pytest.approx(run.validation["accuracy"])


# Errors


@pytest.mark.parametrize("option", [{"save_every": 2}, {"resume": True}, {"patience": 1}, {"tensorboard": True}])
def test_what_needs_a_folder_is_refused_without_one(make_tiny, data, option):
    with pytest.raises(UserError, match="save_every, resume, patience and tensorboard need an output_dir"):
        quickly(make_tiny(), data, **option)


def test_patience_saves_every_epoch_and_not_every_so_many_steps(make_tiny, data, tmp_path):
    splits = data | {"validation": data["train"]}
    with pytest.raises(UserError, match="patience saves a checkpoint every epoch: leave out save_every"):
        quickly(make_tiny(), splits, output_dir=tmp_path / "run", patience=1, save_every=2)


def test_patience_needs_a_validation_split(make_tiny, data, tmp_path):
    del data["validation"]
    with pytest.raises(UserError, match="patience needs a validation split"):
        quickly(make_tiny(), data, output_dir=tmp_path / "run", patience=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("patience", [None, 1])
def test_a_validation_split_without_texts_is_refused_before_training(make_tiny, data, tmp_path, patience):
    data["validation"] = data["validation"].select([])
    classifier = make_tiny()
    before = state(classifier)
    with pytest.raises(UserError, match="there is no text in the validation split: leave it out"):
        quickly(classifier, data, output_dir=tmp_path / "run", patience=patience)
    assert same(state(classifier), before)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [0, -1])
def test_max_train_is_one_or_more(make_tiny, data, count):
    with pytest.raises(UserError, match=f"max_train must be 1 or more, got {count}"):
        quickly(make_tiny(), data, max_train=count)


def test_an_unknown_recipe_is_refused(make_tiny, data):
    with pytest.raises(UserError, match="unknown recipe 'regx': did you mean 'regex'"):
        quickly(make_tiny(), data, "regx")


def test_a_split_without_texts_is_refused(make_tiny, data):
    data["train"] = data["train"].select([])
    with pytest.raises(UserError, match="no text"):
        quickly(make_tiny(), data)


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_the_model_does_not_have_is_refused(make_tiny, data, label):
    rows = data["train"].to_list()
    data["train"] = datasets.Dataset.from_list([{**rows[0], "label": label}, *rows[1:]])
    with pytest.raises(UserError, match=f"label {label}, but the model has 2 classes"):
        quickly(make_tiny(), data)


def test_a_folder_that_cannot_be_written_is_refused_before_training(make_tiny, data, tmp_path):
    (tmp_path / "file").write_text("")
    classifier = make_tiny()
    before = state(classifier)
    with pytest.raises(UserError, match=r"cannot write to '.*file/run': Not a directory"):
        quickly(classifier, data, output_dir=tmp_path / "file" / "run")
    assert same(state(classifier), before)


@pytest.mark.parametrize(("folder", "reason"), [("nowhere", "there is no such folder"), (".", "it has no config.json")])
def test_what_is_no_run_cannot_be_read(tmp_path, folder, reason):
    with pytest.raises(UserError, match=f"is not a run: {reason}"):
        read_run(tmp_path / folder)


def test_a_model_of_another_tool_has_no_record(make_tiny, tmp_path):
    make_tiny().save(tmp_path)
    assert read_run(tmp_path) is None


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas"])
def test_data_of_any_format_trains(make_tiny, data, kind):
    formatted = {split: rows.with_format(kind) for split, rows in data.items()}
    assert same(state_after(make_tiny(), formatted), state_after(make_tiny(), data))


def state_after(classifier, data):
    quickly(classifier, data, "vanilla")
    return state(classifier)


def test_columns_that_are_missing_and_texts_that_are_none_are_told(make_tiny, data):
    train_rows = data["train"]
    for rows, told in (
        (train_rows.remove_columns("label"), "the data has no column 'label'"),
        (datasets.Dataset.from_dict({"text": ["fine", None], "label": [0, 1]}), "the text in row 1 is no string: None"),
    ):
        with pytest.raises(UserError, match=told):
            quickly(make_tiny(), {"train": rows}, "vanilla")
        with pytest.raises(UserError, match=told):
            quickly(make_tiny(), {"train": train_rows, "validation": rows}, "vanilla")


def test_no_model_from_before_the_guidance_is_kept_as_the_recipes(make_tiny, misleading, tmp_path):
    """The validation loss rises from the first epoch on: without the rule, training would end in its first half."""
    options = {"epochs": 6.0, "learning_rate": 5e-3, "patience": 1}
    run = quickly(make_tiny(), misleading, "regex_two_stage", tmp_path / "run", **options)
    assert any("kl" in entry for entry in run.history)
    steps_per_epoch = run.settings["steps"] / max(entry["epoch"] for entry in run.history)
    assert run.settings["best_step"] > 3 * steps_per_epoch


def test_checkpointed_activations_end_with_the_training(make_tiny, data):
    classifier = make_tiny()
    before = [getattr(part, "gradient_checkpointing", None) for part in classifier.modules()]
    cache = classifier.model.config.use_cache
    quickly(classifier, data, "vanilla", checkpoint_activations=True)
    assert [getattr(part, "gradient_checkpointing", None) for part in classifier.modules()] == before
    assert classifier.model.config.use_cache == cache
