"""The worker's engine in CPython, with pipelines that only count: loads, chats and tasks at the same time."""

import asyncio
import json
import sys
from array import array
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

CHAT, SPEECH = "text-generation", "automatic-speech-recognition"
TEXTS, PICTURES = "feature-extraction", "image-classification"


class Pipe:
    """A model whose answer has no end until it is aborted; freed in the middle of one, it says so."""

    alive = 0

    def __init__(self, name: str) -> None:
        self.name, self.aborted, self.busy = name, False, False
        self.generator = SimpleNamespace(context=64)
        self.context, self.nbytes = 64, 1
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
        yield {"choices": [{"finish_reason": "abort"}], "usage": usage, "timings": {"tokens_per_second": 1.0}}

    def abort(self) -> None:
        self.aborted = True

    def free(self) -> None:
        assert not self.busy, "freed while it answers"
        Pipe.alive -= 1


class Streamed(Pipe):
    """Speech or a summary: one part after the other until it is aborted, or three."""

    async def stream(self, given: Any, **options: object) -> Any:
        self.busy = True
        for done in range(1, 4):
            yield {"text": f"{self.name} {given} {done}", "options": options}
            await asyncio.sleep(0.02)
            if self.aborted:
                break
        self.busy = False


class Speech(Streamed):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.languages = {"en": 1, "fr": 2} if name == "multilingual" else {}


class Vectors(Pipe):
    pooling = "none"

    async def __call__(self, texts: list[str], pooling: str | None = None, normalize: bool = False) -> Any:
        await asyncio.sleep(0.005)
        assert (pooling, normalize) == ("mean", True)
        return [[float(len(text)), 1.0] for text in texts]


class Labels(Pipe):
    async def __call__(self, image: Any, top_k: int) -> Any:
        await asyncio.sleep(0.01)
        return [{"label": image, "score": 1.0}] * top_k


class Index:
    """tensortab.search's, without a GPU."""

    @classmethod
    def load(cls, data: bytes, dimensions: int, _device: object) -> "Index":
        index, values = cls(), array("f", data)
        index.rows = [values[n : n + dimensions] for n in range(0, len(values), dimensions)]
        return index

    async def search(self, vector: Any, k: int) -> list[tuple[int, float]]:
        scores = [(row, sum(a * b for a, b in zip(x, vector, strict=True))) for row, x in enumerate(self.rows)]
        return sorted(scores, key=lambda found: -found[1])[:k]

    def free(self) -> None:
        Pipe.alive += 100  # that of an index: seen in the tests that unload one


