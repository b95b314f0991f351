"""The works of a page (its chats, transcripts, summaries, ...), as they are kept on this device: each is a record
{id, title, updated, data: JSON text, tab} in the page's database."""

import asyncio
import json
import random

import js
from js import document
from studio.shell.database import Database
from studio.shell.elements import action, hide_toast, message_of, on, toast
from studio.shell.parse import parse
from studio.shell.wording import plural, t
from studio.shell.work import Work

PAUSE = 3.0  # seconds between two writings of a work that grows: a crash loses no more
TAB = "%x" % random.getrandbits(30)  # the browser tab that wrote a record
LARGEST = 100_000_000  # bytes of a file that is kept with a work

files = Database("tensortab-files", "files")  # {id: a work's, file: Blob}, apart: there may be room for the texts alone
histories: list["History"] = []
_deleted: tuple = (None, [])  # what Undo restores: the history, and its works with their files


class History:
    """The works of one page. `rows` lists them, [{id, title, updated}], the newest first; `unsaved` are those that
    could not be stored, by their ids, and `problem` says why."""

    def __init__(self, page, database: Database, kind=Work):
        """kind: the class of the works. The page is told of changes by its `listed()` (the list, the problem),
        `deleted(work)` (it was deleted) and `reread()` (another browser tab wrote something)."""
        self.page, self.problem = page, ""
        self.rows: list[dict] = []
        self.unsaved: dict = {}
        self.silent = False  # the user goes on without keeping
        self._database, self._kind = database, kind
        self._scheduled: dict = {}  # works that will be saved soon
        self._gone: set[str] = set()  # the ids of deleted works: late parts of these are not written
        self._known: dict[str, int] = {}  # {id: the connection by which this tab saw the record}
        self._channel = js.BroadcastChannel.new(database.name)
        on(self._channel, "message", lambda _event: asyncio.create_task(self._told()))
        histories.append(self)

    # Reading

    async def read_list(self) -> None:
        """Raises OSError or JsException where the browser keeps nothing."""
        rows = [{"id": record.id, "title": record.title, "updated": float(record.updated)}
                for record in await self._database.all()]
        self._list([row for row in rows if row["id"] not in self.unsaved] + [row_of(w) for w in self.unsaved.values()])

    def _list(self, rows: list[dict]) -> None:
        self.rows = sorted(rows, key=lambda row: -row["updated"])
        self.page.listed()

    async def _told(self) -> None:
        await self.read_list()
        await self.page.reread()

    async def read(self, key: str):
        """The work; None if there is none."""
        for works in (self.unsaved, self._scheduled):
            if key in works:
                return works[key]
        record = await self._database.get(key)
        if record is None:
            return None
        self._known[key] = self._database.opened
        self._gone.discard(key)  # another tab has undone its deletion
        return self._kind(parse(record.data))

    async def everything(self) -> list:
        """All works, those that could not be stored too."""
        found = {}
        if self._database.available:
            found = {record.id: self._kind(parse(record.data)) for record in await self._database.all()}
        return list((found | self.unsaved).values())

    async def file(self, work):
        """The Blob that is kept with a work; None without one."""
        record = await files.get(work.id) if work.data.get("file") else None
        return None if record is None else record.file

    # Writing

    def soon(self, work) -> None:
        """Saves a growing work in a moment, at most once in PAUSE seconds."""
        if work.id not in self._scheduled:
            self._scheduled[work.id] = work
            asyncio.create_task(self._later(work))

    async def _later(self, work) -> None:
        await asyncio.sleep(PAUSE)
        if work.id in self._scheduled:
            await self.save(work)

    def flush(self) -> None:
        """Saves now what would be saved soon: the page may end."""
        for work in list(self._scheduled.values()):
            self.save_now(work)

    def save_now(self, work) -> None:
        asyncio.create_task(self.save(work))

    async def save(self, work) -> None:
        """Stores a work; if that fails, it stays in memory, and `problem` says why."""
        self._scheduled.pop(work.id, None)
        if work.empty or work.id in self._gone:
            return
        try:
            if not await self._write(work):
                return
            self._solved(work.id)
            self._channel.postMessage(work.id)
        except Exception as error:
            self.unsaved[work.id], self.problem = work, message_of(error)
        self._list([row for row in self.rows if row["id"] != work.id] + [row_of(work)])

    async def save_again(self) -> None:
        for work in list(self.unsaved.values()):
            await self.save(work)

    def go_on(self) -> None:
        """Goes on without keeping what can't be kept."""
        self.silent = True
        self.page.listed()

    def _solved(self, key: str) -> None:
        self.unsaved.pop(key, None)
        if not self.unsaved:
            self.problem, self.silent = "", False

    async def _write(self, work) -> bool:
        """Stores a work, and merges what another tab has written of it; False if it was deleted meanwhile. Raises
        OSError or JsException if it cannot be stored; the record before stays as it was."""
        written = [False]

        def change(before):
            deleted = before is None and self._known.get(work.id) == self._database.opened
            written[0] = not deleted and work.id not in self._gone
            if not written[0]:
                return None
            if before is not None and getattr(before, "tab", None) != TAB:
                work.merge(parse(before.data))
            record = js.JSON.parse(json.dumps(row_of(work) | {"updated": str(work.data["updated"]), "tab": TAB}))
            record.data = json.dumps(work.data)
            return record
        await self._database.update(work.id, change)
        if written[0]:
            self._known[work.id] = self._database.opened
        elif work.id not in self._gone:
            self._lost(work)
        return written[0]

    async def keep_file(self, work, file) -> None:
        """Keeps a sound or a picture with its work, if there is room."""
        if file.size > LARGEST:
            return
        record = js.JSON.parse(json.dumps({"id": work.id}))
        record.file = file
        try:
            await files.change(put=[record])
        except Exception as error:
            print("the file is not kept:", message_of(error))
        else:
            work.data["file"] = True

    # Deleting

    async def delete(self, works: list) -> None:
        """Deletes works until Undo."""
        global _deleted
        kept: list = []
        for work in works:
            kept.append((work, await self.file(work)))  # MicroPython awaits in no comprehension
            self._forget(work)
        _deleted = self, kept
        if self._database.available:
            with_files = [work.id for work in works if work.data.get("file")]
            await self._database.change(remove=[work.id for work in works])
            if with_files:
                await files.change(remove=with_files)
            self._channel.postMessage("deleted")
        self._list([row for row in self.rows if row["id"] not in self._gone])
        if len(works) == 1:
            toast(t("Deleted “%s”.") % works[0].title, t("Undo"), "undo-delete", 10)
        else:
            toast(plural(len(works), "Deleted %s item.", "Deleted %s items."), t("Undo"), "undo-delete", 20)

    def _lost(self, work) -> None:
        """Another tab has deleted a work that this one was writing."""
        global _deleted
        _deleted = self, [(work, None)]
        self._forget(work)
        self._list([row for row in self.rows if row["id"] != work.id])
        toast(t("“%s” was deleted in another tab.") % work.title, t("Keep it"), "undo-delete", 20)

    def _forget(self, work) -> None:
        self._gone.add(work.id)
        self._known.pop(work.id, None)
        self._scheduled.pop(work.id, None)
        self._solved(work.id)
        self.page.deleted(work)

    def gone(self, work) -> bool:
        return work.id in self._gone

    async def restore(self, works: list) -> None:
        """Undoes a deletion. works: [(work, its file)]."""
        for work, file in works:
            self._gone.discard(work.id)
            if file is not None:
                await self.keep_file(work, file)
            await self.save(work)
        if len(works) == 1:
            self.page.open_soon(works[0][0].id)


def row_of(work) -> dict:
    return {"id": work.id, "title": work.title, "updated": work.data["updated"]}


@action("undo-delete")
def _(_source) -> None:
    global _deleted
    (history, works), _deleted = _deleted, (None, [])
    hide_toast()
    if history is not None:
        asyncio.create_task(history.restore(works))


def _hidden(_event) -> None:
    if document.visibilityState == "hidden":
        for history in histories:
            history.flush()


def _leaving(event) -> None:
    """Makes the browser ask first if closing it would lose something."""
    if any(history.unsaved and not history.silent for history in histories):
        event.preventDefault()


on(document, "visibilitychange", _hidden)
on(js.window, "beforeunload", _leaving)
