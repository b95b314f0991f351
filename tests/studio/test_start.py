"""The start of the page: on hosts with other types, with files that are missing, damaged or slow, and in browsers that
lack something. The interface says what is wrong before its Python is up; the engine's worker says it on a card."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from building.steps import DIST
from tests.browser import Browser, Chromium, wait_for
from tests.conftest import Site

READY = "document.documentElement.hasAttribute('data-ready')"
TROUBLE = "document.querySelector('#trouble:not([hidden])')?.innerText"
CARD = "document.querySelector('#chat .notice[data-code=start_failed]')?.innerText"
# Time-outs of seconds end at once.
HURRY = """const wait = setTimeout;
  globalThis.setTimeout = (call, ms, ...rest) => wait(call, ms >= 10000 ? 0 : ms, ...rest);"""


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def either(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Both browsers; each test has a server, and so an origin, of its own."""
    from tests.conftest import BROWSERS

    browser = BROWSERS[request.param]()
    yield browser
    browser.close()


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/html; charset=utf-8", ""])
def test_both_pythons_start_whatever_type_the_host_gives_to_wasm(either: Browser, site: Site, kind: str) -> None:
    site.retype("*.wasm", kind)
    either.open(site.url)
    wait_for(either, READY)
    assert either.evaluate("tensortab.run('40 + 2')", timeout=60) == "42"
    fetched = [request for request, _ in site.requests if request.endswith(".wasm")]
    for name in ("GET /micropython/micropython.wasm", "GET /pyodide/pyodide.asm.wasm"):
        assert fetched.count(name) <= 2, "once by the page, and once by the service worker"
    either.open("about:blank")


FAULTS: dict[str, tuple[Callable[[Site], None], str]] = {
    "a module of another type": (
        lambda site: site.retype("micropython/*.mjs", "text/plain"),
        "micropython/micropython.mjs: the host sends it as “text/plain”, but browsers run only “text/javascript”",
    ),
    "Python is missing": (
        lambda site: site.fail("micropython/micropython.wasm"),
        "micropython/micropython.wasm: the host answered with status 404",
    ),
    "Python is damaged": (
        lambda site: site.alter("micropython/micropython.wasm", lambda data: data[:1000]),
        "micropython/micropython.wasm: the file is damaged",
    ),
    "Python is another page": (
        lambda site: site.alter("micropython/micropython.wasm", lambda _: b"<!doctype html>"),
        "micropython/micropython.wasm: the file is damaged",
    ),
    "the interface is missing": (
        lambda site: site.fail("studio/shell.json", 500),
        "studio/shell.json: the host answered with status 500",
    ),
    "the interface is damaged": (
        lambda site: site.alter("studio/shell.json", lambda data: data[:-9]),
        "studio/shell.json: the file is damaged",
    ),
    "a module is damaged": (
        lambda site: site.alter("studio/shell.json", lambda data: data.replace(b"def main()", b"def main(")),
        "SyntaxError",
    ),
    "a module fails": (
        lambda site: site.alter("studio/shell.json", lambda data: data.replace(b"engine.start()", b"engine.begin()")),
        "'Engine' object has no attribute 'begin'",
    ),
    "the connection breaks": (
        lambda site: site.cut("studio/shell.json", 100),
        "studio/shell.json: there is no connection to the host",
    ),
    "its starter is missing": (lambda site: site.fail("interface.js"), "interface.js could not be loaded"),
    "its styles are missing": (lambda site: site.fail("app.css"), "app.css could not be loaded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_of_the_interface_that_cannot_be_used_is_named(either: Browser, fake: Site, fault: str) -> None:
    spoil, words = FAULTS[fault]
    spoil(fake)
    either.open(fake.url)
    said = wait_for(either, TROUBLE)
    assert words in said
    assert "eload the page" in said or "settings must name" in said, "it says what to do"
    either.open("about:blank")


ENGINE: dict[str, tuple[Callable[[Site], None], str]] = {
    "a module of another type": (
        lambda site: site.retype("pyodide/pyodide.mjs", "application/octet-stream"),
        "pyodide/pyodide.mjs: the host sends it as “application/octet-stream”",
    ),
    "Python is missing": (
        lambda site: site.fail("pyodide/pyodide.asm.wasm"),
        "pyodide/pyodide.asm.wasm: the host answered with status 404",
    ),
    "Python is damaged": (
        lambda site: site.alter("pyodide/pyodide.asm.wasm", lambda data: data[:5000]),
        "pyodide/pyodide.asm.wasm: the file is damaged",
    ),
    "a part is missing": (
        lambda site: site.fail("vendor/jinja.js"),
        "vendor/jinja.js: the host answered with status 404",
    ),
}


@pytest.mark.parametrize("fault", ENGINE)
def test_a_file_of_the_engine_that_cannot_be_used_is_named(either: Browser, site: Site, fault: str) -> None:
    spoil, words = ENGINE[fault]
    spoil(site)
    either.open(site.url)
    said = wait_for(either, CARD, timeout=60)
    assert words in said
    site.mend()
    if "type" in fault:  # the browser has stored it, and the server says that the file is the same
        site.alter("pyodide/pyodide.mjs", lambda data: data + b"\n")
    either.evaluate("void document.querySelector('#chat .notice [data-act=retry]').click()")
    assert either.evaluate("tensortab.run('40 + 2')", timeout=60) == "42"
    either.open("about:blank")


@pytest.mark.parametrize("pattern", ["pyodide/pyodide.mjs", "pyodide/snapshot.bin", "pyodide/pyodide.asm.wasm"])
def test_an_engine_that_does_not_come_is_told(chromium: Chromium, site: Site, pattern: str) -> None:
    """A host that sends nothing more: after a minute, of which this test takes a second."""
    site.alter("worker.js", lambda data: data.replace(b"60_000", b"1_000"))
    site.stall(pattern, 1000)
    chromium.open(site.url)
    said = wait_for(chromium, CARD, timeout=60)
    assert "Nothing has come from the host for a minute" in said
    assert pattern in said


def before(browser: Chromium, source: str) -> None:
    """Runs JavaScript in each new document before its own."""
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})


