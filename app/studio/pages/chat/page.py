"""Connects what the user does with the conversation, the queue of answers and the engine."""

import asyncio
import json
import random
import time

import js
from js import document
from studio.pages.chat import transcript
from studio.pages.chat.conversation import Conversation, check
from studio.shell import card, elements, sidebar, storage
from studio.shell.elements import announce, attempt, by_id, message_of, show, toast
from studio.shell.settings import Settings, register_worker
from studio.shell.transport import Engine

prompt = by_id("prompt")
WAITING = {"idle": "Waits for the model: load it below", "failed": "Waits for the engine: see below",
           "elsewhere": "Waits for the model: see below"}


def new_key() -> str:
    return "c%d%06x" % (int(time.time() * 1000), random.getrandbits(24))


class Answer:
    """A requested answer: the message that it answers, where it is written, and its progress."""

    def __init__(self, conversation: Conversation, question: str, key: str):
        self.conversation, self.question, self.key = conversation, question, key
        self.text, self.request, self.saved, self.retried = "", None, time.time(), False

    @property
    def node(self) -> dict:
        return self.conversation.node(self.key)


class Chat:
    """The page's one controller. `queue` holds the answers that wait for the engine, `active` the one coming."""

    def __init__(self):
        self.engine = Engine()
        self.engine.changed, self.engine.started = self.engine_changed, self.engine_started
        self.settings = Settings(self.engine)
        self.pages = {}  # the pages beside the chat that were opened so far
        self.transcript = transcript.Transcript()
        self.conversation = self.fresh()
        self.last = js.tensortab.session.getItem("tensortab.open")  # a reload shows the same chat again
        self.rows, self.unsaved = [], {}
        self.queue, self.active = [], None
        self.problem, self.failed = None, None  # an error of an answer or of the storage; the answer that failed
        self.registered, self.missing, self.offered = False, "", []
        self.default, self.registration = None, None
        self.deleted, self.gone = [], set()  # what Undo restores; the ids that must not be written again
        self.channel = js.BroadcastChannel.new("tensortab-conversations")
        self._drafted = None  # the id of the chat whose draft is in the message box
        self._first_text = ""  # the box's text when the page started
        self._draft_timer, self._store_draft_proxy = None, elements.create_proxy(self.store_draft)

    def start(self) -> None:
        elements.on(self.channel, "message", lambda _: asyncio.create_task(self.changed_elsewhere()))
        self.engine.start()
        self.draw()
        self._first_text = prompt.value
        asyncio.create_task(self.restore())
        asyncio.create_task(self.find_default())

    # Conversations

    def fresh(self) -> Conversation:
        kept = elements.storage.getItem("tensortab.defaults")
        defaults = json.loads(kept) if kept else {}
        return Conversation.new(new_key(), time.time(), defaults.get("system", ""), defaults.get("sampling"))

    async def restore(self) -> None:
        """Reads the list of conversations, and opens the one that was open last."""
        try:
            await storage.open_database()
            await self.list_again()
            if self.last and self.conversation.empty and any(row["id"] == self.last for row in self.rows):
                await self.open_last()
        except Exception as error:
            self.problem = {"code": "not_kept", "message": message_of(error)}
            self.draw_notice()

    async def open_last(self) -> None:
        """Moves the text that was typed in the meantime along with the user."""
        found = await self.find(self.last)
        if found is None or not self.conversation.empty:
            return
        typed, before = prompt.value, self._first_text
        prompt.value = before
        self.store_draft()
        self.conversation = found
        self.draw()
        if typed not in ("", before, prompt.value):
            prompt.value = prompt.value + "\n" + typed if prompt.value else typed
            self.typed()

    async def list_again(self) -> None:
        self.rows = await storage.listing()
        for key, conversation in self.unsaved.items():
            self.rows = [row for row in self.rows if row["id"] != key]
            self.rows.insert(0, {"id": key, "title": conversation.title, "updated": conversation.data["updated"]})
        sidebar.show_list(self.rows, self.conversation.id)

    async def changed_elsewhere(self) -> None:
        """Another browser tab saved or deleted a chat: the open one is read again, unless it is being answered."""
        await self.list_again()
        busy = self.active is not None and self.active.conversation.id == self.conversation.id
        if not busy and not self.queue and not self.conversation.empty and self.conversation.id not in self.unsaved:
            again = await storage.read(self.conversation.id)
            if again is not None and again.data["updated"] > self.conversation.data["updated"]:
                self.conversation = again
                self.draw()

    async def find(self, key: str) -> Conversation | None:
        """A conversation as it is now: in memory while it is being answered or could not be saved."""
        for answer in self.wanted():
            if answer.conversation.id == key:
                return answer.conversation
        if key == self.conversation.id:
            return self.conversation
        return self.unsaved.get(key) or await storage.read(key)

    async def open(self, key: str) -> None:
        found = await self.find(key)
        if found is None:
            toast("This chat was deleted in another tab.")
            await self.list_again()
            return
        self.store_draft()
        self.conversation = found
        self.draw()

    def begin(self) -> None:
        self.store_draft()
        if self.failed is not None:
            self.failed = self.problem = None
        if not self.conversation.empty:
            self.conversation = self.fresh()
        self.draw()
        prompt.focus()

    async def save(self, conversation: Conversation) -> None:
        if conversation.empty or conversation.id in self.gone:
            return
        try:
            await storage.write(conversation)
        except Exception as error:
            self.unsaved[conversation.id] = conversation
            self.failed, self.problem = None, {"code": "not_kept", "message": message_of(error)}
            self.draw_notice()
        else:
            if self.unsaved.pop(conversation.id, None) and not self.unsaved:
                self.solved("not_kept")
            self.channel.postMessage(conversation.id)
        try:
            await self.list_again()
        except OSError:  # no database at all: the notice says so already
            sidebar.show_list([{"id": c.id, "title": c.title, "updated": c.data["updated"]}
                               for c in self.unsaved.values()], self.conversation.id)

    async def keep(self, conversation: Conversation) -> None:
        """Saves the part of an answer that is written; if that fails, saving at its end tells why."""
        if conversation.id not in self.gone:
            try:
                await storage.write(conversation)
            except Exception as error:
                print("not kept:", message_of(error))

    async def save_all(self) -> None:
        """Saves again everything that could not be saved."""
        for conversation in list(self.unsaved.values()) or [self.conversation]:
            await self.save(conversation)
        if not self.unsaved:
            self.solved("not_kept")

    def save_soon(self, conversation: Conversation) -> None:
        asyncio.create_task(self.save(conversation))

    def solved(self, code: str) -> None:
        if self.problem and self.problem["code"] == code:
            self.problem = None
            self.draw_notice()

    async def delete(self, key: str) -> None:
        conversation = await self.find(key)
        if conversation is None:
            return
        await self.erase([conversation])
        toast("Deleted “%s”." % conversation.title, "Undo", "undo-delete", 10)

    async def delete_all(self) -> None:
        here = [answer.conversation for answer in self.wanted()] + list(self.unsaved.values()) + [self.conversation]
        found = {conversation.id: conversation for conversation in here if not conversation.empty}
        if storage.is_open():
            for data in await storage.everything():
                found.setdefault(data["id"], Conversation(data))
        by_id("settings").close()
        await self.erase(list(found.values()))
        toast("Deleted %d chats." % len(found), "Undo", "undo-delete", 20)

    async def erase(self, conversations: list[Conversation]) -> None:
        """Deletes chats until Undo: their answers end, and late parts of these are not written."""
        self.deleted = conversations
        for conversation in conversations:
            self.gone.add(conversation.id)
            self.withdraw(conversation)
            self.unsaved.pop(conversation.id, None)
            if self.failed is not None and self.failed.conversation is conversation:
                self.failed = self.problem = None
        if self.conversation.id in self.gone:
            self.store_draft()
            self.conversation = self.fresh()
            self.draw()
        if not storage.is_open():
            sidebar.show_list([], self.conversation.id)
            return
        for conversation in conversations:
            await storage.remove(conversation.id)
        self.channel.postMessage("deleted")
        await self.list_again()

    async def undo_delete(self) -> None:
        back, self.deleted = self.deleted, []
        elements.hide_toast()
        for conversation in back:
            self.gone.discard(conversation.id)
            await self.save(conversation)
        if len(back) == 1:
            await self.open(back[0].id)

    # Drawing

    def draw(self) -> None:
        """Draws everything of the open conversation."""
        conversation = self.conversation
        by_id("title").textContent = conversation.title
        document.title = "TensorTab" if conversation.empty else conversation.title + " · TensorTab"
        self.transcript.show(conversation)
        for answer in self.wanted():
            turn = self.turn(answer)
            if turn is not None:
                turn.streaming("" if answer.text else self.waiting_text(answer))
                if answer.text:
                    self.transcript.draw_now(answer.key, answer.text)
        attempt(js.tensortab.session, "setItem", "tensortab.open", conversation.id)
        if conversation.id != self._drafted:
            self._drafted = conversation.id
            prompt.value = elements.storage.getItem("tensortab.draft." + self.draft_name()) or ""
            fit_prompt()
        sidebar.show_list(self.rows, conversation.id)
        self.draw_buttons()
        self.draw_notice()

    def draw_buttons(self) -> None:
        show(by_id("stop"), self.busy())
        show(by_id("send"), not self.busy())
        document.documentElement.setAttribute("data-engine", self.engine.state)

    def draw_notice(self) -> None:
        """Draws the card above the message box: an answer's error with its chat, the storage's everywhere."""
        here = self.failed is None or self.failed.conversation.id == self.conversation.id
        card.update(self.engine, self.default, self.problem if here else None, self.missing)
        self.transcript.follow()

    def waiting_text(self, answer: Answer) -> str:
        if answer is self.active:
            return "Reading your message …"
        if self.active is not None:
            return "Waits for the answer in another chat"
        if self.engine.measuring:
            return "Waits for the Lab, which is measuring"
        return WAITING.get(self.engine.state, "Waits for the model to be ready …")

    # The engine

    def engine_changed(self) -> None:
        if self.engine.state != "starting" and not self.registered:  # storing the app must not slow its start
            self.registered = True
            register_worker(self.settings, self.offer_update)
        if self.engine.state == "ready" and not self.engine.kept:
            self.engine.kept = True
            toast("The model runs, but this browser has no room to store it: it will be downloaded again.", seconds=15)
        self.remember()
        self.draw_buttons()
        self.draw_notice()
        self.pump()
        for page in list(self.pages.values()):
            page.update()
        for answer in self.queue:
            turn = self.turn(answer)
            if turn is not None:
                turn.streaming(self.waiting_text(answer))

    def engine_started(self) -> None:
        """The worker is up: loads the model that was used last, if it is on this device."""
        self.engine.look(self.stored_known)

    async def find_default(self) -> None:
        """Reads the site's list of models, for the first visit's card."""
        try:
            index = json.loads(await (await js.fetch("models/index.json")).text())
            name, sizes = index["default"], {model["name"]: model["size"] for model in index["models"]}
            size, self.offered = sizes[name], list(sizes)
        except Exception as error:
            self.missing = "The site's list of models could not be read (%s)." % message_of(error)
            self.draw_notice()
            return
        stored = self.default["stored"] if self.default else 0
        self.default = {"name": name, "size": size, "stored": stored}
        self.remember()
        self.draw_notice()

    def stored_known(self) -> None:
        wanted = elements.storage.getItem("tensortab.model")
        for model in self.engine.site.values():
            if self.default and model["name"] == self.default["name"]:
                self.default["stored"] = model.get("stored") or 0
            complete = (model.get("stored") or 0) >= model["size"]
            if model["name"] == wanted and complete and self.engine.state == "idle":
                self.engine.load(wanted)
        self.draw_notice()

    def load(self, name: str | None, files=()) -> None:
        """Loads the model that the user asked for."""
        self.problem = None
        if name is not None:
            attempt(js.navigator.storage, "persist")
        self.engine.load(name, files)

    def remember(self) -> None:
        """Remembers the site's model that works, so that the next visit loads it without a click."""
        if self.engine.state == "ready" and self.engine.wanted in self.offered:
            attempt(elements.storage, "setItem", "tensortab.model", self.engine.wanted)

    # Answers

    def wanted(self) -> list[Answer]:
        """All answers that are not finished, of all chats."""
        return self.queue + ([self.active] if self.active else [])

    def turn(self, answer: Answer):
        """Where the answer is shown; None while another chat is open (messages' ids are unique in a chat only)."""
        return self.transcript.turns.get(answer.key) if answer.conversation is self.conversation else None

    def send(self, text: str) -> None:
        conversation = self.conversation
        path = conversation.path()
        parent = path[-1] if path else None
        if parent is not None and conversation.node(parent)["role"] == "user":
            parent = conversation.node(parent)["parent"]  # an unanswered question is replaced by this branch
        question = conversation.add("user", text, time.time(), parent)
        self.transcript.append(conversation, question) if parent == (path[-1] if path else None) \
            else self.transcript.show(conversation)
        by_id("title").textContent = conversation.title
        if not path:
            attempt(elements.storage, "removeItem", "tensortab.draft.new")
        self.store_draft()  # a text beside the starter in the message box belongs to this chat from now on
        self.ask(conversation, question)

    def ask(self, conversation: Conversation, question: str) -> None:
        """Adds an answer to the queue; it is saved from its first word on."""
        key = conversation.add("assistant", "", time.time(), question)
        conversation.node(key)["stopped"] = "not answered"
        answer = Answer(conversation, question, key)
        self.queue.append(answer)
        if self.failed is not None:
            self.failed = self.problem = None
        self.transcript.append(conversation, key).streaming(self.waiting_text(answer))
        self.transcript.to_end()
        self.save_soon(conversation)
        self.pump()
        self.draw_buttons()

    def pump(self) -> None:
        """Sends the engine the next answer's request."""
        if self.active is not None or not self.queue or self.engine.state != "ready" or self.engine.measuring:
            return
        answer = self.active = self.queue.pop(0)
        settings = answer.conversation.sampling()
        if settings["seed"] is None:
            settings["seed"] = random.getrandbits(32)
        answer.node["seed"] = settings["seed"]
        answer.node["model"] = self.engine.model
        messages = answer.conversation.messages(answer.question)
        request = {"model": self.engine.model, "messages": messages, "stream": True}
        turn = self.turn(answer)
        if turn is not None:
            turn.streaming(self.waiting_text(answer))
        answer.request = self.engine.chat(request | settings, lambda kind, body: self.answered(answer, kind, body))

    def answered(self, answer: Answer, kind: str, body: dict) -> None:
        if kind == "progress":
            return
        if kind == "chunk":
            for choice in body.get("choices") or []:
                answer.text += (choice.get("delta") or {}).get("content") or ""
            answer.node["content"] = answer.text
            turn = self.turn(answer)
            if turn is not None and answer.text:
                turn.streaming("")
                self.transcript.draw(answer.key, answer.text)
            if time.time() - answer.saved > 3:  # a crash of the tab loses three seconds at most
                answer.saved = time.time()
                asyncio.create_task(self.keep(answer.conversation))
            return
        self.active = None
        gone = answer.conversation.id in self.gone
        node = answer.node
        node.pop("stopped", None)
        if kind == "result":
            node["stats"] = body
            if body.get("finish_reason") in ("abort", "aborted", "stopped"):
                node["stopped"] = "stopped"
            if not gone:
                announce("Answer: " + answer.text[:1500])
        elif body["code"] == "device_lost" and not answer.retried and not gone:
            self.again_later(answer, body)
            return
        elif body["code"] in ("aborted", "ended"):
            node["stopped"] = "stopped" if body["code"] == "aborted" else "interrupted"
        else:
            node["stopped"] = "not answered" if not answer.text else "interrupted"
            if not gone:
                self.problem, self.failed = body, answer
            if body["code"] == "device_lost":
                self.engine.recover(body.get("message", ""))
        answer.conversation.data["updated"] = time.time()
        turn = self.turn(answer)
        if turn is not None:
            self.transcript.draw_now(answer.key, answer.text)
            turn.finish(answer.conversation)
            self.transcript.follow()
        self.save_soon(answer.conversation)

    def again_later(self, answer: Answer, error: dict) -> None:
        """The GPU was lost meanwhile: the answer is written again, once, when the model is back."""
        answer.text, answer.retried, answer.node["content"] = "", True, ""
        answer.node["stopped"] = "not answered"
        self.queue.insert(0, answer)
        if self.turn(answer) is not None:
            self.transcript.draw_now(answer.key, "")
        self.engine.recover(error.get("message", ""))

    def stop(self) -> None:
        """Stops this chat's answer, or removes it from the queue."""
        if self.withdraw(self.conversation):
            self.save_soon(self.conversation)
            self.draw()

    def withdraw(self, conversation: Conversation) -> bool:
        """Ends a chat's answers: aborts the one that is being written, and removes those in the queue (then True)."""
        if self.active is not None and self.active.conversation is conversation:
            self.engine.abort(self.active.request)
        waiting = [answer for answer in self.queue if answer.conversation is conversation]
        for answer in waiting:
            self.queue.remove(answer)
            conversation.remove(answer.key)
        return bool(waiting)

    def busy(self) -> bool:
        return any(answer.conversation is self.conversation for answer in self.wanted())

    def again(self, key: str) -> None:
        """Requests another answer to the same message, as a branch beside the first."""
        if self.busy():
            return
        node = self.conversation.node(key)
        if not node["content"] and not self.conversation.children(key):
            self.conversation.remove(key)
        self.conversation.data["head"] = node["parent"]
        self.transcript.show(self.conversation)
        self.ask(self.conversation, node["parent"])

    def resend(self, key: str, text: str) -> None:
        """Sends an edited message, as a branch beside the first."""
        if self.busy():
            self.stop()
        question = self.conversation.add("user", text, time.time(), self.conversation.node(key)["parent"])
        self.transcript.show(self.conversation)
        self.ask(self.conversation, question)

    def retry_failed(self) -> None:
        answer, self.failed, self.problem = self.failed, None, None
        if answer is None or answer.key not in answer.conversation.data["nodes"]:
            self.engine.retry()
            return
        if answer.conversation is self.conversation:
            self.again(answer.key)
        if self.engine.state == "failed":
            self.engine.retry()
        self.draw_notice()

    def shorten(self) -> None:
        """Leaves the oldest exchange out of what the model sees, and asks again."""
        answer = self.failed
        if answer is None:
            return
        if not answer.conversation.leave_out_oldest(answer.question):
            toast("This one message is too long for the model: edit it and send it again.", seconds=10)
            return
        self.retry_failed()

    def download_again(self, name: str, load) -> None:
        """Deletes a damaged model, and downloads it again."""
        def deleted(kind: str, body: dict) -> None:
            if kind == "result":
                load()
            elif kind == "error":
                toast("The model could not be deleted: " + body["message"])
        self.engine.request("delete", {"model": name}, deleted)

    def delete_model(self, name: str) -> None:
        def deleted(kind: str, body: dict) -> None:
            if kind == "error":
                toast("“%s” could not be deleted: %s" % (name, body["message"]))
            if kind == "result" and self.default and self.default["name"] == name:
                self.default["stored"] = 0
            self.engine.look()
            self.settings.refresh()
            self.draw_notice()
        if elements.storage.getItem("tensortab.model") == name:
            elements.storage.removeItem("tensortab.model")
        self.engine.request("delete", {"model": name}, deleted)

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

    def submit(self) -> None:
        text = prompt.value.strip()
        if not text or self.busy():
            return
        prompt.value = ""
        self.store_draft()
        fit_prompt()
        self.send(text)

    # App

    def offer_update(self, registration) -> None:
        self.registration = registration
        toast("A new version of TensorTab is ready.", "Reload", "update", 60)

    async def import_file(self, file) -> None:
        """Adds an export's conversations under new ids: one that is here already stays, and is added a second time."""
        try:
            data = json.loads(await file.text())
            found = data["conversations"] if isinstance(data, dict) and "conversations" in data else [data]
            if not isinstance(found, list):
                raise ValueError("This is not a file exported by TensorTab.")
            found = [check(item) for item in found]
        except Exception as error:  # whatever the file holds, the user is told
            toast("Nothing was imported: " + (message_of(error) or "the file is not JSON."))
            return
        for item in found:
            item["id"] = new_key()
            await self.save(Conversation(item))
        by_id("settings").close()
        toast("Imported %d chat%s." % (len(found), "" if len(found) == 1 else "s"))


def fit_prompt() -> None:
    """Makes the box grow with its text, where the browser does not do so itself."""
    prompt.style.height = "auto"
    prompt.style.height = "%dpx" % min(prompt.scrollHeight, 260)
    by_id("composer").classList.toggle("filled", bool(prompt.value.strip()))

