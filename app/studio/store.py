"""Conversations on this device: one IndexedDB record each, {id, title, updated, data: JSON text}."""

import json

import js
from jsffi import create_proxy
from studio.conversation import Conversation
from studio.dom import attempt, listening

STORE = "conversations"
_database = None


def _upgrade(event) -> None:
    event.target.result.createObjectStore(STORE, js.JSON.parse('{"keyPath": "id"}'))


async def open_database() -> None:
    """Raises JsException where the browser keeps nothing (private windows, storage switched off)."""
    global _database
    request = await attempt(js.indexedDB, "open", "tensortab", 1)
    request.addEventListener("upgradeneeded", create_proxy(_upgrade))
    await listening(request, "success", "error", "blocked")
    _database = request.result


async def _objects(mode: str):
    if _database is None:
        raise OSError("This browser keeps nothing for this page.")
    transaction = await attempt(_database, "transaction", STORE, mode)
    return transaction, transaction.objectStore(STORE)


async def listing() -> list[dict]:
    """[{id, title, updated}], newest first."""
    _, objects = await _objects("readonly")
    request = objects.getAll()
    await listening(request, "success", "error")
    rows = []
    for record in request.result:
        rows.append({"id": record.id, "title": record.title, "updated": float(js.String(record.updated))})
    return sorted(rows, key=lambda row: -row["updated"])


async def read(key: str) -> Conversation | None:
    _, objects = await _objects("readonly")
    request = objects.get(key)
    await listening(request, "success", "error")
    found = request.result
    return Conversation(json.loads(found.data)) if hasattr(found, "data") else None


async def write(conversation: Conversation) -> None:
    """Raises JsException (QuotaExceededError) where there is no room; the record before stays as it was."""
    data = conversation.data
    record = js.JSON.parse(json.dumps({"id": data["id"], "title": conversation.title, "updated": data["updated"]}))
    record.data = json.dumps(data)
    transaction, objects = await _objects("readwrite")
    finished = listening(transaction, "complete", "abort", "error")
    await attempt(objects, "put", record)
    await finished


async def remove(key: str) -> None:
    transaction, objects = await _objects("readwrite")
    objects.delete(key)
    await listening(transaction, "complete", "abort", "error")


async def everything() -> list[dict]:
    """The data of all conversations, for the export."""
    _, objects = await _objects("readonly")
    request = objects.getAll()
    await listening(request, "success", "error")
    return [json.loads(record.data) for record in request.result]
