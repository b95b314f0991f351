"""app/studio/protocol.json: it names what the library and the page name, and its checker refuses what does not fit."""

import json
import subprocess
from typing import Any

import pytest
from studio.shell.errors import ERRORS
from tensortab.errors import CODES

from building.steps import ROOT
from building.tools import node

PROTOCOL: dict[str, Any] = json.loads((ROOT / "app/studio/protocol.json").read_text())


def test_the_codes_are_the_librarys() -> None:
    errors = PROTOCOL["$defs"]["error"]["anyOf"]
    assert sorted(code for error in errors for code in error["properties"]["code"]["enum"]) == sorted(CODES)


def test_every_code_says_what_to_do() -> None:
    """All of the library's but that of what the user stopped, and the page's own."""
    assert set(ERRORS) == set(CODES) - {"aborted"} | {"two_tabs", "crashed", "not_kept"}
    for title, advice, buttons in ERRORS.values():
        assert 0 < len(title) < 60 and advice and buttons


LOAD = {"id": 1, "method": "load", "params": {"task": "text-generation", "model": "m"}}
LOADED = {"id": 1, "result": {"model": "m", "stored": True}}
CHAT = {"id": 1, "method": "chat", "params": {"messages": [{"role": "user", "content": "Hi"}]}}
FAULT = {"code": "internal", "message": "x", "report": "y"}


@pytest.mark.parametrize(
    ("asked", "told", "says"),
    [
        (LOAD, [LOADED], None),
        (LOAD, [{"id": 1, "event": "progress", "stage": "download", "loaded": 0, "total": 1}, LOADED], None),
        (LOAD, [{"id": 1, "error": FAULT}], None),
        (LOAD, [{"id": 1, "error": {"code": "bad_file", "message": "x"}}], None),
        (LOAD, [{"id": None, "error": {**FAULT, "code": "start_failed"}}], None),
        ({**LOAD, "method": "fly"}, [], "no method fly"),
        ({**LOAD, "params": {"task": "text-generation"}}, [], "load.params has no model"),
        ({**LOAD, "params": {"model": "m", "task": "fly"}}, [], 'load.params.task is "fly"'),
        ({**LOAD, "id": "one"}, [], "the id one"),
        (LOAD, [{"id": 2, "result": {}}], "answers no request"),
        (LOAD, [LOADED, LOADED], "answers no request"),
        (LOAD, [{"id": 1, "result": {"model": "m"}}], "load.result has no stored"),
        (LOAD, [{"id": 1, "result": {**LOADED["result"], "colour": "red"}}], "load.result has colour"),
        (LOAD, [{"id": 1, "result": {**LOADED["result"], "context": 1.5}}], "load.result.context is 1.5"),
        (LOAD, [{"id": 1, "event": "progress", "stage": "tokens", "loaded": 0, "total": 1}], "load.progress.stage"),
        (LOAD, [{"id": 1, "event": "progress", "stage": "load", "loaded": 0}], "load.progress has no total"),
        (LOAD, [{"id": 1, "event": "chunk", "chunk": {}}], "load has no chunks"),
        (CHAT, [{"id": 1, "event": "chunk", "chunk": {"choices": [{"index": 0}]}}], "choices[0] has no delta"),
        (LOAD, [{"event": "left"}], "no event left"),
        (LOAD, [{"event": "lost"}], "lost has no message"),
        (LOAD, [{"id": 1, "error": {"code": "internal", "message": "x"}}], "has no report"),
        (LOAD, [{"id": 1, "error": {"code": "bad_file", "message": "x", "report": "y"}}], "load.error has report"),
        (LOAD, [{"id": 1, "error": {"code": "odd", "message": "x"}}], 'load.error.code is "odd"'),
    ],
    ids=str,
)  # fmt: skip
def test_the_checker_refuses_what_does_not_fit(asked: dict, told: list[dict], says: str | None) -> None:
    script = """
      import { Protocol } from "./tests/studio/protocol.js";
      const [schema, asked, ...told] = JSON.parse(process.argv[1]);
      try {
        const protocol = new Protocol(schema);
        protocol.asked(JSON.stringify(asked));
        for (const message of told) protocol.told(JSON.stringify(message));
      } catch (error) {
        console.log(error.message);
      }
    """
    command = [node()[0], "--input-type=module", "-e", script, json.dumps([PROTOCOL, asked, *told])]
    said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert (says in said) if says else said == ""
