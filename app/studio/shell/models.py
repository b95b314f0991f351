"""The models of the page, one for each task, loaded when they are needed; and the jobs that they do.

All of them share one lock between the browser's tabs, so that two tabs do not fill the GPU twice."""

import asyncio
import time

import js
from js import navigator
from jsffi import create_proxy
from studio.shell import elements
from studio.shell.card import Card, title
from studio.shell.elements import attempt, el
from studio.shell.errors import explain
from studio.shell.transport import Engine
from studio.shell.wording import t

LOCK = "tensortab-models"
STOPPED = {"code": "aborted", "message": "The job was stopped."}
ELSEWHERE = {"code": "two_tabs", "message": ""}
BUTTONS = ("retry", "pick-file", "pick-model", "download-again", "load-default", "settings", "restart", "reload",
           "use-here", "use-unkept", "allow-files")


class Failure(Exception):
    """The error that the engine returned instead of a result: {"code", "message"}."""

    def __init__(self, error: dict):
        super().__init__(error.get("message") or "")
        self.error = error


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
    def part(self) -> float:
        """The share of the stage that is done, 0 to 1."""
        return self.loaded / self.total if self.total else 0

    @property
    def left(self) -> float | None:
        """Seconds, or None while unknown."""
        return (self.total - self.loaded) / self.rate if self.rate and self.total else None


class Hold:
    """The lock that this browser tab needs to have models. `taken()` is called when another tab takes it."""

    def __init__(self, taken):
        self._taken, self._release, self._one = taken, None, asyncio.Lock()
        self._channel = js.BroadcastChannel.new(LOCK)
        self._channel.addEventListener("message", create_proxy(self._asked))

    async def take(self, take_over: bool = False) -> bool:
        """Whether this tab has the lock now. take_over: asks the tab that has it to let it go, and waits."""
        async with self._one:  # two loads at once ask once
            if self._release is not None:
                return True
            if take_over:
                self._channel.postMessage("release")
            answer = js.Promise.withResolvers()

            def got(lock):
                answer.resolve(lock is not None)
                if lock is None:
                    return None
                self._release = js.Promise.withResolvers()
                self._held = self._release.promise  # a result without a name is collected before JavaScript gets it
                return self._held  # the lock is held until it resolves
            options = js.JSON.parse("{}" if take_over else '{"ifAvailable": true}')
            navigator.locks.request(LOCK, options, create_proxy(got))
            return await answer.promise

    def let_go(self) -> None:
        if self._release is not None:
            self._release.resolve()
            self._release = None

    def _asked(self, event) -> None:
        if event.data == "release" and self._release is not None:
            self._taken()


