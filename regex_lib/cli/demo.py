"""The quickstart as one command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from regex_lib.cli.shared import faithfulness_table, open_console
from regex_lib.errors import UserError


def demo(
    output: Annotated[Path, typer.Option(help="The folder for the executed notebook and the models.")] = Path("demo"),
) -> None:
    """Run the quickstart chapter: a plain and a REGEX classifier, their explanations, and how faithful those are."""
    import pandas as pd

    notebook = _run_quickstart(output)
    console = open_console()
    for recipe in ("vanilla", "regex"):
        table = pd.read_csv(output / "models" / f"{recipe}.csv")
        console.print(faithfulness_table(table, f"{recipe}, reviews, test"))
    console.print(f"The executed notebook: {notebook}")
    console.print(f"The heat map: {output / 'models' / 'heatmap.html'}")


DEMO_PARAMETERS = {"layers": 3, "epochs": 3, "learning_rate": 3e-4, "max_examples": 100}
"""What the demo runs with on a machine without a GPU; the chapter's own defaults are meant for one."""


def _run_quickstart(output: Path) -> Path:
    import torch

    try:
        import papermill
    except ImportError as error:
        raise UserError("the demo runs a notebook: pip install 'regex-lib[book,offline]'") from error
    source = _chapter("01_quickstart.ipynb")
    parameters: dict[str, Any] = {"output_dir": str((output / "models").resolve())}
    if not torch.cuda.is_available():
        parameters |= DEMO_PARAMETERS
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {str(output)!r}: {error.strerror}") from error
    target = output / "quickstart.ipynb"
    papermill.execute_notebook(str(source), str(target), parameters=parameters, kernel_name="python3")
    return target


def _chapter(name: str) -> Path:
    """A chapter's notebook: in the installed package, or in the repository beside it."""
    package = Path(__file__).parents[1]
    for folder in (package / "chapters", package.parent / "book"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"the chapter {name} is not installed")
