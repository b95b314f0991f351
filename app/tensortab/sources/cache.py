"""Models of the hub in huggingface_hub's own cache, for CPython: either library finds what the other has downloaded.
browser/hub.py is the counterpart in the tab.

    models--org--name/blobs/<hash>                 a verified file; <hash>.incomplete while it is downloaded
    models--org--name/snapshots/<commit>/<name>    a link to it
    models--org--name/refs/<revision>              the commit
    .locks/models--org--name/<hash>.lock           held by the process that downloads it
"""

import asyncio
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error
from . import WEIGHTS, Folder, Source, endpoint
from .file import FileSource, open_folder
from .manifest import HASH, STEP, File, Hashes
from .url import save

if TYPE_CHECKING:
    from .hub import Repository

Progress = Callable[[int, int], None]  # done, total
POLL = 0.1  # seconds between two attempts to get a lock that another process holds


def root() -> Path:
    """The cache's folder, found as huggingface_hub does."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{user}/huggingface").expanduser() / "hub"


def _folder(id: str) -> Path:
    return root() / f"models--{id.replace('/', '--')}"


async def keep_hub(
    model: str, repository: "Repository", files: list[File], file: str | None, on_progress: Progress
) -> Source | Folder:
    """Returns the files of a model of the hub, or the requested one, after downloading those that are missing."""
    folder = _folder(repository.id)
    snapshot = folder / "snapshots" / repository.commit
    lacking = [f for f in files if not _is(snapshot / f.name, f.size) and not _is(_blob(folder, f), f.size)]
    total = sum(f.size for f in files)
    done = total - sum(f.size for f in lacking)
    ask_room(folder, sum(f.size - _size(_incomplete(folder, f)) for f in lacking))
    on_progress(done, total)
    try:
        for wanted in lacking:
            url = repository.url(wanted.name)
            await _download(folder, url, wanted, lambda here, done=done: on_progress(done + here, total))  # type: ignore[misc]
            done += wanted.size
        for wanted in files:
            _link(snapshot / wanted.name, _blob(folder, wanted))
        _refer(folder, repository.revision, repository.commit)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(folder) from None
        message = f"{folder} can't be written ({error.strerror}): set HF_HOME to a folder that you can write to."
        raise Error("bad_request", message) from None
    if file is not None:
        return FileSource(snapshot / file)
    return Folder(model, (FileSource(snapshot / f.name, f.name) for f in files if f.size))


async def kept_hub(model: str, id: str, revision: str, file: str | None) -> Source | Folder | None:
    """Returns the version in the cache, if it is complete."""
    folder = _folder(id)
    snapshot = folder / "snapshots" / commit_of(id, revision)
    if file is not None:
        return FileSource(snapshot / file) if (snapshot / file).is_file() else None
    if not snapshot.is_dir():
        return None
    found = open_folder(snapshot)
    weights = [name for name in found if name.endswith(WEIGHTS)]
    with suppress(OSError, ValueError, AttributeError, KeyError):
        index = json.loads((snapshot / "model.safetensors.index.json").read_text(encoding="utf-8"))
        weights = list(index["weight_map"].values())
    if not weights or not {*weights} <= {*found}:
        return None  # another program has downloaded only a part of it
    return Folder(model, found.values())


def models() -> list[dict[str, Any]]:
    """The entries of storage.list() for the models in the cache: one for each revision that has a name."""
    found = []
    for reference in sorted(path for path in root().glob("models--*/refs/**/*") if path.is_file()):
        repository = root() / reference.relative_to(root()).parts[0]
        revision, commit = reference.relative_to(repository / "refs").as_posix(), reference.read_text().strip()
        id = repository.name.removeprefix("models--").replace("--", "/", 1)
        files = [path.stat() for path in (repository / "snapshots" / commit).rglob("*") if path.is_file()]
        if files:
            size = sum(file.st_size for file in files)
            about = {"task": "", "memory": 0, "license": "", "kind": "hub", "source": f"{endpoint()}/{id}"}
            about |= {"name": id if revision == "main" else f"{id}@{revision}", "revision": commit, "size": size}
            found.append({**about, "stored": size, "used": max(file.st_atime for file in files)})
    return found


def delete(name: str) -> None:
    """Deletes all revisions of a model, if it is in the cache."""
    id = name.partition(":")[0].partition("@")[0]
    if "/" in id and not {"..", "."} & {*id.split("/")}:
        shutil.rmtree(_folder(id), ignore_errors=True)


def commit_of(id: str, revision: str) -> str:
    """The commit at which a revision was when it was downloaded, or the revision itself."""
    try:
        return (_folder(id) / "refs" / revision).read_text().strip()
    except OSError:
        return revision


def hash_of(path: str) -> str:
    """The hash of a snapshot's file, which is the name of the blob that it links to."""
    name = Path(path).resolve().name
    hash = f"sha256:{name}" if len(name) == 64 else f"sha1:{name}"
    return hash if HASH.fullmatch(hash) else ""


