"""A whole training run in a folder: train, measure, save, and record how it was done."""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier
from regex_lib.models.loading import has_classification_head
from regex_lib.models.rows import labelled_texts
from regex_lib.packages import package_versions
from regex_lib.training.checkpoints import disk_failures, last_checkpoint
from regex_lib.training.fitting import Precision, arguments, check_settings, clock, fit
from regex_lib.training.recipe import Recipe, find_recipe
from regex_lib.training.trainer import RegexTrainer

__all__ = ["TrainingRun", "device_name", "read_run", "train"]

_RECORD = "regex_run.json"
_PLAN = "regex_plan.json"
_PACKAGES = ("regex-lib", "torch", "transformers", "datasets", "accelerate")


@dataclass(frozen=True)
class TrainingRun:
    """What a training run did. It is kept beside the weights, as ``regex_run.json``."""

    recipe: dict[str, Any]
    """Every field of the recipe."""
    recipe_name: str
    """Its name, or "custom"."""
    settings: dict[str, Any]
    """Sizes, learning rate, epochs, seed, and what data and model it was told of."""
    history: list[dict[str, float]]
    """What was logged: each term of the loss by its name."""
    validation: dict[str, float]
    """Accuracy, macro-F1 and calibration on the validation split, if there is one."""
    seconds: float
    """How long the training took. If it was resumed, the time up to the checkpoint counts too."""
    device: str
    """Where it ran."""
    packages: dict[str, str | None]
    """The versions that count."""


