"""The models that are kept on this machine: those in the hub's cache, and imported ones in TensorTab's own folder.

browser/library.py is the counterpart in the tab.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import Error
from . import Folder, archive, cache, endpoint
from .file import FileSource, ShardSource
from .manifest import ID, File, new, ranges

Progress = Callable[[int, int], None]  # done, total


def root() -> Path:
    """The folder of imported models."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tensortab"


def folder(name: str) -> Path:
    """The folder of an imported model, if it exists. It is below root() whatever the name."""
    return root() / f"model-{quote(name, safe='')}"


def imported(name: str) -> ShardSource | None:
    """Opens an imported model; None if there is none of that name."""
    return ShardSource(folder(name)) if folder(name).is_dir() else None


async def models() -> list[dict[str, Any]]:
    """The entries of storage.list()."""
    found = cache.models()
    for path in sorted(root().glob("model-*/manifest.json")):
        source = ShardSource(path.parent)
        manifest = source.manifest
        about = {"task": "", "memory": 0, "license": "", "kind": "site", "source": "", "revision": ""}
        about |= {key: manifest[key] for key in ("name", "size", *about) if key in manifest}
        used = max((path.parent / shard["path"]).stat().st_atime for shard in manifest["shards"])
        found.append({**about, "stored": source.size, "used": used})
    return found


async def delete(name: str) -> None:
    """Deletes a model of either kind, if it exists."""
    shutil.rmtree(folder(name), ignore_errors=True)
    cache.delete(name)


async def export(name: str, path: str | os.PathLike[str] | None) -> None:
    """Writes the model as one file."""
    if path is None:
        raise Error("bad_request", f"The path of the file is missing: call export({name!r}, path).")
    manifest, read = await _described(name)
    temporary = Path(f"{os.fspath(path)}.part")
    with temporary.open("wb") as file:
        file.write(archive.head(manifest))
        for n, shard in enumerate(manifest["shards"]):
            data = await read(n)
            shard["sha256"] = hashlib.sha256(data).hexdigest()
            for piece in (archive.header(shard["path"], shard["size"]), data, archive.padding(shard["size"])):
                file.write(piece)
        file.write(archive.END)
        file.seek(0)
        file.write(archive.head(manifest))  # now with the hashes, and of the same length
    temporary.replace(path)


async def _described(name: str) -> tuple[dict[str, Any], Callable[[int], Awaitable[Any]]]:
    """Returns a kept model's manifest, in which unknown hashes are zeros, and a function that reads a shard."""
    found: Any = None
    if match := ID.fullmatch(name):
        revision, file = match["revision"] or "main", match["file"]
        found = await cache.kept_hub(name, match["id"], revision, file)
    found = found or imported(name)
    if found is None:
        raise Error("bad_request", f"There is no model {name} on this machine to export: download it first.")
    if isinstance(found, ShardSource):
        return found.manifest, found.shard
    assert match is not None
    sources: Mapping[str, Any] = found if isinstance(found, Folder) else {file: found}
    files = [File(name, source.size, cache.hash_of(source.path)) for name, source in sources.items()]
    commit = cache.commit_of(match["id"], revision)
    manifest = new(name, "hub", f"{endpoint()}/{match['id']}", commit, files)
    for shard in manifest["shards"]:
        shard["sha256"] = "0" * 64

    async def read(n: int) -> bytes:
        return b"".join([await sources[f["name"]].bytes(at, size) for f, at, size in ranges(manifest, n)])

    return manifest, read


async def import_(path: Any, on_progress: Progress = lambda done, total: None) -> str:
    """Imports a model into the hub's cache, or into TensorTab's folder if it is not one of the hub's."""
    source = FileSource(path)
    manifest, offsets = await archive.read_archive(source)
    name, done = manifest["name"], 0
    match = ID.fullmatch(name) if manifest.get("kind") == "hub" else None
    temporary = root() / f".importing-{os.getpid()}"
    cache.ask_room(root(), manifest["size"])
    temporary.mkdir(parents=True)
    try:
        for shard, offset in zip(manifest["shards"], offsets, strict=True):
            data = await source.chunk(offset, shard["size"])
            if hashlib.sha256(data).hexdigest() != shard["sha256"]:
                raise Error("bad_file", f"A part of {name} is damaged in this file: export the model again.")
            (temporary / shard["path"]).write_bytes(data)
            done += shard["size"]
            on_progress(done, manifest["size"])
        (temporary / archive.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        if match is not None:
            await cache.put(match["id"], match["revision"] or "main", ShardSource(temporary))
        else:
            shutil.rmtree(folder(name), ignore_errors=True)
            temporary.rename(folder(name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


async def keep(files: list[Any], name: str, on_progress: Progress = lambda done, total: None) -> None:
    raise Error("bad_request", "Files on disk need no keeping: open them by their path.")
