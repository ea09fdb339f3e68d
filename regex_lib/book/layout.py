"""Where the book's files are."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regex_lib.errors import UserError, unknown_name

__all__ = ["Book", "find_book"]


@dataclass(frozen=True)
class Book:
    """The files of the book in a clone of the repository."""

    root: Path
    """The folder with ``_config.yml``, ``_toc.yml`` and ``book/``."""

    @property
    def folder(self) -> Path:
        """The chapters and pages."""
        return self.root / "book"

    @property
    def html(self) -> Path:
        """The built pages."""
        return self.root / "_build" / "html"

    @property
    def sources(self) -> list[Path]:
        """The chapters' percent sources, in order."""
        return sorted(self.folder.glob("*.py"))

    def source(self, chapter: str) -> Path:
        """The source of a chapter, by its name.

        Raises:
            UserError: if there is no such chapter.
        """
        path = self.folder / f"{chapter}.py"
        if path not in self.sources:
            raise unknown_name("chapter", chapter, [source.stem for source in self.sources])
        return path

    def test_sizes(self, chapter: str) -> dict[str, Any]:
        """What the tests run a chapter with: ``seconds``, the limit, and ``parameters``.

        Raises:
            UserError: if the chapter has none.
        """
        path = self.root / "tests" / "book" / "chapters.toml"
        sizes = tomllib.loads(path.read_text(encoding="utf-8"))
        if chapter not in sizes:
            raise UserError(f"{path.relative_to(self.root)} has no sizes for the chapter {chapter!r}: add them")
        return sizes[chapter]

    def cpu_parameters(self, chapter: str) -> dict[str, Any]:
        """What a published run takes on a machine without a GPU; empty where the chapter's own values will do."""
        path = self.folder / "cpu_sizes.toml"
        return tomllib.loads(path.read_text(encoding="utf-8")).get(chapter, {}) if path.is_file() else {}


def find_book(start: Path) -> Book:
    """The book in a folder or above it.

    Raises:
        UserError: if there is none.
    """
    for folder in (start, *start.resolve().parents):
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return Book(folder.resolve())
    raise UserError(f"no book in {str(start)!r} or above: run this in a clone of the repository")
