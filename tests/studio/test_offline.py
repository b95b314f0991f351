"""A newer version of the site while the page is open, in one tab and in two; what other programs give to the app."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Site
from tests.studio.conftest import Page

WORKER = "onmessage = () => skipWaiting(); onactivate = (event) => event.waitUntil(clients.claim());"
OFFER = "document.querySelector('#toast:popover-open [data-act=update]')"


@pytest.fixture
def stored(page: Page, fake_dist: Path, tmp_path: Path) -> Iterator[Page]:
    """The page as the service worker of a first version serves it."""
    shutil.copytree(fake_dist, tmp_path / "site")
    (tmp_path / "site/sw.js").write_text(WORKER)
    site = Site(tmp_path / "site")
    page.url = site.url
    page.open()
    page.wait("navigator.serviceWorker.controller")
    page.open()
    yield page
    page.browser.open("about:blank")
    site.stop()


def publish(tmp_path: Path, version: int) -> None:
    (tmp_path / "site/sw.js").write_text(f"{WORKER} // version {version}")


def come_back(page: Page, seconds: int = 61) -> None:
    """The user comes back to the browser's tab after so many seconds."""
    page.js(f"void (Date.now = ((now) => () => now() + {1000 * seconds})(Date.now))")
    page.js("void dispatchEvent(new Event('focus'))")


def test_a_version_that_is_new_while_the_page_is_open_is_offered(stored: Page, tmp_path: Path) -> None:
    publish(tmp_path, 2)
    come_back(stored, 5)
    stored.js("new Promise((done) => setTimeout(done, 500))")
    assert not stored.js(f"Boolean({OFFER})"), "it is not asked for at every click"
    come_back(stored)
    stored.wait(OFFER)
    stored.write("a thought that is not sent")
    stored.js("void (globalThis.before = true)")
    stored.click("#toast [data-act=update]")
    stored.wait("!globalThis.before && document.documentElement.hasAttribute('data-ready')")
    stored.wait("document.querySelector('#prompt').value === 'a thought that is not sent'")
    assert not stored.js(f"Boolean({OFFER})")


@contextlib.contextmanager
def before(page: Page, source: str) -> Iterator[None]:
    """Runs JavaScript in each new document before its own."""
    command = page.browser.driver.execute_cdp_cmd
    added = command("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        command("Page.removeScriptToEvaluateOnNewDocument", added)


def test_it_is_looked_for_every_hour(stored: Page, tmp_path: Path) -> None:
    hurry = """const every = setInterval;
        globalThis.setInterval = (call, ms) => every(call, ms === 3600000 ? 200 : ms);
        Date.now = ((now) => () => 1000 * now())(Date.now);"""
    with before(stored, hurry):
        stored.open()
        publish(tmp_path, 2)
        stored.wait(OFFER)


def test_a_reload_never_ends_an_answer_unasked(stored: Page, tmp_path: Path) -> None:
    stored.load()
    stored.send("endlessly")
    stored.wait("document.querySelector('.streaming')")
    publish(tmp_path, 2)
    come_back(stored)
    stored.wait(OFFER)
    stored.js("void (globalThis.before = true)")
    stored.click("#toast [data-act=update]")
    stored.wait("document.querySelector('#toast [data-act=update-anyway]')")
    assert "still running" in stored.text("#toast")
    assert stored.js("globalThis.before") is True
    stored.click("#toast [data-act=update-anyway]")
    stored.wait("!globalThis.before && document.documentElement.hasAttribute('data-ready')")
    stored.wait("document.querySelector('.turn')")
    assert stored.turns()[0] == "endlessly"


def test_two_tabs_get_the_new_version_one_after_the_other(stored: Page, tmp_path: Path) -> None:
    """The tab that does not ask goes on with what it has, and is told."""
    driver = stored.browser.driver
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    second = driver.current_window_handle
    try:
        stored.open()
        stored.write("kept in the second tab")
        driver.switch_to.window(first)
        publish(tmp_path, 2)
        come_back(stored)
        stored.wait(OFFER)
        stored.js("void (globalThis.before = true)")
        stored.click("#toast [data-act=update]")
        stored.wait("!globalThis.before && document.documentElement.hasAttribute('data-ready')")
        driver.switch_to.window(second)
        stored.wait(OFFER)
        assert "updated in another tab" in stored.text("#toast")
        assert stored.js("document.querySelector('#prompt').value") == "kept in the second tab"
        stored.js("void (location.hash = 'lab')")  # its files are here, whatever the host has now
        shutil.rmtree(tmp_path / "site/studio")
        stored.wait("document.querySelector('#lab:not([hidden])')")
    finally:
        driver.switch_to.window(second)
        driver.close()
        driver.switch_to.window(first)


SHARE = """(async (files, text) => {
    const place = await caches.open("tensortab-shared-/");
    for (const [n, [name, type]] of files.entries()) {
      const headers = { "Content-Type": type, "X-Name": encodeURIComponent(name) };
      await place.put(`/shared-file-${n}`, new Response("content", { headers }));
    }
    if (text) await place.put("/shared-text", new Response(text));
})(%s, %s)"""


def share(page: Page, files: list[tuple[str, str]], text: str = "") -> None:
    """What sw.js has stored when the system opens ./?shared (tests/building/test_service_worker.py)."""
    page.open()
    page.js(SHARE % (json.dumps(files), json.dumps(text)))
    page.open("?shared")


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [("a talk.wav", "audio/wav", "transcribe"), ("été.png", "image/png", "classify")],
)
def test_a_shared_file_opens_the_page_that_is_for_it(page: Page, name: str, kind: str, shown: str) -> None:
    share(page, [(name, kind)])
    page.wait(f"document.documentElement.dataset.view === {shown!r}")
    page.wait(f"document.querySelector('#{shown} .notice:not([hidden])')")  # it begins, or says what is wrong with it
    assert page.js("location.search") == "", "a reload does not share it again"
    assert page.js("caches.has('tensortab-shared-/')") is False


def test_a_shared_text_waits_in_the_message_box(page: Page) -> None:
    share(page, [], "A title\n\nÜnïcode <b>")
    page.wait("document.querySelector('#prompt').value")
    assert page.js("document.querySelector('#prompt').value") == "A title\n\nÜnïcode <b>"
    assert page.js("document.documentElement.dataset.view") == "chat"


def test_a_share_that_could_not_be_stored_is_told(page: Page) -> None:
    page.open("?shared")
    page.wait("document.querySelector('#toast:popover-open')")
    assert "no room to store it" in page.text("#toast")


def test_files_that_are_opened_with_the_app_arrive(page: Page) -> None:
    """The system's launch queue, as Chrome fills it; a file that is gone is named."""
    queue = "{ value: { setConsumer(call) { globalThis.launched = call; } } }"
    with before(page, f"Object.defineProperty(globalThis, 'launchQueue', {queue});"):
        page.open()
        page.wait("globalThis.launched")
        page.js("""void launched({ files: [
            { name: "gone.wav", getFile: async () => { throw new DOMException("it is gone", "NotFoundError"); } },
            { name: "talk.wav", getFile: async () => new File(["content"], "talk.wav", { type: "audio/wav" }) }] })""")
        page.wait("document.documentElement.dataset.view === 'transcribe'")
        assert "gone.wav" in page.text("#toast")
