"""A new chapter, from the template."""

import re
from pathlib import Path

from regex_lib.book.layout import Book
from regex_lib.errors import UserError

__all__ = ["new_chapter"]

TEMPLATE = Path(__file__).with_name("chapter.txt")


def new_chapter(book: Book, name: str, title: str) -> Path:
    """Write a chapter's source from the template, and give it a line in the table of contents and its test sizes.

    Args:
        book: the book.
        name: the file's name without its ending, such as ``"05_masks"``.
        title: the chapter's title.

    Returns:
        The path of the source.

    Raises:
        UserError: if the name is not one or is taken.
    """
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        raise UserError(f"{name!r} is no name for a chapter: use lower-case letters, digits and _, such as 05_masks")
    source = book.folder / f"{name}.py"
    if source.exists():
        raise UserError(f"there is a chapter {name!r} already")
    label = name.replace("_", "-")
    text = TEMPLATE.read_text(encoding="utf-8")
    source.write_text(text.replace("TITLE", title).replace("LABEL", label), encoding="utf-8")
    _add_to_toc(book.root / "_toc.yml", name)
    sizes = book.root / "tests" / "book" / "chapters.toml"
    entry = f"\n[{name}]\nseconds = 60\nparameters = {{ texts = 2 }}\n"
    sizes.write_text(sizes.read_text(encoding="utf-8") + entry, encoding="utf-8")
    return source


def _add_to_toc(toc: Path, name: str) -> None:
    """A line after the last chapter, which is the last file whose source is a notebook."""
    lines = toc.read_text(encoding="utf-8").splitlines()
    chapters = [i for i, line in enumerate(lines) if re.search(r"- file: \d\d_", line)]
    place = chapters[-1] if chapters else len(lines) - 1
    indent = re.match(r"\s*", lines[place]).group()  # type: ignore[union-attr]
    lines.insert(place + 1, f"{indent}- file: {name}")
    toc.write_text("\n".join(lines) + "\n", encoding="utf-8")
