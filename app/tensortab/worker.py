"""The engine's worker: it answers the page's messages with the library. static/worker.js starts it.

app/studio/protocol.json describes the messages: each method with its params, its events and its result.
"""

import asyncio
import gc
import json
import os
import pkgutil
import random
import time
import traceback
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any, cast
from urllib.parse import parse_qsl

import js
import pyodide
from pyodide.code import eval_code_async
from pyodide.ffi import create_proxy, to_js

import tensortab as tt
from tensortab import browser, formats, inventory, lab, models, tasks
from tensortab import device as devices
from tensortab.debug import KNOBS
from tensortab.search import Index
from tensortab.sources.browser import handles, library, runs, storage
from tensortab.sources.hub import hub_id
from tensortab.sources.model import find

for _package in (formats, models, tasks):  # now, so that they are in the snapshot
    for _module in pkgutil.iter_modules(_package.__path__, _package.__name__ + "."):
        import_module(_module.name)

MEASURED = 16  # tokens of an answer from which its speed is remembered
PROGRESS_SECONDS = 0.1  # between two reports of a stage's progress
REPORTED = ("vendor", "architecture", "device", "description", "fallback", "features")  # of the GPU, in an error report

CHAT = "text-generation"
SUMMARY = "summarization"  # by a model of its own if one is loaded, else by the chat's


