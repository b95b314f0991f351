"""The engine's worker: answers the page's messages with the library. static/worker.js starts it.

Messages are JSON text; one with Files is the array [text, File, ...].

page -> worker   {"id", "method", "params"}: load {"model"} (or null with the Files), chat {an OpenAI chat request},
                 abort {"target": id}, run {"source": Python}, lab, info, storage, delete {"model"}
worker -> page   {"id", "event": "progress", "stage", "loaded", "total"} and {"id", "event": "chunk", "chunk"}, then one
                 {"id", "result"} or {"id", "error": {"code", "message"}}
                 {"event": "ready", "info", "boot", "ms"}, {"event": "lost", "message"},
                 {"id": null, "error"} if there can be no answer to anything (no WebGPU)
"""

import asyncio
import gc
import json
import os
import pkgutil
import random
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl

import js
import tensortab as tt
from pyodide.code import eval_code_async
from pyodide.ffi import create_proxy
from tensortab import device as devices
from tensortab import formats, lab, models
from tensortab.device import browser as gpu
from tensortab.sources import browser as storage
from tensortab.sources.model import find
from tensortab.tasks import text_generation
from tensortab.tokenizer import browser as text

for _package in (formats, models):  # imported now, so that they are in the snapshot and loading waits for none
    for _module in pkgutil.iter_modules(_package.__path__, _package.__name__ + "."):
        import_module(_module.name)

PROGRESS_SECONDS = 0.1  # between two reports of a stage