async def put(id: str, revision: str, source: Any) -> None:
    """Copies the files of a ShardSource into the cache. Raises Error("bad_file") unless they have their hashes."""
    manifest, folder, hashes = source.manifest, _folder(id), Hashes(source.manifest)
    for n, shard in enumerate(source.shards):
        await hashes.add(n, shard)
    if wrong := hashes.wrong():
        raise Error("bad_file", f"{wrong} of {id} does not have the hash that its manifest names: export it again.")
    for about in manifest["files"]:
        part, file = source.files[about["name"]], File(about["name"], about["size"], about["hash"])
        blob, incomplete = _blob(folder, file), _incomplete(folder, file)
        blob.parent.mkdir(parents=True, exist_ok=True)
        async with _locked(folder, blob.name, lambda: None):
            if not _is(blob, file.size):
                with incomplete.open("wb") as stream:
                    for start in range(0, file.size, STEP):
                        stream.write(await part.chunk(start, min(STEP, file.size - start)))
                incomplete.replace(blob)
        _link(folder / "snapshots" / manifest["revision"] / file.name, blob)
    _refer(folder, revision, manifest["revision"])


def _refer(folder: Path, revision: str, commit: str) -> None:
    if revision != commit:
        reference = folder / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)


async def _download(folder: Path, url: str, file: File, on_progress: Callable[[int], None]) -> None:
    """Downloads a file into blobs/. If its hash is wrong, it tries once more from the start."""
    blob, incomplete = _blob(folder, file), _incomplete(folder, file)
    blob.parent.mkdir(parents=True, exist_ok=True)
    async with _locked(folder, blob.name, lambda: on_progress(_size(incomplete))):
        for _ in range(2):
            if _is(blob, file.size):  # another process was faster
                return
            await save(url, incomplete, file.size, on_progress)
            if await asyncio.to_thread(_digest, incomplete, file) == blob.name:
                incomplete.replace(blob)
                return
            incomplete.unlink()
    message = f"{url} is not what the hub says: it was changed or damaged on its way, twice. Try again."
    raise Error("bad_shard", message)


def _digest(path: Path, file: File) -> str:
    git = f"blob {file.size}\0".encode()
    with path.open("rb") as stream:
        start = hashlib.sha256 if file.hash.startswith("sha256:") else lambda: hashlib.sha1(git)
        return hashlib.file_digest(stream, start).hexdigest()


def _blob(folder: Path, file: File) -> Path:
    return folder / "blobs" / file.hash.partition(":")[2]


def _incomplete(folder: Path, file: File) -> Path:
    blob = _blob(folder, file)
    return blob.with_name(blob.name + ".incomplete")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is(path: Path, size: int) -> bool:
    return path.is_file() and _size(path) == size


def _link(path: Path, blob: Path) -> None:
    """Makes a snapshot's entry: a relative link, or the file itself where links can't be made (Windows)."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a dangling link
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except FileExistsError:
        return  # another process was faster
    except OSError:
        blob.replace(path)


def ask_room(folder: Path, need: int) -> None:
    """Raises Error("quota") if the folder's disk has less room."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if need > shutil.disk_usage(there).free:
        raise _no_room(folder, need)


def _no_room(folder: Path, need: int = 0) -> Error:
    size = f"{need / 1e6:.0f} MB" if need else "the model"
    return Error(
        "quota",
        f"There is no room for {size} in {folder.parent}: delete other files, or set HF_HOME to a folder on another "
        "disk.",
    )


@asynccontextmanager
async def _locked(folder: Path, name: str, waiting: Callable[[], Any]) -> AsyncIterator[None]:
    """Locks a file's download against other processes, also huggingface_hub's; it calls waiting() while it waits."""
    path = folder.parent / ".locks" / folder.name / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while not _lock(file.fileno()):
            waiting()
            await asyncio.sleep(POLL)
        yield  # closing the file releases the lock


def _lock(file: int) -> bool:
    """Tries to get the lock; returns whether it did."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # the file system has no locks
    return True
