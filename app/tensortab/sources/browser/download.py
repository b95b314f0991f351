"""Downloads a shard into storage: it resumes at the byte where it stopped, and verifies the hash."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import no_parts, refusal
from .storage import Folder, Memory, storage_full
from .url import fetch

RETRY_SECONDS = (0.5, 2, 5)  # the waits after broken connections that brought nothing


@dataclass(frozen=True)
class Piece:
    """Bytes offset..offset+size of the file at a URL; `whole` if that is all of the file."""

    url: str
    offset: int
    size: int
    whole: bool


@dataclass(frozen=True)
class Shard:
    """A shard to download, piece by piece. Its file is <name>.part until it is complete, and then its SHA-256.

    sha256: "" if it is not known; label: its name in messages.
    """

    name: str
    sha256: str
    pieces: list[Piece]
    label: str

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


class Download:
    """Downloads a shard into a folder."""

    def __init__(self, folder: Folder | Memory, shard: Shard, on_progress: Callable[[int], None]) -> None:
        self.folder, self.shard, self.on_progress = folder, shard, on_progress

    async def run(self) -> str:
        """Returns the SHA-256 of the shard, which is now its name in the folder. If it is wrong, it tries once more."""
        part = f"{self.shard.name}.part"
        for _ in range(2):
            found = await sha256(await self._whole(part))
            if found == (self.shard.sha256 or found):
                await self.folder.rename(part, found)
                return found
            await self.folder.remove(part)
        raise Error(
            "bad_shard",
            f"{self.shard.label} arrived damaged twice. Try again: everything else is kept. If it happens again, the "
            "site's own copy is damaged.",
        )

    async def _whole(self, name: str) -> Any:
        """Downloads all bytes, and returns the File. Broken connections are resumed where they stopped."""
        part = await self.folder.part(name)
        try:
            waits = list(RETRY_SECONDS)
            if part.size > self.shard.size:
                await part.truncate(0)
            while part.size < self.shard.size:
                before, why = part.size, broken(self.shard.label)
                try:
                    if await self._stream(part):
                        continue
                except Error as error:
                    if error.code != "offline":
                        raise
                    why = error
                if part.size > before:
                    waits = list(RETRY_SECONDS)
                if not waits:
                    raise why
                await asyncio.sleep(waits.pop(0))
        finally:
            await part.close()
        return await self.folder.file(name)

    async def _stream(self, part: Any) -> bool:
        """Appends the bytes that one connection brings of the next piece; returns whether the piece is complete. A host
        that ignores Range sends the file from its start, which is fine for a piece that begins there."""
        start = 0
        for piece in self.shard.pieces:
            if part.size < start + piece.size:
                break
            start += piece.size
        first, end, controller = piece.offset + part.size - start, start + piece.size, js.AbortController.new()
        options = {"signal": controller.signal, "cache": "no-store"}
        if first or not piece.whole:
            last = "" if piece.whole else str(piece.offset + piece.size - 1)
            options["headers"] = {"Range": f"bytes={first}-{last}"}
        response = await fetch(piece.url, options)
        try:
            if response.status == 200 and piece.offset:
                raise no_parts(piece.url)
            if response.status in (200, 416) and part.size > start:
                await part.truncate(start)
            if response.status not in (200, 206):
                raise self._refused(piece.url, response.status)
            reader = response.body.getReader()
            while part.size < end:
                chunk = await reader.read()
                if chunk.done:
                    return False
                array = chunk.value
                await part.append(array if part.size + array.length <= end else array.subarray(0, end - part.size))
                self.on_progress(part.size)
            return True
        except JsException as error:
            if error.name == "QuotaExceededError":
                raise storage_full() from None
            raise broken(self.shard.label) from None
        finally:
            controller.abort()

    def _refused(self, url: str, status: int) -> Error:
        if status in (401, 403):
            return refusal(url, status)
        busy = status in (416, 429) or status >= 500  # worth another try
        message = f"{self.shard.label}: the host answered with status {status}. Try again later."
        return Error("offline" if busy else "bad_shard", message)


def broken(label: str) -> Error:
    """The error for a connection that ended during a shard's download."""
    return Error("offline", f"The connection broke ({label}). What has arrived is kept: try again when you are online.")


async def sha256(blob: Any) -> str:
    """The SHA-256 of a Blob, in hexadecimal."""
    return (await js.crypto.subtle.digest("SHA-256", await blob.arrayBuffer())).to_bytes().hex()
