"""The conversations of this browser: their list, saving, deleting until Undo, export and import."""

import asyncio
import json
import random
import time

import js
from studio.pages.chat.conversation import Conversation, exported
from studio.shell import elements, sidebar, storage
from studio.shell.elements import by_id, message_of, toast
from studio.shell.wording import plural, t


def new_key() -> str:
    return "c%d%06x" % (int(time.time() * 1000), random.getrandbits(24))


class Chats:
    """`rows` is the list, newest first; `unsaved` are the conversations that could not be saved, by id; `gone` the ids
    that must not be written again."""

    def __init__(self, page):
        self.page = page
        self.rows, self.unsaved = [], {}
        self.deleted, self.gone = [], set()  # deleted: what Undo restores
        self.channel = js.BroadcastChannel.new("tensortab-conversations")
        elements.on(self.channel, "message", lambda _: asyncio.create_task(self.changed_elsewhere()))

    def fresh(self) -> Conversation:
        kept = elements.storage.getItem("tensortab.defaults")
        defaults = json.loads(kept) if kept else {}
        return Conversation.new(new_key(), time.time(), defaults.get("system", ""), defaults.get("sampling"))

    async def read_list(self) -> None:
        """Reads the list, in which what could not be saved comes first."""
        self.rows = await storage.listing()
        for key, conversation in self.unsaved.items():
            self.rows = [row for row in self.rows if row["id"] != key]
            self.rows.insert(0, row_of(conversation))
        self.show()

    def show(self) -> None:
        sidebar.show_list(self.rows, self.page.conversation.id)

    async def changed_elsewhere(self) -> None:
        """Another browser tab saved or deleted a chat: the open one is read again, unless it is being answered."""
        await self.read_list()
        page = self.page
        if not page.busy_here() and not page.conversation.empty and page.conversation.id not in self.unsaved:
            again = await storage.read(page.conversation.id)
            if again is not None and again.data["updated"] > page.conversation.data["updated"]:
                page.conversation = again
                page.draw()

    async def find(self, key: str) -> Conversation | None:
        """A conversation as it is now: in memory while it is being answered or could not be saved."""
        for answer in self.page.answers.all():
            if answer.conversation.id == key:
                return answer.conversation
        if key == self.page.conversation.id:
            return self.page.conversation
        return self.unsaved.get(key) or await storage.read(key)

    # Saving

    async def save(self, conversation: Conversation) -> None:
        if conversation.empty or conversation.id in self.gone:
            return
        try:
            await storage.write(conversation)
        except Exception as error:
            self.unsaved[conversation.id] = conversation
            self.page.fails({"code": "not_kept", "message": message_of(error)})
        else:
            if self.unsaved.pop(conversation.id, None) and not self.unsaved:
                self.page.solved("not_kept")
            self.channel.postMessage(conversation.id)
        try:
            await self.read_list()
        except OSError:  # no database at all: the notice says so already
            self.rows = [row_of(conversation) for conversation in self.unsaved.values()]
            self.show()

    def save_soon(self, conversation: Conversation) -> None:
        asyncio.create_task(self.save(conversation))

    async def keep(self, conversation: Conversation) -> None:
        """Saves the part of an answer that is written; if that fails, saving at its end tells why."""
        if conversation.id not in self.gone:
            try:
                await storage.write(conversation)
            except Exception as error:
                print("not kept:", message_of(error))

    async def save_all(self) -> None:
        """Saves again everything that could not be saved."""
        for conversation in list(self.unsaved.values()) or [self.page.conversation]:
            await self.save(conversation)
        if not self.unsaved:
            self.page.solved("not_kept")

    # Deleting

    async def delete(self, key: str) -> None:
        conversation = await self.find(key)
        if conversation is not None:
            await self.erase([conversation])
            toast(t("Deleted “%s”.") % conversation.title, t("Undo"), "undo-delete", 10)

    async def delete_all(self) -> None:
        here = [answer.conversation for answer in self.page.answers.all()]
        here += list(self.unsaved.values()) + [self.page.conversation]
        found = {conversation.id: conversation for conversation in here if not conversation.empty}
        if storage.is_open():
            for data in await storage.everything():
                found.setdefault(data["id"], Conversation(data))
        by_id("settings").close()
        await self.erase(list(found.values()))
        toast(plural(len(found), "Deleted %s chat.", "Deleted %s chats."), t("Undo"), "undo-delete", 20)

    async def erase(self, conversations: list) -> None:
        """Deletes chats until Undo: their answers end, and late parts of these are not written."""
        self.deleted = conversations
        for conversation in conversations:
            self.gone.add(conversation.id)
            self.unsaved.pop(conversation.id, None)
            self.page.answers.forget(conversation)
        if self.page.conversation.id in self.gone:
            self.page.show_chat(self.fresh())
        if not storage.is_open():
            self.rows = []
            self.show()
            return
        for conversation in conversations:
            await storage.remove(conversation.id)
        self.channel.postMessage("deleted")
        await self.read_list()

    async def undo_delete(self) -> None:
        back, self.deleted = self.deleted, []
        elements.hide_toast()
        for conversation in back:
            self.gone.discard(conversation.id)
            await self.save(conversation)
        if len(back) == 1:
            await self.page.open(back[0].id)

    # Export and import

    async def export(self, key: str, kind: str) -> None:
        conversation = await self.find(key)
        if kind == "markdown":
            elements.download(file_name(conversation) + ".md", conversation.markdown(), "text/markdown")
        else:
            export_json(conversation)

    async def export_all(self) -> None:
        export_many(await storage.everything())

    def export_unsaved(self) -> None:
        unsaved = list(self.unsaved.values()) or [self.page.conversation]
        if len(unsaved) == 1:
            export_json(unsaved[0])
        else:
            export_many([conversation.data for conversation in unsaved])

    async def import_file(self, file) -> None:
        """Adds an export's conversations under new ids: one that is here already stays, and is added a second time."""
        try:
            found = exported(await file.text())
        except Exception as error:  # whatever the file holds, the user is told
            toast(t("Nothing was imported: %s") % message_of(error))
            return
        for item in found:
            item["id"] = new_key()
            await self.save(Conversation(item))
        by_id("settings").close()
        toast(plural(len(found), "Imported %s chat.", "Imported %s chats."))


def row_of(conversation: Conversation) -> dict:
    return {"id": conversation.id, "title": conversation.title, "updated": conversation.data["updated"]}


def file_name(conversation: Conversation) -> str:
    return "".join([c if c.isalpha() or c.isdigit() else "-" for c in conversation.title]).strip("-") or "chat"


def export_json(conversation: Conversation) -> None:
    elements.download(file_name(conversation) + ".json", json.dumps(conversation.data), "application/json")


def export_many(found: list) -> None:
    text = json.dumps({"version": 1, "conversations": found})
    elements.download("tensortab-chats.json", text, "application/json")
