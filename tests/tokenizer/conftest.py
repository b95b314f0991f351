"""The default model's tokenizer, conversations, and the tab's backend run by node."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.tokenizer import Tokenizer, load_tokenizer

from building.models import MODEL, model
from building.steps import alone
from building.tools import NPM, node, npm_packages

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
TEMPLATES = {path.stem: path.read_text() for path in sorted((HERE / "templates").glob("*.jinja"))}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one": [{"role": "user", "content": "Hello <there>, 'you' & \"me\" é 日本 🦙"}],
    "system": [{"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": "Hi\n\n"}],
    "turns": [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\none "},
        {"role": "user", "content": ""},
    ],
    "wrong order": [{"role": "assistant", "content": "I begin"}, {"role": "assistant", "content": "and go on"}],
    "calls": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Weather"}, {"type": "image"}, {"type": "text", "text": "?"}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2, "x": None}}}],
        },
        {"role": "tool", "content": '{"sky": "clear"}'},
        {"role": "assistant", "content": "<think>\neasy\n</think>\n\nClear."},
    ],
    "controls": [
        {"role": "note", "content": "skip"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "a < b"},
        {"role": "stop", "content": ""},
        {"role": "user", "content": "never"},
    ],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "required": ["place"]}}}]


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Checkpoint:
    with alone():
        path = model(MODEL)
    return asyncio.run(open_checkpoint(path))


@pytest.fixture(scope="session")
def smollm2(smollm2_checkpoint: Checkpoint) -> Tokenizer:
    return load_tokenizer(smollm2_checkpoint)


@pytest.fixture(scope="session")
def in_the_tab() -> Callable[[str, Any], Any]:
    """(Python code that sets `result` from `given`, given) -> result, in Pyodide with the tab's tokenizer backend."""
    with alone():
        npm_packages()

    def run(code: str, given: Any) -> Any:
        done = subprocess.run(
            [node()[0], HERE / "in_the_tab.mjs", NPM / "node_modules", HERE.parents[1] / "app"],
            input=json.dumps({"code": code, "given": given}),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run
