"""Sources in the tab. Bytes go from the network to storage and on to the GPU as JavaScript arrays, never through WASM.

A model of the site is a manifest.json and its shards (build.py pack). Shards are kept in the origin's private file
system (OPFS) as tensortab/<model>/<sha256>, as <sha256>.part until they are complete and their hash is right.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import js
from pyodide.ffi import JsException, create_proxy, to_js

from ..errors import Error
from ..site import site
from . import check_range, checked, cut_short, no_parts, parts, refusal, too_long

FOLDER = "tensortab"
MODEL_FILES = (".gguf", ".safetensors")
RETRY_SECONDS = (0.5, 2, 5)  # waits after broken connections that brought nothing
LOCK = "tensortab-download:"
Progress = Callable[[int, int], None]  # done, total


class BlobSource:
    """A File that the user picked, or any Blob."""

    def __init__(self, blob: Any, name: str = "") -> None:
        self._blob = blob
        self.name = name or getattr(blob, "name", "the file")
        self.size = blob.size
        if self.size == 0:
            raise Error("bad_file", f"{self.name} is empty: get it again")

    async def chunk(self, offset: int, size: int) -> Any:
        """Bytes offset..offset+size as a JavaScript Uint8Array."""
        check_range(self, offset, size)
        try:
            return js.Uint8Array.new(await self._blob.slice(offset, offset + size).arrayBuffer())
        except JsException as error:
            raise Error("bad_file", f"{self.name} can't be read any more ({error.message}): pick it again") from None

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()


class UrlSource:
    """A file on a host that gives parts of files (Range) to other sites (CORS), as the Hugging Face hub does."""

    def __init__(self, url: str, size: int, name: str = "") -> None:
        self.url, self.size = url, size
        self.name = name or unquote(urlsplit(url).path.rpartition("/")[2]) or url

    @classmethod
    async def open(cls, url: str) -> "UrlSource":
        """Raises Error("offline") or ("bad_file")."""
        # a Range keeps the host from compressing, so that the length is the file's
        head = await _fetch(url, {"method": "HEAD", "headers": {"Range": "bytes=0-"}})
        if not head.ok:
            raise refusal(url, head.status)
        size = int(head.headers.get("Content-Length") or 0)
        if not size:
            raise Error("bad_file", f"{url}: the host does not say how long it is. Download it, then open the file.")
        return cls(url, size)

    async def chunk(self, offset: int, size: int) -> Any:
        """Bytes offset..offset+size as a JavaScript Uint8Array."""
        check_range(self, offset, size)
        if size == 0:
            return js.Uint8Array.new(0)
        options = {} if size == self.size else {"headers": {"Range": f"bytes={offset}-{offset + size - 1}"}}
        array = await _body(self.url, options, size)
        if array.length < size:
            raise cut_short(self.url)
        return array

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()


async def read_url(url: str, limit: int) -> bytes:
    """The whole answer, of at most `limit` bytes. Raises Error("offline") or ("bad_file")."""
    return (await _body(url, {}, limit)).to_bytes()


async def _body(url: str, options: dict[str, Any], limit: int) -> Any:
    """An answer of at most `limit` bytes as a Uint8Array."""
    controller = js.AbortController.new()
    response = await _fetch(url, {**options, "signal": controller.signal})
    try:
        if response.status not in (200, 206):
            raise refusal(url, response.status)
        if options and response.status != 206:
            raise no_parts(url)
        array, size, reader = js.Uint8Array.new(limit), 0, response.body.getReader()
        while not (piece := await reader.read()).done:
            if size + piece.value.length > limit:
                raise too_long(url, limit)
            array.set(piece.value, size)
            size += piece.value.length
    except JsException:
        raise cut_short(url) from None
    finally:
        controller.abort()
    return array.subarray(0, size)


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
        async with _locked(manifest["name"], lambda: _watch(folder, shards, on_progress)):
            store: _Folder | _Memory = _Memory() if folder is None else _Folder(folder)
            present = {shard["sha256"]: await store.complete(shard) for shard in shards}
            missing = sum(s["size"] for s in shards if present[s["sha256"]] is None)
            if missing and folder is not None:
                await _check_quota(missing)
            done = manifest["size"] - missing
            on_progress(done, manifest["size"])
            for shard in shards:
                if present[shard["sha256"]] is None:
                    address = js.URL.new(shard["path"], url).href
                    download = _Download(store, shard, address, f"{manifest['name']}, {shard['path']}")
                    download.on_progress = partial(lambda done, here: on_progress(done + here, manifest["size"]), done)
                    present[shard["sha256"]] = await download.run()
                    done += shard["size"]
            if folder is not None:
                await _write_text(folder, "manifest.json", json.dumps(manifest))
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


async def open_model(model: str, on_progress: Progress = lambda done, total: None) -> Any:
    """The Source of one of the site's models (a name), or of a file or a model in shards elsewhere (a URL).

    A model in shards is named by its manifest.json, or by the folder that has it.
    """
    if "://" not in model:
        return await ShardSource.open(f"{site()}models/{quote(model, safe='')}/manifest.json", on_progress)
    address = urlsplit(model)
    if address.path.endswith(MODEL_FILES):
        return await UrlSource.open(model)
    if address.path.endswith("/manifest.json"):
        return await ShardSource.open(model, on_progress)
    folder = address._replace(path=address.path.rstrip("/") + "/manifest.json")
    try:
        return await ShardSource.open(urlunsplit(folder), on_progress)
    except Error as error:
        if error.code != "bad_file" or address.path.endswith("/"):
            raise
    return await UrlSource.open(model)  # there is no manifest below: it is a file, whatever its name


# ---- downloading


class _Download:
    """One shard on its way into a store."""

    def __init__(self, store: Any, shard: dict[str, Any], url: str, label: str) -> None:
        self.store, self.shard, self.url, self.label = store, shard, url, label
        self.on_progress: Callable[[int], None] = lambda here: None

    async def run(self) -> Any:
        """The complete shard as a Blob. A wrong hash is given one more try from the start."""
        for _ in range(2):
            blob = await self._whole()
            if await _sha256(blob) == self.shard["sha256"]:
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
                before, why = part.size, _broken(self.label)
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
        response = await _fetch(self.url, options)
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
                raise _full() from None
            raise _broken(self.label) from None
        finally:
            controller.abort()


def _broken(label: str) -> Error:
    return Error("offline", f"The connection broke ({label}). What has arrived is kept: try again when you are online.")


def _full() -> Error:
    return Error(
        "quota", "This device's storage is full. Delete other models, or free space on the device; then try again."
    )


async def _fetch(url: str, options: dict[str, Any]) -> Any:
    try:
        return await js.fetch(url, to_js(options))
    except JsException as error:
        advice = "Are you online? Then try again."
        if not url.startswith(js.location.origin + "/"):  # the browser does not say which it is
            advice = "Are you online? If so, its host or this page does not allow it: download it, then open the file."
        raise Error("offline", f"{url} can't be reached ({error.message}). {advice}") from None


async def _sha256(blob: Any) -> str:
    return (await js.crypto.subtle.digest("SHA-256", await blob.arrayBuffer())).to_bytes().hex()


async def _manifest(url: str) -> tuple[dict[str, Any], Any]:
    """The manifest and the model's folder in storage (None where there is none). Without a network: the kept one."""
    try:
        response = await _fetch(url, {"cache": "no-cache"})
        if response.status == 404:
            raise Error("bad_file", f"This site has no model at {url}: check the name.")
        if not response.ok:
            raise Error("offline", f"{url}: the host answered with status {response.status}. Try again later.")
        try:
            manifest = json.loads(await response.text())
        except JsException:
            raise _broken(url) from None
    except Error as error:
        name = unquote(urlsplit(url).path.split("/")[-2]) if error.code == "offline" else ""
        folder = await _folder(name, create=False) if name else None
        kept = await _read_json(folder) if folder is not None else None
        if kept is None:
            raise
        return checked(kept, url), folder
    except ValueError as error:
        raise Error("bad_file", f"{url} is not a manifest ({error}). Was the site built by build.py?") from None
    manifest = checked(manifest, url)
    return manifest, await _folder(manifest["name"], create=True)


