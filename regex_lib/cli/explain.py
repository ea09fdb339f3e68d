"""Explain one text."""

from pathlib import Path
from typing import Annotated

import typer

from regex_lib.cli.shared import open_console, trained_classifier
from regex_lib.errors import UserError


def explain(
    run: Annotated[Path, typer.Argument(help="A folder that `train` wrote, or any saved sequence classifier.")],
    text: Annotated[str, typer.Argument(help="The text to explain.")],
    attribution: Annotated[str, typer.Option(help="The attribution method.")] = "integrated_gradients",
    output: Annotated[Path | None, typer.Option(help="Write the heat map as an HTML page.")] = None,
) -> None:
    """Show which words a prediction rests on."""
    from regex_lib.attributions import attribute, find_method
    from regex_lib.plots import heatmap, terminal_heatmap

    find_method(attribution)
    if not text.strip():
        raise UserError("the text is empty")
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python passes on what it cannot decode
        raise UserError("the text is not valid UTF-8")
    classifier = trained_classifier(run)
    (explanation,) = attribute(classifier, [text], attribution)
    console = open_console()
    console.print(terminal_heatmap(explanation, classifier.label_names))
    if explanation.truncated:
        console.print(f"The text is longer than the model's {classifier.max_length} tokens: its end was cut.")
    if output is not None:
        heatmap(explanation, classifier.label_names).save(output)
        console.print(f"written to {output}")
