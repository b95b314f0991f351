"""Fixtures: a server of our static files, headless Chromium, and a page whose JavaScript a test evaluates."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import Server

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox --headless=new --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
).split()


class Page:
    """A tab. `run` evaluates the body of an async JavaScript function and gives its JSON result, or raises PageError."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str = "/") -> None:
        self.driver.get(self.url + path)

    def run(self, body: str, *args: Any) -> Any:
        script = (
            "const done = arguments[arguments.length - 1], args = JSON.parse(arguments[0]);"
            "(async (args) => {" + body + "})(args).then((value) => done(JSON.stringify({value: value ?? null})),"
            " (error) => done(JSON.stringify({error: {code: error.code ?? null, message: String(error.message ?? error)}})))"
        )
        answer = json.loads(self.driver.execute_async_script(script, json.dumps(args)))
        if "error" in answer:
            raise PageError(answer["error"]["code"], answer["error"]["message"])
        return answer["value"]


class PageError(Exception):
    def __init__(self, code: str | None, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary = shutil.which("chromium")
    selenium = pytest.importorskip("selenium.webdriver")
    if binary is None:
        pytest.skip("no chromium")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = selenium.Chrome(options=options, service=service)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server({"/static/": ROOT / "static"})
    yield server
    server.close()


@pytest.fixture
def page(driver: Any, server: Server) -> Page:
    page = Page(driver, server.url)
    page.open()
    return page
