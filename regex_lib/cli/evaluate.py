"""Measure how faithful explanations are."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regex_lib.cli.shared import (
    Data,
    MaxLength,
    Seed,
    edition_notes,
    faithfulness_table,
    find_split,
    load,
    open_console,
    progress_bar,
    trained_classifier,
    with_labels_of,
)
from regex_lib.errors import UserError

if TYPE_CHECKING:
    from regex_lib.models import TextClassifier


def evaluate(
    run: Annotated[Path, typer.Argument(help="A folder that `train` wrote, or any saved sequence classifier.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split to evaluate on.")] = "test",
    attributions: Annotated[str | None, typer.Option(help="Names, separated by commas; five by default.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names, separated by commas; sufficiency,comprehensiveness by default.")
    ] = None,
    ratios: Annotated[
        str | None, typer.Option(help="Sizes of the rationale, separated by commas; 0.02,0.1,0.2,0.5 by default.")
    ] = None,
    level: Annotated[str, typer.Option(help="What is ranked and removed as one: token, word.")] = "token",
    replacement: Annotated[str, typer.Option(help="How tokens are removed: pad, mask, delete, attention.")] = "pad",
    max_examples: Annotated[
        int | None, typer.Option(min=1, help="Evaluate so many texts, drawn with the seed.")
    ] = None,
    max_length: MaxLength = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts with tokens removed per forward pass.")] = 64,
    precision: Annotated[str, typer.Option(help="Of these passes: fp32, bf16.")] = "fp32",
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Also write the table: .parquet, .csv or .json.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write the results of every text here; started again, go on from there.")
    ] = None,
) -> None:
    """Measure how faithful attributions are: one row per attribution, with the model's accuracy beside it.

    Under torchrun or accelerate launch, processes share the work.
    """
    from regex_lib.evaluation import ATTRIBUTIONS, DEFAULT_METRICS, check_table_path, evaluate_faithfulness
    from regex_lib.metrics import RATIOS

    names = _names(attributions, ATTRIBUTIONS)
    chosen = _names(metrics, DEFAULT_METRICS)
    sizes = RATIOS if ratios is None else _numbers(ratios)
    _check_names(names, chosen)
    if output is not None:
        check_table_path(output)
    classifier = _on_its_device(trained_classifier(run))
    found = find_split(load(data, classifier.num_labels), data, split, "; choose one with --split")
    rows = with_labels_of(classifier, found, data)
    with progress_bar("evaluating") as bar:
        task = bar.add_task("evaluating", total=min(len(rows), max_examples or len(rows)))
        report = evaluate_faithfulness(
            classifier,
            rows,
            names,
            chosen,
            ratios=sizes,
            level=level,  # type: ignore[arg-type]  # checked there, as the next one and the precision are
            replacement=replacement,  # type: ignore[arg-type]
            batch_size=batch_size,
            max_examples=max_examples,
            max_length=max_length,
            seed=seed,
            precision=precision,  # type: ignore[arg-type]
            output_dir=output_dir,
            progress=lambda done: bar.advance(task, done),
        )
    if int(os.environ.get("RANK", "0")):  # one process of torchrun's speaks for all
        return
    open_console().print(faithfulness_table(report.table, f"{run} on {data}, {split}"))
    for note in [*report.notes, *edition_notes({data: rows})]:
        print(note)  # noqa: T201
    if output is not None:
        report.to_file(output)


def _names(given: str | None, default: tuple[str, ...]) -> list[str]:
    return list(default) if given is None else [name.strip() for name in given.split(",")]


def _numbers(given: str) -> list[float]:
    try:
        return [float(number) for number in given.split(",")]
    except ValueError as error:
        raise UserError(f"--ratios must be numbers separated by commas, such as 0.1,0.5, got {given!r}") from error


def _check_names(attributions: list[str], metrics: list[str]) -> None:
    """Tell a wrong name before anything is loaded."""
    from regex_lib.attributions import find_method
    from regex_lib.evaluation import find_metric

    for name in attributions:
        find_method(name)
    for name in metrics:
        find_metric(name)


def _on_its_device(classifier: "TextClassifier") -> "TextClassifier":
    """Each process of several has a GPU of its own, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return classifier
    from accelerate import PartialState

    return classifier.to(PartialState().device)
