"""What the commands share: options, loading, and how they print."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from regex_lib.errors import UserError

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from regex_lib.models import TextClassifier

Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")]
Data = Annotated[str, typer.Option(help="A data set's name, a .parquet, .csv or .jsonl file, a folder, or a hub id.")]
MaxLength = Annotated[int | None, typer.Option(min=3, help="Cut longer texts to this many tokens.")]


def load(data: str, num_labels: int | None = None) -> "datasets.DatasetDict":
    """The splits of a data set; ``num_labels`` is of one that the catalogue does not know."""
    from regex_lib.data import find_source, load_data

    return load_data(data, num_labels=None if find_source(data) else num_labels)


def find_split(splits: "datasets.DatasetDict", data: str, split: str, advice: str = "") -> "datasets.Dataset":
    """One split, or an error that names those there are, and what to do."""
    if split not in splits:
        raise UserError(f"{data!r} has no split {split!r}, only: {', '.join(splits)}{advice}")
    return splits[split]


def with_labels_of(classifier: "TextClassifier", rows: "datasets.Dataset", data: str) -> "datasets.Dataset":
    """The rows with the model's labels, by their names; by their numbers only where data or model have none."""
    from regex_lib.data import find_source, map_labels

    source, names = find_source(data), classifier.label_names
    if source is None or names == [f"LABEL_{number}" for number in range(source.num_labels)]:
        return rows
    return map_labels(rows, data, names)


def edition_notes(tests: Mapping[str, "datasets.Dataset"]) -> list[str]:
    """Where data sets of the catalogue were read from, and which edition it means; nothing of what is bundled."""
    from regex_lib.data import find_source

    found = {data: (find_source(data), rows.info.description) for data, rows in tests.items()}
    return [
        f"{data} is {where}; it should be: {source.edition}"
        for data, (source, where) in found.items()
        if source and not source.parts
    ]


def new_classifier(
    model: str, data: str, splits: "datasets.DatasetDict", layers: int | None, seed: int
) -> "TextClassifier":
    """An encoder with a new head of as many classes as the data has."""
    from regex_lib.data import find_source
    from regex_lib.models import load_classifier

    source = find_source(data)
    names = source.label_names if source else None
    num_labels = len(names) if names else max(2, 1 + max(max(rows["label"]) for rows in splits.values()))
    classifier = load_classifier(model, num_labels=num_labels, layers=layers, seed=seed)
    if names:
        classifier.label_names = names
    return classifier


def trained_classifier(folder: Path) -> "TextClassifier":
    """What `train` saved."""
    from regex_lib.models import load_classifier
    from regex_lib.training import read_run

    read_run(folder)  # tells a folder that is not a run
    return load_classifier(folder)


def open_console() -> Console:
    """Standard output. Where that is not a terminal, no line is cut or broken to a terminal's width."""
    width = None if sys.stdout.isatty() else 1_000_000
    return Console(width=width, markup=False, emoji=False)  # the brackets in a path are no markup


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on a terminal, in standard error. It goes when its work is done or fails."""
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar


def faithfulness_table(rows: "pd.DataFrame", title: str) -> Table:
    """A table for the terminal, a row per attribution; its caption says of each metric which direction is better."""
    from regex_lib.evaluation import directions

    table = Table(title=title, caption=directions(rows.columns), box=box.SIMPLE_HEAD)
    for column in rows.columns:
        if column == "attribution":
            table.add_column(column, no_wrap=True)
        else:  # in a narrow terminal the headings are folded, the numbers never
            table.add_column(column, justify="right", overflow="fold", min_width=5)
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    return table
