"""A model in this browser's storage, as a Source: its shards, each verified before it is first read."""

import asyncio
from typing import Any

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import check_range, parts
from .storage import Folder, Memory

AHEAD = 2  # shards that are verified at once: the one that is read, and the one after it
HELD = 4  # shards whose bytes are held between verifying and reading, 16 MiB each


class ShardSource:
    """A complete model. Made by `await ShardSource.open(folder, manifest)`.

    files   {name: Source} of the packed files (one for a GGUF model, several for a model's folder)
    stored  False if the browser provides no storage (private windows): the model is lost when the browser tab closes
    """

    def __init__(self, folder: Folder | Memory, manifest: dict[str, Any], blobs: list[Any]) -> None:
        self.manifest, self.stored = manifest, folder.stored
        self.name, self.size = manifest["name"], manifest["size"]
        self.files = parts(self, manifest)
        self.blobs = blobs
        self._folder, self._shard_size = folder, manifest["shard_size"]
        self._verifications: dict[int, asyncio.Task] = {}
        self._held: dict[int, Any] = {}  # the bytes of the shards that were verified last, until they have been read

    @classmethod
    async def open(cls, folder: Folder | Memory, manifest: dict[str, Any]) -> "ShardSource | None":
        """Returns the model, or None if a shard is missing."""
        blobs = [await folder.file(shard["sha256"]) for shard in manifest["shards"]]
        sizes = [blob.size for blob in blobs if blob is not None]
        return cls(folder, manifest, blobs) if sizes == [shard["size"] for shard in manifest["shards"]] else None

    async def chunk(self, offset: int, size: int) -> Any:
        """Bytes offset..offset+size as a JavaScript Uint8Array, whichever shards they are in."""
        check_range(self, offset, size)
        first, last = offset // self._shard_size, max(offset, offset + size - 1) // self._shard_size
        if first == last:
            return await self._part(first, offset, size)
        whole = js.Uint8Array.new(size)
        for index in range(first, last + 1):
            start = max(offset, index * self._shard_size)
            end = min(offset + size, (index + 1) * self._shard_size)
            whole.set(await self._part(index, start, end - start), start - offset)
        return whole

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()

    async def _part(self, index: int, offset: int, size: int) -> Any:
        if size == 0:
            return js.Uint8Array.new(0)
        start = offset - index * self._shard_size
        for following in range(index, min(index + AHEAD, len(self.blobs))):
            self._begin(following)
        await asyncio.wait([self._verifications[index]])  # whoever is cancelled meanwhile leaves it to the others
        self._verifications[index].result()
        if (array := self._held.get(index)) is not None:
            if start + size == array.length:
                del self._held[index]
            return array.subarray(start, start + size)
        try:
            return js.Uint8Array.new(await self.blobs[index].slice(start, start + size).arrayBuffer())
        except JsException as error:
            raise self._unreadable(error) from None

    def _begin(self, index: int) -> None:
        """Verifies a shard, unless that has begun."""
        if index not in self._verifications:
            task = self._verifications[index] = asyncio.ensure_future(self._verify(index))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # told to whoever reads the shard

    async def _verify(self, index: int) -> None:
        """Raises Error("bad_shard") if a shard is not what its hash says: a disk may have changed it."""
        name = self.manifest["shards"][index]["sha256"]
        try:
            buffer = await self.blobs[index].arrayBuffer()
            digest = await js.crypto.subtle.digest("SHA-256", buffer)
        except JsException as error:
            raise self._unreadable(error) from None
        if digest.to_bytes().hex() != name:
            await self._folder.remove(name)
            raise Error(
                "bad_shard",
                f"A part of {self.name} was damaged in this browser's storage. Load it again: only that part is "
                "downloaded.",
            )
        self._held[index] = js.Uint8Array.new(buffer)
        if len(self._held) > HELD:
            del self._held[next(iter(self._held))]

    def _unreadable(self, error: JsException) -> Error:
        return Error("bad_shard", f"{self.name} cannot be read from storage ({error.message}): load it again.")
