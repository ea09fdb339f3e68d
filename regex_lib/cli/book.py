"""Work on the book: chapters, their runs, the pages."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regex_lib.errors import UserError

if TYPE_CHECKING:
    from regex_lib.book.layout import Book

book = typer.Typer(help="Work on the book, in a clone of the repository: new, execute, check, build, serve.")

Chapters = Annotated[list[str] | None, typer.Argument(help="Names such as 01_quickstart; all by default.")]


@book.command()
def new(
    name: Annotated[str, typer.Argument(help="The file's name without its ending, such as 05_masks.")],
    title: Annotated[str, typer.Option(help="The chapter's title.")] = "A new chapter",
) -> None:
    """Start a chapter: a source from the template, its place in the table of contents, its test sizes."""
    from regex_lib.book.chapters import new_chapter

    source = new_chapter(_book(), name, title)
    print(f"written: {source}; next: regex-lib book execute {name}")  # noqa: T201


@book.command()
def execute(
    chapters: Chapters = None,
    small: Annotated[bool, typer.Option("--small", help="At the size of the tests, for a quick look.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Chapters that run at once.")] = 1,
) -> None:
    """Run chapters from their sources, and write their stamped twins."""
    found = _book()
    from regex_lib.book.execution import execute_all
    from regex_lib.book.stamps import provenance

    results = execute_all(found, chapters or [source.stem for source in found.sources], small=small, jobs=jobs)
    failed = {name: result for name, result in results.items() if isinstance(result, BaseException)}
    for name, result in results.items():
        print(f"{name}: {result if name in failed else provenance(result)}")  # noqa: T201
    if failed:
        raise UserError(f"{len(failed)} chapters failed: {', '.join(failed)}")


@book.command()
def reword(chapters: Chapters = None) -> None:
    """Bring changed text into the twins without running them; their code must be what ran."""
    found = _book()
    from regex_lib.book import execution

    for source in map(found.source, chapters) if chapters else found.sources:
        execution.reword(source)


@book.command()
def check(chapters: Chapters = None) -> None:
    """Tell what is wrong with the twins, and with the pages if they are built."""
    found = _book()
    from regex_lib.book.api import public_modules, undocumented
    from regex_lib.book.gates import check_twin, unknown_parameters
    from regex_lib.book.notebooks import twin_of
    from regex_lib.book.pages import check_pages

    problems = []
    for source in map(found.source, chapters) if chapters else found.sources:
        parameters = found.test_sizes(source.stem)["parameters"]
        wrong = check_twin(source)
        if twin_of(source).is_file():
            wrong += unknown_parameters(twin_of(source), parameters | found.cpu_parameters(source.stem))
        problems += [f"{source.stem}: {problem}" for problem in wrong]
    if found.html.is_dir() and not chapters:
        problems += check_pages(found.html) + undocumented(found.html / "objects.inv", public_modules())
    _tell(problems)


@book.command()
def build(
    repository: Annotated[
        str, typer.Option(envvar="REGEX_REPOSITORY", help="OWNER/NAME on GitHub, for the buttons and for Colab.")
    ] = "",
) -> None:
    """Build the pages from the executed twins, into _build/html."""
    found = _book()
    from regex_lib.book.build import build

    print(f"built: {build(found, repository)}")  # noqa: T201


@book.command()
def serve(port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine.")] = 8000) -> None:
    """Show the built pages in a browser, at http://localhost:8000."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    pages = _book().html
    if not pages.is_dir():
        raise UserError(f"{pages} is not there: run `regex-lib book build` first")
    with ThreadingHTTPServer(("localhost", port), partial(SimpleHTTPRequestHandler, directory=str(pages))) as server:
        print(f"http://localhost:{port}, until you press Ctrl-C", flush=True)  # noqa: T201
        server.serve_forever()


def _book() -> "Book":
    from regex_lib.book.layout import find_book

    try:
        import jupytext  # noqa: F401
        import papermill  # noqa: F401
        import sphinx_exercise  # noqa: F401
    except ImportError as error:
        raise UserError("the book needs more packages: pip install 'regex-lib[book]'") from error
    return find_book(Path.cwd())


def _tell(problems: Iterable[str]) -> None:
    lines = list(problems)
    for line in lines:
        print(line)  # noqa: T201
    if lines:
        raise UserError(f"{len(lines)} problems")
    print("the book is right")  # noqa: T201
