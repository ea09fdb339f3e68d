"""The copies for Colab: no directive is left, nothing else is lost, and the first cell installs what they need."""

import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import nbformat
import pytest
from pybtex.database import parse_file

import regex_lib
from regex_lib.book.build import revision_of, site_of
from regex_lib.book.colab import citations, colab_copy, equations, set_up_cell, titles, write_colab_copies
from regex_lib.book.directives import Names, leftovers, to_plain
from regex_lib.book.layout import find_book
from regex_lib.book.notebooks import to_notebook
from regex_lib.errors import UserError

BOOK = find_book(Path(__file__))
NAMES = Names(
    {"li-2023": ("Li et al.", "2023"), "ross-2018": ("Ross and Doshi-Velez", "2018")},
    {"fig-bars": 2},
    "https://someone.github.io/regex-lib",
    {"eq-1": (7, "05_chapter")},
    {"01_quickstart": "Quickstart"},
)


@pytest.mark.parametrize("source", BOOK.sources, ids=lambda path: path.stem)
def test_no_directive_is_left_in_a_copy(source):
    copy = colab_copy(
        to_notebook(source), "https://x.org/r", "v0.1.0", Names(citations(BOOK.folder / "references.bib"))
    )
    assert [found for cell in copy.cells if cell.cell_type == "markdown" for found in leftovers(cell.source)] == []
    nbformat.validate(copy)


def test_a_directive_that_is_left_is_found():
    assert leftovers("```{note}\nA note.\n```") == ["note"]
    assert leftovers(":::{tip}\nA tip.\n:::") == ["tip"]
    assert leftovers("See {doc}`intro`.") == ["doc"]
    assert leftovers("```python\nx = '{doc}`intro`'\n```") == []


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("Plain *text*.", "Plain *text*."),
        ("```{note}\nOne.\n\nTwo.\n```", "> **Note.**\n>\n> One.\n>\n> Two."),
        ("```{admonition} Beware\nOne.\n```", "> **Beware**\n>\n> One."),
        (":::{seealso}\nOne.\n:::", "> **See also.**\n>\n> One."),
        (
            "```{admonition} A < B\n:class: dropdown\n\nOne.\n```",
            "<details>\n<summary>A &lt; B</summary>\n\nOne.\n\n</details>",
        ),
        ("````{note}\n```{tip}\nOne.\n```\n````", "> **Note.**\n>\n> > **Tip.**\n> >\n> > One."),
        ("```{exercise} By hand\n:label: ex-1\n\nTry.\n```", "> **Exercise. By hand**\n>\n> Try."),
        ("```{solution-start} ex-1\n:class: dropdown\n```", ""),
        (
            "```{hint}\nOne.\n```\n\n```{solution-start} ex-1\n:class: dropdown\n```\n\nAs $a < b$.\n",
            "> **Hint.**\n>\n> One.\n\n<details>\n<summary>Solution.</summary>\n\nAs $a < b$.\n\n</details>",
        ),
        ("```{solution-end}\n```", ""),
        ("```{math}\n:label: eq-1\nx^2\n```", "$$\nx^2\n\\tag{7}\n$$"),
        ("```{figure} a.png\n:alt: Bars.\nThe *bars*.\n```", "![Bars.](a.png)\n\nThe *bars*."),
        ("```python\n{doc}`intro`\n```", "```python\n{doc}`intro`\n```"),
        ("(here)=\n# Title", "# Title"),
        ("$$\nx\n$$ (eq-1)", "$$\nx\n\\tag{7}\n$$"),
        ("$$\nx\n$$ (eq-none)", "$$\nx\n$$"),
        ("{cite:p}`li-2023`", "(Li et al., 2023)"),
        ("{cite:p}`li-2023,ross-2018`", "(Li et al., 2023; Ross and Doshi-Velez, 2018)"),
        ("{cite:t}`li-2023` say", "Li et al. (2023) say"),
        ("{doc}`start <01_quickstart>`", "[start](https://someone.github.io/regex-lib/01_quickstart.html)"),
        ("{doc}`01_quickstart`", "[Quickstart](https://someone.github.io/regex-lib/01_quickstart.html)"),
        ("{term}`faithful`, {term}`robust <robustness>`", "faithful, robust"),
        ("{py:func}`~regex_lib.attribute`", "`regex_lib.attribute`"),
        (
            "{math}`x^2` and {eq}`eq-1`",
            "$x^2$ and [(7)](https://someone.github.io/regex-lib/05_chapter.html#equation-eq-1)",
        ),
        ("{numref}`fig-bars` and {numref}`fig-other`", "Figure 2 and *fig-other*"),
    ],
)
def test_each_form_has_its_plain_one(markdown, plain):
    assert to_plain(markdown, NAMES) == plain
    assert leftovers(to_plain(markdown, NAMES)) == []


