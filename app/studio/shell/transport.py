"""The engine's worker, seen from the page: its state, requests and their events.

A request is answered by events, each given to its handler as `handler(kind, body)`: "progress" and "chunk" any
number of times, then once "result" (with its "array", if it has one) or "error" ({"code", "message"})."""

import io
import json
import sys
import time

import js
from js import navigator
from jsffi import create_proxy
from studio.shell.elements import message_of

LOCK = "tensortab-model"


def supported() -> dict | None:
    """The error if this browser has no WebGPU, which is known without a worker; else None."""
    if not js.isSecureContext:
        return {"code": "no_webgpu", "message": "The browser offers WebGPU only over https or on localhost."}
    if not hasattr(navigator, "gpu"):
        return {"code": "no_webgpu", "message": ""}
    return None


class Progress:
    """The progress of a download or load: its stage, its rate and the time that is left."""

    def __init__(self):
        self.stage, self.loaded, self.total = "", 0.0, 0.0
        self._marks: list[tuple[float, float]] = []

    def update(self, stage: str, loaded: float, total: float) -> None:
        now = time.time()
        if stage != self.stage or loaded < self.loaded:
            self._marks = []
        self.stage, self.loaded, self.total = stage, loaded, total
        self._marks.append((now, loaded))
        while len(self._marks) > 2 and now - self._marks[0][0] > 6:
            self._marks.pop(0)

    @property
    def rate(self) -> float:
        """Bytes per second over the last seconds; 0 while unknown."""
        (before, first), (now, last) = self._marks[0], self._marks[-1]
        return (last - first) / (now - before) if now - before > 0.7 else 0

    @property
    def left(self) -> float | None:
        """Seconds, or None while unknown."""
        return (self.total - self.loaded) / self.rate if self.rate and self.total else None


