"""The files of the message that is being written: chosen, dropped or pasted, and kept with the draft; and how the files
and the quotes of sent messages are drawn."""

import asyncio
import json
import random
import time

import js
from studio.pages.chat.quoting import document_of, file_of
from studio.shell.database import Database
from studio.shell.documents import Unreadable, read
from studio.shell.elements import action, announce, by_id, el, fill, icon, icon_button, message_of, on, show, toast
from studio.shell.files import LONGEST, is_photo, not_read
from studio.shell.parse import parse
from studio.shell.reader import show_document
from studio.shell.wording import number, size, t

MOST = LONGEST // 2  # bytes of a file's text: it is written again with each part of an answer

_drafts = Database("tensortab-drafts", "drafts")  # {id: a draft's, data: JSON text of its files}


class Attachments:
    """`files` are those of the draft that is shown, `reading` says which file is being read."""

    def __init__(self, page):
        self.page = page
        self.files: list[dict] = []
        self.reading = ""
        self._draft = ""  # the name of the draft
        self._list = el("ul", cls="chips", hidden=True, aria_label=t("Attached files"))
        field = el("input", type="file", multiple=True, cls="unseen", id="attach-file", tabindex="-1",
                   aria_hidden="true")
        by_id("composer").prepend(self._list)
        by_id("composer").append(field)
        on(field, "change", self._picked)
        action("attach")(lambda _source: field.click())
        action("detach")(lambda source: self.remove(source.getAttribute("data-file")))
        action("show-file")(lambda source: self.show(source.getAttribute("data-file"), None))
        action("show-quote")(lambda source: self.show(source.getAttribute("data-file"),
                                                      int(source.getAttribute("data-passage"))))

    def _picked(self, event) -> None:
        files = [event.target.files.item(n) for n in range(event.target.files.length)]
        event.target.value = ""
        self.add(files)

    def add(self, files: list) -> None:
        if files and self.reading:
            toast(t("Wait until %s is read.") % self.reading)
        elif files:
            asyncio.create_task(self._add(files))

    async def _add(self, files: list) -> None:
        draft, skipped = self._draft, []
        for file in files:
            self.reading = file.name
            self.draw()
            try:
                if is_photo(file.name) or file.type.startswith("image/"):
                    raise Unreadable(t("The model of this chat cannot see pictures."))
                document = await read(file, self._told)
                if len(document.text().encode()) > MOST:
                    raise Unreadable(t("In a chat a file may have %s of text at most.") % size(MOST))
            except Unreadable as problem:
                skipped.append((file.name, message_of(problem)))
                continue
            made = {"id": "f%d%06x" % (int(time.time() * 1000), random.getrandbits(24)), "name": document.name,
                    "unit": document.unit, "passages": document.passages}
            if draft == self._draft:
                self.files.append(made)
                await self._store()
            else:  # another chat was opened meanwhile
                await self._write(draft, await self._read(draft) + [made])
            announce(t("Attached %s") % file.name)
        self.reading = ""
        self.page.engine.changed()
        self.draw()
        if skipped:
            toast(not_read(skipped), seconds=20)
        by_id("prompt").focus()

    def _told(self, page: int, pages: int) -> None:
        detail = self._list.querySelector(".reading small")
        if detail is not None:
            detail.textContent = t("page %s of %s") % (number(page), number(pages))

    def remove(self, name: str) -> None:
        self.files = [file for file in self.files if file["id"] != name]
        asyncio.create_task(self._store())
        self.draw()
        self.page.engine.changed()
        by_id("prompt").focus()

    def take(self) -> list[dict]:
        """The files, for the message that is sent now."""
        files, self.files = self.files, []
        asyncio.create_task(self._store())
        self.draw()
        return files

    # The draft

    def open(self, draft: str) -> None:
        """Another draft is shown."""
        if draft != self._draft:
            self._draft, self.files = draft, []
            self.draw()
            asyncio.create_task(self._open(draft))

    async def _open(self, draft: str) -> None:
        files = await self._read(draft)
        if draft == self._draft and files:
            self.files = files + self.files
            self.draw()
            self.page.engine.changed()

    def rename(self, draft: str) -> None:
        """The chat has its first message: the draft is now of this chat."""
        before, self._draft = self._draft, draft
        if before != draft and self.files:
            asyncio.create_task(self._write(before, []))
            asyncio.create_task(self._store())

    async def _store(self) -> None:
        await self._write(self._draft, self.files)

    async def _write(self, draft: str, files: list) -> None:
        try:
            if files:
                record = js.JSON.parse(json.dumps({"id": draft}))
                record.data = json.dumps(files)
                await _drafts.change(put=[record])
            else:
                await _drafts.change(remove=[draft])
        except Exception as error:  # it stays attached in this browser tab
            print("draft not kept:", message_of(error))

    async def _read(self, draft: str) -> list:
        try:
            record = await _drafts.get(draft)
        except Exception:
            return []
        return [] if record is None else parse(record.data)

    # Drawing

    def draw(self) -> None:
        rows = [chip(file, True) for file in self.files]
        if self.reading:
            rows.append(el("li", icon("file"), el("span", self.reading, dir="auto"), el("small", t("is read …")),
                           cls="chip reading"))
        fill(self._list, *rows)
        show(self._list, bool(rows))
        by_id("composer").classList.toggle("attaching", bool(self.files))

    def show(self, name: str, passage: int | None) -> None:
        """Opens a file on a sheet, at one of its passages."""
        found = [file for file in self.files if file["id"] == name]
        file = found[0] if found else file_of(self.page.conversation, name)
        if file is not None:
            show_document(document_of(file), passage)


def chip(file: dict, removable: bool = False):
    """A file as a button that opens it."""
    name = file["name"]
    about = size(sum([len(text.encode()) for _, text in file["passages"]]))
    remove = icon_button("close", t("Remove %s") % name, "detach", data_file=file["id"]) if removable else None
    return el("li", el("button", icon("file"), el("span", name, dir="auto"), el("small", about), type="button",
                       act="show-file", data_file=file["id"]), remove, cls="chip")


def attached(conversation, node: dict) -> list:
    """What is drawn under a message: its files, or the passages that its answer was made of."""
    if node.get("files"):
        return [el("ul", *[chip(file) for file in node["files"]], cls="chips", aria_label=t("Attached files"))]
    rows = []
    for index, quote in enumerate(node.get("quotes", [])):
        file = file_of(conversation, quote["file"])
        if file is not None and quote["passage"] < len(file["passages"]):
            place = document_of(file).place(quote["passage"])
            text = "[%d] %s" % (index + 1, t("%s, %s") % (file["name"], place) if place else file["name"])
            rows.append(el("li", el("button", text, type="button", cls="link", act="show-quote", dir="auto",
                                    data_file=file["id"], data_passage=quote["passage"])))
    if not rows:
        return []
    return [el("div", el("p", t("The model was given these passages:"), cls="about small"), el("ol", *rows),
               cls="quotes")]
