"""The conversations on this device: one IndexedDB record each, {id, title, updated, data: JSON text, tab}."""

import json
import random

import js
from jsffi import create_proxy
from studio.pages.chat.conversation import Conversation
from studio.shell.elements import storage

STORE = "conversations"
_database = None
_tab = "%x" % random.getrandbits(30)  # the browser tab that wrote a record


def _upgrade(event) -> None:
    event.target.result.createObjectStore(STORE, js.JSON.parse('{"keyPath": "id"}'))


async def open_database() -> None:
    """The database. Raises JsException where the browser stores nothing (private windows, storage switched off)."""
    global _database
    if hasattr(storage, "blocked"):
        raise OSError("Storage is blocked for this site.")
    request = js.indexedDB.open("tensortab", 1)
    request.addEventListener("upgradeneeded", create_proxy(_upgrade))
    await done(request, "success", "error", "blocked")
    _database = request.result


def done(target, success: str, *failures):
    """A promise that resolves at the first event and rejects with the error of the others. The listeners must be added
    before Python awaits anything: by the time that it continues, the transaction has ended and its events are gone."""
    deferred = js.Promise.withResolvers()

    def failed(*_):
        error = target.error
        deferred.reject(js.Error.new("storage failed") if error is None else error)
    target.addEventListener(success, deferred.resolve)
    for name in failures:
        target.addEventListener(name, create_proxy(failed))
    return deferred.promise


def _transaction(mode: str):
    if _database is None:
        raise OSError("This browser stores nothing for this page.")
    return _database.transaction(STORE, mode)


def is_open() -> bool:
    return _database is not None


async def listing() -> list[dict]:
    """[{id, title, updated}], newest first."""
    request = _transaction("readonly").objectStore(STORE).getAll()
    await done(request, "success", "error")
    rows = []
    for record in request.result:
        rows.append({"id": record.id, "title": record.title, "updated": float(record.updated)})
    return sorted(rows, key=lambda row: -row["updated"])


async def read(key: str) -> Conversation | None:
    request = _transaction("readonly").objectStore(STORE).get(key)
    await done(request, "success", "error")
    found = request.result
    return Conversation(json.loads(found.data)) if hasattr(found, "data") else None


async def write(conversation: Conversation) -> None:
    """Raises JsException (QuotaExceededError) if there is no room; the record before stays as it was. What another tab
    has written since is merged: reading and writing are one transaction, so nothing comes between."""
    transaction = _transaction("readwrite")
    place = transaction.objectStore(STORE)
    request = place.get(conversation.id)

    def put(_event) -> None:
        before, data = request.result, conversation.data
        if hasattr(before, "data") and getattr(before, "tab", None) != _tab:
            conversation.merge(json.loads(before.data))
        row = {"id": data["id"], "title": conversation.title, "updated": str(data["updated"]), "tab": _tab}
        record = js.JSON.parse(json.dumps(row))
        record.data = json.dumps(data)
        place.put(record)
    request.addEventListener("success", create_proxy(put))
    await done(transaction, "complete", "abort", "error")


async def remove(key: str) -> None:
    transaction = _transaction("readwrite")
    transaction.objectStore(STORE).delete(key)
    await done(transaction, "complete", "abort", "error")


async def everything() -> list[dict]:
    """The data of all conversations, for the export."""
    request = _transaction("readonly").objectStore(STORE).getAll()
    await done(request, "success", "error")
    return [json.loads(record.data) for record in request.result]
