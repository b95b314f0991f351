"""The engine, seen from the page: the life of its worker, and the requests to it.

A request is answered by events, each given to its handler as `handler(kind, body)`: "progress" and "chunk" any number
of times, then once "result" or "error" ({"code", "message"}). What comes beside a chunk or a result (arrays, Blobs) is
its body's "attachments". protocol.json describes all messages."""

import asyncio
import io
import json
import sys
from collections import OrderedDict

import js
from js import navigator
from jsffi import create_proxy
from studio.shell.elements import message_of
from studio.shell.parse import parse
from studio.shell.wording import t


def by_name(models: list) -> OrderedDict:
    """{name: what is known of the model}, in the order of the list."""
    return OrderedDict([(about["name"], about) for about in models])


def supported() -> dict | None:
    """The error if this browser has no WebGPU, which is known without a worker; else None."""
    if not js.isSecureContext:
        return {"code": "no_webgpu", "message": t("The browser offers WebGPU only over https or on localhost.")}
    if not hasattr(navigator, "gpu"):
        return {"code": "no_webgpu", "message": ""}
    return None


class Engine:
    """`state` is one of starting, up, failed (`error` says why). `models` are the page's models by task, which
    models.py adds. `known` is what is known of the offered and the stored models, {name: {"name", "tasks", "size",
    "stored", ...}}, or None; `stored` is None until the engine has told it. `unlisted` says why the site's models are
    not known."""

    def __init__(self):
        self.state, self.error = "starting", None
        self.info, self.boot = {}, ""
        self.models, self.known, self.unlisted = {}, None, ""
        self.storage: dict | None = None  # what the engine has told: {"usage", "quota", "persisted"}, in bytes
        self.hold = None  # the lock that models.py takes
        self.measuring = None  # the id of the Lab's request; chats wait until it is done
        self._worker, self._next, self._handlers = None, 0, {}
        self._answers, self._waiting = False, []  # whether the worker answers requests, also one without a GPU
        self._listeners = []
        self._receive_proxy, self._crash_proxy = create_proxy(self._receive), create_proxy(self._crashed)

    def listen(self, changed) -> None:
        """Has `changed()` called after every change of the engine or of a model."""
        self._listeners.append(changed)

    def changed(self) -> None:
        for told in list(self._listeners):
            told()

    # The worker

    def start(self) -> None:
        """Starts the worker. Requests made before it is up wait."""
        self.error = supported()
        self._worker = js.Worker.new("./worker.js" + js.location.search, js.JSON.parse('{"type": "module"}'))
        self._worker.addEventListener("message", self._receive_proxy)
        self._worker.addEventListener("error", self._crash_proxy)
        self.state = "failed" if self.error else "starting"
        asyncio.create_task(self.read_index())
        self.changed()

    def restart(self) -> None:
        """Starts a new worker; the models that the old one had are loaded again."""
        self.end()
        self.start()

    def end(self) -> None:
        """Ends the worker, and with it everything on the GPU; open requests are answered with the error "ended"."""
        if self._worker is not None:
            self._worker.terminate()
        self._worker, self._answers, self.state = None, False, "starting"
        for model in self.models.values():
            model.ended()  # before the handlers, which must not see the state "ready"
        handlers, self._handlers, self._waiting = self._handlers, {}, []
        for handler in handlers.values():
            handler("error", {"code": "ended", "message": "The engine was ended."})

    def request(self, method: str, params: dict, handler, attachments=(), moved=()) -> int:
        """Returns the request's id. attachments: Files, Blobs and arrays that go with it. moved: those of their buffers
        that are transferred to the worker."""
        self._next += 1
        self._handlers[self._next] = handler
        text = json.dumps({"id": self._next, "method": method, "params": params})
        message = js.Array.of(text, *attachments) if attachments else text, js.Array.of(*moved)
        if self._answers:
            self._worker.postMessage(*message)
        else:
            self._waiting.append(message)
        return self._next

    def abort(self, target: int) -> None:
        self.request("abort", {"target": target}, lambda *_: None)

    def _receive(self, event) -> None:
        text, attachments = event.data, []
        if not isinstance(text, str):
            text, *attachments = list(event.data)
        message = parse(text)
        if message.get("error"):
            message["error"]["lang"] = "en"  # what the engine says; the page's own errors are in the page's language
        kind = message.get("event")
        if kind == "ready":
            self._ready(message)
        elif message.get("id") in self._handlers:
            self._deliver(message, kind, attachments)
        elif message.get("error") and message.get("id") is None:
            if message["error"]["code"] in ("start_failed", "offline"):
                self.end()  # the worker has no Python
            else:
                self._flush()
            self._fail(message["error"])

    def _deliver(self, message: dict, kind: str | None, attachments: list) -> None:
        if kind == "progress":
            self._handlers[message["id"]]("progress", message)
            return
        handler = self._handlers[message["id"]] if kind == "chunk" else self._handlers.pop(message["id"])
        if "error" in message:
            handler("error", message["error"])
            return
        body = message["chunk"] if kind == "chunk" else message["result"]
        if attachments:
            body["attachments"] = attachments
        handler(kind or "result", body)

    def _ready(self, message: dict) -> None:
        self.info, self.boot = message["info"], message["boot"]
        if self.state == "starting":  # else the browser has no WebGPU
            self.state = "up"
        self._flush()
        for model in self.models.values():
            model.load_again()
        self.look()
        self.changed()

    def _flush(self) -> None:
        self._answers = True
        waiting, self._waiting = self._waiting, []
        for held in waiting:
            self._worker.postMessage(*held)

    def _crashed(self, event) -> None:
        """Handles an error that nothing in the worker caught, or a file of the worker that could not be fetched."""
        event.preventDefault()
        code, text = "crashed" if self._answers else "start_failed", getattr(event, "message", None)
        text = text if isinstance(text, str) else "A file of the engine could not be fetched."
        place = "%s:%s" % (getattr(event, "filename", ""), getattr(event, "lineno", ""))
        self.end()
        self._fail({"code": code, "message": text, "lang": "en", "report": self._report("%s\n%s" % (text, place))})

    def _fail(self, error: dict) -> None:
        self.state, self.error = "failed", error
        self.changed()

    def fault(self, error) -> dict:
        """An exception of the page's own code as an error {"code", "message", "report"} like the engine's."""
        trace = io.StringIO()
        sys.print_exception(error, trace)  # type: ignore[attr-defined]  # MicroPython's
        print(trace.getvalue())
        report = self._report(trace.getvalue())
        return {"code": "internal", "message": message_of(error), "lang": "en", "report": report}

    def _report(self, text: str) -> str:
        info = {name: value for name, value in self.info.items() if name != "limits"}
        return "Browser: %s\nGPU: %s\nIn the page\n%s" % (navigator.userAgent, info or "none yet", text)

    # What it can be asked beside its models

    async def read_index(self) -> None:
        """Reads the site's list of models, so that their sizes are known before the engine is up."""
        try:
            index = parse(await (await js.fetch("models/index.json")).text())
            if self.known is None:
                self.known = by_name([about | {"stored": None, "tasks": [about["task"]]} for about in index["models"]])
        except Exception as error:
            self.unlisted = message_of(error)
        self.changed()

    def look(self) -> None:
        """Asks the engine for the offered models and the stored ones."""
        def answered(kind: str, body: dict) -> None:
            if kind == "result":
                self.known = by_name(body["models"])
                self.storage = {name: body[name] for name in ("usage", "quota", "persisted")}
                for model in self.models.values():
                    model.listed()
                self.changed()
        self.request("storage", {}, answered)

    def measure(self, handler) -> None:
        """Runs the Lab's measurements: handler gets "progress" any number of times, then "result" or "error"."""
        def done(kind: str, body: dict) -> None:
            if kind in ("result", "error"):
                self.measuring = None
            handler(kind, body)
            if kind in ("result", "error"):
                self.changed()
        self.measuring = self.request("lab", {}, done)
        self.changed()

    def run(self, source: str, resolve, reject) -> None:
        """Evaluates a Python source in the worker: resolve(text of its result) or reject(an Error)."""
        def done(kind: str, body: dict) -> None:
            if kind == "result":
                resolve(body["text"])
            elif kind == "error":
                reject(js.Error.new(body["message"]))
        self.request("run", {"source": source}, done)
