"""The whole product in real browsers: the page, its engine and the real model; then the same with the server gone."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from building.steps import ROOT
from tests.browser import Browser, PageError, wait_for
from tests.conftest import Site

ENGINE = "document.documentElement.dataset.engine"
DEFAULTS = {"system": "", "sampling": {"temperature": 0, "max_tokens": 8}}
REFERENCE = json.loads((Path(__file__).parents[1] / "golden/smollm2.json").read_text())["prompts"]

COUNTED = """
from tensortab.sampling import Sampling

class Counted:
    calls = 0
    def __init__(self, real): self.__dict__["real"] = real
    def __getattr__(self, name):
        Counted.calls += 1
        return getattr(self.real, name)

device = pipe.generator.device
device._js = Counted(device._js)
replay = device._replay
def counted(*args):
    Counted.calls += 1
    return replay(*args)
device._replay = counted

async def run(count):
    Counted.calls = 0
    ids = [t.id async for t in pipe.generator.generate(PROMPT, Sampling(), count)]
    return ids, Counted.calls

first, _ = await run(2)
few, few_calls = await run(2)
created = device.counters()["created"]
many, many_calls = await run(6)
created = device.counters()["created"] - created
device._js, device._replay = device._js.real, replay
import json
import re
json.dumps({"ids": many, "calls": many_calls - few_calls, "tokens": len(many) - len(few), "created": created})
"""


def load(browser: Browser, site: Site) -> None:
    """The button on the card of a first visit loads the model; new chats are greedy and short."""
    browser.open(site.url)
    browser.evaluate(f"void localStorage.setItem('tensortab.defaults', {json.dumps(json.dumps(DEFAULTS))})")
    browser.open(site.url)
    wait_for(browser, "Boolean(document.querySelector('[data-act=load-default]'))", 60)
    browser.evaluate("void document.querySelector('[data-act=load-default]').click()")
    wait_for(browser, f"{ENGINE} === 'ready'", 300)


def ask(browser: Browser, text: str) -> str:
    """Sends a message; the answer's text."""
    turns = browser.evaluate("document.querySelectorAll('.turn').length")
    browser.evaluate(f"void (document.querySelector('#prompt').value = {json.dumps(text)})")
    browser.evaluate("void document.querySelector('#send').click()")
    done = f"document.querySelectorAll('.turn').length === {turns + 2} && !document.querySelector('.streaming')"
    wait_for(browser, f"{done} && {ENGINE} === 'ready'", 300)
    return browser.evaluate("[...document.querySelectorAll('.turn')].at(-1).innerText")


def test_a_chat_online_and_with_the_server_gone(browser: Browser, site: Site) -> None:
    load(browser, site)
    assert "The capital of France is Paris." in ask(browser, "What is the capital of France?")
    wait_for(browser, "navigator.serviceWorker.getRegistration().then((r) => Boolean(r?.active))", 60)

    prompt = next(p for p in REFERENCE if p["name"] == "story")
    source = COUNTED.replace("PROMPT", str(prompt["ids"]))
    counted = json.loads(browser.evaluate(f"tensortab.run({json.dumps(source)})", timeout=300))
    assert counted["ids"] == prompt["transformers"]["ids"][:6]
    assert counted["calls"] <= counted["tokens"], "at most one call into JavaScript a token"
    assert counted["created"] == 0, "decoding makes no GPU object"

    site.stop()
    try:
        browser.open(site.url)
        wait_for(browser, f"{ENGINE} === 'ready'", 300)
        shown = browser.evaluate("document.querySelector('main').innerText")
        assert "What is the capital of France?" in shown, "the conversation was kept"
        assert "Paris" in ask(browser, "Again: what is the capital of France?")
    finally:
        site.start()


@pytest.fixture
def elsewhere(dist: Path, tmp_path: Path) -> Iterator[Site]:
    """A site with our Pyodide files and wheels, and none of our pages."""
    for name in ("pyodide", "wheels"):
        shutil.copytree(dist / name, tmp_path / name)
    (tmp_path / "other.html").write_text("<!doctype html><title>Another page</title>")
    site = Site(tmp_path)
    yield site
    site.stop()


def test_another_page_with_pyodide_can_use_the_library(chromium: Browser, elsewhere: Site) -> None:
    """Nothing but the lock file is needed: import, a tensor on the GPU, and its values."""
    chromium.open(elsewhere.url + "other.html")
    source = "import tensortab as tt\nstr(await (tt.Tensor([1, 2, 3]) * 2 + 1).tolist())"
    script = """import("./pyodide/pyodide.mjs")
        .then(({ loadPyodide }) => loadPyodide())
        .then(async (pyodide) => { await pyodide.loadPackage("tensortab"); return pyodide; })
        .then((pyodide) => pyodide.runPythonAsync(SOURCE))""".replace("SOURCE", json.dumps(source))
    assert chromium.evaluate(script, timeout=120) == "[3.0, 5.0, 7.0]"


SOFTMAX = f"tensortab.run({json.dumps('str(await (tt.Tensor([[1, 2], [3, 4]]).softmax() * 2).tolist())')})"


def test_knobs_work_in_the_tab(firefox: Browser, site: Site) -> None:
    firefox.open(f"{site.url}?DEBUG=2")
    assert firefox.evaluate(SOFTMAX, timeout=60).startswith("[[0.53")
    assert any("GB/s" in line for line in firefox.console())


def test_a_knob_that_needs_numpy_says_so_in_the_tab(firefox: Browser, site: Site) -> None:
    """The page has none; with a wrong answer instead, or a raw ModuleNotFoundError, this fails."""
    firefox.open(f"{site.url}?CHECK=1")
    with pytest.raises(PageError, match="CHECK=1 computes each step in NumPy as well: install it"):
        firefox.evaluate(SOFTMAX, timeout=60)


def test_the_readmes_call_runs_in_the_page(firefox: Browser, site: Site) -> None:
    (call,) = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    firefox.open(site.url)
    assert "The capital of France is Paris" in firefox.evaluate(call.strip().removeprefix("await "), timeout=300)
