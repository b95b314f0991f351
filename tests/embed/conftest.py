"""Fixtures: a page of somebody else's on one origin, our site on another, and a tab."""

import os
import shutil
import threading
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from building.server import Handler, Server
from building.steps import CACHE, ROOT, anew, digest, once, run
from building.tools import LOCKS, NPM, npm_packages, pip
from tests.browser import Chromium

PYODIDES = {  # version: folder of node_modules
    "0.27.7": CACHE / "embed/node_modules/pyodide-0.27.7",
    "0.29.3": CACHE / "embed/node_modules/pyodide-0.29.3",
    "314": NPM / "node_modules/pyodide",
}


class ForeignHandler(Handler):
    """What is below isolated/ may use SharedArrayBuffer, and gets nothing of another origin without CORS."""

    def end_headers(self) -> None:
        if self.path.startswith("/isolated/"):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path, type[Handler]], Server]]:
    """serve(folder, handler): a server on a port, that is an origin, of its own."""
    servers = []

    def start(folder: Path, handler: type[Handler]) -> Server:
        servers.append(Server(folder))
        servers[-1].RequestHandlerClass = handler
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def our_site(dist: Path, serve: Callable[..., Server]) -> Server:
    return serve(dist, Handler)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, dist: Path, serve: Callable[..., Server]) -> Server:
    """A site without a line of ours: a folder of each version of Pyodide, and PyScript."""
    npm_packages(ROOT / "tests/embed", CACHE / "embed")
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "isolated").mkdir()
    for name, files in (PYODIDES | {"pyscript": CACHE / "embed/node_modules/@pyscript/core/dist"}).items():
        shutil.copytree(files, folder / name, copy_function=_link)
    return serve(folder, ForeignHandler)


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a JupyterLite that asks no other host for anything, but for Pyodide, of wheels/lite.txt."""
    wheels, tool = CACHE / "lite/wheels", CACHE / "lite/venv"
    lock = LOCKS / "lite.txt"

    def make() -> None:
        pip("download", "--no-deps", "--python-version", "3.14", "-d", anew(wheels), "-r", lock)
        venv.create(tool, clear=True, with_pip=True)
        packages = ["jupyterlite-core", "jupyterlite-pyodide-kernel"]
        run(tool / "bin/pip", "install", "-q", "--no-index", "--find-links", wheels, *packages)

    once(CACHE / "lite/stamp", digest(lock), "JupyterLite: wheels/lite.txt", make)
    folder = tmp_path_factory.mktemp("lite")
    options = [option for wheel in wheels.glob("*-none-any.whl") for option in ("--piplite-wheels", wheel)]
    run(tool / "bin/jupyter-lite", "build", "--apps", "repl", "--output-dir", folder / "site", *options, cwd=folder)
    return folder / "site"


@pytest.fixture
def tab() -> Iterator[Chromium]:
    """A browser for each test: a tab that crashes takes no other test with it."""
    browser = Chromium()
    yield browser
    browser.close()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
