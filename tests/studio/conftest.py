"""A copy of the site whose engine is a fake: the page alone, fast, with faults on demand."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from building.steps import ROOT
from tests.browser import Chromium, Firefox, wait_for
from tests.conftest import BROWSERS, Site

HERE = Path(__file__).parent
LEFT_OUT = ("pyodide", "wheels", "*.bin", "sw.js", "executor.js")


def fake_site(dist: Path, folder: Path) -> None:
    """The built site without the engine: its worker is tests/studio/fake_worker.js."""
    shutil.copytree(dist, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(HERE / "fake_worker.js", folder / "worker.js")
    shutil.copy(HERE / "protocol.js", folder)
    shutil.copy(ROOT / "app/studio/protocol.json", folder)


class Page:
    """What the tests do in the page, by name."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, path: str = "") -> None:
        self.browser.open(self.url + path)
        self.wait("document.documentElement.hasAttribute('data-ready')")

    def js(self, expression: str) -> Any:
        return self.browser.evaluate(expression)

    def wait(self, condition: str, timeout: float = 15) -> Any:
        return wait_for(self.browser, f"Boolean({condition})", timeout)

    def fake(self, **values: object) -> None:
        """Sets variables of the fake engine."""
        self.js(f"tensortab.run({'set ' + json.dumps(values)!r})")

    def requests(self) -> list[dict]:
        """The chat requests that the fake engine was given."""
        return json.loads(str(self.js("tensortab.run('get requests')")))

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({selector!r}).click()")

    def write(self, text: str) -> None:
        """Types into the message box as a keyboard does."""
        self.browser.driver.find_element("id", "prompt").send_keys(text)

    def send(self, text: str) -> None:
        self.write(text + "\n")

    def load(self) -> None:
        """Clicks the first visit's button and waits for the model."""
        self.wait("document.querySelector('[data-act=load-default]')")
        self.click("[data-act=load-default]")
        self.wait("document.documentElement.dataset.engine === 'ready'")

    def answered(self, count: int = 1) -> None:
        """Waits until so many turns are shown and none is being written."""
        self.wait(f"document.querySelectorAll('.turn').length === {count} && !document.querySelector('.streaming')")

    def text(self, selector: str) -> str:
        return str(self.js(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def turns(self) -> list[str]:
        return list(self.js("[...document.querySelectorAll('.turn .text')].map((e) => e.innerText.trim())"))


def press(page: Page, *keys: str) -> None:
    """One key, the others held."""
    chain = ActionChains(page.browser.driver)
    *held, last = keys
    for key in held:
        chain.key_down(key)
    chain.send_keys(last)
    for key in held:
        chain.key_up(key)
    chain.perform()


@pytest.fixture(scope="session")
def fake_dist(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    fake_site(dist, folder)
    return folder


@pytest.fixture
def fake(fake_dist: Path) -> Iterator[Site]:
    site = Site(fake_dist)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def _chromium() -> Iterator[Chromium]:
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture
def page(_chromium: Chromium, fake: Site) -> Iterator[Page]:
    """The page in Chromium on an origin of its own (a new port): nothing is kept of the test before."""
    page = Page(_chromium, fake.url)
    yield page
    _chromium.open("about:blank")


@pytest.fixture(scope="module", params=list(BROWSERS))
def _browser(request: pytest.FixtureRequest) -> Iterator[Chromium | Firefox]:
    browser = BROWSERS[request.param]()
    yield browser
    browser.close()


@pytest.fixture
def either(_browser: Chromium, fake: Site) -> Iterator[Page]:
    """The page in both browsers, one after the other."""
    yield Page(_browser, fake.url)
    _browser.open("about:blank")
