"""The manifest of a model that is kept: its files lie one after the other, and are cut into shards.

    name       the name by which it is opened: the site's, the hub's id, or the user's
    kind       "site", "hub" or "file"
    source     where it comes from: an address, or the names of files
    revision   the commit of a model of the hub, else ""
    size, shard_size, shards [{"path", "size", "sha256"}], files [{"name", "offset", "size", "hash"}]

`build.py pack` writes such a manifest, of kind "site". A file's hash is "sha256:..." or, as git names small files,
"sha1:...". The hub names its files' hashes before they are downloaded; their shards' are "" until then.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import Error
from . import Source, checked, inside

SHARD = 16 << 20
STEP = 1 << 20  # bytes that are hashed at a time
HASH = re.compile(r"sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}")
ID = re.compile(  # the id of a model of the hub; a name with a weight file's suffix is a path instead
    r"(?P<id>\w[\w.-]*/\w[\w.-]*(?<!\.gguf)(?<!\.safetensors))(@(?P<revision>[^:]+))?(:(?P<file>.+))?", re.ASCII
)
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class File:
    """A file to be kept. hash: "sha256:...", "sha1:..." or "" if it is not known."""

    name: str
    size: int
    hash: str = ""


def new(name: str, kind: str, source: str, revision: str, files: Iterable[File]) -> dict[str, Any]:
    """Makes the manifest of a model before its download. The largest files come first, so that a new revision of a
    small one moves no weights into other shards."""
    listed, size = [], 0
    for file in sorted(files, key=lambda file: (-file.size, file.name)):
        listed.append({"name": file.name, "offset": size, "size": file.size, "hash": file.hash})
        size += file.size
    sizes = [min(SHARD, size - start) for start in range(0, size, SHARD)]
    shards = [{"path": f"{n:04}.bin", "size": size, "sha256": ""} for n, size in enumerate(sizes)]
    about = {"name": name, "kind": kind, "source": source, "revision": revision, "size": size}
    return {**about, "shard_size": SHARD, "files": listed, "shards": shards}


def check(manifest: Any, where: str) -> dict[str, Any]:
    """Returns the manifest of a complete model of any kind. Raises Error("bad_file") if it is not valid."""
    kind = manifest.get("kind", "site") if isinstance(manifest, dict) else "site"
    if kind != "hub":
        right = kind in ("site", "file")
        return checked(manifest if right else None, where)
    checked(manifest | {"name": "hub"}, where)  # the ids of the hub have a slash
    name, revision = str(manifest.get("name")), str(manifest.get("revision"))
    hashes = [str(file.get("hash")) for file in manifest.get("files", [])]
    match = ID.fullmatch(name)
    right = match is not None and inside(match["revision"] or "main") and inside(match["file"] or "file")
    right = right and all(inside(file["name"]) for file in manifest.get("files", []))
    if not right or not COMMIT.fullmatch(revision) or not all(HASH.fullmatch(hash) for hash in hashes):
        raise Error("bad_file", f"{where} is not the manifest of a model of the hub.")
    return manifest


def ranges(manifest: dict[str, Any], index: int) -> list[tuple[dict[str, Any], int, int]]:
    """The parts of files in the shard `index`: [(file, offset in it, size)]."""
    start = index * manifest["shard_size"]
    end = start + manifest["shards"][index]["size"]
    found = []
    for file in manifest["files"]:
        first, last = max(start, file["offset"]), min(end, file["offset"] + file["size"])
        if first < last:
            found.append((file, first - file["offset"], last - first))
    return found


def fingerprint(manifest: dict[str, Any], index: int) -> str:
    """A name for the content of the shard `index`, known before its download."""
    parts = [f"{file['hash']} {offset} {size}" for file, offset, size in ranges(manifest, index)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def recall(manifest: dict[str, Any], *older: Any) -> None:
    """Copies the SHA-256 of shards from older or unfinished manifests that have the same bytes."""
    known: dict[str, str] = {}
    for old in older:
        if old is not None and all(file.get("hash") for file in old["files"]):
            known |= {fingerprint(old, n): shard["sha256"] for n, shard in enumerate(old["shards"]) if shard["sha256"]}
    for n, shard in enumerate(manifest["shards"]):
        shard["sha256"] = shard["sha256"] or known.get(fingerprint(manifest, n), "")


class Hashes:
    """Hashes the whole files of a manifest, shard by shard. They are read in small steps, so that Python's memory never
    holds much of them."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self._states = {
            file["name"]: hashlib.sha256()
            if file["hash"].startswith("sha256:")
            else hashlib.sha1(b"blob %d\0" % file["size"])  # git's
            for file in manifest.get("files", [])
            if file.get("hash")
        }

    async def add(self, index: int, shard: Source) -> None:
        """Adds the next shard, in order."""
        for file, offset, size in ranges(self.manifest, index) if self._states else ():
            first = file["offset"] + offset - index * self.manifest["shard_size"]
            for start in range(first, first + size, STEP):
                data = await shard.bytes(start, min(STEP, first + size - start))
                if file["name"] in self._states:
                    self._states[file["name"]].update(data)

    def wrong(self) -> str:
        """The name of a file that does not have its hash, or "" if all have theirs."""
        wanted = {file["name"]: file.get("hash", "").partition(":")[2] for file in self.manifest.get("files", [])}
        return next((name for name, state in self._states.items() if state.hexdigest() != wanted[name]), "")
