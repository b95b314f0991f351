"""The works of a page (its chats, transcripts, summaries, ...), as they are kept on this device: each is a record
{id, title, updated, data: JSON text, tab} in the page's database."""

import asyncio
import json
import random
import time

import js
from studio.shell.database import Database
from studio.shell.elements import action, create_proxy, hide_toast, message_of, toast
from studio.shell.parse import parse
from studio.shell.wording import plural, t

PAUSE = 3.0  # seconds between two writings of a work that grows: a crash loses no more
TAB = "%x" % random.getrandbits(30)  # the browser tab that wrote a record

histories: list["History"] = []
files = Database("tensortab-files", "files")  # {id: a work's, file: Blob}, apart: there may be room for the texts alone
_deleted: tuple = (None, [])  # what Undo restores: the history, and its works with their files


class Work:
    """`data`: {"id", "title", "created", "updated"} and what its page adds; times in seconds since 1970."""

    empty = False  # an empty work is not kept

    def __init__(self, data: dict):
        self.data = data

    @staticmethod
    def new(title: str) -> "Work":
        now = time.time()
        return Work({"id": new_key("w"), "title": title, "created": now, "updated": now})

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def title(self) -> str:
        return self.data["title"]

    def merge(self, stored: dict) -> None:
        """Merges another tab's version: of a work, the one that is written last stays."""


def new_key(letter: str) -> str:
    return "%s%d%06x" % (letter, int(time.time() * 1000), random.getrandbits(24))


class History:
    """The works of one page. `rows` lists them, [{id, title, updated}], the newest first; `unsaved` are those that
    could not be stored, by their ids, and `problem` says why."""

    def __init__(self, database: Database, kind):
        """kind: the class of the works, such as Work."""
        self.rows: list[dict] = []
        self.unsaved: dict = {}
        self.problem = ""
        self.silent = False  # the user goes on without keeping: what is unsaved is not told
        self.changed = lambda: None  # called when the list or `problem` has changed
        self.elsewhere = lambda: None  # called when another tab has changed a work
        self._database, self._kind = database, kind
        self._scheduled: dict = {}  # works that will be saved soon
        self._gone: set[str] = set()  # the ids of deleted works: late parts of these are not written
        self._known: dict[str, int] = {}  # {id: the connection by which this tab saw the record}
        self._channel = js.BroadcastChannel.new(database.name)
        self._channel.addEventListener("message", create_proxy(lambda _: asyncio.create_task(self._changed())))
        histories.append(self)

    @property
    def available(self) -> bool:
        """Whether the browser keeps anything for this page; known once the list was read."""
        return self._database.available

    # Reading

    async def read_list(self) -> None:
        """Raises OSError or JsException where the browser keeps nothing."""
        rows = [{"id": record.id, "title": record.title, "updated": float(record.updated)}
                for record in await self._database.all() if record.id not in self.unsaved]
        self._list(rows + [row_of(work) for work in self.unsaved.values()])

    def _list(self, rows: list[dict]) -> None:
        self.rows = sorted(rows, key=lambda row: -row["updated"])
        self.changed()

    async def _changed(self) -> None:
        await self.read_list()
        self.elsewhere()

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
        found = {record.id: self._kind(parse(record.data)) for record in await self._database.all()} \
            if self.available else {}
        return list((found | self.unsaved).values())

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
            asyncio.create_task(self.save(work))

    async def save(self, work) -> None:
        """Stores a work; if that fails, it stays in memory, and `problem` says why."""
        self._scheduled.pop(work.id, None)
        if work.empty or work.id in self._gone:
            return
        try:
            stored = await self.write(work)
        except Exception as error:
            self.unsaved[work.id], self.problem = work, message_of(error)
        else:
            if not stored:
                return
            self.unsaved.pop(work.id, None)
            if not self.unsaved:
                self.problem = ""
            self._channel.postMessage(work.id)
        self._list([row for row in self.rows if row["id"] != work.id] + [row_of(work)])

    async def save_again(self) -> None:
        for work in list(self.unsaved.values()):
            await self.save(work)

    async def write(self, work) -> bool:
        """Stores a work, and merges what another tab has written of it; False if another tab has deleted it. Raises
        OSError or JsException if it cannot be stored; the record before stays as it was."""
        state = {"stored": False}

        def change(before):
            known = self._known.get(work.id) == self._database.opened
            state["stored"] = work.id not in self._gone and not (before is None and known)
            if not state["stored"]:
                return None
            if before is not None and getattr(before, "tab", None) != TAB:
                work.merge(parse(before.data))
            record = js.JSON.parse(json.dumps(row_of(work) | {"updated": str(work.data["updated"]), "tab": TAB}))
            record.data = json.dumps(work.data)
            return record
        await self._database.update(work.id, change)
        if state["stored"]:
            self._known[work.id] = self._database.opened
        elif work.id not in self._gone:
            self._lost(work)
        return state["stored"]

    async def keep_file(self, work, file) -> None:
        """Keeps a Blob with a work. Raises OSError or JsException if there is no room."""
        record = js.JSON.parse(json.dumps({"id": work.id}))
        record.file = file
        await files.change(put=[record])
        work.data["file"] = True

    async def file(self, work):
        """The Blob that is kept with a work; None without one."""
        record = await files.get(work.id) if work.data.get("file") else None
        return None if record is None else record.file

    # Deleting

    def gone(self, key: str) -> bool:
        return key in self._gone

    async def delete(self, works: list) -> None:
        """Deletes works until Undo."""
        global _deleted
        deleted = []
        for work in works:
            deleted.append((work, await self.file(work)))  # MicroPython awaits in no comprehension
            self._forget(work)
        _deleted = self, deleted
        if self.available:
            await self._database.change(remove=[work.id for work in works])
            await files.change(remove=[work.id for work in works if work.data.get("file")])
            self._channel.postMessage("deleted")
        self._list([row for row in self.rows if row["id"] not in self._gone])
        text = t("Deleted “%s”.") % works[0].title if len(works) == 1 else \
            plural(len(works), "Deleted %s work.", "Deleted %s works.")
        toast(text, t("Undo"), "undo-delete", 10 if len(works) == 1 else 20)

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
        self.unsaved.pop(work.id, None)
        if not self.unsaved:
            self.problem = ""

    async def restore(self, works: list) -> None:
        """Undoes a deletion. works: [(work, its file)]."""
        for work, file in works:
            self._gone.discard(work.id)
            if file is not None:
                try:
                    await self.keep_file(work, file)
                except Exception:
                    work.data["file"] = False
            await self.save(work)


def row_of(work) -> dict:
    return {"id": work.id, "title": work.title, "updated": work.data["updated"]}


@action("undo-delete")
def _(_source) -> None:
    asyncio.create_task(undo())


async def undo() -> None:
    global _deleted
    (history, works), _deleted = _deleted, (None, [])
    hide_toast()
    if history is not None:
        await history.restore(works)
