"""The Chat page: connects what the user does with the open conversation, its answers and the stored chats."""

import asyncio
import json
import time

import js
from js import document
from studio.pages.chat.answers import Answer, Answers
from studio.pages.chat.attachments import Attachments
from studio.pages.chat.chats import Chats, export
from studio.pages.chat.conversation import Conversation, without_thought
from studio.pages.chat.finding import Finding
from studio.pages.chat.transcript import Transcript, editor
from studio.pages.chat.tune import tune
from studio.shell import elements, routing, works
from studio.shell.elements import action, attempt, by_id, composing, copied_soon, cost, el, on, show, toast
from studio.shell.errors import explain
from studio.shell.models import Model
from studio.shell.page import Page
from studio.shell.wording import t

PAGE = {
    "place": 1,
    "title": "Chat",
    "about": "Ask a model that runs in this tab",
    "tasks": ["text-generation"],
    "icon": '<path d="M5 5h14v11h-8l-4 3.500V16H5z"/>',
}
STARTERS = [t("Explain why the sky is blue"), t("Write a short poem about rain"), t("Plan a quiet weekend at home"),
            t("Write a Python function that reverses a list")]

prompt, composer = by_id("prompt"), by_id("composer")


class Chat(Page):
    """`conversation` is the open one; `problem` is the error of the answer that failed last."""

    history: Chats

    def __init__(self, engine, name):
        self.model = Model(engine, "text-generation", t("Chat model"), t("model for chats"),
                           t("You may be offline, or this site has no model of its own. A GGUF file of yours "
                             "works as well."))
        super().__init__(engine, name, t("Chat"), [self.model])
        by_id("composer").before(self.model.card.box)
        by_id("title").after(self.head.button)
        self.problem: dict | None = None
        self.transcript = Transcript()
        self.transcript.reopen = self.open_editor
        self.attachments, self.finding = Attachments(self), Finding(self)
        self.answers = Answers(self)
        self.history = Chats(self)
        self.words = {"new": t("New chat"), "none": t("Your chats will be listed here.")}
        self.exports = [(t("Export as Markdown"), "md", "text/markdown", lambda chat: chat.markdown()),
                        (t("Export as JSON"), "json", "application/json", lambda chat: json.dumps(chat.data))]
        self.heading = by_id("title")
        self.current = self.history.fresh()
        self.last = js.tensortab.session.getItem("tensortab.open")  # this browser tab shows the same chat again
        self._drafted = None  # the id of the chat whose draft is in the message box
        self._draft_timer, self._store_draft_proxy = None, elements.create_proxy(self.store_draft)
        for text in STARTERS:
            by_id("starters").append(el("li", el("button", text, type="button", act="starter")))
        self.connect()
        self.draw()
        self._first_text: str | None = prompt.value  # the box's text when the page started; None after that
        self.model.wish()
        asyncio.create_task(self.read_list())

    def connect(self) -> None:
        """Connects the clicks, keys and typing of this page."""
        for name, do in (
            ("stop", lambda _source: self.stop()), ("latest", lambda _source: self.transcript.to_end()),
            ("again", lambda source: self.again(key_of(source))), ("edit", lambda source: self.edit(key_of(source))),
            ("continue", lambda source: self.continue_answer(key_of(source))),
            ("edit-cancel", lambda source: self.edit_end(self.transcript.turns[key_of(source)])),
            ("export-all", lambda _source: asyncio.create_task(self.history.export_all())),
            ("import", lambda _source: by_id("import-file").click()),
            ("delete-all", lambda _source: asyncio.create_task(self.history.delete_all())),
            ("shorten", lambda _source: self.shorten()),
            ("ask-again", lambda _source: self.ask_again()),
            ("tune", lambda _source: tune(self.conversation, self.save_soon)), ("tune-reset", self.tune_reset),
            ("tune-keep", self.tune_keep),
        ):
            action(name)(do)

        @action("starter")
        def _(source):
            if not self.busy_here():
                self.send(source.firstChild.textContent)  # the text in the message box stays

        @action("copy")
        def _(source):
            copied_soon(source, without_thought(self.conversation.node(key_of(source))))

        @action("copy-code")
        def _(source):
            copied_soon(source, source.closest("figure").querySelector("pre").textContent)

        @action("branch")
        def _(source):
            self.conversation.turn_to(source.getAttribute("data-to"))
            self.draw()
            self.save_soon()

        def submitted(event) -> None:
            event.preventDefault()
            self.submit()

        def imported(event) -> None:
            if event.target.files.length:
                asyncio.create_task(self.history.import_file(event.target.files.item(0)))
                event.target.value = ""

        def hidden(_event) -> None:
            if document.visibilityState == "hidden":
                self.store_draft()
        on(document, "keydown", self.pressed)
        on(composer, "submit", submitted)
        on(prompt, "input", self.typed)
        on(by_id("import-file"), "change", imported)
        on(document, "visibilitychange", hidden)

    # Showing

    def focus(self) -> None:
        self.draw()
        fit_prompt()
        prompt.focus()

    def update(self) -> None:
        """Redraws the page after any change of the engine, and sends the next answer's request."""
        self.answers.pump()
        self.head.update()
        for source in by_id("starters").querySelectorAll("button"):
            cost(source, self.model.cost)
        show(by_id("stop"), self.busy_here())
        self.show_send()
        self.draw_notice()
        self.finding.draw()
        for answer in self.answers.queue:
            self.draw_waiting(answer)

    def draw(self) -> None:
        """Draws everything of the open conversation."""
        conversation = self.conversation
        self.mark()
        self.transcript.show(conversation)
        for answer in self.answers.all():
            self.draw_waiting(answer)
            if answer.text != answer.before:
                self.draw_growing(answer)
        attempt(js.tensortab.session, "setItem", "tensortab.open", conversation.id)
        if conversation.id != self._drafted:
            self._drafted = conversation.id
            prompt.value = elements.storage.getItem("tensortab.draft." + self.draft_name()) or ""
            fit_prompt()
            self.attachments.open(self.draft_name())
        self.listed()
        self.update()

    def draw_notice(self) -> None:
        """Draws the card above the message box: what could not be kept, an error of this chat's answer, or the
        model."""
        failed = self.answers.failed
        kept = not self.history.problem or self.history.silent
        problem = self.problem if kept else {"code": "not_kept", "message": self.history.problem}
        if problem and (not kept or failed is None or failed.conversation is self.conversation):
            title, advice, buttons = explain(problem["code"])
            buttons = [(label, "ask-again" if act == "retry" else act) for label, act in buttons]
            self.model.card.problem(title, advice, problem, buttons)
        else:
            self.model.draw()
        self.transcript.follow()

    def fails(self, problem: dict) -> None:
        """Shows the error of the failed answer."""
        self.problem = problem
        self.draw_notice()

    # Answers on the page

    def turn(self, answer: Answer):
        """Where the answer is shown; None while another chat is open (messages' ids are unique in a chat only)."""
        return self.transcript.turns.get(answer.key) if answer.conversation is self.conversation else None

    def draw_waiting(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            turn.streaming("" if answer.text != answer.before else self.answers.waits(answer))

    def draw_growing(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            if answer.text != answer.before:
                turn.streaming("")
            self.transcript.draw(answer.key, answer.text)

    def draw_finished(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            self.transcript.draw_now(answer.key, answer.text)
            turn.finish(answer.conversation)
            self.transcript.follow()

    def working(self) -> bool:
        return bool(self.answers.all())

    def busy_here(self) -> bool:
        return any(answer.conversation is self.conversation for answer in self.answers.all())

    # Conversations

    @property
    def conversation(self):
        return self.current

    def listed(self) -> None:
        if self.shown:
            works.draw(self)
        self.draw_notice()

    def mark(self) -> None:
        super().mark()
        by_id("title").textContent = t("New chat") if self.conversation.empty else self.conversation.title
        if self.shown and self.conversation.empty:
            routing.title("TensorTab")

    async def locate(self, part: str) -> None:
        """Without a part in the address, a browser tab begins with the chat that it showed last."""
        last, self.last = self.last, None
        if last and not part and await self.history.read(last) is not None:
            part = last
        if self._first_text is None or self.conversation.empty:  # else the user has begun a chat meanwhile
            await super().locate(part)
        self._first_text = None

    def can_leave(self) -> bool:
        """Another chat can be opened while one is being answered."""
        return True

    async def find(self, key: str):
        """A conversation as it is now: in memory while it is being answered or could not be saved."""
        for answer in self.answers.all():
            if answer.conversation.id == key:
                return answer.conversation
        return await super().find(key)

    async def show_work(self, work) -> None:
        typed, before = prompt.value, self._first_text
        if before is None:
            self.show_chat(work)
            return
        prompt.value = before  # what was typed while the page started moves along with the user
        self.show_chat(work)
        if typed not in ("", before, prompt.value):
            prompt.value = prompt.value + "\n" + typed if prompt.value else typed
            self.typed()

    def show_chat(self, conversation: Conversation) -> None:
        self.store_draft()
        self.current = conversation
        self.draw()

    def new_work(self) -> None:
        if self.answers.failed is not None:
            self.answers.failed = self.problem = None
        self.show_chat(self.conversation if self.conversation.empty else self.history.fresh())
        if self.shown:
            prompt.focus()

    def deleted(self, work) -> None:
        self.answers.forget(work)
        if self.conversation.id == work.id:
            self.show_chat(self.history.fresh())

    async def reread(self) -> None:
        if not self.busy_here() and not self.conversation.empty:
            await super().reread()

    def export_works(self, found: list) -> None:
        if len(found) == 1:
            works.save_as_file(found[0], self.exports[1])
        else:
            export([chat.data for chat in found])

    def save_soon(self) -> None:
        self.history.save_now(self.conversation)

    # Asking

    def submit(self) -> None:
        text = prompt.value.strip()
        if self.attachments.reading:
            toast(t("Wait until %s is read.") % self.attachments.reading)
            return
        if not (text or self.attachments.files):
            return
        prompt.value = ""
        self.store_draft()
        fit_prompt()
        self.send(text or t("Summarise this."), self.attachments.take())

    def take(self, files: list) -> None:
        self.attachments.add(files)

    def send(self, text: str, files: list | None = None) -> None:
        conversation = self.conversation
        path = conversation.path()
        parent = path[-1] if path else None
        if parent is not None and conversation.node(parent)["role"] == "user":
            files = conversation.node(parent).get("files", []) + (files or [])
            parent = conversation.node(parent)["parent"]  # an unanswered question is replaced by this branch
        question = conversation.add("user", text, time.time(), parent)
        if files:
            conversation.node(question)["files"] = files
        if parent == (path[-1] if path else None):
            self.transcript.append(conversation, question)
        else:
            self.transcript.show(conversation)
        self.mark()
        if not path:
            attempt(elements.storage, "removeItem", "tensortab.draft.new")
        self.attachments.rename(self.draft_name())
        self.store_draft()  # a text beside the starter in the message box belongs to this chat from now on
        self.answer(question)

    def answer(self, question: str) -> None:
        """Asks for an answer to a message; it is saved from its first word on."""
        self.problem = None
        answer = self.answers.ask(self.conversation, question)
        self.transcript.append(self.conversation, answer.key)
        self.transcript.to_end()
        self.save_soon()
        self.update()
        self.draw_waiting(answer)

    def again(self, key: str) -> None:
        """Requests another answer to the same message, as a branch beside the first."""
        if self.busy_here():
            return
        node = self.conversation.node(key)
        if not node["content"] and not self.conversation.children(key):
            self.conversation.remove(key)
        self.conversation.data["head"] = node["parent"]
        self.transcript.show(self.conversation)
        self.answer(node["parent"])

    def continue_answer(self, key: str) -> None:
        """Lets the model write on where the last answer was cut off."""
        if not self.busy_here() and key == self.conversation.data["head"]:
            answer = self.answers.go_on(self.conversation, key)
            self.update()
            self.draw_waiting(answer)
            self.transcript.to_end()

    def resend(self, key: str, text: str) -> None:
        """Sends an edited message, as a branch beside the first."""
        self.answers.stop(self.conversation)
        self.answers.withdraw(self.conversation)
        before = self.conversation.node(key)
        question = self.conversation.add("user", text, time.time(), before["parent"])
        if "files" in before:
            self.conversation.node(question)["files"] = before["files"]
        self.transcript.show(self.conversation)
        self.answer(question)

    def stop(self) -> None:
        """Stops this chat's answer, or removes it from the queue. A message that waits behind it is answered next."""
        if self.answers.stop(self.conversation):
            self.save_soon()
            self.draw()
        prompt.focus()

    def cancel(self) -> None:
        if self.busy_here():
            self.stop()

    def ask_again(self) -> None:
        """Asks again for the answer that failed."""
        answer, self.answers.failed, self.problem = self.answers.failed, None, None
        if self.engine.state == "failed":
            self.engine.restart()
        if answer is not None and answer.key in answer.conversation.data["nodes"]:
            self.current = answer.conversation
            self.again(answer.key)
        self.draw_notice()

    def shorten(self) -> None:
        """Leaves the oldest exchange out of what the model sees, and asks again."""
        answer = self.answers.failed
        if answer is None:
            return
        if answer.conversation.leave_out_oldest(answer.question):
            self.ask_again()
        else:
            toast(t("This one message is too long for the model: edit it and send it again."), seconds=10)

    # Editing a message

    def edit(self, key: str) -> None:
        area = self.transcript.turns[key].element.querySelector(".editor textarea")
        if area is None:
            area = self.open_editor(key, self.conversation.node(key)["content"])
        area.focus()
        area.setSelectionRange(len(area.value), len(area.value))

    def open_editor(self, key: str, text: str):
        turn = self.transcript.turns[key]
        form = editor(text)
        turn.element.classList.add("editing")
        turn.body.replaceChildren(form)
        area = form.querySelector("textarea")

        def submitted(event):
            event.preventDefault()
            text = area.value.strip()
            if text:
                self.edit_end(turn)
                self.resend(key, text)

        def pressed(event):
            if event.key == "Escape":
                event.stopPropagation()
                self.edit_end(turn)
            elif event.key == "Enter" and not event.shiftKey and not composing(event):
                submitted(event)
        on(form, "submit", submitted)
        on(area, "keydown", pressed)
        return area

    def edit_end(self, turn) -> None:
        turn.element.classList.remove("editing")
        turn.text(self.conversation.node(turn.key)["content"])
        self.transcript.keep_edits()
        prompt.focus()

    # The instructions and the sampling

    def tune_reset(self, _source) -> None:
        self.conversation.data["sampling"] = {}
        self.conversation.data["system"] = ""
        self.save_soon()
        tune(self.conversation, self.save_soon)

    def tune_keep(self, _source) -> None:
        data = self.conversation.data
        kept = json.dumps({"system": data["system"], "sampling": data["sampling"]})
        attempt(elements.storage, "setItem", "tensortab.defaults", kept)
        by_id("tune").close()
        toast(t("New chats start with these instructions and settings."))

    # The message box

    def draft_name(self) -> str:
        return "new" if self.conversation.empty else self.conversation.id

    def store_draft(self, *_) -> None:
        name = "tensortab.draft." + self.draft_name()
        if prompt.value:
            attempt(elements.storage, "setItem", name, prompt.value)
        else:
            attempt(elements.storage, "removeItem", name)

    def add(self, text: str) -> None:
        """Adds a text to what is in the message box."""
        prompt.value = prompt.value + "\n\n" + text if prompt.value.strip() else text
        self.typed()

    def show_send(self) -> None:
        """A message can be sent while an answer is being written: it waits for its turn."""
        show(by_id("send"), not self.busy_here() or bool(prompt.value.strip() or self.attachments.files))

    def typed(self, *_) -> None:
        fit_prompt()
        self.show_send()
        if self._draft_timer is not None:
            js.clearTimeout(self._draft_timer)
        self._draft_timer = js.setTimeout(self._store_draft_proxy, 250)

    def pressed(self, event) -> None:
        if composing(event):
            return
        if event.key == "Enter" and not event.shiftKey and event.target.id == "prompt":
            event.preventDefault()
            self.submit()
        elif event.key in ("k", "K") and (event.ctrlKey or event.metaKey) and not event.shiftKey:
            event.preventDefault()
            works.begin(self)
        elif event.key == "ArrowUp" and event.target.id == "prompt" and not prompt.value and not self.busy_here():
            mine = [key for key in self.conversation.path() if self.conversation.node(key)["role"] == "user"]
            if mine:
                event.preventDefault()
                self.edit(mine[-1])


def key_of(source) -> str:
    """The id of the message that contains an element."""
    return source.closest(".turn").getAttribute("data-key")


def fit_prompt() -> None:
    """Makes the box grow with its text, where the browser does not do so itself."""
    if not prompt.checkVisibility():  # it has no height while another page is shown
        return
    prompt.style.height = "auto"
    prompt.style.height = "%dpx" % min(prompt.scrollHeight, 260)
    by_id("composer").classList.toggle("filled", bool(prompt.value.strip()))
