"""The conversations of this browser: their history, and its export and import."""

import json
import time

from studio.pages.chat.conversation import Conversation, exported
from studio.shell import elements
from studio.shell.database import Database
from studio.shell.elements import by_id, message_of, toast
from studio.shell.history import History
from studio.shell.parse import parse
from studio.shell.wording import plural, t
from studio.shell.work import new_key


class Chats(History):
    def __init__(self, page):
        super().__init__(page, Database("tensortab", "conversations"), Conversation)

    def fresh(self) -> Conversation:
        """A new chat, with the instructions and settings that the user wants in all of them."""
        try:
            defaults = parse(elements.storage.getItem("tensortab.defaults") or "{}")
            return Conversation.new(new_key("c"), time.time(), str(defaults.get("system") or ""),
                                    dict(defaults.get("sampling") or {}))
        except Exception:  # whatever the browser stored there
            return Conversation.new(new_key("c"), time.time())

    async def delete_all(self) -> None:
        here = [answer.conversation for answer in self.page.answers.all()] + [self.page.conversation]
        found = {chat.id: chat for chat in await self.everything() + here if not chat.empty}
        by_id("settings").close()
        await self.delete(list(found.values()))

    async def export_all(self) -> None:
        export([chat.data for chat in await self.everything()])

    async def import_file(self, file) -> None:
        """Adds an export's conversations under new ids: one that is here already stays, and is added a second time."""
        try:
            found = exported(await file.text())
        except Exception as error:  # whatever the file holds, the user is told
            toast(t("Nothing was imported: %s") % message_of(error))
            return
        for item in found:
            item["id"] = new_key("c")
            await self.save(Conversation(item))
        by_id("settings").close()
        toast(plural(len(found), "Imported %s chat.", "Imported %s chats."))


def export(found: list) -> None:
    text = json.dumps({"version": 1, "conversations": found})
    elements.download("tensortab-chats.json", text, "application/json")