async def _check_quota(need: int) -> None:
    estimate = await js.navigator.storage.estimate()
    free = estimate.quota - estimate.usage
    if need > free:
        raise Error(
            "quota",
            f"The model needs {need / 1e6:.0f} MB of storage, this browser gives the site {free / 1e6:.0f} MB more. "
            "Delete other models, or free space on the device.",
        )


# ---- one download of a model at a time


@asynccontextmanager
async def _locked(name: str, waiting: Callable[[], Any]) -> AsyncIterator[None]:
    """Holds the download of a model against the other tabs. While another one has it, the coroutine waiting() runs."""
    granted, release, give_up = asyncio.Event(), js.Promise.withResolvers(), js.AbortController.new()

    def on_lock(_lock: Any) -> Any:
        granted.set()
        return release.promise

    callback = create_proxy(on_lock)
    request = js.navigator.locks.request(LOCK + name, to_js({"signal": give_up.signal}), callback)
    watcher = asyncio.ensure_future(waiting())
    watcher.add_done_callback(lambda done: None)  # without one Pyodide 0.27 prints that the task was cancelled
    try:
        await granted.wait()
        watcher.cancel()
        yield
    finally:
        watcher.cancel()
        give_up.abort()  # of no effect once it is granted
        release.resolve()
        with suppress(JsException):
            await request
        callback.destroy()