@pytest.mark.parametrize("markdown", ["```{mystery}\n```", "{mystery}`x`", "{cite:p}`nobody-1999`"])
def test_what_has_no_plain_form_is_told(markdown):
    with pytest.raises(UserError, match=r"mystery|nobody-1999"):
        to_plain(markdown, NAMES)


def notebook():
    figure = {"mystnb": {"image": {"alt": "Bars."}, "figure": {"name": "fig-a", "caption": "The {term}`bars`."}}}
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title\n\nSee {numref}`fig-a`.", id="a"),
            nbformat.v4.new_code_cell("draw()", id="b", metadata=figure),
            nbformat.v4.new_markdown_cell("```{solution-start} ex\n```", id="c"),
            nbformat.v4.new_code_cell(
                "answer = 1", id="d", execution_count=2, outputs=[nbformat.v4.new_output("stream", text="1\n")]
            ),
            nbformat.v4.new_markdown_cell("```{solution-end}\n```", id="e"),
        ]
    )


def test_the_first_cell_installs_the_package_in_two_lines():
    (comment, command) = set_up_cell("https://github.com/someone/regex-lib", "v0.1.0").source.splitlines()
    assert comment.startswith("#")
    assert command == '%pip install --quiet "regex-lib[offline] @ git+https://github.com/someone/regex-lib@v0.1.0"'


def test_what_is_installed_is_the_commit_of_the_chapters(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert len(head) == 40
    assert revision_of(tmp_path) == head


def test_outside_a_repository_it_is_the_tag_of_the_version(tmp_path):
    assert revision_of(tmp_path) == f"v{regex_lib.__version__}"


def test_a_figure_gets_its_number_and_caption():
    copy = colab_copy(notebook(), "https://x.org/r", "v0.1.0")
    assert [cell.source for cell in copy.cells[1:4]] == [
        "# Title\n\nSee Figure 1.",
        "draw()",
        "**Figure 1.** *The bars.*",
    ]


def test_a_solution_is_folded_in_colab():
    folded = [
        cell for cell in colab_copy(notebook(), "https://x.org/r", "v0.1.0").cells if cell.metadata.get("cellView")
    ]
    assert [cell.source.splitlines()[-1] for cell in folded] == ["answer = 1"]
    assert folded[0].source.startswith("#@title Solution")
    assert (folded[0].outputs, folded[0].execution_count) == ([], None)


def test_the_notebook_that_is_copied_stays_as_it_is():
    original = notebook()
    colab_copy(original, "https://x.org/r", "v0.1.0")
    assert original == notebook()


def test_the_repositorys_address_is_in_every_copy(small_book, write_twin, tmp_path):
    (small_book.folder / "references.bib").write_text("")
    write_twin(small_book.source("01_chapter"))
    (path,) = write_colab_copies(small_book, tmp_path / "colab", "https://github.com/a/b", "0123abc", site_of("a/b"))
    copy = nbformat.read(path, as_version=4)
    assert "git+https://github.com/a/b@0123abc" in copy.cells[0].source
    assert copy.cells[1].source.startswith("*Run on ")
    assert copy.cells[-1].outputs[0]["text"] == "3\n"


def test_every_reference_to_an_equation_or_a_page_has_its_number_or_title():
    names = Names(equations=equations(BOOK), titles=titles(BOOK))
    assert names.equations["eq-05-norm"][1] == "05_measuring_faithfulness"
    assert names.titles["notation"] == "Notation"
    for source in BOOK.sources:
        text = source.read_text()
        assert set(re.findall(r"{eq}`([^`]+)`", text)) <= set(names.equations)
        assert set(re.findall(r"{doc}`([^`<]+)`", text)) <= set(names.titles)


def test_citations_name_the_authors():
    known = citations(BOOK.folder / "references.bib")
    assert known["li-etal-2023-regex"] == ("Li et al.", "2023")
    assert known["chrysostomou-aletras-2022-empirical"] == ("Chrysostomou and Aletras", "2022")


def test_every_reference_has_one_link_of_its_own_to_a_public_place():
    links = {}
    for key, entry in parse_file(str(BOOK.folder / "references.bib")).entries.items():
        fields = entry.fields
        assert ("url" in fields) != ("doi" in fields), key
        if "url" in fields:
            parts = urlsplit(fields["url"])
            assert parts.scheme == "https", key
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), key  # no user, no port, no bare host
            assert not parts.netloc.endswith((".internal", ".lan", ".local")), key
            assert {name for name, _ in parse_qsl(parts.query)} <= {"id"}, key  # nothing that tracks
        else:
            assert re.fullmatch(r"10\.\d{4,9}/\S+", fields["doi"]), key
        links.setdefault(fields.get("url") or fields["doi"], []).append(key)
    assert [keys for keys in links.values() if len(keys) > 1] == []


def test_no_address_of_a_repository_is_written_down():
    for name in ("_config.yml", "book/intro.md", "pyproject.toml"):
        assert "github.com" not in (BOOK.root / name).read_text()
    assert regex_lib.__version__
