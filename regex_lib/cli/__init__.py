"""The command line: train, evaluate, explain, rationales, demo, study, book."""

import io
import os
import sys
from typing import NoReturn

import typer

from regex_lib.cli.book import book
from regex_lib.cli.demo import demo
from regex_lib.cli.evaluate import evaluate
from regex_lib.cli.explain import explain
from regex_lib.cli.rationales import rationales
from regex_lib.cli.study import study
from regex_lib.cli.train import train
from regex_lib.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for _command in (train, evaluate, explain, rationales, demo):
    app.command()(_command)
app.add_typer(study, name="study")
app.add_typer(book, name="book")

_USAGE_ERROR: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]  # typer has no public name for it
_INTERRUPTED = 130


def main() -> None:
    """Run the command line. What a user can mend is told in one line, with exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a text may have characters that an old console has not
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except FloatingPointError as error:
        _fail(f"{error}; a smaller --learning-rate may help")
    except _USAGE_ERROR as error:
        _fail(f"{error.format_message()} (see --help)")  # type: ignore[attr-defined]
    if status == _INTERRUPTED:
        print("interrupted", file=sys.stderr)  # noqa: T201
    sys.exit(status)


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - plain: no terminal width breaks it
    sys.exit(2)
