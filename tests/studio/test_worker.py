"""The worker's engine in CPython, with a pipeline that only counts: loads and chats at the same time."""

import asyncio
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest


class Pipe:
    """A model whose answer has no end until it is aborted; freed in the middle of one, it says so."""

    alive = 0

    def __init__(self, name: str) -> None:
        self.name, self.aborted, self.busy = name, False, False
        self.generator = SimpleNamespace(context=64, nbytes=1)
        self.chat = SimpleNamespace(completions=self)
        Pipe.alive += 1

    async def create(self, **_: object) -> Any:
        return self._chunks()

    async def _chunks(self) -> Any:
        self.busy = True
        while not self.aborted:
            await asyncio.sleep(0.001)
            yield {"choices": [{"finish_reason": None}]}
        self.busy = False
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}
        yield {"choices": [{"finish_reason": "abort"}], "usage": usage, "timings": {}}

    def abort(self) -> None:
        self.aborted = True

    def free(self) -> None:
        assert not self.busy, "freed while it answers"
        Pipe.alive -= 1


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    for name in ("js", "pyodide", "pyodide.code", "pyodide.ffi", "pyodide.http"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    module = import_module("studio.worker")

    async def find(model: str, _: object) -> str:
        await asyncio.sleep(0.005)
        return model

    async def pipeline(_task: str, model: str, **_: object) -> Pipe:
        await asyncio.sleep(0.005)
        return Pipe(model)

    async def device(_: object) -> None:
        return None

    monkeypatch.setattr(module, "find", find)
    monkeypatch.setattr(module, "tt", SimpleNamespace(pipeline=pipeline, Error=module.tt.Error))
    monkeypatch.setattr(module.Engine, "device", device)
    monkeypatch.setattr(Pipe, "alive", 0)
    yield module
    for name in set(sys.modules) - before:
        if name.endswith((".browser", "studio.worker")):
            del sys.modules[name]


def played(worker: Any, steps: Any) -> dict[int, dict]:
    """The last message to each request of `steps(ask)`."""
    said: dict[int, dict] = {}

    async def play() -> None:
        engine = worker.Engine(lambda text: said.update({json.loads(text)["id"]: json.loads(text)}))

        async def ask(id: int, method: str, pause: float = 0.1, **params: object) -> None:
            engine.receive(json.dumps({"id": id, "method": method, "params": params}))
            await asyncio.sleep(pause)

        await steps(ask)
        await asyncio.sleep(0.1)

    asyncio.run(play())
    return said


def test_a_load_ends_the_answer_before_it_frees_the_model(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", model="one")
        await ask(2, "chat", messages=[])
        await ask(3, "load", model="two")

    said = played(worker, steps)
    assert said[2]["result"]["finish_reason"] == "abort"
    assert said[3]["result"]["model"] == "two"
    assert Pipe.alive == 1


def test_of_quick_loads_the_newest_wins(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        for id, model in enumerate(["one", "two", "three", "four"], 1):
            await ask(id, "load", 0.001, model=model)

    said = played(worker, steps)
    assert [said[id]["error"]["code"] for id in (1, 2, 3)] == ["aborted"] * 3
    assert said[4]["result"]["model"] == "four"
    assert Pipe.alive == 1
