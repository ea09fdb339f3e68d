"""Select, then predict: rationales of a trained model, and a classifier that reads nothing else."""

from pathlib import Path
from typing import Annotated, Any

import typer

from regex_lib.cli.shared import (
    Data,
    MaxLength,
    Seed,
    edition_notes,
    find_split,
    load,
    open_console,
    trained_classifier,
    with_labels_of,
)
from regex_lib.errors import UserError


def rationales(
    run: Annotated[Path, typer.Argument(help="A folder that `train` wrote, or any saved sequence classifier.")],
    data: Data,
    ratio: Annotated[float, typer.Option(help="The share of a text's words that stays.")] = 0.2,
    attribution: Annotated[str, typer.Option(help="What selects the words.")] = "integrated_gradients",
    contiguous: Annotated[bool, typer.Option("--contiguous", help="One stretch of each text.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the rationales and the table to this folder.")] = None,
    out_of_domain: Annotated[
        str | None, typer.Option(help="More data sets to test on, by name, separated by commas.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The new classifier's encoder, not trained yet; the run's by default.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="How many of its layers; the run's by default, of another encoder all.")
    ] = None,
    max_train: Annotated[int | None, typer.Option(min=1, help="Train on so many texts, drawn at random.")] = None,
    max_test: Annotated[int | None, typer.Option(min=1, help="Test on so many texts, drawn at random.")] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the training rationales.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Its peak.")] = 2e-4,
    max_length: MaxLength = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier on a model's rationales alone (FRESH), and compare it with the model on the full texts."""
    from regex_lib.attributions import find_method
    from regex_lib.data import map_labels
    from regex_lib.models import load_classifier
    from regex_lib.rationales import select_then_predict

    find_method(attribution)
    if not 0 < ratio <= 1:
        raise UserError(f"ratio must be above 0 and at most 1, got {ratio}")
    support = trained_classifier(run)
    encoder = _encoder(run, model, layers)
    splits = load(data)
    train, test = (with_labels_of(support, find_split(splits, data, name), data) for name in ("train", "test"))
    others = {}
    for name in [name.strip() for name in (out_of_domain or "").split(",") if name.strip()]:
        mapped = map_labels(find_split(load(name), name, "test"), name, support.label_names)
        others[name] = _first(mapped, max_test)
    table = select_then_predict(
        support,
        {"train": train, "test": _first(test, max_test)},
        lambda seed: load_classifier(num_labels=support.num_labels, seed=seed, **encoder),
        [attribution],
        ratio=ratio,
        contiguous=contiguous,
        out_of_domain=others,
        seed=seed,
        max_train=max_train,
        max_length=max_length,
        output_dir=output,
        epochs=epochs,
        learning_rate=learning_rate,
    )
    console = open_console()
    for row in table.itertuples():
        where = data if row.data == "test" else row.data
        console.print(
            f"{where}, macro-F1 over the model's {support.num_labels} classes (accuracy): "
            f"{row.macro_f1:.3f} ({row.accuracy:.3f}) of rationales by {attribution}, {row.words:.1f} words a text, "
            f"{row.full_text_macro_f1:.3f} ({row.full_text_accuracy:.3f}) of full texts"
        )
    for note in edition_notes({data: test, **others}):
        console.print(note)
    if output is not None:
        table.to_csv(output / "rationales.csv", index=False)
        console.print(f"written to {output}")


def _encoder(run: Path, model: str | None, layers: int | None) -> dict[str, Any]:
    """What the new classifier is made of: the encoder that the run was started from, unless another one is named."""
    from regex_lib.training import read_run

    record = read_run(run)
    known = record.settings if record else {}
    name = model or known.get("model")
    if name is None:
        raise UserError(f"{str(run)!r} does not say which encoder it was trained from: name it with --model")
    return {"name_or_path": name, "layers": layers or (known.get("layers") if name == known.get("model") else None)}


def _first(rows: Any, count: int | None) -> Any:
    return rows if count is None else rows.shuffle(seed=0).select(range(min(count, len(rows))))
