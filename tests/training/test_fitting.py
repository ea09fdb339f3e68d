"""Settings, and trainings that fit into memory and time: half batches, half precision, activation checkpointing."""

import math
from types import SimpleNamespace

import datasets
import pytest
import torch
import transformers
from torch import nn
from torch.testing import assert_close
from transformers.modeling_layers import GradientCheckpointingLayer

from regex_lib.errors import UserError
from regex_lib.training import RECIPES, Recipe, RegexObjective, RegexTrainer, train
from regex_lib.training.fitting import arguments, check_settings, fit

TEXTS = ["a fine film", "dull and very bad acting", "great plot", "never", "not great not bad", "a dull film"] * 3
LABELS = [1, 0, 1, 0, 1, 0] * 3
FAMILIES = ["bert", "roberta", "distilbert"]
REGEX = RECIPES["regex"].changed(guidance_from=0.0)
EXACT = REGEX.changed(vat_weight=0.0)  # the random direction of VAT depends on the shape of the batch
SETTINGS = {
    "epochs": 1.0, "batch_size": 6, "learning_rate": 1e-2, "train_texts": 18, "max_length": None, "seed": 0,
    "precision": "fp32", "patience": None,
}  # fmt: skip
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.fixture
def data():
    return {"train": datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})}


def weights(classifier):
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert_close(value, expected[name], msg=name, **tolerance or {"rtol": 0, "atol": 0})


def without_dropout(classifier):
    for part in classifier.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return classifier


# Memory


class Memory:
    """Memory for so many texts at once."""

    def __init__(self, classifier, texts, error=OUT_OF_MEMORY[0]):
        self.texts, self.error, self.tried = texts, error, []
        classifier.model.register_forward_pre_hook(self.take, with_kwargs=True)

    def take(self, model, args, kwargs):
        if model.training:  # an evaluation keeps no activations
            texts = len(kwargs["inputs_embeds"])
            if texts not in self.tried:
                self.tried.append(texts)
            if texts > self.texts:
                raise self.error


def accumulating(classifier, data, recipe, texts_at_once, folder):
    """A training that starts with so many texts at once."""
    args = arguments(
        folder, SETTINGS, texts_at_once, on_cpu=True, save_every=None, tensorboard=False, checkpoint_activations=False
    )
    assert args.per_device_train_batch_size == texts_at_once
    assert args.gradient_accumulation_steps == 6 // texts_at_once
    trainer = RegexTrainer(classifier, recipe, args, train_dataset=data["train"])
    trainer.train()


def training(classifier, data, recipe, **options):
    return train(classifier, data, recipe, **{"epochs": 1.0, "batch_size": 6, "learning_rate": 1e-2} | options)


@pytest.mark.parametrize(("error", "room", "fits"), [*zip(OUT_OF_MEMORY, [5, 2, 5], [3, 1, 3], strict=True)])
def test_a_batch_without_memory_is_made_smaller_and_accumulated(make_tiny, data, tmp_path, error, room, fits):
    classifier, expected = make_tiny(), make_tiny()
    memory = Memory(classifier, room, error)
    run = training(classifier, data, REGEX)
    assert memory.tried == ([6, 3] if fits == 3 else [6, 3, 1])
    assert run.settings["texts_at_once"] == fits
    assert run.settings["batch_size"] == 6
    accumulating(expected, data, REGEX, fits, tmp_path)  # with dropout and random directions
    assert_same(weights(classifier), weights(expected))


