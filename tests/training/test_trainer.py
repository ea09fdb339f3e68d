import math
import re

import datasets
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

from regex_lib.errors import UserError
from regex_lib.training import RECIPES, Recipe, RegexTrainer, tokenize_dataset
from regex_lib.training.objective import TERMS

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
    assert tokenized.column_names == ["input_ids", "content_mask", "truncated", "labels", "rows"]
    for row, ids, content, attended in zip(
        tokenized, batch.input_ids, batch.content_mask, batch.attention_mask, strict=True
    ):
        assert row["input_ids"] == ids[attended].tolist()
        assert row["content_mask"] == content[attended].tolist()
    assert tokenized["labels"] == rows["label"]
    assert tokenized["rows"] == list(range(16))


def test_labels_of_true_and_false_are_whole_numbers(tiny):
    rows = datasets.Dataset.from_dict({"text": ["a fine film", "a dull one"], "label": [True, False]})
    assert list(map(repr, tokenize_dataset(tiny, rows)["labels"])) == ["1", "0"]


def test_a_collated_batch_is_the_tokenized_one(tiny, rows, trainer_of):
    trainer = trainer_of(tiny)
    collated = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
    batch = tiny.tokenize(rows["text"][:5])
    for name in ("input_ids", "attention_mask", "content_mask"):
        assert torch.equal(collated[name], getattr(batch, name)), name
    assert collated["labels"].tolist() == rows["label"][:5]
    assert collated["rows"].tolist() == [0, 1, 2, 3, 4]


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


WARMING = RECIPES["regex"].changed(guidance_from=0.25, guidance_warmup=0.5, robust_until=0.75)


@pytest.mark.parametrize(
    ("recipe", "accumulation"),
    [*((recipe, 1) for recipe in RECIPES.values()), (WARMING, 1), (WARMING, 2)],
    ids=[*RECIPES, "warming", "warming-accumulated"],
)
def test_the_logged_loss_is_the_weighted_sum_of_the_logged_terms(make_tiny, trainer_of, recipe, accumulation):
    trainer = trainer_of(make_tiny(), recipe, gradient_accumulation_steps=accumulation, max_steps=8 // accumulation)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 8 // accumulation
    for done, entry in enumerate(logs):
        weights = recipe.weights_at(done / len(logs))
        assert entry.keys() & TERMS.keys() == weights.keys()
        expected = sum(weight * entry[name] for name, weight in weights.items())
        assert entry["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_logged_loss_is_the_weighted_sum_over_several_steps_too(make_tiny, trainer_of):
    trainer = trainer_of(make_tiny(), logging_steps=4, gradient_accumulation_steps=2)
    trainer.train()
    (entry,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    expected = sum(weight * entry[name] for name, weight in EVERYTHING.weights_at(1.0).items())
    assert entry["loss"] == pytest.approx(expected, rel=1e-5)


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


# The order of the texts


def orders(trainer):
    """The rows of the texts in two epochs."""
    rows, compute_loss = [], trainer.compute_loss

    def noting(model, inputs, **_):
        rows.extend(inputs["rows"].tolist())
        return compute_loss(model, inputs)

    trainer.compute_loss = noting
    trainer.train()
    return [rows[:16], rows[16:]]


def test_the_order_of_the_texts_depends_on_nothing_but_the_seed_and_the_epoch(make_tiny, trainer_of):
    options = {"train_sampling_strategy": "group_by_length", "max_steps": 8}
    noisy, quiet = orders(trainer_of(make_tiny(), **options)), orders(trainer_of(make_tiny(), Recipe(), **options))
    other = orders(trainer_of(make_tiny(), Recipe(), seed=1, **options))
    assert noisy == quiet
    assert all(sorted(order) == list(range(16)) for order in noisy + other)
    assert len({tuple(order) for order in noisy + other}) == 4


# What is not finite


def recipe_with(term):
    """A recipe that has a term from the first step on."""
    return Recipe(**{f"{'kl' if term == 'kl_masked' else term}_weight": 1.0}, guidance_from=0.0)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_term_that_is_not_finite_is_named_with_its_step_and_rows(
    make_tiny, rows, trainer_of, monkeypatch, tmp_path, term, value
):
    original, seen = TERMS[term], []

    def spoilt(passes):
        seen.append(passes)
        return original(passes) * (float(value) if len(seen) == 3 else 1.0)

    monkeypatch.setitem(TERMS, term, spoilt)
    classifier = make_tiny()
    with pytest.raises(FloatingPointError) as caught:
        trainer_of(classifier, recipe_with(term), save_strategy="steps", save_steps=1).train()
    message = r"the term '(\w+)' is (nan|inf) at step (\d+), in the batch of rows ([\d, ]+) of the training data"
    *said, named = re.fullmatch(message, str(caught.value)).groups()
    assert said == [term, value, "2"]
    named = [int(row) for row in named.split(", ")]
    batch = classifier.tokenize([rows["text"][row] for row in named])
    assert torch.equal(batch.input_ids, seen[2].batch.input_ids)
    assert [rows["label"][row] for row in named] == seen[2].labels.tolist()
    assert_saved_up_to_step_2(tmp_path / "run", classifier)


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
@pytest.mark.parametrize("slope", [float("inf"), 1e30])  # of the second, only the norm is infinite
def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    make_tiny, trainer_of, monkeypatch, tmp_path, slope, max_grad_norm
):
    original, calls = TERMS["igr"], []

    def steep(passes):
        calls.append(1)
        if len(calls) != 3:
            return original(passes)
        zero = passes.embeddings.sum() - passes.embeddings.sum().detach()
        return original(passes) + (slope * zero if math.isfinite(slope) else zero.sqrt())

    monkeypatch.setitem(TERMS, "igr", steep)
    classifier = make_tiny()
    trainer = trainer_of(classifier, max_grad_norm=max_grad_norm, save_strategy="steps", save_steps=1)
    with pytest.raises(FloatingPointError, match="the gradient is not finite at step 2"):
        trainer.train()
    assert_saved_up_to_step_2(tmp_path / "run", classifier)


def assert_saved_up_to_step_2(folder, classifier):
    """That is where the weights are, too."""
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    saved = load_file(folder / "checkpoint-2" / "model.safetensors")
    assert all(value.isfinite().all() for value in saved.values())
    assert_same_weights(saved, weights(classifier))


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


def test_rows_of_text_and_label_are_evaluated_wherever_they_are_given(make_tiny, rows, tmp_path):
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path), report_to="none", disable_tqdm=True, dataloader_pin_memory=False, use_cpu=True
    )
    classifier, some = make_tiny(), rows.select(range(6))
    trainer = RegexTrainer(classifier, EVERYTHING, args, eval_dataset={"all": rows, "some": some}, max_length=5)
    both = trainer.evaluate()
    for given, name in ((rows, "all"), (some, "some")):
        alone = trainer.evaluate(given)
        assert both[f"eval_{name}_loss"] == alone["eval_loss"]
        assert both[f"eval_{name}_accuracy"] == alone["eval_accuracy"]
    assert both["eval_all_loss"] != both["eval_some_loss"]
    predicted = trainer.predict(some)
    assert predicted.label_ids.tolist() == some["label"][:]
    batch = classifier.tokenize(some["text"][:], 5)
    with torch.no_grad():
        embeddings = classifier.eval().embed(batch.input_ids)
        logits = classifier(embeddings, batch.attention_mask).logits
    torch.testing.assert_close(torch.tensor(predicted.predictions), logits)
    tokenized = trainer.evaluate(tokenize_dataset(classifier, some, 5))
    assert tokenized["eval_loss"] == both["eval_some_loss"]