def train(
    classifier: TextClassifier,
    data: Mapping[str, datasets.Dataset],
    recipe: Recipe | str = "regex",
    output_dir: str | Path | None = None,
    *,
    epochs: float = 3.0,
    batch_size: int = 32,
    learning_rate: float = 2e-4,
    max_train: int | None = None,
    max_length: int | None = None,
    seed: int = 0,
    precision: Precision = "fp32",
    save_every: int | None = None,
    resume: bool = False,
    patience: int | None = None,
    tensorboard: bool = False,
    checkpoint_activations: bool = False,
    callbacks: list[transformers.TrainerCallback] | None = None,
    provenance: dict[str, Any] | None = None,
) -> TrainingRun:
    """Fine-tune a classifier, in place, and save it with a record of the run.

    AdamW with a linear schedule and 10 % warm-up, gradients clipped at 1, texts of similar length batched together. For
    any other setting use :class:`regex_lib.training.RegexTrainer`. A batch for which there is not enough memory is
    halved, again and again, and its gradients are accumulated, so that the recipe stays the same.

    Started by ``torchrun`` or ``accelerate launch``, each process trains on its share of the texts.

    Args:
        classifier: what to train.
        data: splits ``train`` and, to be measured on, ``validation``; from :func:`regex_lib.data.load_data`, say.
        recipe: a recipe, or the name of one.
        output_dir: where to save; nothing is written by default.
        epochs: passes over the training texts.
        batch_size: texts a step, on each device.
        learning_rate: its peak.
        max_train: train on the first so many texts of a shuffled train split; the shuffle depends on nothing but 0.
        max_length: cut longer texts; the model's maximum by default.
        seed: of the order of the texts, dropout and perturbations. The same seed gives the same weights.
        precision: ``"bf16"`` and ``"fp16"`` are mixed precision, the weights in float32; fp16 needs a GPU.
            SMART and finite differences compare passes that are too near for that: theirs stay in float32.
        save_every: steps between checkpoints, of which the last two are kept; none by default.
        resume: go on from the last complete checkpoint in ``output_dir``, if there is one. On the same machine the
            weights end as if nothing had happened. With ``patience`` the validation texts must be the same too.
        patience: stop when the validation loss has not fallen for so many epochs, and keep the best epoch's weights.
            Epochs count from when all of the recipe's terms have their full weight: no earlier model is one of it.
        tensorboard: write the logs for TensorBoard to ``output_dir``/runs too; needs the package ``tensorboard``.
        checkpoint_activations: compute the layers again in the backward pass instead of keeping what they computed.
        callbacks: more of transformers' callbacks, such as a progress bar.
        provenance: facts to keep in the record, such as the data set's name.

    Returns:
        The record of the run.

    Raises:
        UserError: if there is nothing to train on, the validation split has no text, a setting or a label is out of
            its range, the output folder cannot be written or holds checkpoints that are not to be resumed, the run to
            be resumed had other settings or texts, or there is not enough memory for a single text.
        FloatingPointError: if a term of the loss, a gradient, or a weight in the end, is not finite.
    """
    name, recipe = (recipe, find_recipe(recipe)) if isinstance(recipe, str) else ("custom", recipe)
    if "train" not in data:
        raise UserError(f"there is no train split, only: {', '.join(data) or 'none'}")
    train_split = _first(data["train"], max_train)
    if not len(train_split):
        raise UserError("there is no text to train on")
    train_split = labelled_texts(train_split, classifier)
    if output_dir is None and (save_every or resume or patience or tensorboard):
        raise UserError("save_every, resume, patience and tensorboard need an output_dir")
    if patience and save_every:
        raise UserError("patience saves a checkpoint every epoch: leave out save_every")
    if patience and "validation" not in data:
        raise UserError("patience needs a validation split")
    if "validation" in data and not len(data["validation"]):
        raise UserError("there is no text in the validation split: leave it out")
    validation = labelled_texts(data["validation"], classifier) if "validation" in data else None
    settings = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "train_texts": len(train_split),
        "max_length": max_length, "seed": seed, "precision": precision, "patience": patience, **(provenance or {}),
    }  # fmt: skip
    check_settings(settings)
    folder = None if output_dir is None else _writable(Path(output_dir))
    facts = {"processes": os.environ.get("WORLD_SIZE", "1"), "texts": _fingerprint(train_split)}
    if validation is not None and patience:  # then they decide which weights are kept
        facts["validation_texts"] = _fingerprint(validation)
    plan = {"recipe": asdict(recipe), "settings": settings, "facts": facts}
    checkpoint = None
    if folder is not None and (save_every or resume or patience):
        checkpoint = _checkpoint_of(folder, plan, resume)

    def trainer_of(texts_at_once: int, scratch: str) -> RegexTrainer:
        args = arguments(
            folder or scratch, settings, texts_at_once, on_cpu=classifier.device.type == "cpu", save_every=save_every,
            tensorboard=tensorboard, checkpoint_activations=checkpoint_activations,
        )  # fmt: skip
        early = [transformers.EarlyStoppingCallback(patience)] if patience else []
        trainer = RegexTrainer(
            classifier, recipe, args, train_dataset=train_split, eval_dataset=validation,
            max_length=max_length, callbacks=[timer, *early, *(callbacks or [])],
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        return trainer

    timer = clock()
    with tempfile.TemporaryDirectory() as scratch:  # transformers makes its folder even where it saves nothing
        try:
            trainer = fit(lambda texts_at_once: trainer_of(texts_at_once, scratch), classifier, batch_size, checkpoint)
        finally:
            if checkpoint_activations:
                classifier.keep_activations()
    seconds = trainer.pop_callback(type(timer)).seconds  # resumed, it is another one
    if not all(parameter.isfinite().all() for parameter in classifier.parameters()):
        raise FloatingPointError("the weights are not finite after the last step")
    run = TrainingRun(
        recipe=asdict(recipe),
        recipe_name=name,
        settings=settings | {
            "texts_at_once": trainer.args.per_device_train_batch_size,
            "devices": trainer.args.world_size,
            "texts_cut": sum(trainer.train_dataset["truncated"]),
            "steps": trainer.state.global_step,
            "best_step": trainer.state.best_global_step,
            "texts_without_content": sum(not any(mask) for mask in trainer.train_dataset["content_mask"]),
        },
        history=[entry for entry in trainer.state.log_history if "loss" in entry],
        validation=_validation(trainer) if "validation" in data else {},
        seconds=round(seconds, 1),
        device=device_name(classifier.device),
        packages=package_versions(_PACKAGES) | {"python": platform.python_version()},
    )  # fmt: skip
    classifier.eval()
    if folder is not None and trainer.is_world_process_zero():
        with disk_failures(f"the run {str(folder)!r}"):
            classifier.save(folder)
            (folder / _RECORD).write_text(json.dumps(asdict(run), indent=2) + "\n")
    return run


def read_run(folder: str | Path) -> TrainingRun | None:
    """The record of the run that filled a folder, or nothing if another tool trained the model in it.

    Raises:
        UserError: if the folder is missing or holds no classifier, or its record cannot be read.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        reason = "it has no config.json" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{str(folder)!r} is not a run: {reason}")
    if not has_classification_head(_read_json(folder / "config.json").get("architectures")):
        raise UserError(f"{str(folder)!r} is not a run: its model has no classification head")
    record = folder / _RECORD
    if not record.is_file():
        return None
    try:
        return TrainingRun(**_read_json(record))
    except TypeError as error:
        raise UserError(f"{str(record)!r} is not the record of a run: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {str(path)!r}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"cannot read {str(path)!r}: it is not a JSON object")
    return content


def _checkpoint_of(folder: Path, plan: dict[str, Any], resume: bool) -> Path | None:
    """The checkpoint to go on from, if there is one. What the run is about is noted when it begins."""
    checkpoint, file = last_checkpoint(folder), folder / _PLAN
    if checkpoint is not None and not resume:
        raise UserError(f"{str(folder)!r} holds checkpoints of a run: resume it, or remove them")
    if checkpoint is not None and file.is_file():
        _check_same(plan, _read_json(file), checkpoint)
    else:
        with disk_failures(f"to {str(folder)!r}"):
            file.write_text(json.dumps(plan, indent=2) + "\n")
    return checkpoint


def _check_same(plan: dict[str, Any], known: dict[str, Any], checkpoint: Path) -> None:
    """Refuse to resume a run that was about something else."""
    for part, values in json.loads(json.dumps(plan)).items():
        for name, value in values.items():
            if known.get(part, {}).get(name) != value:
                raise UserError(
                    f"cannot resume {str(checkpoint)!r}: its {name} was {known.get(part, {}).get(name)!r}, "
                    f"and is {value!r} now"
                )


def _fingerprint(split: datasets.Dataset) -> str:
    """Of texts and labels."""
    return hashlib.sha256(json.dumps([split["text"][:], split["label"][:]]).encode()).hexdigest()


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # nameless, so that several processes can try at once
    except OSError as error:
        raise UserError(f"cannot write to {str(folder)!r}: {error.strerror}") from error
    return folder


def _first(split: datasets.Dataset, count: int | None) -> datasets.Dataset:
    if count is None:
        return split
    if count < 1:
        raise UserError(f"max_train must be 1 or more, got {count}")
    return split.shuffle(seed=0).select(range(min(count, len(split))))


def _validation(trainer: RegexTrainer) -> dict[str, float]:
    measured = trainer.evaluate()
    return {name: measured[f"eval_{name}"] for name in ("accuracy", "macro_f1", "ece", "loss")}


def device_name(device: torch.device) -> str:
    """What a run says it was made on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"