def test_memory_that_runs_out_later_starts_the_training_again(make_tiny, data, tmp_path):
    classifier, expected = make_tiny(), make_tiny()
    memory, starts = Memory(classifier, 6), []

    class Steps(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            starts.append((args.per_device_train_batch_size, state.global_step, weights(classifier)))
            memory.texts = 3 if state.global_step == 2 else memory.texts

    run = training(classifier, data, REGEX, output_dir=tmp_path / "run", save_every=1, callbacks=[Steps()])
    assert [start[:2] for start in starts] == [(6, 0), (6, 1), (6, 2), (3, 0), (3, 1), (3, 2)]
    assert_same(starts[3][2], starts[0][2])
    assert run.settings["texts_at_once"] == 3
    accumulating(expected, data, REGEX, 3, tmp_path / "other")
    assert_same(weights(classifier), weights(expected))


def test_a_resumed_training_without_memory_goes_on_from_its_checkpoint(make_tiny, data, tmp_path):
    options = {"output_dir": tmp_path / "run", "save_every": 1}

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 2:
                raise KeyboardInterrupt

    begun, resumed, whole = (without_dropout(make_tiny(seed=seed).double()) for seed in (0, 5, 0))
    with pytest.raises(KeyboardInterrupt):
        training(begun, data, EXACT, **options, callbacks=[Stop()])
    Memory(resumed, 3)
    run = training(resumed, data, EXACT, **options, resume=True)
    training(whole, data, EXACT)
    assert run.settings["texts_at_once"] == 3
    assert_same(weights(resumed), weights(whole), rtol=1e-6, atol=1e-7)


def test_a_smaller_batch_that_is_accumulated_changes_nothing(make_tiny, data):
    halved, whole = without_dropout(make_tiny().double()), without_dropout(make_tiny().double())
    Memory(halved, 3)
    training(halved, data, EXACT)
    training(whole, data, EXACT)
    assert_same(weights(halved), weights(whole), rtol=1e-6, atol=1e-7)


def test_a_single_text_without_memory_is_an_error(make_tiny, data):
    classifier = make_tiny()
    memory = Memory(classifier, 0)
    with pytest.raises(UserError, match="not enough memory for a single text: shorten texts with max_length"):
        training(classifier, data, "vanilla")
    assert memory.tried == [6, 3, 1]


def test_another_error_is_not_taken_for_missing_memory(make_tiny, data):
    classifier = make_tiny()
    memory = Memory(classifier, 0, RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        training(classifier, data, "vanilla")
    assert memory.tried == [6]


def test_one_process_of_several_does_not_start_again_alone(make_tiny):
    def fail(resume_from_checkpoint):
        raise OUT_OF_MEMORY[0]

    trainer = SimpleNamespace(args=SimpleNamespace(world_size=2), train=fail)
    with pytest.raises(UserError, match="a process has not enough memory for 8 texts: take a smaller batch_size"):
        fit(lambda texts_at_once: trainer, make_tiny(), 8, None)


# Logs


@pytest.mark.parametrize(
    ("processes", "gpus", "texts", "epochs", "expected"),
    [(1, 0, 240, 1.0, 10), (5, 1, 240, 1.0, 2), (1, 5, 240, 1.0, 2), (2, 1, 240, 0.5, 2), (5, 1, 18, 1.0, 1)],
)
def test_an_epoch_is_logged_four_times_on_any_number_of_devices(
    tmp_path, monkeypatch, processes, gpus, texts, epochs, expected
):
    monkeypatch.setattr(transformers.TrainingArguments, "world_size", processes)
    monkeypatch.setattr(transformers.TrainingArguments, "n_gpu", gpus)
    settings = SETTINGS | {"train_texts": texts, "epochs": epochs}
    for texts_at_once in (6, 2):
        found = arguments(
            tmp_path, settings, texts_at_once, on_cpu=True, save_every=None, tensorboard=False,
            checkpoint_activations=False,
        )  # fmt: skip
        assert found.logging_steps == expected


# Precision


@pytest.mark.parametrize("kind", FAMILIES)
def test_mixed_precision_learns_with_float32_weights_on_finite_terms(make_tiny, data, kind):
    classifier, splits = make_tiny(kind, layers=1), data | {"validation": data["train"]}
    options = {"precision": "bf16", "epochs": 16.0, "batch_size": 18, "learning_rate": 6e-3}
    run = training(classifier, splits, REGEX, **options)
    assert all(parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in classifier.parameters())
    for entry in run.history:
        for name in REGEX.weights_at(1.0):
            assert math.isfinite(entry[name]), name
    assert run.settings["precision"] == "bf16"
    assert run.validation["accuracy"] > 0.9


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_terms_of_mixed_precision_are_nearly_those_of_full_precision(make_tiny, kind):
    objective = RegexObjective(without_dropout(make_tiny(kind)), REGEX).train()
    for seed in range(3):
        full = terms(objective, seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = terms(objective, seed)
        for name in REGEX.weights_at(1.0):
            tolerance = 0.4 if name == "vat" else 0.06  # a direction that is found from tiny differences
            assert_close(mixed[name].to(full[name].dtype), full[name], rtol=tolerance, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_divergence_is_not_negative_in_mixed_precision(make_tiny, kind):
    recipe = REGEX.changed(vat_epsilon=0.01)  # so small that bfloat16 would round it to either side of 0
    objective = RegexObjective(without_dropout(make_tiny(kind)), recipe).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for seed in range(10):
            assert terms(objective, seed)["vat"] >= -1e-6


GUIDED = Recipe(kl_weight=0.1, guidance_from=0.0)  # whose attention row has a backward pass of its own
FINE = {
    "smart": GUIDED.changed(smart_weight=1.0),
    "igr": GUIDED.changed(igr_weight=1.0, igr_estimator="finite_difference"),
}


@pytest.mark.parametrize("name", FINE)
def test_differences_of_near_passes_are_those_of_full_precision(make_tiny, name):
    objective = RegexObjective(without_dropout(make_tiny()), FINE[name]).train()
    parameters = [one for one in objective.parameters() if one.requires_grad]

    def gradients(precision):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            term = terms(objective)[name]
        return torch.autograd.grad(term, parameters, allow_unused=True, materialize_grads=True)

    mixed, full = gradients("bf16"), gradients("fp32")
    for one, other in zip(mixed, full, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())
    assert any(one.any() for one in full)


def test_other_passes_beside_them_are_in_mixed_precision(make_tiny):
    seen, objective = [], RegexObjective(make_tiny(), FINE["igr"].changed(masked_cross_entropy_weight=1.0)).train()
    objective.classifier.model.classifier.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms(objective)
    assert set(seen) == {torch.float32, torch.bfloat16}


def terms(objective, seed=7):
    batch = objective.classifier.tokenize(TEXTS[:6])
    torch.manual_seed(seed)
    return objective(batch.input_ids, batch.attention_mask, batch.content_mask, torch.tensor(LABELS[:6]))


def test_mixed_precision_is_used(make_tiny, data):
    seen = set()
    classifier = make_tiny()
    classifier.model.classifier.register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    training(classifier, data, "vanilla", precision="bf16")
    assert seen == {torch.bfloat16}


# Activation checkpointing


def gradients(classifier, checkpointed):
    objective = RegexObjective(classifier, REGEX).train()
    if checkpointed:
        objective.activation_checkpointing_enable()
    terms(objective)["loss"].backward()
    return {name: parameter.grad.clone() for name, parameter in classifier.model.named_parameters()}


@pytest.mark.parametrize("kind", FAMILIES)
def test_activation_checkpointing_gives_the_same_gradients(make_tiny, kind):
    assert_same(gradients(make_tiny(kind, layers=3), True), gradients(make_tiny(kind, layers=3), False))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_training_with_activation_checkpointing_gives_the_same_weights(make_tiny, data, kind):
    plain, checkpointed = make_tiny(kind, layers=3), make_tiny(kind, layers=3)
    passes = [passes_of_the_first_layer(classifier) for classifier in (plain, checkpointed)]
    training(plain, data, REGEX)
    training(checkpointed, data, REGEX, checkpoint_activations=True)
    assert_same(weights(checkpointed), weights(plain))
    assert len(passes[1]) > len(passes[0]), "nothing was computed again"


def passes_of_the_first_layer(classifier):
    """A list that grows by one with each, also when the layer is computed again, which its own hooks do not see."""
    passes = []
    layer = next(part for part in classifier.modules() if isinstance(part, GradientCheckpointingLayer))
    linear = next(part for part in layer.modules() if isinstance(part, nn.Linear))
    linear.register_forward_pre_hook(lambda *_: passes.append(1))
    return passes


# Settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epochs", 0.0, "epochs must be a number above 0, got 0.0"),
        ("epochs", float("inf"), "epochs must be a number above 0, got inf"),
        ("epochs", float("nan"), "epochs must be a number above 0, got nan"),
        ("learning_rate", -1e-3, "learning_rate must be a number above 0, got -0.001"),
        ("learning_rate", float("nan"), "learning_rate must be a number above 0, got nan"),
        ("batch_size", 0, "batch_size must be 1 or more, got 0"),
        ("patience", 0, "patience must be 1 or more, got 0"),
        ("seed", -1, "seed must be between 0 and 4294967295, got -1"),
        ("seed", 2**32, "seed must be between 0 and 4294967295, got 4294967296"),
        ("precision", "fp8", "precision must be one of fp32, bf16, fp16, got 'fp8'"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(name, value, said):
    check_settings(SETTINGS)
    with pytest.raises(UserError, match=said):
        check_settings(SETTINGS | {name: value})


def test_fp16_needs_a_gpu(monkeypatch):
    settings = SETTINGS | {"precision": "fp16"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="precision 'fp16' needs a GPU: take 'bf16' or 'fp32'"):
        check_settings(settings)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_settings(settings)


@pytest.mark.parametrize(
    "options", [{"epochs": 0.0}, {"batch_size": 0}, {"precision": "fp16"}, {"seed": -1}, {"learning_rate": 0.0}]
)
def test_a_wrong_setting_is_told_before_anything_is_written(make_tiny, data, tmp_path, monkeypatch, options):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=next(iter(options))):
        training(make_tiny(), data, Recipe(), output_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
