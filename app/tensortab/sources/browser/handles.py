"""The user's own files, which stay where they are: an IndexedDB database keeps their FileSystemFileHandles.

A record is {name, files: [{name, size}], handles, used}. There are none in a browser without such handles.
"""

import time
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

from ...errors import Error
from .. import Folder, Source
from . import plain
from .blob import BlobSource

DATABASE, STORE = "tensortab-files", "handles"


async def store(name: str, handles: list[Any]) -> None:
    """Remembers the handles under a name."""
    files = [await handle.getFile() for handle in handles]
    await _put(name, handles, [(file.name, file.size) for file in files], 0)


async def of(name: str) -> list[Any]:
    """Returns the handles that are remembered under a name. A page can ask for permission with requestPermission, in a
    click; a worker cannot."""
    record = await _run("readonly", "get", name)
    return [] if record is None else list(record.handles)


async def load(name: str) -> Source | Folder | None:
    """Opens the files that are remembered under a name. Raises Error("permission") or ("bad_file")."""
    handles, files = await of(name), []
    if not handles:
        return None
    for handle in handles:
        if hasattr(handle, "queryPermission") and await handle.queryPermission(plain({"mode": "read"})) != "granted":
            message = f"The browser needs your permission to read {name} again: allow it with a click."
            raise Error("permission", message)
        try:
            files.append(BlobSource(await handle.getFile()))
        except JsException as error:
            message = f"{handle.name} is no longer where it was ({error.message}): choose it again."
            raise Error("bad_file", message) from None
    await _put(name, handles, [(file.name, file.size) for file in files], time.time())
    return files[0] if len(files) == 1 else Folder(name, files)


async def models() -> list[dict[str, Any]]:
    """Their entries in library.models()."""
    found = []
    for record in await _run("readonly", "getAll") or []:
        size = sum(file.size for file in record.files)
        about = {"task": "", "memory": 0, "license": "", "kind": "file", "revision": "", "stored": 0}
        source = ", ".join(file.name for file in record.files)
        found.append({"name": record.name, "size": size, "source": source, **about, "used": record.used})
    return found


async def remove(name: str) -> None:
    """Forgets the handles; the files stay."""
    await _run("readwrite", "delete", name)


async def _put(name: str, handles: list[Any], files: list[tuple[str, int]], used: float) -> None:
    about = [{"name": file, "size": size} for file, size in files]
    record = plain({"name": name, "files": about, "used": used})
    record.handles = to_js(handles)
    await _run("readwrite", "put", record)


async def _run(mode: str, method: str, *arguments: Any) -> Any:
    """Returns the result of a method of the object store; None if the browser provides no database."""
    create = create_proxy(lambda event: event.target.result.createObjectStore(STORE, plain({"keyPath": "name"})))
    try:
        opening = js.indexedDB.open(DATABASE, 1)
        opening.onupgradeneeded = create
        database = await _result(opening)
    except (JsException, AttributeError):
        return None
    finally:
        create.destroy()
    try:
        return await _result(getattr(database.transaction(STORE, mode).objectStore(STORE), method)(*arguments))
    finally:
        database.close()


async def _result(request: Any) -> Any:
    answer = js.Promise.withResolvers()
    done = create_proxy(lambda event: answer.resolve(request.result))
    failed = create_proxy(lambda event: answer.reject(request.error))
    request.onsuccess, request.onerror = done, failed
    try:
        return await answer.promise
    finally:
        done.destroy()
        failed.destroy()
