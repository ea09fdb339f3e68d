"""Fine-tune a classifier."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import Progress

from regex_lib.cli.shared import Data, MaxLength, Seed, load, new_classifier, open_console, progress_bar
from regex_lib.errors import UserError


def train(
    data: Data,
    output: Annotated[Path, typer.Option(help="The folder for the trained model and the record of the run.")],
    model: Annotated[str, typer.Option(help="minilm, bert, roberta, distilbert, a folder, or a hub id.")] = "minilm",
    recipe: Annotated[str, typer.Option(help="What to train for, such as vanilla, robust, egt or regex.")] = "regex",
    layers: Annotated[int | None, typer.Option(min=1, help="Keep only the first so many layers.")] = None,
    max_train: Annotated[int | None, typer.Option(min=1, help="Train on so many texts, drawn at random.")] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the training texts.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Its peak.")] = 2e-4,
    max_length: MaxLength = None,
    seed: Seed = 0,
    precision: Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="The last two are mixed.")] = "fp32",
    save_every: Annotated[int | None, typer.Option(min=1, help="Steps between checkpoints; none by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output.")] = False,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop when the validation loss has not fallen for so many epochs.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard too.")] = False,
) -> None:
    """Fine-tune a classifier by a recipe, and save it with a record of the run."""
    from regex_lib.training import find_recipe, train

    find_recipe(recipe)
    splits = load(data)
    if "train" not in splits:
        raise UserError(f"{data!r} has no train split, only: {', '.join(splits)}")
    classifier = new_classifier(model, data, splits, layers, seed)
    classifier.tokenize([""], max_length)  # a wrong length is told before the work starts
    with progress_bar(f"training {recipe}") as bar:
        run = train(
            classifier,
            splits,
            recipe,
            output,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_train=max_train,
            max_length=max_length,
            seed=seed,
            precision=precision,
            save_every=save_every,
            resume=resume,
            patience=patience,
            tensorboard=tensorboard,
            callbacks=[_progress_callback(bar)],
            provenance={"data": data, "model": model, "layers": layers},
        )
    if int(os.environ.get("RANK", "0")):  # one process of torchrun's speaks for all
        return
    for number, fact in (
        (run.settings["texts_cut"], "cut to what the model takes"),
        (run.settings["texts_without_content"], "without content tokens"),
    ):
        if number:
            print(f"training texts {fact}: {number}")  # noqa: T201
    terms = {name: value for name, value in run.history[-1].items() if name not in ("epoch", "step")}
    console = open_console()
    console.print(f"last losses: {_numbers(terms)}")
    if run.validation:
        console.print(f"validation: {_numbers(run.validation)}")
    console.print(f"saved to {output} after {run.seconds:.0f} s on {run.device}")


def _progress_callback(bar: Progress) -> Any:
    import transformers

    class Bar(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            self.task = bar.add_task("training", total=state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            bar.update(self.task, completed=state.global_step)

    return Bar()


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
