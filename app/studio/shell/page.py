"""What all pages have in common: the heading, the models' cards, what is running, and what went wrong."""

import asyncio
import time

from js import document
from studio.shell import model_files, routing
from studio.shell.card import Card
from studio.shell.elements import announce, by_id, cost, el, icon_button, message_of, on, toast
from studio.shell.errors import explain
from studio.shell.models import STOPPED, Failure, Job, Model
from studio.shell.picker import Picker
from studio.shell.transport import Engine
from studio.shell.wording import t


class Problem(Exception):
    """An error of the page itself: a title, and what the browser says."""

    def __init__(self, title: str, detail: str = ""):
        super().__init__(detail)
        self.title = title


class Page:
    """A page, `pages/<name>/page.py`. `models` are the models that it uses. It does one thing at a time: `busy`, with
    the engine's `job`."""

    def __init__(self, engine: Engine, name: str, title: str, models: list):
        self.engine, self.name, self.title, self.models = engine, name, title, models
        self.shown = self.busy = self.stopped = False
        self.job: Job | None = None
        self.took, self._doing = 0.0, ""  # took: seconds of the last job
        self.head = Picker(self)  # the header's button
        self.starts: list = []  # the buttons that begin what needs the first model
        self.main = by_id(name)  # the chat's is in the document, so that it is painted first
        self.drop = self.main.querySelector(".drop") if self.main is not None else None
        engine.listen(self.update)

    def make(self, head: str, sub: str, drop: str) -> None:
        """Makes the page's elements. head, sub: the words above its body. drop: what is shown while a file is dragged
        over it."""
        self.work = Card(el("section", cls="notice", aria_label=t("Progress"), hidden=True))
        self.body = el("div", el("p", head, cls="hello-head"), el("p", sub, cls="hello-sub"), cls="tab-body")
        self.drop = el("div", el("p", drop), cls="drop", hidden=True)
        menu = icon_button("menu", t("Open the pages and conversations"), "drawer-open", aria_controls="side",
                           aria_expanded="false")
        for name in ("only-phone", "drawer-button"):
            menu.classList.add(name)
        heading = el("h1", self.title, id=self.name + "-title", tabindex="-1")
        top = el("header", menu, heading, self.head.button, cls="top")
        self.main = el("main", top, el("div", self.body, cls="scroll"), self.drop, cls="main tab", id=self.name,
                       aria_labelledby=self.name + "-title", hidden=True)
        by_id("chat").after(self.main)

    # Showing

    def show(self, visible: bool) -> None:
        self.shown = visible
        self.main.hidden = not visible
        if visible:
            self.update()
            self.focus()

    def focus(self) -> None:
        routing.title("%s · TensorTab" % self.title)
        self.main.querySelector("h1").focus()

    def update(self) -> None:
        """Redraws the page after any change of the engine or of the running job."""
        if not self.shown:
            return
        self.body.classList.toggle("filled", self.filled())
        for source in self.starts:
            cost(source, self.models[0].cost)
        self.head.update()
        for model in self.models:
            model.draw(self.wanted(model))
            if self._doing and self.job in model.waiting:
                self.running(self._doing, t("Waits for the model") if model.coming else
                             t("Waits for the model: see above"))

    def filled(self) -> bool:
        """Whether the page has something of the user's, so that the words at its top are folded away."""
        return self.busy

    def wanted(self, model: Model) -> bool:
        """Whether the model is offered."""
        return True

    def using(self) -> Model:
        """The model that the header names: the one that is loaded, else the one that is wanted."""
        models = self.pickable()
        for state in ("ready", "loading"):
            for model in models:
                if model.state == state:
                    return model
        return ([model for model in models if self.wanted(model)] or models)[0]

    def pickable(self) -> list:
        """The models that can be chosen on this page: the chat's, if it has none of its own."""
        return self.models or [self.engine.models["text-generation"]]

    # What the user gives it

    def take(self, files: list) -> None:
        """Starts working on files that were chosen, dropped or pasted. A page that takes nothing but models says so."""
        toast(t(model_files.NO_MODEL) % files[0].name)

    def receive(self, transfer) -> None:
        """Receives what was dropped or pasted: a model's files, an exported model, or something to work on."""
        files = [transfer.files.item(n) for n in range(transfer.files.length)]
        self.give(files, model_files.handles(transfer) if model_files.is_model(files) else None)

    def give(self, files: list, promised=None) -> None:
        """promised: a promise of the files' handles, if there is one."""
        if model_files.is_archive(files):
            model_files.import_soon(self.engine, files[0])
        elif model_files.is_model(files):
            model_files.open_soon(self.engine, files, promised)
        elif files:
            self.take(files)

    def picker(self, accept: str, take, **attributes):
        """A hidden file input, which calls `take(files)` when the user has chosen some."""
        field = el("input", type="file", accept=accept, cls="unseen", tabindex="-1", aria_hidden="true", **attributes)

        def chosen(_event) -> None:
            files = [field.files.item(n) for n in range(field.files.length)]
            field.value = ""
            if files:
                take(files)
        on(field, "change", chosen)
        self.body.append(field)
        return field

    # What is running

    def working(self) -> bool:
        """Whether something runs that a reload would end."""
        return self.busy

    def free(self) -> bool:
        """Whether the page is idle; if it is not, tells the user."""
        if self.busy:
            toast(t("This page does one thing at a time: wait until it is done, or cancel it."))
        return not self.busy

    def begin(self, work, wrong: str) -> None:
        """Runs a coroutine. wrong: the title of the card if it fails."""
        self.busy, self.stopped = True, False
        self.work.hide()
        asyncio.create_task(self._run(work, wrong))

    async def _run(self, work, wrong: str) -> None:
        try:
            await work
        except Failure as failure:
            self.work.hide()
            if failure.error["code"] in ("aborted", "ended"):
                announce(t("Stopped."))
            else:
                code = failure.error["code"]
                advice = "" if code in ("bad_request", "bad_file") else explain(code)[1]
                self.work.problem(wrong, advice, failure.error)
        except Problem as problem:
            self.work.problem(problem.title, message_of(problem), {})
        except Exception as error:  # a fault of the page: the user can report it
            self.work.problem(wrong, explain("internal")[1], self.engine.fault(error))
        else:
            self.work.hide()
        self.busy, self.job, self._doing = False, None, ""
        self.update()
        self.keep_focus(self.body.querySelector(".row:not([hidden]) button:not([hidden])"))

    def running(self, title: str, detail: str = "", part: float | None = None) -> None:
        self._doing = title
        self.work.progress(title, detail, part, title, "cancel")
        self.keep_focus(self.work.box.querySelector("button"))

    async def ask(self, model: Model, method: str, params: dict, attachments=(), moved=(),
                  told=lambda body: None) -> dict:
        """Runs a job and returns its result. Raises Failure, also if the user has cancelled it meanwhile."""
        self.check()
        self.job = Job(model, told, (method, params, attachments, moved))
        self.update()
        try:
            body = await self.job.result()
            self.took = time.time() - self.job.sent
        finally:
            self.job = None
        self.check()  # a cancelled job may have a result: the part that was done
        return body

    def check(self) -> None:
        if self.stopped:
            raise Failure(STOPPED)

    def cancel(self) -> None:
        """Stops what is running; called by Escape and the button."""
        self.stopped = True
        if self.job is not None:
            self.job.cancel()

    def keep_focus(self, target) -> None:
        """Moves the focus to the target if the element that had it is gone."""
        at = document.activeElement
        if self.shown and target is not None and (at is None or at.matches("body") or not at.checkVisibility()):
            target.focus()

    def copied_text(self) -> str:
        """The text that the button "Copy" copies."""
        return ""
