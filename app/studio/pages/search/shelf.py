"""What can be searched on this device: an IndexedDB record for each passage or photo, {id, kind, folder, name, text,
unit, place, picture, model, vector}; `unit` and `place` say where a passage is (see Document), `vector` is a
Float32Array that `model` made, `picture` a Blob. Records stay JavaScript's."""

import json

import js
from studio.shell.database import Database
from studio.shell.files import Document

_items = Database("tensortab-search", "items")
everything = _items.all


def key(folder: str, name: str, number: int) -> str:
    """The id of a file's record."""
    return "%s/%s/%05d" % (folder, name, number)


def passages(folder: str, document: Document) -> list:
    """The records of a document; they have no vectors yet."""
    return [_record("text", folder, document.name, number, {"text": text, "unit": document.unit, "place": place})
            for number, (place, text) in enumerate(document.passages)]


def photo(folder: str, name: str, picture) -> list:
    made = _record("photo", folder, name, 0, {"text": ""})
    made.picture = picture
    return [made]


def _record(kind: str, folder: str, name: str, number: int, about: dict):
    made = {"id": key(folder, name, number), "kind": kind, "folder": folder, "name": name, "model": "", "vector": None}
    return js.JSON.parse(json.dumps(made | about))


async def replace(old: list, new: list) -> None:
    """Stores the records `new` in the place of those with the ids `old`. Where the browser keeps nothing, the records
    exist in this browser tab only."""
    if _items.available:
        await _items.change(remove=old, put=new)
