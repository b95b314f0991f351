"""What is remembered of the models that were loaded in this browser: a JSON file beside the models' folder. It outlives
a model that is deleted, so that nobody downloads one again that does not fit.

{model's name: {"gpu", "memory", "ran", "speed", "tasks"}}: the GPU that it was loaded on last, the bytes that it needs
there, whether there was memory for it, tokens/s of its last answers, and the tasks that it is for.
"""

import json
from contextlib import suppress
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from ...errors import Error
from .storage import Folder

FILE = "tensortab-runs.json"
_runs: dict[str, dict[str, Any]] = {}  # if the browser provides no storage


async def _folder() -> Folder | None:
    try:
        return Folder(await js.navigator.storage.getDirectory())
    except (JsException, AttributeError):
        return None


async def runs() -> dict[str, dict[str, Any]]:
    folder = await _folder()
    if folder is None:
        return _runs
    found = await folder.read(FILE)
    return found if isinstance(found, dict) else {}


async def note(name: str, **facts: Any) -> None:
    """Adds facts to what is remembered of a model."""
    found = await runs()
    found[name] = {**found.get(name, {}), **facts}
    if folder := await _folder():
        with suppress(Error, JsException):  # the storage is full or in use: what was noted before stays
            await folder.put(FILE, to_js(json.dumps(found).encode()))
