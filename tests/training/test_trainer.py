import datasets
import pytest
import torch
import transformers
from torch import nn

from regex_lib.training import RECIPES, Recipe, RegexTrainer, tokenize_dataset
from regex_lib.training import objective as objective_module

WORDS = ["fine", "dull", "great", "bad", "very", "not", "never", "plot", "acting", "film"]
EVERYTHING = RECIPES["regex"].changed(guidance_from=0.0)


@pytest.fixture
def rows():
    texts = [" ".join(WORDS[i % 10 :] + WORDS[: i % 4]) for i in range(16)]
    return datasets.Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(16)]})


@pytest.fixture
def trainer_of(rows, tmp_path):
    def make(classifier, recipe=EVERYTHING, folder="run", **options):
        settings = {
            "per_device_train_batch_size": 4, "max_steps": 4, "logging_steps": 1, "save_strategy": "no",
            "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False, "use_cpu": True,
        }  # fmt: skip
        args = transformers.TrainingArguments(output_dir=str(tmp_path / folder), **(settings | options))
        trainer = RegexTrainer(classifier, recipe, args, train_dataset=rows, eval_dataset=rows)
        trainer.remove_callback(transformers.PrinterCallback)
        return trainer

    return make


def weights(classifier):
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def without_dropout(classifier):
    for part in classifier.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return classifier


def assert_same_weights(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=name, **(tolerance or {"rtol": 0, "atol": 0}))


def test_texts_are_tokenized_without_padding(tiny, rows):
    tokenized = tokenize_dataset(tiny, rows)
    batch = tiny.tokenize(rows["text"])
    assert tokenized.column_names == ["input_ids", "content_mask", "truncated", "labels"]
    for row, ids, content, attended in zip(
        tokenized, batch.input_ids, batch.content_mask, batch.attention_mask, strict=True
    ):
        assert row["input_ids"] == ids[attended].tolist()
        assert row["content_mask"] == content[attended].tolist()
    assert tokenized["labels"] == rows["label"]


def test_a_collated_batch_is_the_tokenized_one(tiny, rows, trainer_of):
    trainer = trainer_of(tiny)
    collated = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
    batch = tiny.tokenize(rows["text"][:5])
    for name in ("input_ids", "attention_mask", "content_mask"):
        assert torch.equal(collated[name], getattr(batch, name)), name
    assert collated["labels"].tolist() == rows["label"][:5]


def logged(term, trainer):
    """The values of a term that a training logs."""
    trainer.train()
    return [entry[term] for entry in trainer.state.log_history if term in entry]


def test_each_term_is_logged_by_its_name_and_is_finite(tiny, trainer_of):
    trainer = trainer_of(tiny)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logs] == [1, 2, 3, 4]
    for entry in logs:
        for name in ("loss", "cross_entropy", "igr", "vat", "kl", "kl_masked"):
            assert 0 <= entry[name] < float("inf"), name


def test_a_logged_term_is_its_mean_since_the_last_log(make_tiny, trainer_of):
    steps, means = logged("igr", trainer_of(make_tiny())), logged("igr", trainer_of(make_tiny(), logging_steps=4))
    assert means == [pytest.approx(sum(steps) / 4)]


def test_the_schedule_follows_the_training(make_tiny, trainer_of):
    trainer = trainer_of(make_tiny(), RECIPES["regex_two_stage"])
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert ["vat" in entry for entry in logs] == [True, True, False, False]
    assert ["kl" in entry for entry in logs] == [False, False, True, True]


def test_training_learns(make_tiny, trainer_of):
    trainer = trainer_of(make_tiny(), Recipe(), max_steps=60, learning_rate=5e-3)
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.9


def test_evaluation_reports_the_classification(tiny, trainer_of):
    measured = trainer_of(tiny).evaluate()
    assert {"eval_loss", "eval_accuracy", "eval_macro_f1", "eval_ece"} <= measured.keys()


def test_a_term_that_is_not_a_number_is_named_with_its_step(make_tiny, trainer_of, monkeypatch):
    original, calls = objective_module.input_gradient_penalty, []

    def spoilt(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(objective_module, "input_gradient_penalty", spoilt)
    with pytest.raises(FloatingPointError, match="the term 'igr' is nan at step 2"):
        trainer_of(make_tiny()).train()


def test_weights_that_are_not_numbers_are_noticed_at_once(make_tiny, trainer_of):
    classifier = make_tiny()
    classifier.model.classifier.bias.data.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="the term 'cross_entropy' is nan at step 0"):
        trainer_of(classifier).train()


def test_a_resumed_training_ends_with_the_same_weights(make_tiny, trainer_of, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2, "train_sampling_strategy": "group_by_length"}
    whole, resumed = make_tiny(), make_tiny(seed=99)
    trainer_of(whole, **saving).train()
    trainer_of(resumed, folder="other", **saving).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert_same_weights(weights(whole), weights(resumed))


def test_a_checkpoint_is_an_ordinary_model(make_tiny, trainer_of, tmp_path):
    classifier = make_tiny()
    trainer_of(classifier, save_strategy="steps", save_steps=4).train()
    checkpoint = tmp_path / "run" / "checkpoint-4"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint)
    assert_same_weights(weights(classifier), model.state_dict())
    assert transformers.AutoTokenizer.from_pretrained(checkpoint).get_vocab() == classifier.tokenizer.get_vocab()


def test_the_best_checkpoint_can_be_loaded_in_the_end(make_tiny, trainer_of):
    trainer = trainer_of(
        make_tiny(), Recipe(), save_strategy="steps", eval_strategy="steps", save_steps=2, eval_steps=2,
        load_best_model_at_end=True, metric_for_best_model="accuracy",
    )  # fmt: skip
    trainer.train()
    assert trainer.state.best_model_checkpoint is not None


def test_accumulated_gradients_are_those_of_the_larger_batch(make_tiny, trainer_of):
    found = []
    for options in ({}, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}):
        classifier = without_dropout(make_tiny().double())
        recipe = EVERYTHING.changed(vat_weight=0.0)  # its random direction depends on the shape of the batch
        trainer_of(classifier, recipe, train_sampling_strategy="sequential", **options).train()
        found.append(weights(classifier))
    assert_same_weights(*found, rtol=1e-6, atol=1e-7)


def test_a_vat_recipe_accumulates_too(make_tiny, trainer_of):
    trainer = trainer_of(make_tiny(), gradient_accumulation_steps=2, max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2


def test_an_evaluation_during_training_leaves_no_trace_in_the_logged_terms(make_tiny, trainer_of):
    # Without anything random: an evaluation draws from the global generator, as every pass over data does.
    classifiers, recipe = [without_dropout(make_tiny()) for _ in range(2)], Recipe(igr_weight=0.1)
    plain = logged("igr", trainer_of(classifiers[0], recipe, logging_steps=2))
    evaluating = trainer_of(classifiers[1], recipe, logging_steps=2, eval_strategy="steps", eval_steps=1)
    assert logged("igr", evaluating) == plain
