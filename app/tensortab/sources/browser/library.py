"""Lists, deletes, exports and imports the models in this browser's storage, and keeps the user's own files."""

from collections.abc import Awaitable, Callable
from typing import Any

import js
from pyodide.ffi import to_js

from ...errors import Error
from .. import Source, archive, model_name
from ..manifest import File, Hashes, new, ranges
from . import handles
from .blob import BlobSource
from .keep import Progress, kept
from .lock import locked
from .storage import MANIFEST, UNFINISHED, USED, Folder, ask_room, find_folder, folders, open_folder, remove_folder

# The keys that describe a model, as in its manifest: its task, bytes to download, bytes on the GPU, its licence, its
# origin, its kind, and the commit of a model of the hub.
ABOUT = {
    "name": "", "task": "", "size": 0, "memory": 0, "license": "", "source": "", "kind": "site", "revision": ""
}  # fmt: skip


async def models() -> list[dict[str, Any]]:
    """Returns for each model in storage the keys of ABOUT, stored (bytes kept here) and used (when it was last opened,
    in seconds since 1970; 0: never). Interrupted downloads are included."""
    found = await handles.models()
    for name, folder in (await folders()).items():
        manifest = await folder.read(MANIFEST) or await folder.read(UNFINISHED) or {}
        about = ABOUT | {key: manifest[key] for key in ABOUT if key in manifest} | {"name": name}
        sizes = await folder.sizes()
        stored = sum(size for file, size in sizes.items() if file not in (MANIFEST, UNFINISHED, USED))
        if manifest or stored:  # else it was made for a download that had no room
            found.append({**about, "stored": stored, "used": await folder.read(USED) or 0})
    return found


async def delete(name: str) -> None:
    """Deletes a model from storage. While another browser tab downloads it, this waits."""
    await handles.remove(name)
    if await folders():
        async with locked(name, _nothing):
            await remove_folder(name)


async def export(name: str, path: Any = None) -> Any:
    """Returns the model as one file: a Blob that reads the storage when it is read itself, so it needs no memory."""
    if path is not None:
        raise Error("bad_request", f"There are no paths in the tab: call export({name!r}), and save its Blob.")
    source = await kept(name)
    if source is None:
        raise Error("bad_request", f"{name} is not complete in this browser's storage: download it first.")
    pieces: list[Any] = [to_js(archive.head(source.manifest))]
    for shard, blob in zip(source.manifest["shards"], source.blobs, strict=True):
        pieces += [to_js(archive.header(shard["path"], shard["size"])), blob, to_js(archive.padding(shard["size"]))]
    return js.Blob.new(to_js([*pieces, to_js(archive.END)]))


async def import_(file: Any, on_progress: Progress = lambda done, total: None) -> str:
    """Imports an exported model (a File or Blob) into storage, and returns its name. Every byte is verified before it
    replaces anything. Raises Error("bad_file") or ("quota")."""
    source = BlobSource(file)
    manifest, offsets = await archive.read_archive(source)

    async def read(index: int) -> Any:
        return await source.chunk(offsets[index], manifest["shards"][index]["size"])

    await _store(manifest, read, on_progress)
    return manifest["name"]


async def keep(files: list[Any], name: str, on_progress: Progress = lambda done, total: None) -> None:
    """Keeps the user's own files as the model `name`: FileSystemFileHandles are remembered (they stay where they are),
    Files are copied into storage."""
    folder = await find_folder(model_name(name))
    other = await folder.read(MANIFEST) or await folder.read(UNFINISHED) if folder else None
    if other and other.get("kind") != "file":
        raise Error("bad_request", f"Another model is called {name} already: choose another name.")
    if all(hasattr(file, "getFile") for file in files):
        await delete(name)
        return await handles.store(name, files)
    sources = {source.name: source for source in map(BlobSource, files)}
    manifest = new(name, "file", ", ".join(sources), "", [File(s.name, s.size) for s in sources.values()])

    async def read(index: int) -> Any:
        parts = [await sources[f["name"]].chunk(offset, size) for f, offset, size in ranges(manifest, index)]
        return js.Uint8Array.new(await js.Blob.new(to_js(parts)).arrayBuffer())

    await _store(manifest, read, on_progress)
    await handles.remove(name)


async def open_files(name: str) -> Source | dict[str, Source] | None:
    """Opens the user's own files that are kept under that name. Raises Error("permission") if the browser requires a
    click before they can be read again."""
    if found := await handles.load(name):
        return found
    folder = await find_folder(name)
    if folder is None or (await folder.read(MANIFEST) or {}).get("kind") != "file":
        return None
    return await kept(name)


async def _store(manifest: dict[str, Any], read: Callable[[int], Awaitable[Any]], on_progress: Progress) -> None:
    """Writes the shards that read(n) returns into the model's folder."""
    folder = await open_folder(manifest["name"])
    if not isinstance(folder, Folder):
        raise Error(
            "quota", "This browser has no storage for this page (is it a private window?): open the file itself."
        )
    async with locked(manifest["name"], _nothing):
        before, done, hashes = await folder.sizes(), 0, Hashes(manifest)
        try:
            await ask_room(sum(e["size"] for e in manifest["shards"] if before.get(e["sha256"]) != e["size"]))
            for n, entry in enumerate(manifest["shards"]):
                array = await read(n)
                found = (await js.crypto.subtle.digest("SHA-256", array)).to_bytes().hex()
                if found != (entry["sha256"] or found):
                    raise Error(
                        "bad_file", f"A part of {manifest['name']} is damaged in this file: export the model again."
                    )
                entry["sha256"] = found
                if before.get(found) != entry["size"]:
                    await folder.put(found, array)
                await hashes.add(n, BlobSource(await folder.file(found)))
                done += entry["size"]
                on_progress(done, manifest["size"])
            if wrong := hashes.wrong():
                raise Error(
                    "bad_file", f"{wrong} of {manifest['name']} does not have its SHA-256: export the model again."
                )
            await folder.write(MANIFEST, manifest)
        except BaseException:  # the import leaves nothing behind, and nothing else is lost
            for name in {*await folder.sizes()} - {*before}:
                await folder.remove(name)
            if not before:
                await remove_folder(manifest["name"])
            raise
        await folder.tidy(manifest)


async def _nothing() -> None: ...
