"""The snippets of docs/embed.md, as they stand there, in a page of another origin, with the real models."""

import json
import re
import time
from collections.abc import Callable

import numpy as np
import pytest

from building.server import Server
from building.steps import ROOT
from tests.browser import Chromium
from tests.recipe_text import GOLDEN

from tests.embed.conftest import PYODIDES

MINILM = json.loads((GOLDEN / "bert.json").read_text())["minilm"]
PYTHON = re.compile(r'( *)import json\n.*?json\.dumps\(.*?\)\n', re.S)


def snippets(heading: str) -> dict[str, str]:
    """{language: text} of the code blocks below a heading of the document."""
    text = (ROOT / "docs/embed.md").read_text()
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section, heading
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", section[1], re.M | re.S))


@pytest.fixture
def page(tab: Chromium, foreign: Server, our_site: Server) -> Callable[..., str]:
    """page(heading, version): what the snippets of that section show in Pyodide of that version."""

    def show(heading: str, version: str, python: str = "", timeout: float = 120) -> str:
        for language, text in snippets(heading).items():
            text = text.replace("https://tensortab.example/", our_site.url)
            text = text.replace("https://pyodide.example/", f"{foreign.url}{version}/")
            if python:
                text = PYTHON.sub(lambda found: "".join(found[1] + line + "\n" for line in python.splitlines()), text)
            (foreign.folder / {"html": "page.html", "js": "worker.js"}[language]).write_text(text)
        tab.open(foreign.url + "page.html")
        tab.console()
        end = time.monotonic() + timeout
        while not (text := tab.evaluate("document.querySelector('#out')?.textContent")):
            assert not [line for line in tab.console() if "Uncaught" in line]
            assert time.monotonic() < end, "nothing is shown"
            time.sleep(0.1)
        return text

    return show


def check(text: str) -> None:
    """The vector of the golden file's first sentence."""
    (vector,) = json.loads(text)
    np.testing.assert_allclose(vector, MINILM["vector"], atol=2e-6)


WHERE = ["On the main thread", "In a worker", "In a worker made from a blob"]


@pytest.mark.parametrize("heading", WHERE)
@pytest.mark.parametrize("version", PYODIDES)
def test_a_page_of_somebody_else(page: Callable[..., str], heading: str, version: str) -> None:
    check(page(heading, version))
