"""What can be searched on this device: an IndexedDB record for each passage or photo, {id, kind, folder, name, text,
picture, model, vector}; `vector` is a Float32Array that `model` made, `picture` a Blob. Records stay JavaScript's."""

import json

import js
from studio.shell.database import Database

_items = Database("tensortab-search", "items")
everything = _items.all


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


async def replace(old: list, new: list) -> None:
    """Stores the records `new` in the place of those with the ids `old`. Where the browser keeps nothing, the records
    exist in this browser tab only."""
    if _items.available:
        await _items.change(remove=old, put=new)
