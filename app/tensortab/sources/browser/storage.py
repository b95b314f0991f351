"""The origin's private file system (OPFS), where models are kept as tensortab/<model>/<sha256>.

Files are written through a sync access handle where the browser provides one (dedicated workers), else through
createWritable. If the browser provides no storage at all (private windows, sandboxed frames), Memory is used instead.
"""

import json
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, unquote

import js
from pyodide.ffi import JsException, to_js

from ...errors import Error
from . import plain

ROOT = "tensortab"
# Whether models that are opened now are kept in Memory, though there is storage: it has no room for them.
IN_MEMORY: ContextVar[bool] = ContextVar("IN_MEMORY", default=False)
MANIFEST, UNFINISHED, USED = "manifest.json", "unfinished.json", "used.json"  # beside a model's shards


class SyncPart:
    """A file that grows, open in this worker only. Appended bytes survive a crash."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.size = handle.getSize()

    async def append(self, array: Any) -> None:
        if self._handle.write(array, plain({"at": self.size})) != array.length:
            raise storage_full()
        self.size += array.length

    async def truncate(self, size: int) -> None:
        self._handle.truncate(size)
        self.size = size

    async def close(self) -> None:
        self._handle.flush()
        self._handle.close()


class WritablePart:
    """The counterpart of SyncPart on the main thread. Appended bytes are stored once close() has run."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self.size = stream, size

    async def append(self, array: Any) -> None:
        await self._stream.write(plain({"type": "write", "position": self.size, "data": array}))
        self.size += array.length

    async def truncate(self, size: int) -> None:
        await self._stream.truncate(size)
        self.size = size

    async def close(self) -> None:
        with suppress(JsException):  # a failed write has ended the stream, and raised already
            await self._stream.close()


class MemoryPart:
    """The counterpart of SyncPart in memory."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []  # JavaScript arrays and Blobs
        self.size = 0

    def blob(self) -> Any:
        return js.Blob.new(to_js(self._pieces))

    async def append(self, array: Any) -> None:
        self._pieces.append(array)
        self.size += array.length

    async def truncate(self, size: int) -> None:
        self._pieces, self.size = [self.blob().slice(0, size)], size

    async def close(self) -> None:
        pass


class Folder:
    """The files of a model in OPFS, by name."""

    stored = True

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.name = unquote(handle.name)

    async def file(self, name: str) -> Any:
        """Returns a File, or None if there is none of that name."""
        try:
            return await (await self._handle.getFileHandle(name)).getFile()
        except JsException as error:
            if error.name != "NotFoundError":
                raise
            return None

    async def part(self, name: str) -> SyncPart | WritablePart:
        """Opens a file to append to, and makes it if it is missing. It must be closed."""
        file = await self._handle.getFileHandle(name, plain({"create": True}))
        if hasattr(file, "createSyncAccessHandle"):
            return SyncPart(await file.createSyncAccessHandle())
        return WritablePart(await file.createWritable(plain({"keepExistingData": True})), (await file.getFile()).size)

    async def rename(self, name: str, to: str) -> None:
        await (await self._handle.getFileHandle(name)).move(to)

    async def remove(self, name: str) -> None:
        with suppress(JsException):  # it has been removed already
            await self._handle.removeEntry(name)

    async def put(self, name: str, array: Any) -> None:
        """Writes a whole file. Raises Error("quota")."""
        part = await self.part(name)
        try:
            await part.truncate(0)
            await part.append(array)
        except JsException as error:
            if error.name != "QuotaExceededError":
                raise
            raise storage_full() from None
        finally:
            await part.close()

    async def write(self, name: str, value: Any) -> None:
        """Writes a value as a JSON file."""
        await self.put(name, to_js(json.dumps(value).encode()))

    async def read(self, name: str) -> Any:
        """Reads the value of a JSON file; None if the file is missing or was cut short."""
        file = await self.file(name)
        try:
            return None if file is None else json.loads(await file.text())
        except (JsException, ValueError):
            return None

    async def tidy(self, manifest: dict[str, Any]) -> None:
        """Removes the files that the complete model's manifest does not name: other versions, complete or not."""
        named = {MANIFEST, USED, *(shard["sha256"] for shard in manifest["shards"])}
        for name in await self.sizes():
            if name not in named:
                await self.remove(name)

    async def sizes(self) -> dict[str, int]:
        """{file name: bytes}"""
        sizes = {}
        async for handle in self._handle.values():
            with suppress(JsException):  # it has been renamed meanwhile
                sizes[handle.name] = (await handle.getFile()).size
        return sizes


