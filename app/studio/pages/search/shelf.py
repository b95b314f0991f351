"""What can be searched on this device: an IndexedDB record for each passage or photo, {id, kind, folder, name, text,
picture, model, vector}; `vector` is a Float32Array that `model` made, `picture` a Blob. Records stay JavaScript's."""

import json

import js
from studio.shell.elements import create_proxy, storage
from studio.shell.storage import done

STORE = "items"
_database = None


def _upgrade(event) -> None:
    event.target.result.createObjectStore(STORE, js.JSON.parse('{"keyPath": "id"}'))


async def everything() -> list:
    """All records, in the order of their ids. Raises OSError or JsException if the browser stores nothing."""
    global _database
    if _database is None:
        if hasattr(storage, "blocked"):
            raise OSError("Storage is blocked for this site.")
        request = js.indexedDB.open("tensortab-search", 1)
        request.addEventListener("upgradeneeded", create_proxy(_upgrade))
        await done(request, "success", "error", "blocked")
        _database = request.result
    request = _database.transaction(STORE, "readonly").objectStore(STORE).getAll()
    await done(request, "success", "error")
    return list(request.result)


def key(folder: str, name: str, place: int) -> str:
    """The id of the `place`-th record of a file."""
    return "%s/%s/%05d" % (folder, name, place)


def record(kind: str, folder: str, name: str, place: int, text: str, picture=None):
    """A record that has no vector yet."""
    made = {"id": key(folder, name, place), "kind": kind, "folder": folder, "name": name, "text": text,
            "model": "", "vector": None}
    made = js.JSON.parse(json.dumps(made))
    made.picture = picture
    return made


async def write(records: list) -> None:
    """Stores all of the records or none. Without a database they exist in this browser tab only."""
    if _database is not None:
        transaction = _database.transaction(STORE, "readwrite")
        place = transaction.objectStore(STORE)
        for item in records:
            place.put(item)
        await done(transaction, "complete", "abort", "error")


async def remove(keys: list) -> None:
    if _database is not None:
        transaction = _database.transaction(STORE, "readwrite")
        place = transaction.objectStore(STORE)
        for found in keys:
            place.delete(found)
        await done(transaction, "complete", "abort", "error")
