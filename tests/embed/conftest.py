"""Fixtures: a page of somebody else's on one origin, our site on another, which allows that (CORS), and a tab."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from building.server import Handler, Server
from building.steps import CACHE, ROOT
from building.tools import NPM, npm_packages
from tests.browser import Chromium

PYODIDES = {  # version: folder of node_modules
    "0.27.7": CACHE / "embed/node_modules/pyodide-0.27.7",
    "0.29.3": CACHE / "embed/node_modules/pyodide-0.29.3",
    "314": NPM / "node_modules/pyodide",
}


class OpenHandler(Handler):
    """Lets pages of other origins read what it serves."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def serve(folder: Path, handler: type[Handler]) -> Iterator[Server]:
    server = Server(folder)
    server.RequestHandlerClass = handler
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def our_site(dist: Path) -> Iterator[Server]:
    yield from serve(dist, OpenHandler)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site without a line of ours; Pyodide is in a folder of each version."""
    npm_packages(ROOT / "tests/embed", CACHE / "embed")
    folder = tmp_path_factory.mktemp("foreign")
    for version, packages in PYODIDES.items():
        (folder / version).mkdir()
        for file in packages.iterdir():
            os.link(file, folder / version / file.name)
    yield from serve(folder, Handler)


@pytest.fixture(scope="session")
def tab() -> Iterator[Chromium]:
    browser = Chromium()
    yield browser
    browser.close()