class Engine:
    """`state` is one of starting, idle (no model), loading, ready, answering, failed, elsewhere (another browser tab
    holds the model). The chat sets `changed`, called on every change, and `started`, called when the worker is up."""

    def __init__(self):
        self.state, self.error = "starting", None
        self.info, self.boot, self.model, self.context, self.kept = {}, "", None, None, True
        self.progress = Progress()
        self.changed = self.started = lambda: None
        self.measuring = None  # the id of the Lab's request; chats wait until it is done
        self.site = None  # the site's and the stored models, {name: {"name", "size", "stored"}}; None: unknown
        self.tasks = []  # the models beside the chat's (task.py)
        self._worker, self._next, self._handlers, self._waiting, self._is_up = None, 0, {}, [], False
        files: list = []
        self._loading, self._files, self._load_id = None, files, None  # what was requested last and not cancelled
        self._before = None  # the model that is loaded while another one loads: it stays if that fails
        self._again = None  # (name, files) of the load that failed, if a model stayed
        self._asking, self._release, self._recoveries = False, None, 0
        self._channel = js.BroadcastChannel.new(LOCK)
        self._channel.addEventListener("message", create_proxy(self._asked_to_release))
        self._receive_proxy, self._crash_proxy = create_proxy(self._receive), create_proxy(self._crashed)

    # The worker

    def start(self) -> None:
        """Starts the worker. Requests made before it is up wait."""
        self.error = supported()
        self._is_up = False
        self._worker = js.Worker.new("./worker.js" + js.location.search, js.JSON.parse('{"type": "module"}'))
        self._worker.addEventListener("message", self._receive_proxy)
        self._worker.addEventListener("error", self._crash_proxy)
        self._set("failed" if self.error else "starting")

    def restart(self) -> None:
        """Starts a new worker, and loads the last model in it."""
        self.end()
        self.start()

    def end(self) -> None:
        """Ends the worker, and with it everything on the GPU; open requests are answered with an error."""
        if self._worker is not None:
            self._worker.terminate()
        self._worker, self._is_up, self.model, self._before, self._again = None, False, None, None, None
        self.state = "starting"  # the handlers must not see the state "ready"
        self._let_go()
        handlers, self._handlers = self._handlers, {}
        for handler in handlers.values():
            handler("error", {"code": "ended", "message": "The engine was ended."})
        self._waiting, self._handlers = [], {}
        for task in self.tasks:
            task.ended()

    def request(self, method: str, params: dict, handler, inputs=(), moved=()) -> int:
        """Returns the request's id. inputs: Files, Blobs and arrays that go with it. moved: those of their buffers that
        are transferred to the worker."""
        self._next += 1
        self._handlers[self._next] = handler
        text = json.dumps({"id": self._next, "method": method, "params": params})
        message = js.Array.of(text, *inputs) if inputs else text, js.Array.of(*moved)
        if self._is_up:
            self._worker.postMessage(*message)
        else:
            self._waiting.append(message)
        return self._next

    def _receive(self, event) -> None:
        text, array = (event.data, None) if isinstance(event.data, str) else event.data
        if "\\u" in text:  # MicroPython's json leaves escaped surrogate pairs apart
            text = js.JSON.stringify(js.JSON.parse(text))
        message = json.loads(text)
        if array is not None:
            message["result"]["array"] = array
        kind = message.get("event")
        if kind == "ready":
            self._ready(message)
        elif kind == "lost":
            self.recover(message.get("message", ""))
        elif message.get("id") in self._handlers:
            self._deliver(message, kind)
        elif message.get("error") and message.get("id") is None:
            if message["error"]["code"] in ("start_failed", "offline"):
                self.end()  # the worker has no Python
            else:
                self._flush()
            self._fail(message["error"])

    def _deliver(self, message: dict, kind: str | None) -> None:
        if kind == "progress":
            self._handlers[message["id"]]("progress", message)
        elif kind == "chunk":
            self._handlers[message["id"]]("chunk", message["chunk"])
        else:
            handler = self._handlers.pop(message["id"])
            if "error" in message:
                handler("error", message["error"])
            else:
                handler("result", message.get("result") or {})

    def _ready(self, message: dict) -> None:
        self.info, self.boot = message.get("info") or {}, message.get("boot", "")
        self._flush()
        if self.state == "starting" and self._has_wish():
            self.load(self._loading, self._files)
        elif self.state == "starting":
            self._set("idle")
        self.started()

    def _flush(self) -> None:
        self._is_up = True
        waiting, self._waiting = self._waiting, []
        for held in waiting:
            self._worker.postMessage(*held)

    def _crashed(self, event) -> None:
        """Handles an error that nothing in the worker caught, or a file of the worker that could not be fetched."""
        event.preventDefault()
        code, text = "crashed" if self._is_up else "start_failed", getattr(event, "message", None)
        text = text if isinstance(text, str) else "A file of the engine could not be fetched."
        place = "%s:%s" % (getattr(event, "filename", ""), getattr(event, "lineno", ""))
        self.end()
        self._fail({"code": code, "message": text, "report": self._report("%s\n%s" % (text, place))})

    def fault(self, error) -> dict:
        """An exception of the page's own code as an error {"code", "message", "report"} like the engine's."""
        trace = io.StringIO()
        sys.print_exception(error, trace)  # type: ignore[attr-defined]  # MicroPython's
        print(trace.getvalue())
        return {"code": "internal", "message": message_of(error), "report": self._report(trace.getvalue())}

    def _report(self, text: str) -> str:
        info = {name: value for name, value in self.info.items() if name != "limits"}
        return "Browser: %s\nGPU: %s\nIn the page\n%s" % (navigator.userAgent, info or "none yet", text)

    def _fail(self, error: dict) -> None:
        self.error = error
        self._set("failed")

    def _set(self, state: str) -> None:
        self.state = state
        self.changed()

    # The model

    def load(self, name: str | None, files=(), wait_for_tab: bool = False) -> None:
        """Loads a model of the site or the hub, or the user's own files. One browser tab at a time has one."""
        if self._worker is None:
            self.start()
        if self.model is not None:
            self._before = self.model, self.context, self._loading, self._files
        self._loading, self._files = name, files
        self.error, self.model, self.progress, self._again = None, None, Progress(), None
        self._set("loading")
        if self._release is not None:
            self._load()
        elif not self._asking:
            self._asking = True
            options = js.JSON.parse("{}" if wait_for_tab else '{"ifAvailable": true}')
            navigator.locks.request(LOCK, options, create_proxy(self._got_lock))

    def _has_wish(self) -> bool:
        return self._loading is not None or bool(self._files)

    def _got_lock(self, lock):
        self._asking = False
        if self.state != "loading":  # cancelled while it waited for the other tab
            return None
        if lock is None:
            self.error = {"code": "two_tabs", "message": ""}
            self._set("elsewhere")
            return None
        self._release = js.Promise.withResolvers()
        self._held = self._release.promise  # a result without a name is collected before JavaScript gets it
        self._load()
        return self._held  # the lock is held until it resolves

    def _load(self) -> None:
        def answered(kind: str, body: dict) -> None:
            if self.state == "loading" and self._load_id == mine:  # else this load was cancelled
                self._loaded(kind, body)
        self._load_id = mine = self.request("load", {"model": self._loading}, answered, self._files)

    def _loaded(self, kind: str, body: dict) -> None:
        if kind == "progress":
            self.progress.update(body["stage"], body.get("loaded") or 0, body.get("total") or 0)
            self.changed()
        elif kind == "result":
            self.model = body.get("model") or self._loading or self._files[0].name
            self.context, self.kept, self._before = body["context"], body["stored"], None
            self._set("ready")
        elif self._before is not None:
            self._again, self.error = (self._loading, self._files), None if body["code"] == "aborted" else body
            self._stay()
        elif body["code"] == "aborted":
            self._let_go()
            self._set("idle")
        else:
            self._let_go()
            self._fail(body)

    def _stay(self) -> None:
        """Goes back to the model that was loaded before; it still is."""
        self.model, self.context, self._loading, self._files = self._before
        self._before = None
        self._set("ready")

    def cancel_load(self) -> None:
        """Ends the load. What has arrived is kept, and the next load continues from there."""
        if self._release is not None:
            self.abort(self._load_id)
        self._load_id = None
        if self._before is not None:
            self._stay()
            return
        self._let_go()
        self._loading, self._files = None, []
        self._set("idle")

    def retry(self) -> None:
        """Repeats what failed: a load, or the start."""
        if self._again is not None:
            self.load(*self._again)
        elif self._is_up and self._has_wish():
            self.load(self._loading, self._files)
        else:
            self.restart()

    def take_over(self) -> None:
        """Takes the model from the other tab."""
        self._channel.postMessage("release")
        self.load(self._loading, self._files, wait_for_tab=True)

    def _asked_to_release(self, event) -> None:
        if event.data == "release" and self._release is not None:
            self.end()
            self.start()
            self.error = {"code": "two_tabs", "message": ""}
            self._set("elsewhere")

    def _let_go(self) -> None:
        if self._release is not None:
            self._release.resolve()
            self._release = None

    def look(self, told=lambda: None) -> None:
        """Asks the engine for the site's models and the stored ones, then calls `told`."""
        def answered(kind: str, body: dict) -> None:
            if kind == "result":
                self.site = {model["name"]: model for model in body.get("models") or []}
                for task in self.tasks:
                    task.known()
                told()
        self.request("storage", {}, answered)

    def recover(self, message: str) -> None:
        """Loads the model again from storage after the GPU was lost, twice in a row at most."""
        if self.state not in ("ready", "answering"):  # a load is under way, or no model was loaded
            return
        self.model = self._before = None
        self._recoveries += 1
        if self._recoveries > 2:
            self._fail({"code": "device_lost", "message": message})
            return
        self.load(self._loading, self._files)

    @property
    def wanted(self) -> str | None:
        """The name of the site's model that is loaded or was requested last."""
        return self._loading

    @property
    def asked(self) -> str | None:
        """The name of the site's model whose load failed or, if none did, that is wanted."""
        return self._again[0] if self._again is not None else self._loading

    # Answers

    def chat(self, request: dict, handler) -> int:
        self.error = self._again = None
        self._set("answering")

        def done(kind: str, body: dict) -> None:
            if kind in ("result", "error") and self.state == "answering":
                if kind == "result":
                    self._recoveries = 0
                self.state = "ready"
            handler(kind, body)
            if kind in ("result", "error"):
                self.changed()
        return self.request("chat", request, done)

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

    def abort(self, target: int) -> None:
        self.request("abort", {"target": target}, lambda *_: None)

    def run(self, source: str, resolve, reject) -> None:
        """Evaluates a Python source in the worker: resolve(text of its result) or reject(an Error)."""
        def done(kind: str, body: dict) -> None:
            if kind == "result":
                resolve(body["text"])
            elif kind == "error":
                reject(js.Error.new(body["message"]))
        self.request("run", {"source": source}, done)
