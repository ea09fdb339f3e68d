"""Build the pages, with everything they need beside them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import regex_lib
from regex_lib.book.api import write_api_pages
from regex_lib.book.colab import write_colab_copies
from regex_lib.book.layout import Book
from regex_lib.book.stamps import git
from regex_lib.book.vendor import vendor
from regex_lib.errors import UserError

__all__ = ["build", "revision_of", "site_of"]

BRANCH = "gh-pages"
"""The branch to which the pages are published, with the copies for Colab in the folder ``colab``."""

RUN = "from jupyter_book.cli.main import main; main()"
"""Jupyter Book's program, which has no module of its own to run, by this Python."""


def build(book: Book, repository: str = "") -> Path:
    """Build the pages from the executed twins.

    Args:
        book: the book.
        repository: owner and name on GitHub, such as ``"someone/regex-lib"``; with it, the pages link to the
            repository and each chapter opens in Colab.

    Returns:
        The path of the first page.

    Raises:
        UserError: if Sphinx gives a warning or fails.
    """
    vendor(book.folder / "_assets" / "vendor")
    write_api_pages(book.folder / "api")
    config = _config(book, repository)
    command = [sys.executable, "-c", RUN, "build", str(book.folder), "--config", str(config)]
    command += ["--toc", str(book.root / "_toc.yml"), "--path-output", str(book.root), "-W", "-n", "--keep-going"]
    if subprocess.run(command, cwd=book.root, check=False).returncode:
        raise UserError("the book was not built: see the warnings above")
    if repository:
        address = f"https://github.com/{repository}"
        write_colab_copies(book, book.html / "colab", address, revision_of(book.root), site_of(repository))
    return book.html / "index.html"


def revision_of(folder: Path) -> str:
    """The commit of a folder's files, or outside a repository the version's tag.

    The chapters of every push are published, and fit the package of that push, not the last tag's.
    """
    return git(folder, "rev-parse", "HEAD") or f"v{regex_lib.__version__}"


def site_of(repository: str) -> str:
    """Where the pages of a repository are published.

    Example:
        >>> site_of("someone/regex-lib")
        'https://someone.github.io/regex-lib'
    """
    owner, _, name = repository.partition("/")
    return f"https://{owner.lower()}.github.io/{name}"


def _config(book: Book, repository: str) -> Path:
    """The book's configuration, and with a repository what hangs on its address."""
    config = book.root / "_config.yml"
    if not repository:
        return config
    settings: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["repository"] = {
        "url": f"https://github.com/{repository}",
        "path_to_book": "colab",
        "branch": BRANCH,
    }
    settings["launch_buttons"] = {"colab_url": "https://colab.research.google.com"}
    settings.setdefault("html", {}).update(use_repository_button=True, baseurl=site_of(repository))
    derived = book.root / "_build" / "_config.yml"
    derived.parent.mkdir(exist_ok=True)
    derived.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return derived
