"""The origin's private file system (OPFS), where models are kept as tensortab/<model>/<sha256>; and its stand-in in
memory where the browser lends none."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import js
from pyodide.ffi import JsException, to_js

from ...errors import Error

FOLDER = "tensortab"


class SyncPart:
    """A .part file being written; this worker alone has it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.size = handle.getSize()

    def append(self, array: Any) -> None:
        written = self._handle.write(array, to_js({"at": self.size}))
        if written != array.length:
            raise storage_full()
        self.size += array.length

    def truncate(self) -> None:
        self._handle.truncate(0)
        self.size = 0

    def close(self) -> None:
        self._handle.flush()
        self._handle.close()


class Folder:
    """Shards in a folder of OPFS."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    async def complete(self, shard: dict[str, Any]) -> Any:
        """The kept shard as a File, or None."""
        try:
            file = await (await self.folder.getFileHandle(shard["sha256"])).getFile()
        except JsException as error:
            if error.name != "NotFoundError":
                raise
            return None
        return file if file.size == shard["size"] else None

    async def part(self, shard: dict[str, Any]) -> SyncPart:
        file = await self.folder.getFileHandle(f"{shard['sha256']}.part", to_js({"create": True}))
        part = SyncPart(await file.createSyncAccessHandle())
        if part.size > shard["size"]:
            part.truncate()
        return part

    async def blob(self, shard: dict[str, Any]) -> Any:
        return await (await self.folder.getFileHandle(f"{shard['sha256']}.part")).getFile()

    async def keep(self, shard: dict[str, Any]) -> Any:
        await (await self.folder.getFileHandle(f"{shard['sha256']}.part")).move(shard["sha256"])
        return await self.complete(shard)

    async def discard(self, shard: dict[str, Any]) -> None:
        await self.folder.removeEntry(f"{shard['sha256']}.part")


class MemoryPart:
    """The twin of SyncPart, where a browser lends no storage: JavaScript arrays."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.size = 0

    def append(self, array: Any) -> None:
        self.arrays.append(array)
        self.size += array.length

    def truncate(self) -> None:
        self.arrays.clear()
        self.size = 0

    def close(self) -> None:
        pass


class Memory:
    """The twin of Folder."""

    def __init__(self) -> None:
        self._parts: dict[str, MemoryPart] = {}

    async def complete(self, shard: dict[str, Any]) -> Any:
        return None

    async def part(self, shard: dict[str, Any]) -> MemoryPart:
        return self._parts.setdefault(shard["sha256"], MemoryPart())

    async def blob(self, shard: dict[str, Any]) -> Any:
        return js.Blob.new(to_js(self._parts[shard["sha256"]].arrays))

    async def keep(self, shard: dict[str, Any]) -> Any:
        blob = await self.blob(shard)
        del self._parts[shard["sha256"]]
        return blob

    async def discard(self, shard: dict[str, Any]) -> None:
        del self._parts[shard["sha256"]]


async def models_folder() -> Any:
    """tensortab/ in OPFS, or None where the browser lends no storage."""
    try:
        return await (await js.navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, to_js({"create": True}))
    except (JsException, AttributeError):
        return None


async def model_folder(name: str, create: bool) -> Any:
    root = await models_folder()
    if root is None:
        return None
    try:
        return await root.getDirectoryHandle(quote(name, safe=""), to_js({"create": create}))
    except JsException as error:
        if error.name == "NotFoundError":
            return None
        raise


async def write_text(folder: Any, name: str, text: str) -> None:
    handle = await (await folder.getFileHandle(name, to_js({"create": True}))).createSyncAccessHandle()
    try:
        handle.truncate(0)
        handle.write(to_js(text.encode()))
    finally:
        handle.close()


async def read_json(folder: Any) -> Any:
    """manifest.json of a folder, or None if there is none or it was cut short."""
    try:
        return json.loads(await (await (await folder.getFileHandle("manifest.json")).getFile()).text())
    except (JsException, ValueError):
        return None


async def file_sizes(folder: Any) -> dict[str, int]:
    """{file name: bytes}"""
    sizes = {}
    async for handle in folder.values():
        with suppress(JsException):  # it was renamed meanwhile
            sizes[handle.name] = (await handle.getFile()).size
    return sizes


async def check_room(need: int) -> None:
    estimate = await js.navigator.storage.estimate()
    free = estimate.quota - estimate.usage
    if need > free:
        raise Error(
            "quota",
            f"The model needs {need / 1e6:.0f} MB of storage, this browser gives the site {free / 1e6:.0f} MB more. "
            "Delete other models, or free space on the device.",
        )


def storage_full() -> Error:
    return Error(
        "quota", "This device's storage is full. Delete other models, or free space on the device; then try again."
    )


async def usage() -> dict[str, Any]:
    """Bytes used by this site, what the browser allows it, and whether it may be cleared without asking."""
    estimate = await js.navigator.storage.estimate()
    return {"usage": estimate.usage, "quota": estimate.quota, "persisted": await js.navigator.storage.persisted()}
