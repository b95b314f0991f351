"""One shard on its way from the network into storage: resumed by byte, verified by its hash."""

import asyncio
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import JsException

from ...errors import Error
from .storage import Folder, Memory, storage_full
from .url import fetch

RETRY_SECONDS = (0.5, 2, 5)  # waits after broken connections that brought nothing


class Download:
    """One shard on its way into a folder: as <sha256>.part until it is complete and its hash is right."""

    def __init__(self, folder: Folder | Memory, shard: dict[str, Any], url: str, label: str) -> None:
        self.folder, self.shard, self.url, self.label = folder, shard, url, label
        self.on_progress: Callable[[int], None] = lambda here: None

    async def run(self) -> Any:
        """The complete shard as a Blob. A wrong hash is given one more try from the start."""
        name = self.shard["sha256"]
        for _ in range(2):
            if await sha256(await self._whole(f"{name}.part")) == name:
                await self.folder.rename(f"{name}.part", name)
                return await self.folder.file(name)
            await self.folder.remove(f"{name}.part")
        raise Error(
            "bad_shard",
            f"{self.label} arrived damaged twice. Try again: nothing else was lost. If it stays so, the site is bad.",
        )

    async def _whole(self, name: str) -> Any:
        """Connections that break are resumed where they stopped."""
        part = await self.folder.part(name)
        try:
            size, waits = self.shard["size"], list(RETRY_SECONDS)
            if part.size > size:
                await part.truncate()
            while part.size < size:
                before, why = part.size, broken(self.label)
                try:
                    await self._stream(part)
                except Error as error:
                    if error.code != "offline":
                        raise
                    why = error
                if part.size > before:
                    waits = list(RETRY_SECONDS)
                if part.size < size:
                    if not waits:
                        raise why
                    await asyncio.sleep(waits.pop(0))
        finally:
            await part.close()
        return await self.folder.file(name)

    async def _stream(self, part: Any) -> None:
        """What one connection brings. A host that ignores Range sends the shard from its start."""
        size, controller = self.shard["size"], js.AbortController.new()
        options = {"signal": controller.signal, "cache": "no-store"}
        if part.size:
            options["headers"] = {"Range": f"bytes={part.size}-"}
        response = await fetch(self.url, options)
        try:
            if response.status in (200, 416):
                await part.truncate()
            if response.status not in (200, 206):
                busy = response.status in (416, 429) or response.status >= 500  # worth another try
                message = f"{self.label}: the host answered with status {response.status}. Try again later."
                raise Error("offline" if busy else "bad_shard", message)
            reader = response.body.getReader()
            while part.size < size:
                piece = await reader.read()
                if piece.done:
                    return
                array = piece.value
                await part.append(array if part.size + array.length <= size else array.subarray(0, size - part.size))
                self.on_progress(part.size)
        except JsException as error:
            if error.name == "QuotaExceededError":
                raise storage_full() from None
            raise broken(self.label) from None
        finally:
            controller.abort()


def broken(label: str) -> Error:
    return Error("offline", f"The connection broke ({label}). What has arrived is kept: try again when you are online.")


async def sha256(blob: Any) -> str:
    return (await js.crypto.subtle.digest("SHA-256", await blob.arrayBuffer())).to_bytes().hex()