class Engine:
    """One model at a time; requests run as tasks, in the order in which they came."""

    def __init__(self, post: Callable[[str], None]) -> None:
        self._post = post
        self._tasks: dict[int, asyncio.Task] = {}
        self._model: Any = None  # what the last load was asked for: a name, Files or None
        self._pipe: Any = None
        self._loading: asyncio.Task | None = None
        self._answering: int | None = None  # the chat whose turn it is
        self._measuring: int | None = None  # the Lab's request
        self._turns = asyncio.Lock()  # one load, chat or measuring at a time
        self._device: Any = None
        self._watcher: asyncio.Future | None = None
        self.starting: asyncio.Future | None = None
        self._globals: dict[str, Any] = {"__name__": "__main__", "tt": tt, "tensortab": tt}

    def send(self, **message: Any) -> None:
        self._post(json.dumps(message))

    def receive(self, data: Any) -> None:
        """A message from the page."""
        text, *files = [data] if isinstance(data, str) else data
        message = json.loads(text)
        request = self._answer(message["id"], message["method"], message.get("params") or {}, files)
        task = self._tasks[message["id"]] = asyncio.ensure_future(request)
        task.add_done_callback(lambda _: self._tasks.pop(message["id"]))

    async def _answer(self, id: int, method: str, params: dict[str, Any], files: list[Any]) -> None:
        methods = {
            "load": self._load, "chat": self._chat, "abort": self._abort, "run": self._run,
            "lab": self._lab, "info": self._info, "storage": self._storage, "delete": self._delete,
        }  # fmt: skip
        try:
            if method not in methods:
                raise tt.Error("bad_request", f"The engine has no method {method!r}.")
            self.send(id=id, result=await methods[method](id, params, files))
        except asyncio.CancelledError:
            self.send(id=id, error={"code": "aborted", "message": "It was stopped."})
        except BaseException as error:  # whatever it is, the page gets an answer
            self.send(id=id, error=failure(error))

    async def ready(self, boot: str) -> None:
        """Says that the engine is up, or why it can't be."""
        try:
            info = await self._info(0, {}, [])
            self.send(event="ready", info=info, boot=boot, ms=round(js.performance.now()))
        except Exception as error:
            self.send(id=None, error=failure(error))

    # The device

    async def device(self) -> Any:
        """The GPU, a new one after a loss."""
        if self._device is None:
            self._device = await devices.choose()
            self._watcher = asyncio.ensure_future(self._watch(self._device))
        return self._device

    async def _watch(self, device: Any) -> None:
        """After a loss nothing of the model is left; the next load or chat brings it back from storage."""
        message = await device.lost()
        devices.use(None)
        self._device = self._pipe = None
        self.send(event="lost", message=message)

    async def _info(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        info = (await self.device()).info
        return {**info, "tier": devices.tier(info)}

    # The model

    async def _load(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """The newest load wins: it ends one that runs or waits, the answer that is being written, and measuring."""
        if self._loading is not None:
            self._loading.cancel()
        self._loading = self._tasks[id]
        if self._answering is not None:
            await self._abort(id, {"target": self._answering}, [])
        if self._measuring is not None:
            self._tasks[self._measuring].cancel()
        async with self._turns:
            self._model = files or params.get("model")
            return await self._make(id)

    async def _make(self, id: int) -> dict[str, Any]:
        """The model that was asked for, on the GPU; `id` gets the progress."""
        progress = Progress(lambda stage, loaded, total: self.send(
            id=id, event="progress", stage=stage, loaded=loaded, total=total
        ))  # fmt: skip
        if self._pipe is not None:
            self._pipe.free()
            self._pipe = None
        device = await self.device()
        model = self._model or text_generation.DEFAULT
        model = await find(model, lambda loaded, total: progress("download", loaded, total))
        self._pipe = self._globals["pipe"] = await tt.pipeline(
            "text-generation", model=model, device=device, on_progress=progress
        )
        generator = self._pipe.generator
        stored = getattr(model, "stored", True)
        return {"model": self._pipe.name, "context": generator.context, "bytes": generator.nbytes, "stored": stored}

    async def _chat(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        async with self._turns:
            self._answering = id
            try:
                if self._pipe is None:
                    if self._model is None:
                        raise tt.Error("bad_request", "No model is loaded: load one first.")
                    await self._make(id)
                last: dict[str, Any] = {}
                async for chunk in await self._pipe.chat.completions.create(**{**params, "stream": True}):
                    self.send(id=id, event="chunk", chunk=chunk)
                    last = chunk
            finally:
                self._answering = None
        usage = last["usage"]
        return {
            "usage": {
                "prompt_tokens": usage["prompt_tokens"],
                "completion_tokens": usage["completion_tokens"],
                "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            },
            "timings": last["timings"],
            "finish_reason": last["choices"][0]["finish_reason"],
        }

    async def _abort(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """An answer ends where it is (its finish_reason is "abort"); anything else ends with the error "aborted"."""
        target = params["target"]
        if target == self._answering and self._pipe is not None:
            self._pipe.chat.completions.abort()
        elif target in self._tasks:
            self._tasks[target].cancel()
        return {}

    # Python

    async def _run(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """Names stay from one run to the next; `tt` is the library, `pipe` the loaded model."""
        result = await eval_code_async(params["source"], globals=self._globals, filename="<page>")
        return {"text": "" if result is None else str(result)}

    # The Lab

    async def _lab(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """What tensortab.lab measures, of the model at hand if there is one; loads and chats wait meanwhile."""
        if self._turns.locked():
            raise tt.Error("bad_request", "The engine loads a model or writes an answer: measure when it is done.")
        progress = Progress(lambda stage, done, total: self.send(
            id=id, event="progress", stage=stage, loaded=done, total=total
        ))  # fmt: skip
        async with self._turns:
            self._measuring = id
            try:
                generator = self._pipe.generator if self._pipe else None
                result = await lab.measure(await self.device(), generator, progress)
            finally:
                self._measuring = None
            return {**result, "model": self._pipe.name if self._pipe else None}

    # Storage

    async def _storage(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        """The site's models and those kept here: name, size, stored, license, source; usage, quota, persisted."""
        kept = {model["name"]: model for model in await storage.kept()}
        known = [model | kept.pop(model["name"], {}) for model in await storage.known()]
        return {"models": [*known, *kept.values()], **await storage.usage()}

    async def _delete(self, id: int, params: dict[str, Any], files: list[Any]) -> dict[str, Any]:
        await storage.delete(params["model"])
        return {}


class Progress:
    """Calls report(stage, loaded, total) ten times a second at most, and for the end of a stage."""

    def __init__(self, report: Callable[[str, float, float], None]) -> None:
        self._report = report
        self._stage, self._time = "", 0.0

    def __call__(self, stage: str, loaded: float, total: float) -> None:
        now = time.monotonic()
        if stage == self._stage and loaded < total and now - self._time < PROGRESS_SECONDS:
            return
        self._stage, self._time = stage, now
        self._report(stage, loaded, total)


def failure(error: BaseException) -> dict[str, str]:
    """{code, message} of anything that was raised; what is not one of our errors is told with its line."""
    if isinstance(error, tt.Error):
        return {"code": error.code, "message": error.message}
    traceback.print_exception(error)
    if isinstance(error, MemoryError):
        return {"code": "out_of_memory", "message": "Python is out of memory. Reload the page, or use a smaller model."}
    lines = [f"line {at.lineno}: " for at in traceback.extract_tb(error.__traceback__) if at.filename == "<page>"]
    message = "".join(traceback.format_exception_only(error)).strip()
    return {"code": "bad_request", "message": "".join(lines[-1:]) + message}


def start(modules: Any, early: Any, boot: str) -> None:
    """Begins to answer. modules: {executor, tokenizers, jinja}; early: messages that have come already."""
    random.seed()  # a snapshot's generator would give every visitor the same numbers
    gc.freeze()  # else loading a model takes twice as long: each collection goes through libraries and vocabulary
    gc.set_threshold(100_000)
    os.environ.update(parse_qsl(js.location.search[1:]))  # debug.py's knobs: worker.js?DEBUG=2
    gpu.register(modules.executor)
    text.register(modules.tokenizers, modules.jinja)
    engine = Engine(js.self.postMessage)
    js.self.onmessage = create_proxy(lambda event: engine.receive(event.data))
    for data in early:
        engine.receive(data)
    engine.starting = asyncio.ensure_future(engine.ready(boot))
