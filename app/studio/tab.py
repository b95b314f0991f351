"""What the pages beside the chat have in common: heading, models' cards, what is running, what went wrong."""

import asyncio
import time

from js import document
from studio.dom import announce, by_id, el, fill, icon_button, message_of, on, toast
from studio.engine import Engine
from studio.notice import Card
from studio.task import Failure, Job, Task
from studio.wording import explain

STOPPED = {"code": "aborted", "message": "It was stopped."}
MODEL_FILES = (".gguf", ".safetensors")


class Problem(Exception):
    """Something of the page's own that went wrong: a title, and what the browser says."""

    def __init__(self, title: str, detail: str = ""):
        super().__init__(detail)
        self.title = title


class Tab:
    """`tasks` are the models it works with. It does one thing at a time: `busy`, with the engine's `job` in it."""

    def __init__(self, engine: Engine, name: str, title: str, head: str, sub: str, drop: str, tasks: list):
        self.engine, self.title, self.tasks = engine, title, tasks
        self.shown = self.busy = self.stopped = False
        self.job: Job | None = None
        self.took, self._doing = 0.0, ""  # took: seconds of the last job
        self._heading = el("h1", title, id=name + "-title", tabindex="-1")
        self._models = el("div", cls="in-use")
        self.work = Card(el("section", cls="notice", aria_label="Progress", hidden=True))
        self.body = el("div", el("p", head, cls="hello-head"), el("p", sub, cls="hello-sub"), cls="tab-body")
        top = el("header", icon_button("menu", "Open the pages and conversations", "drawer-open", aria_controls="side",
                                       aria_expanded="false"), self._heading, self._models, cls="top")
        top.firstElementChild.classList.add("only-phone", "drawer-button")
        self.drop = el("div", el("p", drop), cls="drop", hidden=True)
        by_id("lab").before(el("main", top, el("div", self.body, cls="scroll"), self.drop, cls="main tab", id=name,
                               aria_labelledby=name + "-title"))

    def take(self, files: list) -> None:
        """Begins with files that were chosen, dropped or pasted."""
        raise NotImplementedError

    def picker(self, accept: str, take, **attributes):
        """A hidden field for files: `take(files)` when some were chosen."""
        field = el("input", type="file", accept=accept, cls="unseen", tabindex="-1", aria_hidden="true", **attributes)

        def chosen(_event) -> None:
            files = [field.files.item(n) for n in range(field.files.length)]
            field.value = ""
            if files:
                take(files)
        on(field, "change", chosen)
        self.body.append(field)
        return field

    def show(self, visible: bool) -> None:
        self.shown = visible
        if visible:
            document.title = self.title + " · TensorTab"
            self.update()
            self._heading.focus()

    def update(self) -> None:
        """Draws it, after any change of the engine or of what is running."""
        if not self.shown:
            return
        fill(self._models)
        for task in self.tasks:
            task.draw(self.wanted(task))
            if task.state == "ready":
                name = el("span", task.model, cls="tag", title=task.model)
                self._models.append(name)
                self._models.append(icon_button("close", "Unload " + task.model, "unload", data_task=task.name))
            if self._doing and self.job in task.waiting:
                self.running(self._doing, "Waits for the model" if task.state == "loading" else
                             "Waits for the model: see above")

    def wanted(self, task: Task) -> bool:
        """Whether the task's model is offered."""
        return True

    def dropped(self, transfer) -> None:
        """What was dropped or pasted: a model's files, or something to work on."""
        files = [transfer.files.item(n) for n in range(transfer.files.length)]
        if any(file.name.lower().endswith(MODEL_FILES) for file in files):
            asyncio.create_task(self.open_model(files))
        elif files:
            self.take(files)

    async def open_model(self, files: list) -> None:
        """The user's own. Where a page has two models, the last one is a CLIP: its config says that it sees."""
        task = self.tasks[0]
        for file in files:
            try:
                if file.name == "config.json" and "vision_config" in await file.text():
                    task = self.tasks[-1]
            except Exception:
                pass  # it can't be read, which loading says
        task.load(None, files)

    # What is running

    def free(self) -> bool:
        """Whether something can begin; if not, the user is told."""
        if self.busy:
            toast("One thing at a time: wait for the end of what is running, or cancel it.")
        return not self.busy

    def begin(self, work, wrong: str) -> None:
        """Runs a coroutine. wrong: what to say if it fails."""
        self.busy, self.stopped = True, False
        self.work.hide()
        asyncio.create_task(self._run(work, wrong))

    async def _run(self, work, wrong: str) -> None:
        try:
            await work
        except Failure as failure:
            self.work.hide()
            if failure.error["code"] in ("aborted", "ended"):
                announce("Stopped.")
            else:
                code = failure.error["code"]
                advice = "" if code in ("bad_request", "bad_file") else explain(code)[1]
                self.work.problem(wrong, advice, failure.error)
        except Problem as problem:
            self.work.problem(problem.title, message_of(problem), {})
        except Exception as error:  # whatever it is, the user is told
            self.work.problem(wrong, explain("internal")[1], self.engine.fault(error))
        else:
            self.work.hide()
        self.busy, self.job, self._doing = False, None, ""
        self.update()
        self.keep_focus(self.body.querySelector(".row:not([hidden]) button:not([hidden])"))

    def running(self, title: str, detail: str = "", part: float | None = None) -> None:
        self._doing = title
        self.work.progress(title, detail, part, title, "cancel-job")
        self.keep_focus(self.work.box.querySelector("button"))

    async def ask(self, task: Task, method: str, params: dict, inputs=(), moved=(), told=lambda body: None) -> dict:
        """A job's result. Raises Failure, also if the user has cancelled meanwhile."""
        self.check()
        self.job = Job(task, told, (method, params, inputs, moved))
        self.update()
        try:
            body = await self.job.result()
            self.took = time.time() - self.job.sent
        finally:
            self.job = None
        self.check()  # what was cancelled may have a result: as much as there was of it
        return body

    def check(self) -> None:
        if self.stopped:
            raise Failure(STOPPED)

    def cancel(self) -> None:
        """By Escape or the button."""
        self.stopped = True
        if self.job is not None:
            self.job.cancel()

    def keep_focus(self, target) -> None:
        """Moves the focus to the target if what had it is gone."""
        at = document.activeElement
        if self.shown and target is not None and (at is None or at.matches("body") or not at.checkVisibility()):
            target.focus()

    def copied_text(self) -> str:
        """What "Copy" copies."""
        return ""

