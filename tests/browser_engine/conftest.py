"""Fixtures: a small site with parts of ours on it, and one tab for all tests in each browser."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from building.server import Handler, Server
from tests.browser import Browser, Chromium, Firefox

ROOT = Path(__file__).resolve().parents[2]


class SmallHandler(Handler):
    """Can be told to ignore Range, as some hosts do; a connection that breaks has delivered what it had."""

    def do_GET(self) -> None:
        if not self.server.ranges:  # type: ignore[attr-defined]
            del self.headers["Range"]
        super().do_GET()

    def finish_headers(self, body: bytes, tag: str = "", cut: int | None = None) -> None:
        super().finish_headers(body, tag, cut)
        if cut is not None:
            time.sleep(0.2)


class SmallSite(Server):
    """A folder to put files in; `ranges` says whether Range is honoured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.RequestHandlerClass = SmallHandler
        self.ranges = True
        self.put("index.html", "<!doctype html><meta charset=utf-8><title>test</title>")
        self.put("executor.js", ROOT / "static/executor.js")

    def put(self, path: str, content: str | bytes | Path) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copy(content, file)
        else:
            file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def small_site(tmp_path: Path) -> Iterator[SmallSite]:
    site = SmallSite(tmp_path / "site")
    threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture(scope="session", params=[Chromium, Firefox], ids=["chromium", "firefox"])
def tab(request: pytest.FixtureRequest) -> Iterator[Browser]:
    browser = request.param()
    yield browser
    browser.close()


@pytest.fixture
def page(tab: Browser, small_site: SmallSite) -> Callable[..., Any]:
    """page(body, *args): the JSON-shaped result of the body of an async function of `args`, on a fresh page."""
    tab.open(small_site.url)

    def run(body: str, *args: Any, timeout: float = 60) -> Any:
        return tab.evaluate(f"(async (args) => {{{body}}})({json.dumps(args)})", timeout)

    return run


@pytest.fixture
def engine(tab: Browser, small_site: SmallSite, dist: Path) -> Iterator[Any]:
    """The started engine; `engine.site` is what it is served from."""
    from .engine import Engine, share

    share(dist, small_site.folder)
    tab.open(small_site.url)
    tab.evaluate("""(async () => {
      const root = await navigator.storage.getDirectory();
      for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
    })().catch(() => 0)""")
    engine = Engine(tab)
    engine.site = small_site
    yield engine
    engine.end()