async def _watch(folder: Any, shards: list[dict[str, Any]], on_progress: Progress) -> None:
    """Shows how far the other tab's download is."""
    total = sum(shard["size"] for shard in shards)
    while folder is not None:
        await asyncio.sleep(0.5)
        sizes = await _sizes(folder)
        on_progress(min(total, sum(sizes.get(s["sha256"], sizes.get(f"{s['sha256']}.part", 0)) for s in shards)), total)


# ---- storage


class _Part:
    """A .part file being written; this worker alone has it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.size = handle.getSize()

    def append(self, array: Any) -> None:
        written = self._handle.write(array, to_js({"at": self.size}))
        if written != array.length:
            raise _full()
        self.size += array.length

    def truncate(self) -> None:
        self._handle.truncate(0)
        self.size = 0

    def close(self) -> None:
        self._handle.flush()
        self._handle.close()


class _Folder:
    """Shards in a folder of OPFS."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    async def complete(self, shard: dict[str, Any]) -> Any:
        """The kept shard as a File, or None."""
        try:
            file = await (await self.folder.getFileHandle(shard["sha256"])).getFile()
        except JsException as error:
            if error.name != "NotFoundError":
                raise
            return None
        return file if file.size == shard["size"] else None

    async def part(self, shard: dict[str, Any]) -> _Part:
        file = await self.folder.getFileHandle(f"{shard['sha256']}.part", to_js({"create": True}))
        part = _Part(await file.createSyncAccessHandle())
        if part.size > shard["size"]:
            part.truncate()
        return part

    async def blob(self, shard: dict[str, Any]) -> Any:
        return await (await self.folder.getFileHandle(f"{shard['sha256']}.part")).getFile()

    async def keep(self, shard: dict[str, Any]) -> Any:
        await (await self.folder.getFileHandle(f"{shard['sha256']}.part")).move(shard["sha256"])
        return await self.complete(shard)

    async def discard(self, shard: dict[str, Any]) -> None:
        await self.folder.removeEntry(f"{shard['sha256']}.part")


