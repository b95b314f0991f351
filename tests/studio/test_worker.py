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

    async def measure(_device: object, generator: Any, report: Any) -> dict[str, Any]:
        report("read", 0, 1)
        await asyncio.sleep(0.05)
        return {"context": generator.context if generator else None}

    monkeypatch.setattr(module, "find", find)
    monkeypatch.setattr(module, "tt", SimpleNamespace(pipeline=pipeline, Error=module.tt.Error))
    monkeypatch.setattr(module.Engine, "device", device)
    monkeypatch.setattr(module, "lab", SimpleNamespace(measure=measure))
    monkeypatch.setattr(Pipe, "alive", 0)
    yield module
    for name in set(sys.modules) - before:
        if name.endswith((".browser", "studio.worker")):
            del sys.modules[name]


def played(worker: Any, steps: Any) -> dict[int, dict]:
    """The last message to each request of `steps(ask)`."""
    return {message["id"]: message for message in heard(worker, steps)}


def heard(worker: Any, steps: Any) -> list[dict]:
    """All messages that come while `steps(ask)` runs."""
    said: list[dict] = []

    async def play() -> None:
        engine = worker.Engine(lambda text: said.append(json.loads(text)))

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


def test_the_lab_measures_with_and_without_a_model(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "lab")
        await ask(2, "load", model="one")
        await ask(3, "lab")

    said = played(worker, steps)
    assert said[1]["result"] == {"context": None, "model": None}
    assert said[3]["result"] == {"context": 64, "model": "one"}


def test_the_lab_is_refused_while_an_answer_is_written_and_a_chat_waits_for_it(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", model="one")
        await ask(2, "chat", messages=[])
        await ask(3, "lab")
        await ask(4, "abort", target=2)
        await ask(5, "lab", 0.01)
        await ask(6, "chat", messages=[])
        await ask(7, "abort", target=6)

    said = heard(worker, steps)
    refused = next(message["error"] for message in said if message["id"] == 3)
    assert refused["code"] == "bad_request" and "when it is done" in refused["message"]
    kinds = [(message["id"], message.get("event", "end")) for message in said]
    assert kinds.index((5, "end")) < kinds.index((6, "chunk")), "the chat waited"


def test_the_lab_is_cancelled_by_an_abort_and_by_a_load(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "lab", 0.01)
        await ask(2, "abort", target=1)
        await ask(3, "lab", 0.01)
        await ask(4, "load", model="one")

    said = played(worker, steps)
    assert [said[id]["error"]["code"] for id in (1, 3)] == ["aborted"] * 2
    assert said[4]["result"]["model"] == "one"
