"""The Chat page: connects what the user does with the open conversation, its answers and the stored chats."""

import asyncio
import json
import time

import js
from js import document
from studio.pages.chat.answers import Answer, Answers
from studio.pages.chat.attachments import Attachments
from studio.pages.chat.chats import Chats
from studio.pages.chat.conversation import Conversation, without_thought
from studio.pages.chat.finding import Finding
from studio.pages.chat.transcript import Transcript, editor
from studio.pages.chat.tune import tune
from studio.shell import elements, routing, sidebar, storage
from studio.shell.elements import action, attempt, by_id, copied_soon, cost, el, message_of, on, show, toast
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
STARTERS = ["Explain why the sky is blue", "Write a short poem about rain", "Plan a quiet weekend at home",
            "Write a Python function that reverses a list"]

prompt, composer, menu = by_id("prompt"), by_id("composer"), by_id("menu")


class Chat(Page):
    """`conversation` is the open one; `problem` is an error of an answer or of the storage."""

    def __init__(self, engine, name):
        self.model = Model(engine, "text-generation", t("model for chats"),
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
        self.chats = Chats(self)
        self.conversation = self.chats.fresh()
        self.last = js.tensortab.session.getItem("tensortab.open")  # a reload shows the same chat again
        self._drafted = None  # the id of the chat whose draft is in the message box
        self._draft_timer, self._store_draft_proxy = None, elements.create_proxy(self.store_draft)
        for text in STARTERS:
            by_id("starters").append(el("li", el("button", t(text), type="button", act="starter")))
        self.connect()
        self.draw()
        self._first_text = prompt.value  # the box's text when the page started
        self.model.wish()
        asyncio.create_task(self.restore())

    def connect(self) -> None:
        """Connects the clicks, keys and typing of this page."""
        for name, do in (
            ("stop", lambda _source: self.stop()), ("latest", lambda _source: self.transcript.to_end()),
            ("again", lambda source: self.again(key_of(source))), ("edit", lambda source: self.edit(key_of(source))),
            ("edit-cancel", lambda source: self.edit_end(self.transcript.turns[key_of(source)])),
            ("new-chat", lambda _source: self.go_on(self.new_chat)), ("chat-menu", self.open_menu),
            ("open", lambda source: self.go_on(lambda: self.open_soon(source.getAttribute("data-key")))),
            ("rename", lambda _source: self.from_menu(self.rename)),
            ("delete-chat", lambda _source: self.from_menu(self.chats.delete)),
            ("export-markdown", lambda _source: self.from_menu(lambda key: self.chats.export(key, "markdown"))),
            ("export-json", lambda _source: self.from_menu(lambda key: self.chats.export(key, "json"))),
            ("export-unsaved", lambda _source: self.chats.export_unsaved()),
            ("export-all", lambda _source: asyncio.create_task(self.chats.export_all())),
            ("import", lambda _source: by_id("import-file").click()),
            ("delete-all", lambda _source: asyncio.create_task(self.chats.delete_all())),
            ("undo-delete", lambda _source: asyncio.create_task(self.chats.undo_delete())),
            ("shorten", lambda _source: self.shorten()),
            ("ask-again", lambda _source: self.ask_again()),
            ("save-again", lambda _source: asyncio.create_task(self.chats.save_all())),
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
                asyncio.create_task(self.chats.import_file(event.target.files.item(0)))
                event.target.value = ""

        def hidden(_event) -> None:
            if document.visibilityState == "hidden":
                self.store_draft()
                if self.answers.active is not None:
                    self.chats.save_soon(self.answers.active.conversation)

        def leaving(event) -> None:
            """Makes the browser ask first if closing it would lose a chat."""
            if self.chats.unsaved:
                event.preventDefault()
        on(document, "keydown", self.pressed)
        on(menu, "keydown", menu_pressed)
        on(composer, "submit", submitted)
        on(prompt, "input", self.typed)
        on(by_id("import-file"), "change", imported)
        on(document, "visibilitychange", hidden)
        on(js.window, "beforeunload", leaving)

    # Showing

    def focus(self) -> None:
        self.draw()
        prompt.focus()

    def show(self, visible: bool) -> None:
        super().show(visible)
        self.chats.show()

    def update(self) -> None:
        """Redraws the page after any change of the engine, and sends the next answer's request."""
        self.answers.pump()
        self.head.update()
        for source in by_id("starters").querySelectorAll("button"):
            cost(source, self.model.cost)
        show(by_id("stop"), self.busy_here())
        show(by_id("send"), not self.busy_here())
        self.draw_notice()
        self.finding.draw()
        for answer in self.answers.queue:
            self.draw_waiting(answer)

    def draw(self) -> None:
        """Draws everything of the open conversation."""
        conversation = self.conversation
        by_id("title").textContent = conversation.title if not conversation.empty else t("New chat")
        if self.shown:
            routing.title("TensorTab" if conversation.empty else conversation.title + " · TensorTab")
        self.transcript.show(conversation)
        for answer in self.answers.all():
            self.draw_waiting(answer)
            if answer.text:
                self.draw_growing(answer)
        attempt(js.tensortab.session, "setItem", "tensortab.open", conversation.id)
        if conversation.id != self._drafted:
            self._drafted = conversation.id
            prompt.value = elements.storage.getItem("tensortab.draft." + self.draft_name()) or ""
            fit_prompt()
            self.attachments.open(self.draft_name())
        self.chats.show()
        self.update()

    def draw_notice(self) -> None:
        """Draws the card above the message box: an answer's error with its chat, the storage's everywhere."""
        failed = self.answers.failed
        if self.problem and (failed is None or failed.conversation is self.conversation):
            title, advice, buttons = explain(self.problem["code"])
            buttons = [(label, "ask-again" if act == "retry" else act) for label, act in buttons]
            self.model.card.problem(title, advice, self.problem, buttons)
        else:
            self.model.draw()
        self.transcript.follow()

    def fails(self, problem: dict) -> None:
        """Shows an error of the failed answer, or of the storage."""
        self.problem = problem
        if problem["code"] == "not_kept":
            self.answers.failed = None
        self.draw_notice()

    def solved(self, code: str) -> None:
        if self.problem and self.problem["code"] == code:
            self.problem = None
            self.draw_notice()

    # Answers on the page

    def turn(self, answer: Answer):
        """Where the answer is shown; None while another chat is open (messages' ids are unique in a chat only)."""
        return self.transcript.turns.get(answer.key) if answer.conversation is self.conversation else None

    def draw_waiting(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            turn.streaming("" if answer.text else self.answers.waits(answer))

    def draw_growing(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            if answer.text:
                turn.streaming("")
            self.transcript.draw(answer.key, answer.text)

    def draw_finished(self, answer: Answer) -> None:
        turn = self.turn(answer)
        if turn is not None:
            self.transcript.draw_now(answer.key, answer.text)
            turn.finish(answer.conversation)
            self.transcript.follow()

    def busy_here(self) -> bool:
        return any(answer.conversation is self.conversation for answer in self.answers.all())

    # Conversations

    async def restore(self) -> None:
        """Reads the list of conversations, and opens the one that was open last."""
        try:
            await storage.open_database()
            await self.chats.read_list()
            if self.last and self.conversation.empty and any(row["id"] == self.last for row in self.chats.rows):
                await self.open_last()
        except Exception as error:
            self.fails({"code": "not_kept", "message": message_of(error)})

    async def open_last(self) -> None:
        """Moves the text that was typed in the meantime along with the user."""
        found = await self.chats.find(self.last)
        if found is None or not self.conversation.empty:
            return
        typed, before = prompt.value, self._first_text
        prompt.value = before
        self.show_chat(found)
        if typed not in ("", before, prompt.value):
            prompt.value = prompt.value + "\n" + typed if prompt.value else typed
            self.typed()

    def show_chat(self, conversation: Conversation) -> None:
        self.store_draft()
        self.conversation = conversation
        self.draw()

    def open_soon(self, key: str) -> None:
        asyncio.create_task(self.open(key))

    async def open(self, key: str) -> None:
        found = await self.chats.find(key)
        if found is None:
            toast(t("This chat was deleted in another tab."))
            await self.chats.read_list()
        else:
            self.show_chat(found)

    def new_chat(self) -> None:
        """Begins a new chat."""
        if self.answers.failed is not None:
            self.answers.failed = self.problem = None
        self.show_chat(self.conversation if self.conversation.empty else self.chats.fresh())
        prompt.focus()

    def go_on(self, do) -> None:
        """Does something on this page, which is shown for it."""
        sidebar.drawer(False)
        if routing.current() != self.name:
            document.documentElement.setAttribute("data-view", self.name)
            routing.go(self.name)
        do()

    def save_soon(self) -> None:
        self.chats.save_soon(self.conversation)

    def open_menu(self, source) -> None:
        menu.setAttribute("data-key", source.getAttribute("data-key") or self.conversation.id)
        menu.showPopover()
        box = source.getBoundingClientRect()
        left = min(box.left, js.innerWidth - menu.offsetWidth - 8)
        top = box.bottom + 4 if box.bottom + menu.offsetHeight < js.innerHeight else box.top - menu.offsetHeight - 4
        menu.style.left, menu.style.top = "%dpx" % left, "%dpx" % top
        menu.querySelector("button").focus()

    def from_menu(self, do) -> None:
        """Does `do(id)`, a coroutine, with the chat whose menu is open."""
        menu.hidePopover()
        asyncio.create_task(do(menu.getAttribute("data-key")))

    async def rename(self, key: str) -> None:
        conversation = await self.chats.find(key)
        here = key == self.conversation.id
        place = by_id("title") if here else document.querySelector('li[data-key="%s"] .open' % key)
        field = el("input", type="text", cls="rename", aria_label=t("Name of the chat"), maxlength="120", dir="auto")
        field.value = conversation.title
        place.replaceWith(field)
        field.select()
        state = {"open": True}

        def done(kept: bool) -> None:
            if not state["open"]:
                return
            state["open"] = False
            field.replaceWith(place)
            if kept and field.value.strip() and not conversation.empty:
                conversation.data["title"] = field.value.strip()
                if here:
                    place.textContent = conversation.title
                self.chats.save_soon(conversation)

        def pressed(event):
            event.stopPropagation()
            if event.key in ("Enter", "Escape") and not event.isComposing:
                done(event.key == "Enter")
        on(field, "keydown", pressed)
        on(field, "blur", lambda _event: done(True))
        field.focus()

    # Asking

    def submit(self) -> None:
        text = prompt.value.strip()
        if self.attachments.reading:
            toast(t("Wait until %s is read.") % self.attachments.reading)
            return
        if not (text or self.attachments.files) or self.busy_here():
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
        by_id("title").textContent = conversation.title
        if not path:
            attempt(elements.storage, "removeItem", "tensortab.draft.new")
        self.attachments.rename(self.draft_name())
        self.store_draft()  # a text beside the starter in the message box belongs to this chat from now on
        self.answer(question)

    def answer(self, question: str) -> None:
        """Asks for an answer to a message; it is saved from its first word on."""
        if self.problem and self.problem["code"] != "not_kept":
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

    def resend(self, key: str, text: str) -> None:
        """Sends an edited message, as a branch beside the first."""
        if self.busy_here():
            self.stop()
        before = self.conversation.node(key)
        question = self.conversation.add("user", text, time.time(), before["parent"])
        if "files" in before:
            self.conversation.node(question)["files"] = before["files"]
        self.transcript.show(self.conversation)
        self.answer(question)

    def stop(self) -> None:
        """Stops this chat's answer, or removes it from the queue."""
        if self.answers.withdraw(self.conversation):
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
            self.conversation = answer.conversation
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
            elif event.key == "Enter" and not event.shiftKey and not event.isComposing:
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

    def typed(self, *_) -> None:
        fit_prompt()
        if self._draft_timer is not None:
            js.clearTimeout(self._draft_timer)
        self._draft_timer = js.setTimeout(self._store_draft_proxy, 250)

    def pressed(self, event) -> None:
        if event.isComposing:
            return
        if event.key == "Enter" and not event.shiftKey and event.target.id == "prompt":
            event.preventDefault()
            self.submit()
        elif event.key in ("k", "K") and (event.ctrlKey or event.metaKey) and not event.shiftKey:
            event.preventDefault()
            self.go_on(self.new_chat)
        elif event.key == "ArrowUp" and event.target.id == "prompt" and not prompt.value and not self.busy_here():
            mine = [key for key in self.conversation.path() if self.conversation.node(key)["role"] == "user"]
            if mine:
                event.preventDefault()
                self.edit(mine[-1])


def key_of(source) -> str:
    """The id of the message that contains an element."""
    return source.closest(".turn").getAttribute("data-key")


def menu_pressed(event) -> None:
    if event.key in ("ArrowDown", "ArrowUp"):
        event.preventDefault()
        items = list(menu.querySelectorAll("button"))
        for place, item in enumerate(items):
            if item.matches(":focus"):
                items[(place + (1 if event.key == "ArrowDown" else -1)) % len(items)].focus()
                break


def fit_prompt() -> None:
    """Makes the box grow with its text, where the browser does not do so itself."""
    prompt.style.height = "auto"
    prompt.style.height = "%dpx" % min(prompt.scrollHeight, 260)
    by_id("composer").classList.toggle("filled", bool(prompt.value.strip()))