class Model:
    """The model of one task. `state` is one of idle, loading, ready, failed, and elsewhere: another browser tab holds
    the models. `name` is the loaded model's, `about` what the engine says about it."""

    def __init__(self, engine: Engine, task: str, label: str, kind: str, advice: str):
        """label: what the header calls it. kind, advice: the card's words where the site has no model for the task."""
        self.engine, self.task, self.label, self._missing = engine, task, label, (kind, advice)
        self.state, self.progress = "idle", Progress()
        self.name: str | None = None
        self.error: dict | None = None
        self.about: dict = {}
        self.waiting: list[Job] = []
        self.working = 0  # requests that are not answered
        self.card = Card(el("section", cls="notice", aria_label=t("Model"), data_task=task, hidden=True))
        self._asked: tuple = (None, (), True)  # the name and the files of the last load, and whether it is kept
        self._done: tuple = self._asked  # those of the loaded model
        self._load_id: int | None = None
        self._before: tuple | None = None  # the model, its `about` and what was asked while another one loads
        self._wished = False  # whether it is to be loaded as soon as it is known to be stored
        self._lost = False  # whether the engine ended with this model, which is to be loaded again
        if engine.hold is None:
            engine.hold = Hold(lambda: taken_over(engine))
        engine.models[task] = self

    # Loading

    @property
    def offered(self) -> dict | None:
        """The model that is offered for the task."""
        return self.offer()

    def offer(self) -> dict | None:
        """The one that was used last, else the site's or the hub's first."""
        found = self.choices()
        for model in found:
            if model["name"] == elements.storage.getItem(self._key):
                return model
        return found[0] if found else None

    def choices(self) -> list:
        """The known models that are for the task."""
        return [about for about in (self.engine.known or {}).values() if self.can_use(about["tasks"])]

    def can_use(self, tasks: list) -> bool:
        """Whether this can be a model that is for these tasks."""
        return self.task in tasks

    @property
    def listing(self) -> dict | None:
        """What is known of the model that is loaded or being loaded, else of the one that is offered."""
        return (self.engine.known or {}).get(self.asked) if self.state in ("loading", "ready") else self.offered

    @property
    def title(self) -> str:
        """The plain name of that model, "" if there is none."""
        return title(self.listing) if self.listing else self.name or ""

    @property
    def asked(self) -> str | None:
        """The name by which the model that is loaded, or else the last one, was asked for; None for files."""
        return (self._done if self.state == "ready" else self._asked)[0]

    @property
    def requested(self) -> str | None:
        """The name that the last load asked for, also if it failed; None for files."""
        return self._asked[0]

    @property
    def files(self):
        """The user's own files of the loaded model."""
        return self._done[1] if self.state == "ready" else ()

    @property
    def cost(self) -> int:
        """The bytes that the next job has to download first; 0 while that is unknown."""
        return to_download(self.offered) if self.state == "idle" else 0

    @property
    def _key(self) -> str:
        return "tensortab.model." + self.task

    def remember(self, name: str) -> None:
        """The model of that name comes back at the next visit."""
        attempt(elements.storage, "setItem", self._key, name)

    def load(self, name: str | None, files=(), take_over: bool = False, keep: bool = True) -> None:
        """Loads a model of the site or the hub by its name, or the user's own files. keep: whether a download is
        stored; else it is lost with the page."""
        if keep and not files:
            attempt(navigator.storage, "persist")
        if self.name is not None:
            self._before = self.name, self.about, self._done
        if self._load_id is not None:
            self.engine.abort(self._load_id)
        self._asked, self.error, self.progress, self._load_id = (name, files, keep), None, Progress(), None
        self.state, self.name, self.about = "loading", None, {}
        self.engine.changed()
        asyncio.create_task(self._load(self._asked, take_over))

    async def _load(self, asked: tuple, take_over: bool) -> None:
        held = await self.engine.hold.take(take_over)
        if self.state != "loading" or self._asked is not asked:  # cancelled, or another load, while it waited
            release_if_idle(self.engine)
            return
        if not held:
            self.state = "elsewhere"
            self.engine.changed()
            return
        for other in self.engine.models.values():
            if other.state == "elsewhere":
                other.state = "idle"

        def answered(kind: str, body: dict) -> None:
            if self._load_id == mine:  # else this load was cancelled
                self._answered(kind, body)
        name, files, keep = asked
        params = {"task": self.task, "model": name, "keep": keep}
        self._load_id = mine = self.engine.request("load", params, answered, files)

    def _answered(self, kind: str, body: dict) -> None:
        if kind == "progress":
            self.loading(body)
            return
        self._load_id = None
        if kind == "result":
            self.state, self.name, self.about = "ready", body["model"], body
            self._done, self._before = self._asked, None
            if self.asked is not None:
                self.remember(self.asked)
            self.send()
        elif self._before is not None:
            self.error = None if body["code"] == "aborted" else body
            self._stay()
        elif body["code"] == "aborted":
            self.state = "idle"
        else:
            self.state, self.error = "failed", body
        self.engine.look()
        release_if_idle(self.engine)
        self.engine.changed()

    def _stay(self) -> None:
        """Goes back to the model that was loaded before; it still is."""
        self.state, (self.name, self.about, self._done), self._before = "ready", self._before, None
        self.send()

    def loading(self, body: dict) -> None:
        self.state = "loading"
        self.progress.update(body["stage"], body["loaded"], body["total"])
        self.engine.changed()

    def loaded(self) -> None:
        """A request is answered: a model that was lost with the GPU is back."""
        if self.state == "loading" and self.name is not None:
            self.state = "ready"
            self.send()
            self.engine.changed()

    @property
    def coming(self) -> bool:
        """Whether a job that waits for the model will be sent without a click."""
        return self.state == "loading"

    def retry(self) -> None:
        """Repeats what failed: the start of the engine, or the load."""
        if self.engine.state == "failed":
            self.engine.restart()
        else:
            self.load_asked()

    def load_asked(self, take_over: bool = False) -> None:
        name, files, keep = self._asked
        self.load(name, files, take_over, keep)

    def take_over(self) -> None:
        """Takes the models from the other browser tab."""
        self.load_asked(take_over=True)

    def load_unkept(self) -> None:
        """Downloads what has no room in the storage again, into memory."""
        self.load(self.requested, keep=False)

    def download_again(self) -> None:
        """Deletes a damaged model, and downloads it again."""
        def deleted(kind: str, body: dict) -> None:
            if kind == "result":
                self.load_asked()
            else:
                elements.toast(t("The model could not be deleted: %s") % body["message"])
        self.engine.request("delete", {"model": self._asked[0]}, deleted)

    def cancel_load(self) -> None:
        """Ends the load. What has arrived is kept; the jobs that wait for the model are cancelled."""
        if self._load_id is not None:
            self.engine.abort(self._load_id)
        self._load_id = None
        if self._before is not None:
            self._stay()
        else:
            self._free()
        self.engine.look()
        self.engine.changed()

    def unload(self) -> None:
        self.engine.request("unload", {"task": self.task}, lambda *_: None)
        self._free()
        self.engine.changed()

    def _free(self) -> None:
        """The engine has no model of this task any more."""
        self.state, self.name, self.about, self.error = "idle", None, {}, None
        for job in list(self.waiting):
            job.cancel()
        release_if_idle(self.engine)

    def ended(self) -> None:
        """The engine's worker was ended, and the model with it."""
        if self.state == "ready":
            self._asked = self._done
        self._lost = self._lost or self.state in ("loading", "ready")
        self._load_id = self._before = None
        self._free()

    def load_again(self) -> None:
        """The engine is up, perhaps again: loads the model that ended with the engine before."""
        lost, self._lost = self._lost, False
        if lost and self.state == "idle":
            self.load_asked()

    def left(self) -> None:
        """Another browser tab took the models."""
        self.state, self._lost = "elsewhere", False

    # What is loaded by itself

    def wish(self) -> None:
        """The model is useful now: loads it if it is stored."""
        self._wished = True
        if self.state == "idle" and self.offered and stored(self.offered):
            self.load(self.offered["name"])

    def need(self) -> None:
        """The user started something that needs the model: loads it, and downloads it if it must be."""
        if self.state == "idle" and self.offered:
            self.load(self.offered["name"])

    def listed(self) -> None:
        """The list of the stored models is known."""
        if self.waiting:
            self.need()
        elif self._wished:
            self.wish()

    # Jobs

    def take(self, job) -> None:
        """Sends a job, at once or when the model is ready."""
        if self.state == "ready":
            self.error = None  # the error of a load that left this model in place
            job.send()
        else:
            self.waiting.append(job)
            self.need()

    def send(self) -> None:
        """Sends the jobs that wait for the model."""
        waiting, self.waiting = self.waiting, []
        for job in waiting:
            job.send()

    def request(self, method: str, params: dict, handler, attachments=(), moved=()) -> int:
        """A request that uses the model. If the GPU was lost, the engine loads the model again first."""
        def heard(kind: str, body: dict) -> None:
            if kind == "progress":
                if self.name is not None:
                    self.loading(body)
                return
            if kind != "chunk":
                self.working -= 1
            self.loaded()
            handler(kind, body)
        self.working += 1
        return self.engine.request(method, params, heard, attachments, moved)

    # The card

    def draw(self, wanted: bool = True) -> None:
        """wanted: whether to offer a model where none is loaded."""
        engine, offered = self.engine, self.offered
        if engine.state == "failed":
            self.card.error(engine.error)
        elif self.state == "elsewhere":
            self.card.error(ELSEWHERE)
        elif self.state == "loading":
            self.card.loading(self.progress)
        elif self.error is not None:
            title, advice, buttons = explain(self.error["code"])
            buttons = [found for found in buttons if found[1] in BUTTONS and (found[1] != "load-default" or offered)]
            if self.name is not None:
                advice = "%s %s" % (advice, t("%s is still loaded.") % self.name)
            self.card.problem(title, advice, self.error, buttons or [(t("Try again"), "retry")])
        elif self.state == "ready" or engine.state == "starting" or not wanted:
            self.card.hide()
        elif offered:
            if offered["stored"] is not None:
                self.card.offer(offered, engine.info)
        elif engine.known is not None:
            self.card.missing(*self._missing, engine.unlisted)


