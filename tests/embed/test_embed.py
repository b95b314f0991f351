"""The snippets of docs/embed.md, as they stand there, in pages of another origin, with the real models."""

import ast
import json
import re
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from building.server import Handler, Server
from building.steps import ROOT
from tests.browser import Chromium
from tests.embed.conftest import PYODIDES
from tests.recipe_text import GOLDEN

DOCUMENT = (ROOT / "docs/embed.md").read_text()
MINILM = json.loads((GOLDEN / "bert.json").read_text())["minilm"]
CELL = re.compile(r"`\n *import json\n.*?`", re.S)  # the Python of a page
IN_A_PAGE = """<!doctype html><meta charset="utf-8"><p id="out"></p>
<script type="module">
  import { loadPyodide } from "https://tensortab.example/pyodide/pyodide.mjs";
  const pyodide = await loadPyodide({ packages: ["micropip"] });
  document.querySelector("#out").textContent = await pyodide.runPythonAsync(`%s`);
</script>"""


def snippets(heading: str) -> dict[str, str]:
    """{language: text} of the code blocks below a heading of the document."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S)
    assert section, heading
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", section[1], re.M | re.S))


class Page:
    """Files of a page on the foreign site, shown in the tab."""

    def __init__(self, tab: Chromium, foreign: Server, ours: Server) -> None:
        self.tab, self.foreign, self.ours = tab, foreign, ours

    def here(self, text: str, version: str = "") -> str:
        """The text with the addresses of our servers."""
        text = text.replace("https://tensortab.example/", self.ours.url)
        text = text.replace("connect-src https:", f"connect-src {self.ours.url}")
        text = text.replace("https://pyodide.example/", f"{self.foreign.url}{version}/")
        return text.replace("https://pyscript.example/", f"{self.foreign.url}pyscript/")

    def show(self, files: dict[str, str], version: str = "", folder: str = "", selector: str = "#out") -> str:
        """The text that the page shows when all is done."""
        for name, text in files.items():
            (self.foreign.folder / folder / name).write_text(self.here(text, version))
        self.tab.console()
        self.tab.open(f"{self.foreign.url}{folder}page.html")
        return self.text(selector)

    def text(self, selector: str, timeout: float = 120) -> str:
        end, text = time.monotonic() + timeout, ""
        while not text:
            text = self.tab.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent")
            console = self.tab.console()
            assert not [line for line in console if "Uncaught" in line or "Traceback" in line], console
            assert time.monotonic() < end, f"nothing is shown within {timeout:g} s"
            time.sleep(0.1)
        return text


@pytest.fixture
def page(tab: Chromium, foreign: Server, our_site: Server) -> Page:
    return Page(tab, foreign, our_site)


def files(heading: str) -> dict[str, str]:
    names = {"html": "page.html", "js": "worker.js"}
    return {names[language]: text for language, text in snippets(heading).items()}


def check(text: str) -> None:
    """The vector of the golden file's first sentence."""
    (vector,) = json.loads(text)
    np.testing.assert_allclose(vector, MINILM["vector"], atol=2e-6)


WHERE = ["On the main thread", "In a worker", "In a worker made from a blob"]


@pytest.mark.parametrize("heading", WHERE)
@pytest.mark.parametrize("version", PYODIDES)
def test_a_page_of_somebody_else(page: Page, heading: str, version: str) -> None:
    check(page.show(files(heading), version))


@pytest.mark.parametrize(("heading", "version"), [(WHERE[0], "0.27.7"), (WHERE[2], "314")])
def test_a_chat(page: Page, heading: str, version: str) -> None:
    python = textwrap.indent(snippets("A chat")["python"], " " * 6)
    chat = {name: CELL.sub(lambda _: f"`\n{python}`", text) for name, text in files(heading).items()}
    assert chat != files(heading)
    assert "".join(json.loads(page.show(chat, version))) == "The capital of France"


@pytest.mark.parametrize(
    ("heading", "folder"), [("PyScript on the main thread", ""), ("PyScript in a worker", "isolated/")]
)
def test_pyscript(page: Page, heading: str, folder: str) -> None:
    check(page.show(files(heading), folder=folder))


def test_a_strict_policy(page: Page) -> None:
    check(page.show(files("With a strict policy")))


FAILS = """
import tensortab as tt
try:
    await tt.pipeline("feature-extraction")
except tt.Error as error:
    told = error.message
told"""


def test_a_policy_that_forbids_the_wheels_javascript(page: Page) -> None:
    """It is told, with what to do; nothing has been downloaded by then."""
    strict = files("With a strict policy")["page.html"]
    (register,) = re.findall(r".*register\.callKwargs.*\n", strict)
    page.ours.requests.clear()
    text = page.show({"page.html": CELL.sub(lambda _: f"`{FAILS}`", strict.replace(register, ""))})
    assert "'unsafe-eval' and blob:" in text and "tensortab.browser.register" in text
    assert not [request for request, _ in page.ours.requests if "models/" in request]


def test_a_notebook_without_pip(page: Page) -> None:
    check(page.show({"page.html": IN_A_PAGE % snippets("In another notebook")["python"]}))


def test_jupyterlite(page: Page, lite: Path, serve: Callable[..., Server]) -> None:
    given, built = json.loads(page.here(snippets("In JupyterLite")["json"])), lite / "jupyter-lite.json"
    settings = json.loads(built.read_text())
    kernel = settings["jupyter-config-data"].setdefault("litePluginSettings", {})
    for name, values in given["jupyter-config-data"]["litePluginSettings"].items():
        kernel.setdefault(name, {}).update(values)
    built.write_text(json.dumps(settings))
    cell = quote(page.here(snippets("In JupyterLite")["python"]))
    page.tab.open(f"{serve(lite, Handler).url}repl/index.html?kernel=python&code={cell}&execute=1")
    check(json.dumps(ast.literal_eval(page.text(".jp-OutputArea-output"))))