@pytest.mark.parametrize("option", ["label_smoothing_factor", "neftune_noise_alpha", "compute_loss_func"])
def test_another_loss_is_refused(make_tiny, rows, tmp_path, option):
    given, args = {option: 0.1}, {"output_dir": str(tmp_path), "report_to": "none", "use_cpu": True}
    if option == "compute_loss_func":
        given = {option: lambda outputs, labels, num_items_in_batch: outputs.loss}
    else:
        args, given = args | given, {}
    with pytest.raises(UserError, match=f"{option} does not go with a recipe"):
        RegexTrainer(make_tiny(), EVERYTHING, transformers.TrainingArguments(**args), train_dataset=rows, **given)


def test_several_gpus_in_one_process_are_not_used(make_tiny, rows, tmp_path):
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path), report_to="none", disable_tqdm=True, dataloader_pin_memory=False, use_cpu=True,
        max_steps=1, save_strategy="no",
    )  # fmt: skip
    assert args.n_gpu == 0
    args._n_gpu = 2  # as it is where two are visible
    with pytest.warns(UserWarning, match="start a process for each with torchrun"):
        trainer = RegexTrainer(make_tiny(), EVERYTHING, args, train_dataset=rows)
    assert args.n_gpu == 1
    trainer.train()  # transformers would have wrapped the objective in DataParallel
    assert not isinstance(trainer.model_wrapped, nn.DataParallel)


def test_rows_that_another_tokenizer_has_seen_are_tokenized_from_their_texts(tiny, rows, trainer_of):
    ordinary = rows.map(lambda row: tiny.tokenizer(row["text"]))
    ordinary = ordinary.remove_columns([name for name in ordinary.column_names if name == "token_type_ids"])
    trainer = trainer_of(tiny)
    assert trainer.evaluate(ordinary)["eval_loss"] == pytest.approx(trainer.evaluate(rows)["eval_loss"], rel=1e-6)
    with pytest.raises(UserError, match="the data has no column 'text'"):
        trainer.evaluate(ordinary.remove_columns("text"))


def test_metrics_of_ones_own_take_the_place_of_ours(tiny, rows, tmp_path):
    args = transformers.TrainingArguments(output_dir=str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True)
    own = RegexTrainer(tiny, RECIPES["vanilla"], args, eval_dataset=rows, compute_metrics=lambda found: {"mine": 3.0})
    measured = own.evaluate()
    assert measured["eval_mine"] == 3.0
    assert "eval_accuracy" not in measured


@pytest.mark.parametrize("name", ["model_init", "data_collator", "preprocess_logits_for_metrics"])
def test_what_the_trainer_brings_itself_is_refused(tiny, tmp_path, name):
    args = transformers.TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    with pytest.raises(UserError, match=f"{name} is the trainer's own: leave it out"):
        RegexTrainer(tiny, RECIPES["vanilla"], args, **{name: lambda *_: None})
