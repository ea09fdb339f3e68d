"""The built pages, in a browser without a network: as readers see, move, search and print them."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from regex_lib.book.api import public_modules, undocumented
from regex_lib.book.colab import equations
from regex_lib.book.layout import find_book
from regex_lib.book.pages import check_pages
from regex_lib.book.vendor import NpmPackage, fetch

BOOK = find_book(Path(__file__))
SCREENSHOTS = BOOK.root / "_build" / "screenshots"
CHROMIUM = os.environ.get("REGEX_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
]
AXE = NpmPackage(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    {"axe.min.js": "axe.min.js"},
)

# .ci/run builds the book, names a browser, and with it forbids to skip.
pytestmark = pytest.mark.skipif(
    "REGEX_BROWSER" not in os.environ and not (CHROMIUM and BOOK.html.is_dir()),
    reason="needs a browser, and the pages: make book",
)


def pages() -> list[str]:
    """Every page but the one that leads to the first, and of the many listings of source code one."""
    paths = [path.relative_to(BOOK.html) for path in sorted(BOOK.html.rglob("*.html"))]
    named = [path.as_posix() for path in paths if not path.parts[0].startswith("_") and path.name != "index.html"]
    return [*named, "_modules/regex_lib/masks.html"]


def with_widgets() -> list[str]:
    return [name for name in pages() if "jupyter.widget-view+json" in (BOOK.html / name).read_text(encoding="utf-8")]


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def test_equations_have_the_numbers_that_the_copies_for_colab_give_them() -> None:
    for label, (number, page) in equations(BOOK).items():
        markup = (BOOK.html / f"{page}.html").read_text(encoding="utf-8")
        assert f'<span class="eqno">({number})' in markup.partition(f'id="equation-{label}"')[2][:200]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the pages, served on this machine only."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(BOOK.html))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def axe() -> Path:
    folder = BOOK.root / "_build" / "axe"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "axe.min.js").is_file():
            fetch(AXE, folder)
    return folder / "axe.min.js"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that collects what goes wrong on it, and at the end of the test must have collected nothing."""
    troubles: list[str] = []
    page = context.new_page()

    def inside_only(route):
        if route.request.url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:")):
            route.continue_()
        else:
            troubles.append(f"asks for {route.request.url}")
            route.abort()

    page.route("**/*", inside_only)
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "response", lambda answer: troubles.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    yield page
    assert troubles == []


def show(page: Page, address: str) -> None:
    """Go to a page and wait until its maths and widgets are there."""
    page.goto(address, wait_until="load")
    page.wait_for_function("() => !window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")
    if page.locator("script[type='application/vnd.jupyter.widget-view+json']").count():
        page.locator(".jupyter-widgets").first.wait_for()


def violations(page: Page, axe: Path) -> list[str]:
    """What axe-core calls critical or serious."""
    page.add_script_tag(path=axe)
    found = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    grave = [rule for rule in found if rule["impact"] in ("critical", "serious")]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['any'][:1] and node['any'][0]['message']}"
        for rule in grave
        for node in rule["nodes"]
    ]


def test_no_page_has_a_broken_link_or_a_picture_without_words() -> None:
    assert check_pages(BOOK.html) == []


