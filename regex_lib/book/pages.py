"""What the built pages must be: no picture without words, no link that leads nowhere, nothing asked from outside."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["broken_links", "check_pages", "missing_alt_text", "outside_requests"]

_NO_PAGES = {"_sources", "_static"}
_PATH_LIKE = re.compile(r"(^|/)_images/|\.(png|svg|jpe?g|gif)$", re.IGNORECASE)
_LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
_NOT_LOADED = {"canonical", "alternate", "next", "prev", "search", "index", "author", "license", "edit"}


def check_pages(html: Path) -> list[str]:
    """Everything that is wrong with the built pages."""
    pages = read_pages(html)
    problems = [f"{path}: {problem}" for path, page in pages.items() for problem in _alone(page)]
    return problems + broken_links(html, pages)


def missing_alt_text(markup: str) -> list[str]:
    """Pictures whose text alternative is missing or is only their file's path."""
    return _read(markup).without_alt


def outside_requests(markup: str) -> list[str]:
    """What the page loads from another place."""
    return [f"loads {address}" for address in _read(markup).loaded if urlsplit(address).netloc]


def broken_links(html: Path, pages: "dict[str, Page] | None" = None) -> list[str]:
    """Links of the pages to a page, a file or a place on a page that is not there."""
    pages = read_pages(html) if pages is None else pages
    problems = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (html / path).parent.joinpath(unquote(parts.path)).resolve() if parts.path else html / path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                problems.append(f"{path}: the link {link!r} leads nowhere")
                continue
            there = pages.get(target.relative_to(html.resolve()).as_posix() if parts.path else path)
            if parts.fragment and there and unquote(parts.fragment) not in there.anchors:
                problems.append(f"{path}: the link {link!r} leads to a page that has no such place")
    return problems


@dataclass
class Page(HTMLParser):
    """What the checks need of a page."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=lambda: {"top"})
    loaded: list[str] = field(default_factory=list)
    without_alt: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.anchors.update(facts[name] for name in ("id", "name") if name in facts)
        if tag == "a" and facts.get("href", "#") != "#":
            self.links.append(facts["href"])
        for name in ("src", "href"):
            if (tag, name) in _LOADED and name in facts and facts.get("rel") not in _NOT_LOADED:
                self.loaded.append(facts[name])
        decorative = facts.get("role") == "presentation" or facts.get("aria-hidden") == "true"
        if tag == "img" and not decorative and not _describes(facts.get("alt", "")):
            self.without_alt.append(f"the picture {facts.get('src', '')!r} has no text alternative")


def read_pages(html: Path) -> dict[str, Page]:
    """The pages of a folder, by their paths in it."""
    return {path.relative_to(html).as_posix(): _read(path.read_text(encoding="utf-8")) for path in _pages(html)}


def _pages(html: Path) -> Iterator[Path]:
    return (path for path in sorted(html.rglob("*.html")) if path.relative_to(html).parts[0] not in _NO_PAGES)


def _read(markup: str) -> Page:
    page = Page()
    page.feed(markup)
    return page


def _alone(page: Page) -> list[str]:
    return page.without_alt + [f"loads {address}" for address in page.loaded if urlsplit(address).netloc]


def _describes(alternative: str) -> bool:
    return bool(alternative.strip()) and not _PATH_LIKE.search(alternative.strip())
