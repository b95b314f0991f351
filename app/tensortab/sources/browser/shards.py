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
from .storage import Folder, Memory, check_room, file_sizes, model_folder, read_json, write_text
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
        manifest, folder = await _manifest(url)
        shards = manifest["shards"]
        async with locked(manifest["name"], lambda: _watch(folder, shards, on_progress)):
            store: Folder | Memory = Memory() if folder is None else Folder(folder)
            present = {shard["sha256"]: await store.complete(shard) for shard in shards}
            missing = sum(s["size"] for s in shards if present[s["sha256"]] is None)
            if missing and folder is not None:
                await check_room(missing)
            done = manifest["size"] - missing
            on_progress(done, manifest["size"])
            for shard in shards:
                if present[shard["sha256"]] is None:
                    address = js.URL.new(shard["path"], url).href
                    download = Download(store, shard, address, f"{manifest['name']}, {shard['path']}")
                    download.on_progress = partial(lambda done, here: on_progress(done + here, manifest["size"]), done)
                    present[shard["sha256"]] = await download.run()
                    done += shard["size"]
            if folder is not None:
                await write_text(folder, "manifest.json", json.dumps(manifest))
        return cls(manifest, [present[shard["sha256"]] for shard in shards], folder is not None)

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


async def _manifest(url: str) -> tuple[dict[str, Any], Any]:
    """The manifest and the model's folder in storage (None where there is none). Without a network: the kept one."""
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
        name = unquote(urlsplit(url).path.split("/")[-2]) if error.code == "offline" else ""
        folder = await model_folder(name, create=False) if name else None
        kept = await read_json(folder) if folder is not None else None
        if kept is None:
            raise
        return checked(kept, url), folder
    except ValueError as error:
        raise Error("bad_file", f"{url} is not a manifest ({error}). Was the site built by build.py?") from None
    manifest = checked(manifest, url)
    return manifest, await model_folder(manifest["name"], create=True)


async def _watch(folder: Any, shards: list[dict[str, Any]], on_progress: Progress) -> None:
    """Shows how far the other tab's download is."""
    total = sum(shard["size"] for shard in shards)
    while folder is not None:
        await asyncio.sleep(0.5)
        sizes = await file_sizes(folder)
        on_progress(min(total, sum(sizes.get(s["sha256"], sizes.get(f"{s['sha256']}.part", 0)) for s in shards)), total)
