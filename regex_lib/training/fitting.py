"""The settings of :func:`regex_lib.training.train` as transformers takes them, and training that fits into memory."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import transformers
from accelerate.utils import find_executable_batch_size
from accelerate.utils.memory import should_reduce_batch_size
from transformers.trainer_callback import ExportableState

from regex_lib.errors import UserError
from regex_lib.models import TextClassifier
from regex_lib.training.trainer import RegexTrainer

__all__ = ["Precision", "arguments", "check_settings", "clock", "fit"]

Precision = Literal["fp32", "bf16", "fp16"]


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse a setting that is out of its range.

    Raises:
        UserError: naming the setting and its value.
    """
    for name in ("epochs", "learning_rate"):
        if not 0 < settings[name] < math.inf:
            raise UserError(f"{name} must be a number above 0, got {settings[name]}")
    for name in ("batch_size", "patience"):
        if settings[name] is not None and settings[name] < 1:
            raise UserError(f"{name} must be 1 or more, got {settings[name]}")
    if not 0 <= settings["seed"] < 2**32:
        raise UserError(f"seed must be between 0 and {2**32 - 1}, got {settings['seed']}")
    if settings["precision"] not in get_args(Precision):
        raise UserError(f"precision must be one of {', '.join(get_args(Precision))}, got {settings['precision']!r}")
    if settings["precision"] == "fp16" and not torch.cuda.is_available():
        raise UserError("precision 'fp16' needs a GPU: take 'bf16' or 'fp32'")


def arguments(
    folder: str | Path,
    settings: dict[str, Any],
    texts_at_once: int,
    *,
    on_cpu: bool,
    save_every: int | None,
    tensorboard: bool,
    checkpoint_activations: bool,
) -> transformers.TrainingArguments:
    """The settings of a run as ``transformers.TrainingArguments``.

    Args:
        folder: where checkpoints go.
        settings: as :func:`check_settings` takes them.
        texts_at_once: texts in memory at once; ``batch_size`` is a multiple of it.
        on_cpu: train on the CPU even where there is something faster.
        save_every: steps between checkpoints.
        tensorboard: log for TensorBoard.
        checkpoint_activations: trade time for memory.
    """
    batch_size, early = settings["batch_size"], settings["patience"] is not None
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=texts_at_once,
        gradient_accumulation_steps=batch_size // texts_at_once,
        per_device_eval_batch_size=2 * texts_at_once,
        learning_rate=settings["learning_rate"],
        warmup_steps=0.1,
        train_sampling_strategy="group_by_length",
        use_cpu=on_cpu,
        bf16=settings["precision"] == "bf16",
        fp16=settings["precision"] == "fp16",
        eval_strategy="epoch" if early else "no",
        save_strategy="epoch" if early else "steps" if save_every else "no",
        save_steps=save_every or 500,
        save_total_limit=2,
        load_best_model_at_end=early,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="loss" if early else None,
        activation_checkpointing=checkpoint_activations,
        report_to="tensorboard" if tensorboard else "none",
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        seed=settings["seed"],
    )
    texts_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = int(settings["train_texts"] * min(1, settings["epochs"])) // texts_a_step
    args.logging_steps = max(1, steps // 4)
    return args


def clock() -> Any:
    """A callback whose ``seconds`` are the time since it was made, and that of the legs before a training is resumed.

    Checkpoints keep it with the states of the other callbacks.
    """
    started = time.perf_counter()

    class TrainingClock(transformers.TrainerCallback, ExportableState):
        def __init__(self, earlier: float = 0.0) -> None:
            self.earlier = earlier

        @property
        def seconds(self) -> float:
            return self.earlier + time.perf_counter() - started

        def state(self) -> dict[str, Any]:
            return {"args": {"earlier": self.seconds}, "attributes": {}}

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            state.stateful_callbacks.setdefault(type(self).__name__, self.state())  # a checkpoint may lack it

    return TrainingClock()


def fit(
    trainer_of: Callable[[int], RegexTrainer], classifier: TextClassifier, batch_size: int, checkpoint: Path | None
) -> RegexTrainer:
    """Train with as many texts at once as there is memory for.

    Args:
        trainer_of: makes the trainer for a number of texts at once.
        classifier: what it trains; set back to its weights before another try.
        batch_size: texts a step; what is tried at first.
        checkpoint: where to go on from.

    Returns:
        The trainer that came to its end.

    Raises:
        UserError: if there is not enough memory for a single text, or, in one process of several, for a batch.
    """
    weights = {name: value.cpu().clone() for name, value in classifier.state_dict().items()}
    tried: list[int] = []

    def next_smaller() -> int:
        smaller = (n for n in range(tried[-1] // 2, 0, -1) if batch_size % n == 0)
        return next(smaller, 0)

    @find_executable_batch_size(starting_batch_size=batch_size, reduce_batch_size_fn=next_smaller)
    def attempt(texts_at_once: int) -> RegexTrainer:
        if tried:
            classifier.load_state_dict(weights)
        tried.append(texts_at_once)
        trainer = trainer_of(texts_at_once)
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except RuntimeError as error:
            if trainer.args.world_size > 1 and should_reduce_batch_size(error):  # the other processes would not know
                raise UserError(
                    f"a process has not enough memory for {texts_at_once} texts: take a smaller batch_size"
                ) from error
            raise
        return trainer

    try:
        return attempt()
    except RuntimeError as error:
        if tried[-1] == 1 and "No executable batch size" in str(error):
            raise UserError("there is not enough memory for a single text: shorten texts with max_length") from error
        raise