def test_a_start_that_takes_long_says_so_until_it_is_there(chromium: Chromium, fake: Site) -> None:
    before(chromium, HURRY)
    chromium.driver.set_page_load_timeout(5)
    fake.stall("studio/shell.json", 1000)
    chromium.open(fake.url)
    assert "still loading after 15 seconds" in wait_for(chromium, TROUBLE)
    fake.mend()
    chromium.open(fake.url)
    wait_for(chromium, READY)
    assert chromium.evaluate("document.querySelector('#trouble').hidden") is True


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ("delete globalThis.WebAssembly", "WebAssembly is switched off"),
        ("delete Promise.withResolvers", "too old for TensorTab"),
        ("CSS.supports = () => false", "too old for TensorTab"),
        ("delete HTMLElement.prototype.popover", "too old for TensorTab"),
    ],
)
def test_a_browser_that_lacks_something_is_told(chromium: Chromium, fake: Site, lack: str, words: str) -> None:
    before(chromium, lack)
    chromium.open(fake.url)
    assert words in wait_for(chromium, TROUBLE)


def test_the_page_as_a_file_says_how_to_open_it(either: Browser, tmp_path: Path, dist: Path) -> None:
    for name in ("index.html", "start.js", "interface.js", "app.css"):
        shutil.copy(dist / name, tmp_path)
    either.open((tmp_path / "index.html").as_uri())
    assert "python build.py serve" in wait_for(either, TROUBLE)
    either.open("about:blank")


def test_the_first_words_are_in_the_javascript_of_old_browsers() -> None:
    """start.js tells them that they are too old, so they have to understand it."""
    source = (DIST / "start.js").read_text()
    for newer in ("?.", "??", "async ", "await ", "catch {", "...rest", "#_"):
        assert newer not in source


def test_nothing_keeps_the_text_from_being_painted(chromium: Chromium, fake: Site) -> None:
    """The first paint waits for the styles and start.js, and not for Python."""
    fake.stall("micropython/*", 0)
    fake.stall("studio/shell.json", 0)
    chromium.driver.set_page_load_timeout(5)
    chromium.open(fake.url)
    wait_for(chromium, "performance.getEntriesByName('first-contentful-paint').length")
    assert not chromium.evaluate(READY)