class _MemoryPart:
    """The twin of _Part, where a browser lends no storage: JavaScript arrays."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.size = 0

    def append(self, array: Any) -> None:
        self.arrays.append(array)
        self.size += array.length

    def truncate(self) -> None:
        self.arrays.clear()
        self.size = 0

    def close(self) -> None:
        pass


class _Memory:
    """The twin of _Folder."""

    def __init__(self) -> None:
        self._parts: dict[str, _MemoryPart] = {}

    async def complete(self, shard: dict[str, Any]) -> Any:
        return None

    async def part(self, shard: dict[str, Any]) -> _MemoryPart:
        return self._parts.setdefault(shard["sha256"], _MemoryPart())

    async def blob(self, shard: dict[str, Any]) -> Any:
        return js.Blob.new(to_js(self._parts[shard["sha256"]].arrays))

    async def keep(self, shard: dict[str, Any]) -> Any:
        blob = await self.blob(shard)
        del self._parts[shard["sha256"]]
        return blob

    async def discard(self, shard: dict[str, Any]) -> None:
        del self._parts[shard["sha256"]]


async def _root() -> Any:
    """tensortab/ in OPFS; None where the browser lends no storage, or none to write in place (the main thread)."""
    if not hasattr(js, "WorkerGlobalScope"):
        return None
    try:
        return await (await js.navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, to_js({"create": True}))
    except (JsException, AttributeError):
        return None


async def _folder(name: str, create: bool) -> Any:
    root = await _root()
    if root is None:
        return None
    try:
        return await root.getDirectoryHandle(quote(name, safe=""), to_js({"create": create}))
    except JsException as error:
        if error.name == "NotFoundError":
            return None
        raise


async def _write_text(folder: Any, name: str, text: str) -> None:
    handle = await (await folder.getFileHandle(name, to_js({"create": True}))).createSyncAccessHandle()
    try:
        handle.truncate(0)
        handle.write(to_js(text.encode()))
    finally:
        handle.close()


async def _read_json(folder: Any) -> Any:
    """manifest.json of a folder, or None if there is none or it was cut short."""
    try:
        return json.loads(await (await (await folder.getFileHandle("manifest.json")).getFile()).text())
    except (JsException, ValueError):
        return None


async def _sizes(folder: Any) -> dict[str, int]:
    """{file name: bytes}"""
    sizes = {}
    async for handle in folder.values():
        with suppress(JsException):  # it was renamed meanwhile
            sizes[handle.name] = (await handle.getFile()).size
    return sizes


# What the site says about a model, in its manifest and in models/index.json (build.py pack): the task that it is for,
# bytes to download, bytes that it takes on the GPU.
ABOUT = {"name": "", "task": "", "size": 0, "memory": 0, "license": "", "source": ""}


async def kept() -> list[dict[str, Any]]:
    """Models in storage: what ABOUT has, and stored (bytes kept here); those of old versions of the site and those of
    interrupted downloads as well."""
    models = []
    root = await _root()
    if root is not None:
        async for folder in root.values():
            known = await _read_json(folder) or {}
            about = ABOUT | {"name": unquote(folder.name)} | {key: known[key] for key in ABOUT if key in known}
            models.append({**about, "stored": sum((await _sizes(folder)).values())})
    return models


async def known() -> list[dict[str, Any]]:
    """Models that this site offers, as kept() describes them (stored: 0); none while it can't be reached."""
    with suppress(Error, JsException):
        index = await _fetch(f"{site()}models/index.json", {})
        if index.ok:
            return [ABOUT | model | {"stored": 0} for model in (await index.json()).to_py()["models"]]
    return []


async def usage() -> dict[str, Any]:
    """Bytes used by this site, what the browser allows it, and whether it may be cleared without asking."""
    estimate = await js.navigator.storage.estimate()
    return {"usage": estimate.usage, "quota": estimate.quota, "persisted": await js.navigator.storage.persisted()}


async def delete(name: str) -> None:
    """Deletes a model from storage, unless another tab is downloading it (then it waits)."""
    root = await _root()
    if root is None:
        return

    async def wait() -> None: ...

    async with _locked(name, wait):
        try:
            await root.removeEntry(quote(name, safe=""), to_js({"recursive": True}))
        except JsException as error:
            if error.name != "NotFoundError":
                message = f"{name} can't be deleted ({error.message}): close the other tabs of this site"
                raise Error("bad_request", message) from None