class Engine:
    """Keeps one model per task. Requests run as asyncio tasks; those that need a model wait for their turn."""

    def __init__(self, post: Callable[..., None]) -> None:
        self._post = post
        self.methods = {
            "load": self._load, "unload": self._unload, "chat": self._chat, "task": self._task, "embed": self._embed,
            "index": self._index, "search": self._search, "abort": self._abort, "run": self._run,
            "lab": self._lab, "info": self._info, "storage": self._storage, "delete": self._delete,
            "export": self._export, "import": self._import, "keep": self._keep, "handles": self._handles,
            "identify": self._identify,
        }  # fmt: skip
        self._tasks: dict[int, asyncio.Task] = {}
        self._models: dict[str, Any] = {}  # by task, what its last load asked for: a name, Files or None
        self._pipes: dict[str, Any] = {}  # the pipelines on the GPU, by task
        self._indexes: dict[str, Any] = {}  # the search indexes, by task
        self._loading: dict[str, asyncio.Task] = {}
        self._working: tuple[int, str, Any] | None = None  # whose turn it is: the request, its task, its pipeline
        self._measuring: int | None = None  # the Lab's request
        self._turns = asyncio.Lock()  # one load, answer or measurement at a time
        self._device: Any = None
        self._watcher: asyncio.Future | None = None
        self.starting: asyncio.Future | None = None
        self._globals: dict[str, Any] = {"__name__": "__main__", "tt": tt, "tensortab": tt}

    def send(self, **message: Any) -> None:
        """Sends a message. The "attachments" of its chunk or result, such as arrays, go beside the JSON."""
        body = message.get("chunk") or message.get("result") or {}
        attachments = body.pop("attachments", ())
        self._post(json.dumps(message), *attachments)

    def receive(self, data: Any) -> None:
        """Handles a message from the page."""
        text, *attachments = [data] if isinstance(data, str) else data
        message = json.loads(text)
        request = self._answer(message["id"], message["method"], message["params"], attachments)
        task = self._tasks[message["id"]] = asyncio.ensure_future(request)
        task.add_done_callback(lambda _: self._tasks.pop(message["id"]))

    async def _answer(self, id: int, method: str, params: dict[str, Any], attachments: list[Any]) -> None:
        try:
            if method not in self.methods:
                raise tt.Error("bad_request", f"The engine has no method {method!r}.")
            result = await self.methods[method](id, params, attachments)
            self.send(id=id, result=result)
        except asyncio.CancelledError:
            self.send(id=id, error={"code": "aborted", "message": "It was stopped."})
        except BaseException as error:  # whatever was raised, the page gets an answer
            self.send(id=id, error=self.failure(error, f"Request: {method}"))

    async def ready(self, boot: str) -> None:
        """Tells the page that the engine is ready, or why it cannot start."""
        try:
            info = await self._info(0, {}, [])
            self.send(event="ready", info=info, boot=boot, ms=round(js.performance.now()))
        except Exception as error:
            self.send(id=None, error=self.failure(error, "While starting", "start_failed"))

    def failure(self, error: BaseException, when: str, code: str = "internal") -> dict[str, str]:
        """Returns {code, message} of anything that was raised. An exception that is not an Error is a bug of ours: it
        gets `code`, and a report for the user to copy."""
        if isinstance(error, MemoryError):
            error = tt.Error("out_of_memory", "Python is out of memory: reload the page, or use a smaller model.")
        if isinstance(error, tt.Error) and error.code != "internal":
            return {"code": error.code, "message": error.message}
        traceback.print_exception(error)
        info = {name: self._device.info[name] for name in REPORTED} if self._device else "none yet"
        report = (
            f"TensorTab {tt.__version__}, Pyodide {pyodide.__version__}",
            f"Browser: {js.navigator.userAgent}",
            f"GPU: {info}",
            when,
            "".join(traceback.format_exception(error)),
        )
        return {"code": code, "message": summary(error), "report": "\n".join(report)}

    # The device

    async def device(self) -> Any:
        """Returns the device, a new one after a loss."""
        if self._device is None:
            self._device = await devices.choose()
            self._watcher = asyncio.ensure_future(self._watch(self._device))
        return self._device

    async def _watch(self, device: Any) -> None:
        """Forgets all models when the device is lost; the next request to a model loads it again from storage."""
        message = await device.lost()
        devices.use(None)
        self._device = None
        self._pipes.clear()
        self._indexes.clear()
        self.send(event="lost", message=message)

    async def _info(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        info = (await self.device()).info
        return {**info, "tier": devices.tier(info)}

    # The models

    async def _load(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """The newest load of a task wins: it cancels an older one. Until its model is downloaded, the model before
        stays usable; then that one's request, or a measurement, is ended. If the load fails, the model before is still
        on the GPU, or the next request loads it again."""
        name, wanted = params["task"], attachments or params["model"]
        storage.IN_MEMORY.set(not params.get("keep", True))
        if name in self._loading:
            self._loading[name].cancel()
        self._loading[name] = self._tasks[id]
        progress = self._progress(id)
        model = await self._find(wanted, progress)
        await self._end(name)
        if self._measuring is not None:
            self._tasks[self._measuring].cancel()
        async with self._turns:
            about = await self._make(name, wanted, model, progress)
            self._models[name] = wanted
            return about

    async def _unload(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """Ends the model's request and frees its memory."""
        name = params["task"]
        await self._end(name)
        async with self._turns:
            self._models.pop(name, None)
            self._forget(name)
            if name in self._pipes:
                self._pipes.pop(name).free()
        return {}

    async def _end(self, name: str) -> None:
        """Ends the request that uses the model of a task."""
        if self._working is not None and self._working[1] == name:
            await self._abort(0, {"target": self._working[0]}, [])

    def _progress(self, id: int) -> "Progress":
        """Reports the progress of a request's stages to the page."""
        return Progress(lambda stage, loaded, total: self.send(
            id=id, event="progress", stage=stage, loaded=loaded, total=total
        ))  # fmt: skip

    async def _find(self, wanted: Any, progress: "Progress") -> Any:
        """Downloads and verifies the model that was asked for."""
        if wanted is None:
            return None
        return await find(wanted, lambda loaded, total: progress("download", loaded, total))

    async def _make(self, name: str, wanted: Any, model: Any, progress: "Progress") -> dict[str, Any]:
        """Brings a model to the GPU in the place of the task's model before, which is freed first: there may be no room
        for both. Whether there was room is remembered."""
        device = await self.device()
        if name in self._pipes:
            self._pipes.pop(name).free()
        try:
            pipe = self._pipes[name] = await tt.pipeline(cast(Any, name), model, device=device, on_progress=progress)
        except tt.Error as error:
            if error.code == "out_of_memory":
                await _remember(device.info, wanted, model, ran=False)
            raise
        await _remember(device.info, wanted, model, ran=True)
        about = {"model": pipe.name, "stored": getattr(model, "stored", True)}
        if name == CHAT:
            self._globals["pipe"] = pipe
            about |= {"context": pipe.context, "bytes": pipe.nbytes}
        if languages := list(getattr(pipe, "languages", ())):
            about["languages"] = languages
        return about

    @asynccontextmanager
    async def _turn(self, id: int, name: str) -> AsyncIterator[Any]:
        """Yields a task's pipeline; no other request can use any model meanwhile."""
        async with self._turns:
            if name == SUMMARY and name not in self._models:
                name = CHAT
            self._working = id, name, None
            try:
                if name not in self._pipes:
                    if name not in self._models:
                        raise tt.Error("bad_request", "No model is loaded: load one first.")
                    progress = self._progress(id)
                    wanted = self._models[name]
                    await self._make(name, wanted, await self._find(wanted, progress), progress)
                self._working = id, name, self._pipes[name]
                yield self._pipes[name]
            finally:
                self._working = None

    async def _abort(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """Ends a request. One that streams ends with what it has (a chat's finish_reason is "abort"); any other ends
        with the error "aborted"."""
        target = params["target"]
        if self._working is not None and target == self._working[0] and hasattr(self._working[2], "abort"):
            self._working[2].abort()
        elif target in self._tasks:
            self._tasks[target].cancel()
        return {}

    # What the models do

    async def _chat(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        async with self._turn(id, CHAT) as pipe:
            last: dict[str, Any] = {}
            async for chunk in await pipe.chat.completions.create(**{**params, "stream": True}):
                self.send(id=id, event="chunk", chunk=chunk)
                last = chunk
        usage, speed = last["usage"], last["timings"]["tokens_per_second"]
        if usage["completion_tokens"] >= MEASURED and (name := _name(self._models.get(CHAT))):
            await runs.note(name, speed=round(speed, 1))
        return {
            "usage": {
                "prompt_tokens": usage["prompt_tokens"],
                "completion_tokens": usage["completion_tokens"],
                "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            },
            "timings": last["timings"],
            "finish_reason": last["choices"][0]["finish_reason"],
        }

    async def _task(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """A pipeline's output, in parts if it has a stream."""
        name, options = params["task"], dict(params["params"])
        given = attachments[0] if attachments else options.pop("inputs")
        async with self._turn(id, name) as pipe:
            if name == SUMMARY and name not in self._models:
                pipe = await tt.pipeline(name, model=pipe, device=await self.device())
                self._working = id, CHAT, pipe
            if not hasattr(pipe, "stream"):
                return {"output": await pipe(given, **options)}
            last: dict[str, Any] = {}
            async for last in pipe.stream(given, **options):
                self.send(id=id, event="chunk", chunk=last)
            return dict(last)

    async def _embed(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """The vectors of texts or images, of length 1, one after the other."""
        async with self._turn(id, params["task"]) as pipe:
            vectors = await (pipe(attachments) if attachments else sentences(pipe, params["params"]["inputs"]))
        values = array("f")
        for vector in vectors:
            values.extend(vector)
        return {"dimensions": len(vectors[0]), "attachments": [to_js(values)]}

    async def _index(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        name, about = params["task"], params["params"]
        async with self._turns:
            self._forget(name)
            index = Index.load(attachments[0].to_bytes(), about["dimensions"], await self.device())
            self._indexes[name] = about["version"], index
        return {}

    def _forget(self, name: str) -> None:
        if name in self._indexes:
            self._indexes.pop(name)[1].free()

    async def _search(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        name, wish = params["task"], params["params"]
        async with self._turn(id, name) as pipe:
            version, index = self._indexes.get(name, (None, None))
            if version != wish["version"]:
                return {"found": None}
            text = [wish["inputs"]]
            vectors = await (pipe.text(text) if hasattr(pipe, "text") else sentences(pipe, text))
            return {"found": await index.search(vectors[0], wish["k"])}

    # Python

    async def _run(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """Runs Python code. Its names stay from one run to the next; `tt` is the library, `pipe` the chat's
        pipeline."""
        try:
            result = await eval_code_async(params["source"], globals=self._globals, filename="<page>")
            return {"text": "" if result is None else str(result)}
        except (tt.Error, MemoryError, asyncio.CancelledError):
            raise
        except BaseException as error:  # an error of the user's own code: the message has its line
            traceback.print_exception(error)
            places = [at for at in traceback.extract_tb(error.__traceback__) if at.filename == "<page>"]
            line = f"line {places[-1].lineno}: " if places else ""  # the message of a SyntaxError has it already
            raise tt.Error("bad_request", line + summary(error)) from None

    # The Lab

    async def _lab(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """Runs tensortab.lab's measurements, with the chat's model if there is one; loads and answers wait
        meanwhile."""
        if self._turns.locked():
            raise tt.Error("bad_request", "The engine is busy: measure when it is done.")
        progress = self._progress(id)
        async with self._turns:
            self._measuring = id
            try:
                pipe = self._pipes.get(CHAT)
                generator = pipe.generator if pipe else None
                result = await lab.measure(await self.device(), generator, progress)
            finally:
                self._measuring = None
            return {**result, "model": pipe.name if pipe else None}

    # Storage

    async def _storage(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """Lists the models that are offered or stored (inventory.py), with usage, quota, persisted."""
        memory = getattr(js.navigator, "deviceMemory", 0) * 2**30  # GiB; only some browsers say it
        info = None
        with suppress(tt.Error):  # models can be deleted where no GPU answers
            info = (await self.device()).info
        known = await inventory.known(info, memory)
        return {"models": known, **await storage.usage()}

    async def _delete(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        await library.delete(params["model"])
        return {}

    async def _export(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        return {"attachments": [await library.export(params["model"])]}

    async def _import(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        progress = self._progress(id)
        return {"model": await library.import_(attachments[0], lambda loaded, total: progress("import", loaded, total))}

    async def _keep(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        found = await inventory.identify(await find(attachments, lambda done, total: None))
        await library.keep(attachments, params["model"])
        await runs.note(params["model"], tasks=found)
        return {}

    async def _identify(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        """The tasks of the model in the user's files."""
        return {"tasks": await inventory.identify(await find(attachments, lambda done, total: None))}

    async def _handles(self, id: int, params: dict[str, Any], attachments: list[Any]) -> dict[str, Any]:
        return {"attachments": await handles.of(params["model"])}


def _name(wanted: Any) -> str:
    """The name by which a model is stored, "" for files; `wanted` is what a load asked for."""
    return hub_id(wanted) or wanted if isinstance(wanted, str) else ""


async def _remember(info: dict[str, Any], wanted: Any, model: Any, ran: bool) -> None:
    """Notes whether a model fitted the GPU."""
    if name := _name(wanted):
        await runs.note(name, gpu=inventory.adapter(info), memory=inventory.memory(name, model), ran=ran)


async def sentences(pipe: Any, texts: list[str]) -> list[list[float]]:
    """A vector of length 1 for each text, pooled as the model says, or else the mean of its tokens' vectors."""
    return await pipe(texts, pooling="mean" if pipe.pooling == "none" else None, normalize=True)


class Progress:
    """Calls report(stage, loaded, total) at most ten times a second, and at the end of each stage."""

    def __init__(self, report: Callable[[str, float, float], None]) -> None:
        self._report = report
        self._stage, self._time = "", 0.0

    def __call__(self, stage: str, loaded: float, total: float) -> None:
        now = time.monotonic()
        if stage == self._stage and loaded < total and now - self._time < PROGRESS_SECONDS:
            return
        self._stage, self._time = stage, now
        self._report(stage, loaded, total)


def summary(error: BaseException) -> str:
    """The type and the message of an exception, or the message alone if it is an Error."""
    return error.message if isinstance(error, tt.Error) else "".join(traceback.format_exception_only(error)).strip()


def start(modules: Any, early: Any, boot: str) -> None:
    """Begins to answer. modules: {executor, tokenizers, jinja}; early: the messages that have arrived already."""
    random.seed()  # with the snapshot's state every visitor would get the same random numbers
    gc.freeze()  # so that collections during a load skip the libraries: a load would take twice as long
    gc.set_threshold(100_000)
    os.environ.update({name: value for name, value in parse_qsl(js.location.search[1:]) if name in KNOBS})
    browser.register(executor=modules.executor, tokenizers=modules.tokenizers, jinja=modules.jinja)
    tt.site(js.URL.new(".", js.location.href).href)

    def post(text: str, *attachments: Any) -> None:
        js.self.postMessage(to_js([text, *attachments]) if attachments else text)

    engine = Engine(post)
    js.self.onmessage = create_proxy(lambda event: engine.receive(event.data))
    for data in early:
        engine.receive(data)
    engine.starting = asyncio.ensure_future(engine.ready(boot))
