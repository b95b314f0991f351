"""Keeps a model: downloads the missing shards, verifies the whole files, and removes files that are not needed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ...errors import Error
from ..manifest import Hashes, check, ranges, recall
from .blob import BlobSource
from .download import Download, Shard
from .lock import locked
from .shards import ShardSource
from .storage import MANIFEST, UNFINISHED, USED, Folder, Memory, ask_room, find_folder, open_folder

Progress = Callable[[int, int], None]  # done, total


async def keep(manifest: dict[str, Any], shard: Callable[[int], Shard], on_progress: Progress) -> ShardSource:
    """Returns the model of a manifest, complete and verified. shard(n): where to download the manifest's shard n from.

    One browser tab downloads; others wait and show its progress. Raises Error("offline") (the bytes so far are kept),
    ("bad_shard"), ("quota") or ("bad_file").
    """
    folder = await open_folder(manifest["name"])
    if not folder.stored:
        return await _complete(folder, manifest, shard, on_progress)
    async with locked(manifest["name"], lambda: _watch(folder, manifest, shard, on_progress)):
        return await _complete(folder, manifest, shard, on_progress)


async def kept(name: str, used: bool = True) -> ShardSource | None:
    """Returns the model of that name if it is complete in storage; no host is asked. used: whether this counts as a
    use."""
    folder = await find_folder(name)
    manifest = None if folder is None else await folder.read(MANIFEST)
    if folder is None or manifest is None:
        return None
    source = await ShardSource.open(folder, check(manifest, f"{name} in this browser's storage"))
    if source is not None and used:
        await folder.write(USED, time.time())
    return source


async def _complete(
    folder: Folder | Memory, manifest: dict[str, Any], shard: Callable[[int], Shard], on_progress: Progress
) -> ShardSource:
    before = await folder.read(MANIFEST)
    await _recall(folder, manifest)
    sizes = await folder.sizes()
    lacking = [n for n, entry in enumerate(manifest["shards"]) if sizes.get(entry["sha256"]) != entry["size"]]
    missing = sum(manifest["shards"][n]["size"] for n in lacking)
    if missing and folder.stored:
        await ask_room(missing)
    done, total = manifest["size"] - missing, manifest["size"]
    on_progress(done, total)
    new, hashes = manifest != before, Hashes(manifest)
    hashing: asyncio.Future = asyncio.ensure_future(asyncio.sleep(0))
    try:
        for n, entry in enumerate(manifest["shards"]):
            if n in lacking:
                download = Download(folder, shard(n), lambda here, done=done: on_progress(done + here, total))  # type: ignore[misc]
                entry["sha256"] = await download.run()
                await folder.write(UNFINISHED, manifest)
                done += entry["size"]
            await hashing
            if new:  # a shard is hashed while the next one is downloaded
                hashing = asyncio.ensure_future(hashes.add(n, BlobSource(await folder.file(entry["sha256"]))))
        await hashing
    finally:
        hashing.cancel()
        await asyncio.gather(hashing, return_exceptions=True)
    if new:
        if wrong := hashes.wrong():
            await _drop(folder, manifest, wrong)
        await folder.write(MANIFEST, manifest)
    source = await ShardSource.open(folder, manifest)
    if source is None:
        raise Error(
            "bad_shard", f"A part of {manifest['name']} was deleted from storage during the download: try again."
        )
    await folder.tidy(manifest)
    await folder.write(USED, time.time())
    return source


async def _recall(folder: Folder | Memory, manifest: dict[str, Any]) -> None:
    """Fills in the hashes of shards that are in the folder already, for a model whose hashes are not known before."""
    if not all(entry["sha256"] for entry in manifest["shards"]):
        recall(manifest, await folder.read(MANIFEST), await folder.read(UNFINISHED))


async def _drop(folder: Folder | Memory, manifest: dict[str, Any], file: str) -> None:
    """Deletes the shards of a file whose hash is wrong: they had no hashes of their own to verify."""
    for n, entry in enumerate(manifest["shards"]):
        if any(other["name"] == file for other, _, _ in ranges(manifest, n)):
            await folder.remove(entry["sha256"])
            entry["sha256"] = ""
    await folder.write(UNFINISHED, manifest)
    raise Error(
        "bad_shard",
        f"{file} of {manifest['name']} is not what the hub says: it was changed or damaged on its way, and has been "
        "deleted. Try again.",
    )


async def _watch(
    folder: Folder | Memory, manifest: dict[str, Any], shard: Callable[[int], Shard], on_progress: Progress
) -> None:
    """Reports the progress of another browser tab's download."""
    while True:
        await asyncio.sleep(0.5)
        await _recall(folder, manifest)
        sizes, here = await folder.sizes(), 0
        for n, entry in enumerate(manifest["shards"]):
            here += sizes.get(entry["sha256"], sizes.get(f"{shard(n).name}.part", 0))
        on_progress(min(here, manifest["size"]), manifest["size"])