def test_every_public_name_is_on_an_api_page() -> None:
    assert undocumented(BOOK.html / "objects.inv", public_modules()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", pages())
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_loads_and_can_be_used_by_everyone(page: Page, site: str, axe: Path, name: str, theme: str) -> None:
    page.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    show(page, f"{site}/{name}")
    assert page.locator("html").get_attribute("data-theme") == theme
    assert page.locator("main h1").count() >= 1
    maths = page.locator(".math")
    assert page.locator("mjx-container").count() >= maths.count()
    assert page.locator("mjx-merror").count() == 0
    assert violations(page, axe) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", pages())
def test_a_page_fits_a_phone(page: Page, site: str, name: str) -> None:
    page.set_viewport_size(PHONE)
    show(page, f"{site}/{name}")
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    stem = name.removesuffix(".html").replace("/", "-")
    page.screenshot(path=SCREENSHOTS / f"{stem}-phone.png", full_page=True)
    page.set_viewport_size(DESKTOP)
    page.add_init_script("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark')")
    show(page, f"{site}/{name}")
    page.screenshot(path=SCREENSHOTS / f"{stem}-dark.png")
    assert wide <= PHONE["width"] + 1


def shown(widget) -> str:
    """What a reader sees of the stack that belongs to a control: its own place in the page tells which."""
    return widget.locator("xpath=ancestor::*[contains(@class, 'regex-screen-only')][1]").inner_text()


@pytest.mark.parametrize("name", with_widgets())
def test_each_slider_moves_by_keyboard_and_mouse(page: Page, site: str, name: str) -> None:
    show(page, f"{site}/{name}")
    handles = page.locator(".regex-screen-only .noUi-handle")
    for number in range(handles.count()):
        handle = handles.nth(number)
        states = [shown(handle)]
        handle.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
        states.append(shown(handle))
        track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')][1]")
        box = track.bounding_box()
        track.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
        page.wait_for_timeout(400)
        states.append(shown(handle))
        assert len(set(states)) == 3, f"slider {number} does not move: {states}"
        assert handle.get_attribute("aria-label")


@pytest.mark.parametrize("name", with_widgets())
def test_each_row_of_buttons_switches_by_keyboard_and_mouse(page: Page, site: str, name: str) -> None:
    show(page, f"{site}/{name}")
    rows = page.locator(".regex-screen-only .widget-toggle-buttons")
    for number in range(rows.count()):
        buttons = rows.nth(number).locator("button")
        states = [shown(buttons.first)]
        buttons.nth(1).click()
        page.wait_for_timeout(200)
        states.append(shown(buttons.first))
        other = buttons.last if buttons.count() > 2 else buttons.first
        other.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(200)
        states.append(shown(buttons.first))
        assert states[0] != states[1] != states[2], f"the buttons {number} do not switch"


@pytest.mark.parametrize("name", with_widgets())
def test_paper_shows_every_state_of_a_widget(page: Page, site: str, name: str) -> None:
    show(page, f"{site}/{name}")
    page.emulate_media(media="print")
    for widget in page.locator(".regex-screen-only").all():
        expect(widget).to_be_hidden()
    assert page.locator(".regex-print-only").count() > 0
    for paper in page.locator(".regex-print-only").all():
        expect(paper).to_be_visible()


def test_there_are_widgets_to_move() -> None:
    assert "00_how_to_read.html" in with_widgets()


def test_the_address_of_the_book_leads_to_its_first_page(page: Page, site: str) -> None:
    page.goto(f"{site}/index.html")
    page.wait_for_url(f"{site}/intro.html")


def test_the_search_finds_a_term(page: Page, site: str) -> None:
    show(page, f"{site}/intro.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("comprehensiveness")
    page.keyboard.press("Enter")
    page.locator("#search-results li").first.wait_for()
    assert "Glossary" in page.locator("#search-results").inner_text()


def test_a_solution_opens_by_keyboard(page: Page, site: str) -> None:
    show(page, f"{site}/00_how_to_read.html")
    solution = page.locator(".solution.dropdown").first
    hidden = solution.locator("p").last
    expect(hidden).to_be_hidden()
    solution.locator("button").first.focus()
    page.keyboard.press("Enter")
    expect(hidden).to_be_visible()


def test_the_line_under_the_title_says_where_the_run_was_made(page: Page, site: str) -> None:
    show(page, f"{site}/00_how_to_read.html")
    assert "Run on 2" in page.locator("p.provenance").inner_text()


@pytest.mark.parametrize("name", ["intro.html", "00_how_to_read.html", "notation.html"])
def test_a_page_opens_as_a_file(page: Page, name: str) -> None:
    show(page, (BOOK.html / name).as_uri())
    assert page.locator("article h1").count() == 1