KINDS: dict[str, type[Pipe]] = {
    "automatic-speech-recognition": Speech, "summarization": Streamed, "feature-extraction": Vectors,
    "image-classification": Labels,
}  # fmt: skip


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    for name in ("js", "pyodide", "pyodide.code", "pyodide.ffi", "pyodide.http", "pyodide_js"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    module = import_module("tensortab.worker")

    async def find(model: str, _: object) -> str:
        await asyncio.sleep(0.005)
        return model

    async def pipeline(task: str, model: Any, **_: object) -> Pipe:
        await asyncio.sleep(0.005)
        if isinstance(model, Pipe):  # a summary by the chat's model
            Pipe.alive -= 1
            return KINDS[task](f"by {model.name}:")
        return KINDS.get(task, Pipe)(model)

    async def device(_: object) -> SimpleNamespace:
        return SimpleNamespace(info={})

    async def remember(*_: object, **__: object) -> None:  # tests/browser_engine/test_inventory.py
        pass

    async def measure(_device: object, generator: Any, report: Any) -> dict[str, Any]:
        report("read", 0, 1)
        await asyncio.sleep(0.05)
        return {"context": generator.context if generator else None}

    monkeypatch.setattr(module, "find", find)
    tt = SimpleNamespace(pipeline=pipeline, Error=module.tt.Error, __version__="1.2.3")
    monkeypatch.setattr(module, "tt", tt)
    monkeypatch.setattr(module, "pyodide", SimpleNamespace(__version__="9.9"))
    module.js.navigator.userAgent = "Some/1.0"
    monkeypatch.setattr(module.Engine, "device", device)
    monkeypatch.setattr(module, "_remember", remember)
    monkeypatch.setattr(module, "lab", SimpleNamespace(measure=measure))
    monkeypatch.setattr(module, "Index", Index)
    monkeypatch.setattr(module, "to_js", lambda values: values)
    monkeypatch.setattr(Pipe, "alive", 0)
    yield module
    for name in set(sys.modules) - before:
        if name.endswith((".browser", "tensortab.worker")):
            del sys.modules[name]


def played(worker: Any, steps: Any) -> dict[int, dict]:
    """The last message to each request of `steps(ask)`."""
    return {message["id"]: message for message in heard(worker, steps)}


def heard(worker: Any, steps: Any) -> list[dict]:
    """All messages that come while `steps(ask)` runs."""
    said: list[dict] = []

    async def play() -> None:
        engine = worker.Engine(lambda text, *attachments: said.append({**json.loads(text), "attachments": attachments}))

        async def ask(id: int, method: str, pause: float = 0.1, inputs: tuple = (), **params: object) -> None:
            text = json.dumps({"id": id, "method": method, "params": params})
            engine.receive([text, *inputs] if inputs else text)
            await asyncio.sleep(pause)

        await steps(ask)
        await asyncio.sleep(0.1)

    asyncio.run(play())
    return said


def test_a_load_ends_the_answer_before_it_frees_the_model(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="one")
        await ask(2, "chat", messages=[])
        await ask(3, "load", task=CHAT, model="two")

    said = played(worker, steps)
    assert said[2]["result"]["finish_reason"] == "abort"
    assert said[3]["result"]["model"] == "two"
    assert Pipe.alive == 1


@pytest.mark.parametrize("stage", ["download", "load", "aborted"])
def test_a_load_that_fails_leaves_the_model_before(worker: Any, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """While it downloads, the model before works on; what was freed for it comes back with the next request."""
    find, pipeline = worker.find, worker.tt.pipeline

    async def failing(*given: Any, **options: Any) -> Any:
        await asyncio.sleep(0.05)
        if "two" in given:
            raise worker.tt.Error("offline", "no host answers")
        return await (pipeline if options else find)(*given, **options)

    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="one")
        if stage == "load":
            monkeypatch.setattr(worker.tt, "pipeline", failing)
        else:
            monkeypatch.setattr(worker, "find", failing)
        await ask(2, "chat", 0.01, messages=[])
        await ask(3, "load", 0.02 if stage == "aborted" else 0.1, task=CHAT, model="two")
        if stage == "aborted":
            await ask(4, "abort", target=3)
        await ask(5, "abort", 0.2, target=2)
        await ask(6, "chat", messages=[])
        await ask(7, "abort", target=6)
        await ask(8, "load", 0.2, task=CHAT, model="three")

    messages = heard(worker, steps)
    said = {message["id"]: message for message in messages}
    assert said[3]["error"]["code"] == ("aborted" if stage == "aborted" else "offline")
    assert said[6]["result"]["finish_reason"] == "abort"
    assert said[8]["result"]["model"] == "three"
    kinds = [(message["id"], "chunk" in message) for message in messages]
    if stage != "load":
        assert (2, True) in kinds[kinds.index((3, False)) :], "the model before was ended for a download that failed"
    assert Pipe.alive == 1


def test_of_quick_loads_the_newest_wins(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        for id, model in enumerate(["one", "two", "three", "four"], 1):
            await ask(id, "load", 0.001, task=CHAT, model=model)

    said = played(worker, steps)
    assert [said[id]["error"]["code"] for id in (1, 2, 3)] == ["aborted"] * 3
    assert said[4]["result"]["model"] == "four"
    assert Pipe.alive == 1


def test_the_lab_measures_with_and_without_a_model(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "lab")
        await ask(2, "load", task=CHAT, model="one")
        await ask(3, "lab")

    said = played(worker, steps)
    assert said[1]["result"] == {"context": None, "model": None}
    assert said[3]["result"] == {"context": 64, "model": "one"}


def test_the_lab_is_refused_while_an_answer_is_written_and_a_chat_waits_for_it(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="one")
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
        await ask(4, "load", task=CHAT, model="one")

    said = played(worker, steps)
    assert [said[id]["error"]["code"] for id in (1, 3)] == ["aborted"] * 2
    assert said[4]["result"]["model"] == "one"




def test_each_task_has_a_model_of_its_own(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="chat")
        await ask(2, "load", task=SPEECH, model="whisper")
        await ask(3, "load", task=PICTURES, model="net")
        await ask(4, "task", task=SPEECH, params={"return_timestamps": True}, inputs=("sound",))
        await ask(5, "task", task=PICTURES, params={"top_k": 2}, inputs=("cat",))
        await ask(6, "load", task=SPEECH, model="other")
        await ask(7, "unload", task=PICTURES)
        await ask(8, "task", task=PICTURES, params={"top_k": 2}, inputs=("cat",))

    said = heard(worker, steps)
    parts = [message["chunk"]["text"] for message in said if message["id"] == 4 and "chunk" in message]
    assert parts == [f"whisper sound {n}" for n in (1, 2, 3)]
    ends = {message["id"]: message for message in said}
    assert ends[2]["result"] == {"model": "whisper", "stored": True}
    assert ends[4]["result"] == {"text": parts[-1], "options": {"return_timestamps": True}}
    assert ends[5]["result"] == {"output": [{"label": "cat", "score": 1.0}] * 2}
    assert ends[8]["error"]["code"] == "bad_request" and "load one first" in ends[8]["error"]["message"]
    assert Pipe.alive == 2


def test_the_languages_of_a_model_that_hears_several_are_told(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=SPEECH, model="multilingual")
        await ask(2, "task", task=SPEECH, params={"language": "fr", "task": "translate"}, inputs=("sound",))
        await ask(3, "load", task=SPEECH, model="english")

    said = played(worker, steps)
    assert said[1]["result"] == {"model": "multilingual", "stored": True, "languages": ["en", "fr"]}
    assert said[2]["result"]["options"] == {"language": "fr", "task": "translate"}
    assert said[3]["result"] == {"model": "english", "stored": True}


def test_a_load_of_one_task_leaves_the_others_at_work(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="chat")
        await ask(2, "chat", 0.02, messages=[])
        await ask(3, "load", task=SPEECH, model="whisper")
        await ask(4, "abort", target=2)
        await ask(5, "task", 0.02, task=SPEECH, params={}, inputs=("sound",))
        await ask(6, "load", task=SPEECH, model="other")

    said = heard(worker, steps)
    order = [message["id"] for message in said if "result" in message]
    assert order.index(2) < order.index(3), "the load waited for its turn"
    ends = {message["id"]: message for message in said}
    assert ends[2]["result"]["finish_reason"] == "abort"
    assert ends[5]["result"]["text"] != "whisper sound 3", "ended by the load of its own task"
    assert ends[6]["result"]["model"] == "other"
    assert Pipe.alive == 2


def test_a_task_is_aborted_with_what_it_has_or_with_an_error(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "load", task=SPEECH, model="whisper")
        await ask(2, "task", 0.015, task=SPEECH, params={}, inputs=("sound",))
        await ask(3, "task", 0.001, task=SPEECH, params={}, inputs=("later",))
        await ask(4, "abort", 0.001, target=3)
        await ask(5, "abort", target=2)

    said = played(worker, steps)
    assert said[2]["result"]["text"] in ("whisper sound 1", "whisper sound 2")
    assert said[3]["error"]["code"] == "aborted"


def test_a_summary_is_by_the_chats_model_unless_one_of_its_own_is_loaded(worker: Any) -> None:
    async def steps(ask: Any) -> None:
        await ask(1, "task", task="summarization", params={"inputs": "text"})
        await ask(2, "load", task=CHAT, model="chat")
        await ask(3, "task", task="summarization", params={"inputs": "text"})
        await ask(4, "load", task="summarization", model="bart")
        await ask(5, "task", task="summarization", params={"inputs": "text"})
        await ask(6, "unload", task="summarization")
        await ask(7, "task", 0.015, task="summarization", params={"inputs": "text"})
        await ask(8, "load", task=CHAT, model="another")

    said = played(worker, steps)
    assert said[1]["error"]["code"] == "bad_request"
    assert said[3]["result"]["text"] == "by chat: text 3"
    assert said[5]["result"]["text"] == "bart text 3"
    assert said[7]["result"]["text"] != "by chat: text 3", "its model was going to be freed"
    assert Pipe.alive == 1


def test_texts_are_embedded_and_searched(worker: Any) -> None:
    rows = SimpleNamespace(to_bytes=lambda: array("f", [3, 1, 9, 1, 5, 1]).tobytes())

    async def steps(ask: Any) -> None:
        await ask(1, "load", task=TEXTS, model="mini")
        await ask(2, "embed", task=TEXTS, params={"inputs": ["one", "three"]})
        wish = {"inputs": "text", "k": 2, "version": "mini 1"}
        await ask(3, "search", task=TEXTS, params=wish)
        await ask(4, "index", task=TEXTS, params={"dimensions": 2, "version": "mini 1"}, inputs=(rows,))
        await ask(5, "search", task=TEXTS, params=wish)
        await ask(6, "search", task=TEXTS, params=wish | {"version": "mini 2"})
        await ask(7, "unload", task=TEXTS)

    said = played(worker, steps)
    assert said[2]["result"] == {"dimensions": 2}
    assert list(said[2]["attachments"][0]) == [3.0, 1.0, 5.0, 1.0]
    assert said[3]["result"] == said[6]["result"] == {"found": None}
    assert said[5]["result"] == {"found": [[1, 37.0], [2, 21.0]]}
    assert Pipe.alive == 100, "the model and its index were freed"


def test_its_methods_are_the_protocols(worker: Any) -> None:
    protocol = json.loads((Path(__file__).resolve().parents[2] / "app/studio/protocol.json").read_text())
    assert set(worker.Engine(lambda *_: None).methods) == set(protocol["methods"])


@pytest.mark.parametrize("fault", [KeyError("nowhere"), AssertionError("an invariant"), "internal"], ids=str)
def test_a_fault_of_ours_is_told_as_one(worker: Any, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    """With a report: versions, browser, GPU, the request's method and the traceback."""
    fault = fault if isinstance(fault, BaseException) else worker.tt.Error("internal", "kernel x does not compile")

    async def create(_self: Pipe, **_: object) -> None:
        raise fault

    monkeypatch.setattr(Pipe, "create", create)

    async def steps(ask: Any) -> None:
        await ask(1, "load", task=CHAT, model="one")
        await ask(2, "chat", messages=[{"role": "user", "content": "a secret"}])

    error = played(worker, steps)[2]["error"]
    assert error["code"] == "internal"
    assert str(fault) in error["message"]
    for part in ("TensorTab 1.2.3", "Browser: Some/1.0", "GPU: ", "Request: chat", "in create", type(fault).__name__):
        assert part in error["report"]
    assert "a secret" not in error["report"]


def test_errors_of_a_request_have_no_report(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the library with a code of their own, a lack of memory, and those of the user's own code in run."""
    said = {}
    for n, fault in enumerate([worker.tt.Error("context_exceeded", "too long"), MemoryError()]):

        async def create(_self: Pipe, fault: BaseException = fault, **_: object) -> None:
            raise fault

        monkeypatch.setattr(Pipe, "create", create)

        async def steps(ask: Any) -> None:
            await ask(1, "load", task=CHAT, model="one")
            await ask(2, "chat", messages=[])

        said[n] = played(worker, steps)[2]["error"]
    assert said[0] == {"code": "context_exceeded", "message": "too long"}
    assert set(said[1]) == {"code", "message"} and said[1]["code"] == "out_of_memory"


def test_the_users_own_code_is_told_with_its_line(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(source: str, globals: dict, filename: str) -> None:
        exec(compile(source, filename, "exec"), globals)

    monkeypatch.setattr(worker, "eval_code_async", run)

    async def steps(ask: Any) -> None:
        await ask(1, "run", source="x = 1\n1 / 0")
        await ask(2, "run", source="(")
        await ask(3, "run", source="raise SystemExit")

    said = played(worker, steps)
    assert said[1]["error"] == {"code": "bad_request", "message": "line 2: ZeroDivisionError: division by zero"}
    assert said[2]["error"]["code"] == "bad_request" and "SyntaxError" in said[2]["error"]["message"]
    assert said[3]["error"] == {"code": "bad_request", "message": "line 1: SystemExit"}


def test_a_start_that_fails_is_told_as_one(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict] = []

    async def started(fault: BaseException) -> dict:
        async def device(_: object) -> None:
            raise fault

        monkeypatch.setattr(worker.Engine, "device", device)
        await worker.Engine(lambda text: said.append(json.loads(text))).ready("cold")
        return said[-1]

    told = asyncio.run(started(ValueError("odd")))
    assert told["id"] is None and told["error"]["code"] == "start_failed"
    assert "ValueError: odd" in told["error"]["report"]
    told = asyncio.run(started(worker.tt.Error("no_adapter", "none")))
    assert told["error"] == {"code": "no_adapter", "message": "none"}