def texts_model(engine: Engine) -> Model:
    """The model for texts, which the Search page and the chat's files have in common."""
    task, advice = "feature-extraction", t("Open the .safetensors and .json files of a sentence model, such as MiniLM.")
    return engine.models.get(task) or Model(engine, task, t("Model for texts"), t("model for texts"), advice)


class Job:
    """One request of a page. It waits until the model is loaded; `sent` is when it was sent, in seconds since 1970."""

    def __init__(self, model: Model, told, message: tuple):
        """told(body): each partial result. message: method, params, attachments, buffers given away."""
        self._model, self._told, self._message = model, told, message
        self._id: int | None = None
        self._ended = asyncio.Event()
        self._result: dict | None = None
        self._error: dict | None = None
        self.sent = 0.0
        model.take(self)

    async def result(self) -> dict:
        """Raises Failure."""
        await self._ended.wait()
        if self._error is not None:
            raise Failure(self._error)
        return self._result

    def send(self) -> None:
        method, params, attachments, moved = self._message
        self._message, self.sent = None, time.time()
        params = {"task": self._model.task, "params": params}
        self._id = self._model.request(method, params, self._heard, attachments, moved)

    def cancel(self) -> None:
        """Ends the job, with the part that is done or with the error "aborted"."""
        if self._id is not None:
            self._model.engine.abort(self._id)
        elif self in self._model.waiting:
            self._model.waiting.remove(self)
            self._heard("error", STOPPED)

    def _heard(self, kind: str, body: dict) -> None:
        if kind == "chunk":
            self._told(body)
        else:
            self._result, self._error = (body, None) if kind == "result" else (None, body)
            self._ended.set()


