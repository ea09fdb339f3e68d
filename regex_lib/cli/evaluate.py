"""Measure how faithful explanations are."""

from pathlib import Path
from typing import Annotated

import typer

from regex_lib.cli.shared import (
    Data,
    MaxLength,
    Seed,
    faithfulness_table,
    find_split,
    load,
    open_console,
    progress_bar,
    trained_classifier,
)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A folder that `train` wrote, or any saved sequence classifier.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split to evaluate on.")] = "test",
    attributions: Annotated[str | None, typer.Option(help="Names, separated by commas; five by default.")] = None,
    max_examples: Annotated[
        int | None, typer.Option(min=1, help="Evaluate so many texts, drawn with the seed.")
    ] = None,
    replacement: Annotated[str, typer.Option(help="How tokens are removed: pad, mask, delete, attention.")] = "pad",
    max_length: MaxLength = None,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Also write the table: .parquet, .csv or .json.")] = None,
) -> None:
    """Measure how faithful attributions are: one row per attribution, with the model's accuracy beside it."""
    from regex_lib.attributions import find_method
    from regex_lib.evaluation import ATTRIBUTIONS, check_table_path, evaluate_faithfulness

    names = list(ATTRIBUTIONS) if attributions is None else [name.strip() for name in attributions.split(",")]
    for name in names:
        find_method(name)
    if output is not None:
        check_table_path(output)
    classifier = trained_classifier(run)
    rows = find_split(load(data), data, split)
    with progress_bar("evaluating") as bar:
        task = bar.add_task("evaluating", total=min(len(rows), max_examples or len(rows)))
        report = evaluate_faithfulness(
            classifier,
            rows,
            names,
            replacement=replacement,  # type: ignore[arg-type]  # checked there
            max_examples=max_examples,
            max_length=max_length,
            seed=seed,
            progress=lambda done: bar.advance(task, done),
        )
    open_console().print(faithfulness_table(report.table, f"{run} on {data}, {split}"))
    for note in report.notes:
        print(note)  # noqa: T201
    if output is not None:
        report.to_file(output)
