"""The two browsers of the tests behind the same few methods: Chromium by selenium, Firefox by WebDriver BiDi.

There is no geckodriver to be had from the registries, so Firefox is driven by a small BiDi client of ours.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

CHROMIUM_FLAGS = (
    "--headless=new --no-sandbox --no-first-run --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --disable-sync --disable-quic --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader "
    "--window-size=1200,800 --lang=en-US"
).split()
FIREFOX_PREFS = {
    "dom.webgpu.enabled": True,
    "dom.webgpu.workers.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,
    "gfx.webgpu.force-enabled": True,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class PageError(Exception):
    """What an evaluated expression threw: "Name: message", with the error's `code` where it has one."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Browser(Protocol):
    """One tab of a fresh profile."""

    def open(self, url: str) -> None:
        """Go there and wait until the document is loaded."""

    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        """The JSON-shaped value of a JavaScript expression; a Promise is awaited, `await` may be used."""

    def console(self) -> list[str]:
        """The messages since the last call, as "level text"."""

    def resize(self, width: int, height: int) -> None: ...

    def screenshot(self, path: Path) -> None: ...

    def close(self) -> None: ...


def _answer(expression: str) -> str:
    """JavaScript for a Promise of JSON text: {"value": ...} or {"error": ..., "code": ...}."""
    return (
        f"(async () => (await ({expression}\n)) ?? null)().then((value) => JSON.stringify({{value}}), (error) =>"
        ' JSON.stringify({error: `${error?.name ?? "thrown"}: ${error?.message ?? error}`, code: error?.code ?? null}))'
    )


def _value(text: str) -> Any:
    answer = json.loads(text)
    if "error" in answer:
        raise PageError(answer["error"], answer["code"])
    return answer["value"]


def wait_for(browser: Browser, condition: str, timeout: float = 30) -> Any:
    """Evaluate until the value is truthy, and return it."""
    end = time.monotonic() + timeout
    while not (value := browser.evaluate(condition)):
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {timeout:g} s: {condition}; console: {browser.console()[-10:]}")
        time.sleep(0.1)
    return value


class Chromium:
    def __init__(self) -> None:
        from selenium import webdriver

        binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if not binary:
            raise FileNotFoundError("no Chromium: python build.py doctor says what to install")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in [*CHROMIUM_FLAGS, f"--user-data-dir={self._profile.name}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = shutil.which("chromedriver")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        self.driver.set_page_load_timeout(60)

    def open(self, url: str) -> None:
        self.driver.get(url)

    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        from selenium.common.exceptions import TimeoutException

        self.driver.set_script_timeout(timeout)
        try:
            return _value(self.driver.execute_async_script(f"{_answer(expression)}.then(arguments[0])"))
        except TimeoutException as late:
            raise TimeoutError(f"no answer within {timeout:g} s: {expression}") from late

    def console(self) -> list[str]:
        return [f"{entry['level'].lower()} {entry['message']}" for entry in self.driver.get_log("browser")]

    def resize(self, width: int, height: int) -> None:
        device = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)

    def screenshot(self, path: Path) -> None:
        self.driver.save_screenshot(str(path))

    def close(self) -> None:
        self.driver.quit()
        self._profile.cleanup()


class Firefox:
    def __init__(self, languages: str = "en-US") -> None:
        from websocket import create_connection

        binary = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
        if not binary:
            raise FileNotFoundError("no Firefox: python build.py doctor says what to install")
        self._profile = tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True)
        folder = Path(self._profile.name)
        values = {**FIREFOX_PREFS, "intl.accept_languages": languages}
        prefs = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in values.items()]
        (folder / "user.js").write_text("\n".join(prefs))
        log = folder / "output.txt"
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [binary, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={"XDG_RUNTIME_DIR": self._profile.name, **os.environ},
            )  # fmt: skip
        try:
            address = self._address(folder / "WebDriverBiDiServer.json", log)
            # Firefox refuses connections that come with an Origin, as a page's would.
            self._socket = create_connection(f"ws://{address}/session", suppress_origin=True, timeout=30)
            self._last, self._console = 0, list[str]()
            self._command("session.new", {"capabilities": {}})
            self._command("session.subscribe", {"events": ["log.entryAdded"]})
            self._tab = self._command("browsingContext.getTree", {})["contexts"][0]["context"]
            self.resize(1200, 800)
        except BaseException:
            self._kill()
            raise

    def _address(self, file: Path, log: Path) -> str:
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"Firefox ended ({self._process.returncode}): {log.read_text()[-2000:]}")
            if file.is_file() and (text := file.read_text()):
                server = json.loads(text)
                return f"{server['ws_host']}:{server['ws_port']}"
            time.sleep(0.1)
        raise TimeoutError(f"Firefox did not start within 60 s: {log.read_text()[-2000:]}")

    def _command(self, method: str, params: dict, timeout: float = 60) -> Any:
        from websocket import WebSocketTimeoutException

        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        end = time.monotonic() + timeout
        while True:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                message = json.loads(self._socket.recv())
            except WebSocketTimeoutException as late:
                raise TimeoutError(f"no answer within {timeout:g} s: {method} {str(params)[:300]}") from late
            if message.get("method") == "log.entryAdded":
                self._console.append(f"{message['params']['level']} {message['params']['text']}")
            if message.get("id") == self._last:
                if message["type"] == "error":
                    raise PageError(f"{message['error']}: {message['message']}")
                return message["result"]

    def open(self, url: str) -> None:
        self._command("browsingContext.navigate", {"context": self._tab, "url": url, "wait": "complete"})

    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        params = {"expression": _answer(expression), "awaitPromise": True, "target": {"context": self._tab}}
        result = self._command("script.evaluate", params, timeout)
        if result["type"] == "exception":  # it does not parse
            raise PageError(result["exceptionDetails"]["text"])
        return _value(result["result"]["value"])

    def console(self) -> list[str]:
        self._command("session.status", {})  # reads what has arrived
        messages, self._console = self._console, []
        return messages

    def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        self._command("browsingContext.setViewport", {"context": self._tab, "viewport": viewport})

    def screenshot(self, path: Path) -> None:
        shot = self._command("browsingContext.captureScreenshot", {"context": self._tab})
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._socket.close()
        self._kill()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # nothing of the profile is wanted any more
            self._process.wait()
        self._profile.cleanup()