async def request(engine: Engine, method: str, params: dict, attachments=(), told=lambda body: None) -> dict:
    """Asks the engine something, and returns its answer. told(body): each report of progress. Raises Failure."""
    ended, answer = asyncio.Event(), []

    def heard(kind: str, body: dict) -> None:
        if kind == "progress":
            told(body)
        else:
            answer.append((kind, body))
            ended.set()
    engine.request(method, params, heard, attachments)
    await ended.wait()
    kind, body = answer[0]
    if kind == "error":
        raise Failure(body)
    return body


def stored(about: dict) -> bool:
    """Whether a model is on this device completely. The user's own files may be where they are."""
    return about.get("kind") == "file" or (about["stored"] or 0) >= about["size"]


def to_download(model: dict | None) -> int:
    return model["size"] - model["stored"] if model and model["stored"] is not None else 0


def in_use(engine: Engine) -> list:
    return [model for model in engine.models.values() if model.state in ("loading", "ready")]


def release_if_idle(engine: Engine) -> None:
    if not in_use(engine):
        engine.hold.let_go()


def taken_over(engine: Engine) -> None:
    """Another browser tab wants the models: this one ends its engine, and starts one without a model."""
    had = in_use(engine)
    engine.end()
    for model in had:
        model.left()
    engine.start()
