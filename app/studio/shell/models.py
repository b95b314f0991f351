"""A task beside the chat: its model, which is loaded when it is needed, the model's card, and the jobs that it does."""

import asyncio
import time

import js
from studio.shell.card import Card
from studio.shell.elements import attempt, el
from studio.shell.transport import Engine, Progress
from studio.shell.wording import explain

STOPPED = {"code": "aborted", "message": "The job was stopped."}
NO_ENGINE = ("no_webgpu", "no_adapter", "crashed", "start_failed")  # errors after which the engine takes no request
BUTTONS = ("retry", "pick-file", "download-again", "settings")  # the buttons of an error that a task supports


class Failure(Exception):
    """The error that the engine returned instead of a result: {"code", "message"}."""

    def __init__(self, error: dict):
        super().__init__(error.get("message") or "")
        self.error = error


class Job:
    """One request of a task. It waits until the model is loaded; `sent` is when it was sent, in seconds since 1970."""

    def __init__(self, task, told, message: tuple):
        """told(body): each partial result. message: method, params, inputs, buffers given away."""
        self._task, self._told, self._message = task, told, message
        self._id: int | None = None
        self._ended = asyncio.Event()
        self._result: dict | None = None
        self._error: dict | None = None
        self.sent = 0.0
        task.take(self)

    async def result(self) -> dict:
        """Raises Failure."""
        await self._ended.wait()
        if self._error is not None:
            raise Failure(self._error)
        return self._result

    def send(self) -> None:
        method, params, inputs, moved = self._message
        self._message, self.sent = None, time.time()
        params = {"task": self._task.name, "params": params}
        self._id = self._task.engine.request(method, params, self._heard, inputs, moved)

    def cancel(self) -> None:
        """Ends the job, with the part that is done or with the error "aborted"."""
        if self._id is not None:
            self._task.engine.abort(self._id)
        elif self in self._task.waiting:
            self._task.waiting.remove(self)
            self._heard("error", STOPPED)

    def _heard(self, kind: str, body: dict) -> None:
        if kind == "progress":  # the GPU was lost: the engine loads the model again
            if self._task.model is not None:
                self._task.loading(body)
            return
        self._task.loaded()
        if kind == "chunk":
            self._told(body)
        else:
            self._result, self._error = (body, None) if kind == "result" else (None, body)
            self._ended.set()


class Task:
    """`name` is Hugging Face's; `state` is one of idle, loading, ready, failed; `about` is what the engine says about
    the model when it is loaded."""

    def __init__(self, engine: Engine, name: str, kind: str, advice: str):
        """kind, advice: the card's words where the site has no model for the task."""
        self.engine, self.name, self._missing = engine, name, (kind, advice)
        self.state, self.progress, self._wished = "idle", Progress(), False
        self.model: str | None = None
        self.error: dict | None = None
        self.about: dict = {}
        self.waiting: list[Job] = []
        self.card = Card(el("section", cls="notice", aria_label="Model", data_task=name, hidden=True))
        self._asked: tuple = (None, ())
        self._load_id: int | None = None
        self._before: tuple | None = None  # the model and its `about` while another one loads: they stay if that fails
        engine.tasks.append(self)

    # The model

    @property
    def offered(self) -> dict | None:
        """The site's model for the task: {"name", "size", "stored"}."""
        for model in (self.engine.site or {}).values():
            if model.get("task") == self.name:
                return model
        return None

    def load(self, name: str | None, files=()) -> None:
        """Loads a model of the site, or the user's own files."""
        if not files:
            attempt(js.navigator.storage, "persist")
        if self.model is not None:
            self._before = self.model, self.about
        self._asked, self.error, self.progress = (name, files), None, Progress()
        self.state, self.model, self.about = "loading", None, {}

        def answered(kind: str, body: dict) -> None:
            if self._load_id == mine:  # else this load was cancelled
                self._answered(kind, body)
        self._load_id = mine = self.engine.request("load", {"task": self.name, "model": name}, answered, files)
        self.engine.changed()

    def _answered(self, kind: str, body: dict) -> None:
        if kind == "progress":
            self.loading(body)
            return
        self._load_id = None
        self.engine.look()
        if kind == "result":
            self.state, self.model, self.about, self._before = "ready", body["model"], body, None
            self.send()
        elif self._before is not None and body["code"] != "ended":
            self.error = None if body["code"] == "aborted" else body
            self._stay()
        elif body["code"] in ("aborted", "ended"):
            self.state = "idle"
        else:
            self.state, self.error = "failed", body
        self.engine.changed()

    def _stay(self) -> None:
        """Goes back to the model that was loaded before; it still is."""
        self.state, (self.model, self.about), self._before = "ready", self._before, None
        self.send()

    def send(self) -> None:
        """Sends the jobs that wait for the model."""
        waiting, self.waiting = self.waiting, []
        for job in waiting:
            job.send()

    def loading(self, body: dict) -> None:
        self.state = "loading"
        self.progress.update(body["stage"], body.get("loaded") or 0, body.get("total") or 0)
        self.engine.changed()

    def loaded(self) -> None:
        if self.state == "loading" and self.model is not None:
            self.state = "ready"
            self.send()
            self.engine.changed()

    def retry(self) -> None:
        self.load(*self._asked)

    def cancel_load(self) -> None:
        """Ends the load. What has arrived is kept; the jobs that wait for the model are cancelled."""
        if self._load_id is not None:
            self.engine.abort(self._load_id)
        if self._before is not None:
            self._load_id = None
            self._stay()
        else:
            self.ended()
        self.engine.look()
        self.engine.changed()

    def unload(self) -> None:
        self.engine.request("unload", {"task": self.name}, lambda *_: None)
        self.ended()
        self.engine.changed()

    def ended(self) -> None:
        """The engine has no model of this task any more."""
        self.state, self.model, self.about, self._load_id, self._wished = "idle", None, {}, None, False
        self._before = self.error = None
        for job in list(self.waiting):
            job.cancel()

    def take(self, job: Job) -> None:
        """Sends a job, at once or when the model is ready."""
        if self.state == "ready":
            self.error = None  # the error of a load that left this model in place
            job.send()
        else:
            self.waiting.append(job)
            self.wish()

    def wish(self) -> None:
        """Says that the model is needed: it is loaded if it is on this device, else offered."""
        here, self._wished = self.offered, True
        if self.state == "idle" and here and (here.get("stored") or 0) >= here["size"]:
            self.load(here["name"])

    def known(self) -> None:
        """Called when the list of stored models is known."""
        if self._wished:
            self.wish()
        self.engine.changed()

    # The card

    def draw(self, wanted: bool = True) -> None:
        """wanted: whether to offer a model where none is loaded."""
        engine = self.engine
        if engine.state == "failed" and (not engine.info or engine.error["code"] in NO_ENGINE):
            self.card.error(engine.error)
        elif self.state == "loading":
            self.card.loading(self.progress)
        elif self.error is not None:
            title, advice, buttons = explain(self.error["code"])
            buttons = [found for found in buttons if found[1] in BUTTONS] or [("Try again", "retry")]
            self.card.problem(title, advice, self.error, buttons)
        elif self.state == "ready" or engine.site is None or not wanted:
            self.card.hide()
        elif self.offered:
            self.card.offer(self.offered, engine.info)
        else:
            self.card.missing(*self._missing)
