"""One shard on its way from the network into storage: resumed by byte, verified by its hash."""

import asyncio
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import JsException

from ...errors import Error
from .storage import storage_full
from .url import fetch

RETRY_SECONDS = (0.5, 2, 5)  # waits after broken connections that brought nothing


class Download:
    """One shard on its way into a store."""

    def __init__(self, store: Any, shard: dict[str, Any], url: str, label: str) -> None:
        self.store, self.shard, self.url, self.label = store, shard, url, label
        self.on_progress: Callable[[int], None] = lambda here: None

    async def run(self) -> Any:
        """The complete shard as a Blob. A wrong hash is given one more try from the start."""
        for _ in range(2):
            blob = await self._whole()
            if await sha256(blob) == self.shard["sha256"]:
                return await self.store.keep(self.shard)
            await self.store.discard(self.shard)
        raise Error(
            "bad_shard",
            f"{self.label} arrived damaged twice. Try again: nothing else was lost. If it stays so, the site is bad.",
        )

    async def _whole(self) -> Any:
        """Connections that break are taken up again where they stopped."""
        part = await self.store.part(self.shard)
        try:
            size, waits = self.shard["size"], list(RETRY_SECONDS)
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
            part.close()
        return await self.store.blob(self.shard)

    async def _stream(self, part: Any) -> None:
        """What one connection brings. A host that ignores Range sends the shard from its start."""
        size, controller = self.shard["size"], js.AbortController.new()
        options = {"signal": controller.signal, "cache": "no-store"}
        if part.size:
            options["headers"] = {"Range": f"bytes={part.size}-"}
        response = await fetch(self.url, options)
        try:
            if response.status in (200, 416):
                part.truncate()
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
                part.append(array if part.size + array.length <= size else array.subarray(0, size - part.size))
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
