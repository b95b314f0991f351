"""A model of the site in the tab: a manifest.json and its shards (build.py pack), downloaded once and kept."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import check_range, checked, cut_short, parts
from .download import Download
from .lock import locked
from .storage import Folder, Memory, check_room, folders, open_folder
from .url import fetch

Progress = Callable[[int, int], None]  # done, total


class ShardSource:
    """A model of the site, complete and verified, in this browser's storage. Made by `await ShardSource.open(url)`.

    files   {name: Source} of what was packed (one for a GGUF model, several for a model's folder)
    stored  False where the browser lends no storage (private windows): the model stays until the tab is closed
    """

    def __init__(self, manifest: dict[str, Any], blobs: list[Any], stored: bool) -> None:
        self.manifest, self.stored = manifest, stored
        self.name, self.size = manifest["name"], manifest["size"]
        self._blobs, self._shard_size = blobs, manifest["shard_size"]
        self.files = parts(self, manifest)

    @classmethod
    async def open(cls, url: str, on_progress: Progress = lambda done, total: None) -> "ShardSource":
        """Downloads what is missing of the model whose manifest is at `url`; its shards lie beside it.

        on_progress(bytes that are here, bytes in all). Raises Error("offline") (what came is kept), ("bad_shard"),
        ("quota") or ("bad_file").
        """
        manifest = await _manifest(url)
        folder = await open_folder(manifest["name"])
        if not folder.stored:
            return cls(manifest, await _fill(folder, manifest, url, on_progress), False)
        async with locked(manifest["name"], lambda: _watch(folder, manifest, on_progress)):
            blobs = await _fill(folder, manifest, url, on_progress)
            await folder.write("manifest.json", manifest)
        return cls(manifest, blobs, True)

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

    async def _part(self, index: int, offset: int, size: int) -> Any:
        start = offset - index * self._shard_size
        try:
            return js.Uint8Array.new(await self._blobs[index].slice(start, start + size).arrayBuffer())
        except JsException as error:
            raise Error(
                "bad_shard", f"{self.name} can't be read from storage ({error.message}): load it again"
            ) from None

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()


async def _manifest(url: str) -> dict[str, Any]:
    """The manifest at a URL. Without a network: the kept one."""
    try:
        response = await fetch(url, {"cache": "no-cache"})
        if response.status == 404:
            raise Error("bad_file", f"This site has no model at {url}: check the name.")
        if not response.ok:
            raise Error("offline", f"{url}: the host answered with status {response.status}. Try again later.")
        try:
            manifest = json.loads(await response.text())
        except JsException:
            raise cut_short(url) from None
    except Error as error:
        folder = (await folders()).get(unquote(urlsplit(url).path.split("/")[-2]))
        manifest = await folder.read("manifest.json") if folder and error.code == "offline" else None
        if manifest is None:
            raise
    except ValueError as error:
        raise Error("bad_file", f"{url} is not a manifest ({error}). Was the site built by build.py?") from None
    return checked(manifest, url)


async def _fill(folder: Folder | Memory, manifest: dict[str, Any], url: str, on_progress: Progress) -> list[Any]:
    """Downloads the shards that the folder lacks; all of them as Blobs."""
    sizes = await folder.sizes()
    lacking = [shard for shard in manifest["shards"] if sizes.get(shard["sha256"]) != shard["size"]]
    missing = sum(shard["size"] for shard in lacking)
    if missing and folder.stored:
        await check_room(missing)
    done = manifest["size"] - missing
    on_progress(done, manifest["size"])
    for shard in lacking:
        address = js.URL.new(shard["path"], url).href
        download = Download(folder, shard, address, f"{manifest['name']}, {shard['path']}")
        download.on_progress = partial(lambda done, here: on_progress(done + here, manifest["size"]), done)
        await download.run()
        done += shard["size"]
    return [await folder.file(shard["sha256"]) for shard in manifest["shards"]]


async def _watch(folder: Folder | Memory, manifest: dict[str, Any], on_progress: Progress) -> None:
    """Shows how far the other tab's download is."""
    total = manifest["size"]
    while True:
        await asyncio.sleep(0.5)
        sizes = await folder.sizes()
        names = [shard["sha256"] for shard in manifest["shards"]]
        on_progress(min(total, sum(sizes.get(name, sizes.get(f"{name}.part", 0)) for name in names)), total)