class Memory:
    """The counterpart of Folder if the browser provides no storage. It is lost when the browser tab closes."""

    stored = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: dict[str, MemoryPart] = {}

    async def file(self, name: str) -> Any:
        return self._parts[name].blob() if name in self._parts else None

    async def part(self, name: str) -> MemoryPart:
        return self._parts.setdefault(name, MemoryPart())

    async def rename(self, name: str, to: str) -> None:
        self._parts[to] = self._parts.pop(name)

    async def remove(self, name: str) -> None:
        self._parts.pop(name, None)

    async def write(self, name: str, value: Any) -> None:
        pass

    async def read(self, name: str) -> Any:
        return None

    async def tidy(self, manifest: dict[str, Any]) -> None:
        pass

    async def sizes(self) -> dict[str, int]:
        return {name: part.size for name, part in self._parts.items()}


async def _root() -> Any:
    """Returns tensortab/ in OPFS, or None if the browser provides no writable storage."""
    try:
        root = await (await js.navigator.storage.getDirectory()).getDirectoryHandle(ROOT, plain({"create": True}))
        methods = js.FileSystemFileHandle.prototype
    except (JsException, AttributeError):
        return None
    return root if hasattr(methods, "createSyncAccessHandle") or hasattr(methods, "createWritable") else None


async def open_folder(name: str) -> Folder | Memory:
    """Opens the folder of a model, and makes it if it is missing."""
    root = None if IN_MEMORY.get() else await _root()
    if root is None:
        return Memory(name)
    return Folder(await root.getDirectoryHandle(quote(name, safe=""), plain({"create": True})))


async def folders() -> dict[str, Folder]:
    """The folders of all models in storage, by the models' names."""
    root = await _root()
    if root is None:
        return {}
    found = [Folder(handle) async for handle in root.values()]
    return {folder.name: folder for folder in found}


async def find_folder(name: str) -> Folder | None:
    """Returns the folder of a model, if it exists."""
    return (await folders()).get(name)


async def remove_folder(name: str) -> None:
    """Deletes a model's files, if there are any. Raises Error("bad_request") if another browser
    tab uses them."""
    root = await _root()
    try:
        if root is not None:
            await root.removeEntry(quote(name, safe=""), plain({"recursive": True}))
    except JsException as error:
        if error.name != "NotFoundError":
            message = f"{name} can't be deleted ({error.message}): close this site's other browser tabs."
            raise Error("bad_request", message) from None


async def ask_room(need: int) -> None:
    """Asks the browser to keep this site's storage (which is not possible in workers). Raises Error("quota") if it has
    less than `need` bytes left for the site."""
    if hasattr(js.navigator.storage, "persist"):
        js.navigator.storage.persist()  # not awaited: Firefox asks the user, which may take long
    estimate = await js.navigator.storage.estimate()
    free = estimate.quota - estimate.usage
    if need > free:
        raise Error(
            "quota",
            f"The model needs {need / 1e6:.0f} MB of storage, but this browser has {free / 1e6:.0f} MB left for it. "
            "Delete other models, or free space on the device.",
        )


def storage_full() -> Error:
    """The error for a write that finds no room."""
    return Error(
        "quota", "This device's storage is full. Delete other models, or free space on the device; then try again."
    )


async def usage() -> dict[str, Any]:
    """The bytes that this site uses, the bytes that the browser allows, and whether they may be cleared without
    asking."""
    estimate = await js.navigator.storage.estimate()
    return {"usage": estimate.usage, "quota": estimate.quota, "persisted": await js.navigator.storage.persisted()}
