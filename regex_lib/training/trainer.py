"""A ``transformers.Trainer`` with the objective of this library."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import LengthGroupedSampler

from regex_lib.errors import UserError
from regex_lib.metrics.classification import classification_report
from regex_lib.models import TextClassifier
from regex_lib.models.rows import labelled_texts
from regex_lib.training.checkpoints import whole_or_nothing
from regex_lib.training.objective import RegexObjective
from regex_lib.training.recipe import Recipe

__all__ = ["RegexTrainer", "tokenize_dataset"]


def tokenize_dataset(
    classifier: TextClassifier, dataset: datasets.Dataset, max_length: int | None = None
) -> datasets.Dataset:
    """Texts and labels as the trainer takes them, without padding.

    Returns:
        The columns ``input_ids``, ``content_mask``, ``labels``, ``rows`` (each text's number, from 0) and
        ``truncated``: whether a text's end did not fit.

    Raises:
        UserError: if there are no columns ``text`` and ``label``, a text is no string, or a label is not one of the
            model's classes.
    """
    dataset = labelled_texts(dataset, classifier)
    columns: dict[str, list[Any]] = {"input_ids": [], "content_mask": [], "truncated": []}
    for rows in dataset.select_columns(["text"]).iter(batch_size=1000):
        batch = classifier.tokenize(rows["text"], max_length)
        for ids, content, attended in zip(batch.input_ids, batch.content_mask, batch.attention_mask, strict=True):
            columns["input_ids"].append(ids[attended].tolist())
            columns["content_mask"].append(content[attended].tolist())
        columns["truncated"] += batch.truncated
    columns["labels"], columns["rows"] = [int(label) for label in dataset["label"]], list(range(len(dataset)))
    return datasets.Dataset.from_dict(columns)


_TOKENIZED = {"input_ids", "content_mask", "labels", "rows"}


class _Collator:
    """Pads a batch to its longest text."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        content = [torch.tensor(row["content_mask"]) for row in rows]
        attended = [torch.ones(len(row), dtype=torch.bool) for row in ids]
        pad = nn.utils.rnn.pad_sequence
        return {
            "input_ids": pad(ids, batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad(attended, batch_first=True),
            "content_mask": pad(content, batch_first=True),
            "labels": torch.tensor([row["labels"] for row in rows]),
            "rows": torch.tensor([row["rows"] for row in rows]),
        }


def _check_arguments(args: transformers.TrainingArguments, given: Mapping[str, Any]) -> None:
    """Refuse what would change the loss, or be without effect on it, and what the trainer brings itself."""
    others = {
        "label_smoothing_factor": args.label_smoothing_factor, "neftune_noise_alpha": args.neftune_noise_alpha,
        "compute_loss_func": given.get("compute_loss_func"),
    }  # fmt: skip
    for name, value in others.items():
        if value:
            raise UserError(f"{name} does not go with a recipe, whose objective is the loss: leave it out")
    for name in ("model_init", "data_collator", "preprocess_logits_for_metrics"):
        if given.get(name) is not None:
            raise UserError(f"{name} is the trainer's own: leave it out")


class RegexTrainer(transformers.Trainer):
    """``transformers.Trainer`` with a :class:`RegexObjective`; all else works as it does there, but for other losses.

    Several GPUs need a process each (``torchrun``): without, one is used, because a model that is copied within a
    process does not record its attention.

    Each term of the objective is logged by its name, averaged over the steps since the last log. The checkpoints hold
    the Hugging Face model and the tokenizer, so that ``from_pretrained`` and
    :func:`regex_lib.models.load_classifier` open them; one that could not be written whole is removed again.
    Evaluation reports accuracy, macro-F1 and calibration, if no other ``compute_metrics`` is given. Where the best
    model is kept, or the training ends early, none counts from before all of the recipe's terms had their full weight.

    Args:
        classifier: what to train.
        recipe: what for.
        args: the usual arguments.
        train_dataset: rows of ``text`` and ``label``.
        eval_dataset: the same, for evaluation; or several by their names. ``evaluate`` and ``predict`` take such rows
            as well.
        max_length: cut longer texts; the model's maximum by default.
        **kwargs: anything else that ``transformers.Trainer`` takes.

    Raises:
        FloatingPointError: during training, if a term is not finite; it names the term, the step and the rows of the
            batch in ``train_dataset``. Also if a gradient is not finite, except in fp16, whose scaler skips such steps.
            Nothing is saved from that step.
        UserError: if a checkpoint cannot be written; earlier checkpoints stay as they are. Also for arguments that
            change the loss, which is the objective's (label smoothing, NEFTune and ``compute_loss_func``), and for
            ``model_init``, ``data_collator`` and ``preprocess_logits_for_metrics``.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        recipe: Recipe,
        args: transformers.TrainingArguments,
        *,
        train_dataset: datasets.Dataset | None = None,
        eval_dataset: datasets.Dataset | Mapping[str, datasets.Dataset] | None = None,
        max_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_arguments(args, kwargs)
        if args.n_gpu > 1:
            warnings.warn("training on one GPU: start a process for each with torchrun to use all", stacklevel=2)
            args._n_gpu = 1  # as transformers does for models that are on several devices already
        self.classifier, self._recipe, self._max_length = classifier, recipe, max_length
        args.remove_unused_columns = False
        args.label_names = ["labels"]
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        super().__init__(
            model=RegexObjective(classifier, recipe),
            args=args,
            data_collator=_Collator(classifier.pad_id),
            train_dataset=self._tokenized(train_dataset) if train_dataset else None,
            eval_dataset=self._tokenized(eval_dataset) if eval_dataset else None,
            processing_class=classifier.tokenizer,
            **{"compute_metrics": _metrics} | kwargs,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As in ``transformers``; rows of ``text`` and ``label`` are tokenized."""
        return super().get_eval_dataloader(self._tokenized(eval_dataset))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As in ``transformers``; rows of ``text`` and ``label`` are tokenized."""
        return super().get_test_dataloader(self._tokenized(test_dataset))

    def _tokenized(self, dataset: Any) -> Any:
        """What the trainer takes of rows of text and label, or of several such data sets; all else as it is."""
        if isinstance(dataset, Mapping):
            return {name: self._tokenized(rows) for name, rows in dataset.items()}
        if isinstance(dataset, datasets.Dataset) and not {*dataset.column_names} >= _TOKENIZED:
            return tokenize_dataset(self.classifier, dataset, self._max_length)
        return dataset

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The objective's loss at this point of the training."""
        progress = self.state.global_step / max(1, self.state.max_steps)
        rows = inputs["rows"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "rows"}, progress=progress)
        if model.training:
            self._record({name: term for name, term in outputs.items() if name not in ("loss", "logits")}, rows)
        logits_only = {"loss": outputs["loss"], "logits": outputs["logits"]}
        return (outputs["loss"], logits_only) if return_outputs else outputs["loss"]

    def _record(self, terms: dict[str, Tensor], rows: Tensor) -> None:
        """Add the terms to what the next log will say, or refuse them."""
        values = torch.stack([term.detach().double() for term in terms.values()]).cpu()  # one wait for the device
        for name, value in zip(terms, values, strict=True):
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"the term {name!r} is {value.item()} at step {self.state.global_step}, "
                    f"in the batch of rows {', '.join(map(str, rows.tolist()))} of the training data"
                )
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts.update(terms.keys())

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, resume_from_checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        """Where the training begins. One that had ended has no epoch left, where its control's state is restored."""
        begin = super()._init_training_state(max_steps, steps_per_epoch, epochs, resume_from_checkpoint, trial)
        if resume_from_checkpoint is None or not self.args.restore_callback_states_from_checkpoint:
            return begin
        if self.state.best_global_step:  # the folder may have been moved
            best = Path(resume_from_checkpoint).with_name(f"checkpoint-{self.state.best_global_step}")
            self.state.best_model_checkpoint = str(best) if best.is_dir() else None
        return (epochs, 0) if self.control.should_training_stop else begin

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether this model is the best so far. It is none if its last step was not yet that of the whole recipe."""
        last = (self.state.global_step - 1) / max(1, self.state.max_steps)
        if self._recipe.weights_at(max(0.0, last)) != self._recipe.weights_at(1.0):
            return False
        return super()._determine_best_metric(metrics, trial)

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> torch.utils.data.Sampler | None:
        """The order of the texts."""
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        return _LengthGroups(self, sampler.batch_size, sampler.lengths)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | None = None) -> Tensor:
        """The norm before clipping, whose overflow would clip the gradient to 0; it must be finite."""
        norm = super()._get_grad_norm(model, grad_norm)
        if not self.args.fp16 and not math.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {self.state.global_step}")
        return norm

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log with each term of the objective by its name: its mean over the steps, on all devices."""
        if "loss" in logs:
            means = {name: (total / self._counts[name]).to(self.args.device) for name, total in self._sums.items()}
            logs |= {name: mean.item() for name, mean in self.accelerator.reduce(means, "mean").items()}
            self._sums.clear()
            self._counts.clear()
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint, and leave no part of one if that fails."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with whole_or_nothing(folder):
            super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Save the Hugging Face model, not the objective around it."""
        folder = Path(output_dir or self.args.output_dir)
        self.classifier.save(folder)
        torch.save(self.args, folder / "training_args.bin")


class _LengthGroups(LengthGroupedSampler):
    """Texts of similar length together, in an order that only the seed and the epoch decide.

    So all processes have the same order, and a resumed training goes on in the order in which it began.
    """

    def __init__(self, trainer: RegexTrainer, batch_size: int, lengths: list[int]) -> None:
        super().__init__(batch_size, lengths=lengths)
        self._trainer = trainer

    def __iter__(self) -> Iterator[int]:
        epoch = int(self._trainer.state.epoch or 0)
        self.generator = torch.Generator().manual_seed(self._trainer.args.seed + epoch)
        return super().__iter__()


def _metrics(prediction: transformers.EvalPrediction) -> dict[str, float]:
    logits = torch.as_tensor(np.asarray(prediction.predictions))
    return classification_report(logits.softmax(dim=-1), torch.as_tensor(np.asarray(prediction.label_ids)))
