"""What all pages have in common: the heading, the models' cards, what is running, and what went wrong."""

import asyncio
import time

import js
from js import document
from studio.shell import folders, model_files, routing, works
from studio.shell.card import Card
from studio.shell.database import Database
from studio.shell.elements import announce, by_id, cost, el, icon_button, message_of, on, show, toast
from studio.shell.errors import explain
from studio.shell.history import History
from studio.shell.models import STOPPED, Failure, Job, Model
from studio.shell.picker import Picker
from studio.shell.transport import Engine
from studio.shell.wording import t
from studio.shell.work import Work

MOST_FILES = 1000  # of a dropped folder


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
        self.history: History = None  # of a page whose works are kept: see keep_works
        self.current: Work | None = None  # the open work
        self.heading: js.JsProxy | None = None  # the element that shows the title of the open work, if one does
        self.words: dict = {}  # of the list of works: "new" is its button, "none" is said where it is empty
        self.exports: list = []  # (label, ending, MIME type, text of a work)
        engine.listen(self.update)

    def make(self, head: str, sub: str, drop: str) -> None:
        """Makes the page's elements. head, sub: the words above its body. drop: what is shown while a file is dragged
        over it."""
        self.unsaved = Card(el("section", cls="notice", hidden=True))
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
            if self.history is not None:
                self.listed()
            self.update()
            self.focus()

    def focus(self) -> None:
        self.mark()
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

    def reveal(self, result) -> None:
        """Shows a result, and scrolls to it if it is below what is in view."""
        show(result)
        if self.shown and result.getBoundingClientRect().top > js.innerHeight - 96:
            result.scrollIntoView()

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

    # The works that are kept

    def keep_works(self, new: str, none: str, exports: list) -> None:
        """Keeps what is made on the page. new, none, exports: see `words` and `exports`."""
        self.history = History(self, Database("tensortab-works-" + self.name, "works"))
        self.words, self.exports = {"new": new, "none": none}, exports
        asyncio.create_task(self.read_list())

    async def read_list(self) -> None:
        try:
            await self.history.read_list()
        except Exception as error:
            self.history.problem = message_of(error)
            self.listed()

    def listed(self) -> None:
        """Draws the list of works, and whether some could not be kept."""
        if self.shown:
            works.draw(self)
        if self.history.problem and not self.history.silent:
            title, advice, buttons = explain("not_kept")
            self.body.querySelector(".hello-sub").after(self.unsaved.box)
            self.unsaved.problem(title, advice, {"code": "not_kept", "message": self.history.problem}, buttons)
        else:
            self.unsaved.hide()
            self.unsaved.box.remove()

    async def locate(self, part: str) -> None:
        """Shows what the address names: a work, or "new"."""
        if part == "new":
            if self.current is not None and self.can_leave():
                self.new_work()
        elif part and self.history is not None:
            await self.open(part)
        self.mark()

    def mark(self) -> None:
        """Lets the address and the window's title follow what is shown."""
        if self.shown:
            named = self.current is not None and not self.current.empty
            if named or routing.part() not in ("", "new"):
                routing.replace(self.name, self.current.id if named else "new")
            routing.title("%s · TensorTab" % (self.current.title if named else self.title))

    def open_soon(self, key: str) -> None:
        asyncio.create_task(self.open(key))

    async def open(self, key: str) -> None:
        """Opens a work of the list."""
        if (self.current is not None and key == self.current.id) or not self.can_leave():
            return
        try:
            found = await self.find(key)
        except Exception as error:
            toast(t("The browser could not read it: %s") % message_of(error))
            return
        if found is None:
            toast(t("It is not in this browser any more: it was deleted."))
            await self.read_list()
        else:
            await self.show_work(found)
            self.mark()
            self.listed()

    def can_leave(self) -> bool:
        """Whether another work can be shown now; if not, tells the user."""
        return self.free()

    async def find(self, key: str) -> Work | None:
        """A work of the list as it is now; None if it was deleted."""
        return self.current if self.current is not None and key == self.current.id else await self.history.read(key)

    async def show_work(self, work: Work) -> None:
        """Shows a work of the list."""
        raise NotImplementedError

    def new_work(self) -> None:
        """Shows the page as if nothing was made on it yet."""
        self.current = None
        self.mark()
        self.listed()

    def deleted(self, work: Work) -> None:
        """A work was deleted."""
        if self.current is not None and self.current.id == work.id:
            if self.busy:
                self.cancel()
            self.new_work()

    async def reread(self) -> None:
        """Another browser tab wrote a work: it is read again if it is the open one, and nothing here writes it."""
        if self.current is not None and not self.busy and self.current.id not in self.history.unsaved:
            again = await self.history.read(self.current.id)
            if again is not None and again.data["updated"] > self.current.data["updated"]:
                await self.show_work(again)

    def export_works(self, found: list) -> None:
        for work in found:
            works.save_as_file(work, self.exports[0])

    # What the user gives it

    def take(self, files: list) -> None:
        """Starts working on files that were chosen, dropped or pasted. A page that takes nothing but models says so."""
        toast(model_files.NO_MODEL % files[0].name)

    def receive(self, transfer) -> None:
        """Receives what was dropped or pasted: a model's files, an exported model, or something to work on."""
        dropped = folders.entries(transfer)
        if any(entry.isDirectory for entry in dropped):
            asyncio.create_task(self._give_folder(dropped))
            return
        files = [transfer.files.item(n) for n in range(transfer.files.length)]
        self.give(files, model_files.handles(transfer) if model_files.is_model(files) else None)

    async def _give_folder(self, dropped: list) -> None:
        files = await folders.files_in(dropped, MOST_FILES)
        given = [file for _, file in files]
        self.give(model_files.of_folder(files) if model_files.is_model(given) else given)

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
