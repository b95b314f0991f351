"""Fixtures for every test: the built site on a server that can be broken, and the two browsers."""

import gc
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensortab import device as devices

from building.models import MODEL, model
from building.server import Server
from building.steps import DIST, ROOT, alone
from tests.browser import Browser, Chromium, Firefox

# Mesa's and Firefox's Vulkan loaders complain, or worse, without one.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())

BROWSERS: dict[str, Callable[[], Browser]] = {"chromium": Chromium, "firefox": Firefox}


class Site:
    """A folder on a free port of this machine; path patterns are relative to it ("models/*/0000.bin")."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()
        self.url = self._server.url

    def fail(self, pattern: str, status: int = 404) -> None:
        self._server.faults[pattern] = status

    def alter(self, pattern: str, change: Callable[[bytes], bytes]) -> None:
        """Send change(bytes) instead of the file's bytes."""
        self._server.faults[pattern] = change

    def cut(self, pattern: str, after: int) -> None:
        """Break the connection after so many bytes of the body."""
        self._server.faults[pattern] = ("cut", after)

    def stall(self, pattern: str, after: int = 0) -> None:
        """Send nothing more after so many bytes of the body."""
        self._server.faults[pattern] = ("stall", after)

    def retype(self, pattern: str, kind: str) -> None:
        """Send another Content-Type."""
        self._server.types[pattern] = kind

    def mend(self) -> None:
        self._server.faults.clear()
        self._server.types.clear()

    @property
    def requests(self) -> list[tuple[str, str]]:
        """("GET /path", the Range header or "") in order; may be cleared."""
        return self._server.requests

    @property
    def sent(self) -> int:
        """Bytes of all bodies so far, as they were sent."""
        return self._server.sent

    def start(self) -> None:
        """Serve, again on the same port after stop()."""
        port = self._server.server_address[1] if hasattr(self, "_server") else 0
        self._server = Server(self.folder, port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """The network is gone: connections are refused."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """What the tests of one file have dropped is given back before those of the next count what a device holds. What
    remains is set aside: collections, of which some tests make many, would go through thousands of tests each time."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """choose() may not open the machine's own device here: Dawn and wgpu-native choose their drivers, and Dawn its
    toggles, when the first device of a process is opened, and tests/kernels/conftest.py says which ones."""
    opening = devices._open

    async def named(name: str) -> devices.Device:
        assert name not in ("", "gpu"), "this test opens the default device: say which one by DEVICE or devices.use()"
        return await opening(name)

    monkeypatch.setattr(devices, "_open", named)


@pytest.fixture(scope="session")
def dist() -> Path:
    """dist/ as it is built from the sources now."""
    done = subprocess.run([sys.executable, ROOT / "build.py", "build"], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return DIST


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The default model's GGUF file."""
    with alone():
        return model(MODEL)


@pytest.fixture
def site(dist: Path) -> Iterator[Site]:
    site = Site(dist)
    yield site
    site.stop()


@pytest.fixture
def chromium() -> Iterator[Chromium]:
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture
def firefox() -> Iterator[Firefox]:
    browser = Firefox()
    yield browser
    browser.close()


@pytest.fixture(params=list(BROWSERS))
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Both browsers, one after the other."""
    browser = BROWSERS[request.param]()
    yield browser
    browser.close()
