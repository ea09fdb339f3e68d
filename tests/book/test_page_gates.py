"""The gates of the built pages and of the API pages, each with the defect it is there for."""

import types
import zlib

import pytest

from regex_lib.book import api
from regex_lib.book.pages import broken_links, check_pages, missing_alt_text, outside_requests


@pytest.mark.parametrize(
    "picture",
    [
        '<img src="a.png">',
        '<img src="a.png" alt="">',
        '<img src="a.png" alt=" ">',
        '<img src="a.png" alt="_images/a.png">',
        '<img src="a.png" alt="../_images/0f3a.svg">',
        '<img src="a.png" alt="figures/a.PNG">',
    ],
)
def test_a_picture_without_words_is_found(picture):
    assert missing_alt_text(picture) == ["the picture 'a.png' has no text alternative"]


@pytest.mark.parametrize(
    "picture", ['<img src="a.png" alt="Two bars.">', '<img src="a.png" alt="" aria-hidden="true">']
)
def test_a_picture_with_words_passes(picture):
    assert missing_alt_text(picture) == []


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://example.org/a.js"></script>',
        '<img src="//example.org/a.png" alt="A.">',
        '<link rel="stylesheet" href="https://example.org/a.css">',
    ],
)
def test_a_request_to_another_place_is_found(tag):
    assert len(outside_requests(tag)) == 1


@pytest.mark.parametrize("tag", ['<script src="_static/a.js"></script>', '<a href="https://example.org">out</a>'])
def test_what_loads_nothing_from_another_place_passes(tag):
    assert outside_requests(tag) == []


@pytest.fixture
def site(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="here">A</h1><a href="#here">a</a><a href="api/b.html#there">b</a>')
    (tmp_path / "api" / "b.html").write_text(
        '<h1 id="there">B</h1><a href="../index.html">a</a><a href="https://x.org">x</a>'
    )
    return tmp_path


def test_whole_links_pass(site):
    assert check_pages(site) == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("c.html", "leads nowhere"),
        ("api/c.html", "leads nowhere"),
        ("api/b.html#here", "no such place"),
        ("#nowhere", "no such place"),
    ],
)
def test_a_broken_link_is_found(site, link, problem):
    page = site / "index.html"
    page.write_text(page.read_text() + f'<a href="{link}">broken</a>')
    (found,) = broken_links(site)
    assert problem in found


def inventory(path, names):
    """Sphinx's list of what its pages describe."""
    lines = "".join(f"{name} py:function 1 api.html#$ -\n" for name in names)
    path.write_bytes(
        b"# Sphinx inventory version 2\n# Project: p\n# Version: 1\n# zlib\n" + zlib.compress(lines.encode())
    )
    return path


def test_a_name_that_is_missing_from_the_api_pages_is_found(tmp_path, monkeypatch):
    module = types.ModuleType("planted")
    module.__all__ = ["shown", "hidden"]
    monkeypatch.setitem(__import__("sys").modules, "planted", module)
    pages = inventory(tmp_path / "objects.inv", ["planted.shown", "planted.hidden_too"])
    assert api.undocumented(pages, ["planted"]) == ["planted.hidden is in __all__, and not on an API page"]


def test_every_public_module_says_what_it_offers():
    for name in api.public_modules():
        assert __import__(name, fromlist=["__all__"]).__all__, name


def test_an_api_page_that_is_no_longer_wanted_goes(tmp_path):
    (tmp_path / "regex_lib.gone.md").touch()
    api.write_api_pages(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(api.public_modules())


def test_an_api_page_that_is_right_is_left_alone(tmp_path):
    api.write_api_pages(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    api.write_api_pages(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
