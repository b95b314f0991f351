"""Sources of bytes: a file, a browser's File, a URL, a model in verified shards. All are read in ranges."""

import os
import re
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from ..errors import Error

WEIGHTS = (".gguf", ".safetensors")  # the suffixes of weight files
MAX_TEXT = 32 << 20  # bytes of a JSON file that is read whole; the largest real ones are tokenizers
# A model's name: like the hub's, without an organisation. It names a folder on disk and in the browser's storage and is
# a part of addresses, so it must not be able to lead elsewhere.
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
SHA256 = re.compile(r"[0-9a-f]{64}")
MODULE = re.compile(r"\d+_\w+/config\.json")  # the only kind of subfolder: a module of a sentence model


@runtime_checkable
class Source(Protocol):
    """Bytes that can be read in ranges. A range outside [0, size) raises Error("bad_file")."""

    name: str
    size: int

    async def bytes(self, offset: int, size: int) -> bytes:
        """Reads the bytes offset..offset+size: for headers and small tensors."""
        ...

    async def chunk(self, offset: int, size: int) -> Any:
        """The same in a form that Device.write accepts without another copy (in the tab outside the WASM heap)."""
        ...


class Folder(dict[str, Source]):
    """A model's folder: {file name: Source}. Messages use its `name`.

    A file's name may begin with a subfolder if it is a MODULE: "1_Pooling/config.json".
    """

    def __init__(self, name: str, files: Iterable[Source]) -> None:
        super().__init__()
        self.name = name
        for source in files:
            if source.name in self:
                raise Error("bad_request", f"{name}: two files are called {source.name}. Use the files of one model.")
            self[source.name] = source


class PartSource:
    """A range of another Source: a file of a model in shards."""

    def __init__(self, source: Source, name: str, offset: int, size: int) -> None:
        self.name, self.size = name, size
        self.stored = getattr(source, "stored", True)
        self._source, self._offset = source, offset

    async def chunk(self, offset: int, size: int) -> Any:
        check_range(self, offset, size)
        return await self._source.chunk(self._offset + offset, size)

    async def bytes(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        return await self._source.bytes(self._offset + offset, size)


def parts(source: Source, manifest: dict[str, Any]) -> dict[str, Source]:
    """Returns {name: Source} of the files in a model in shards, where they lie one after the other."""
    return {f["name"]: PartSource(source, f["name"], f["offset"], f["size"]) for f in manifest.get("files", [])}


def model_name(name: str) -> str:
    """Returns `name` if it is valid for a model (NAME). Raises Error("bad_request")."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Error(
            "bad_request",
            f"{name!r:.120} cannot be a model's name: use letters, digits, '-', '_' and '.' (not at an end), "
            "at most 96 of them.",
        )
    return name


def checked(manifest: Any, where: str) -> dict[str, Any]:
    """The manifest.json of a model in shards (`python -m tensortab pack`). Raises Error("bad_file") if it is not valid.

    Every shard but the last must have shard_size bytes, on which reading a range relies, and its file lies beside the
    manifest. The check costs no more than the manifest itself, whatever numbers are in it.
    """
    try:
        shards, size, shard_size = manifest["shards"], manifest["size"], manifest["shard_size"]
        right = bool(NAME.fullmatch(manifest["name"])) and _whole(size, shard_size) and min(size, shard_size) > 0
        right = right and len(shards) == -(-size // shard_size)
        for index, shard in enumerate(shards if right else ()):
            last = size - index * shard_size
            right = right and _whole(shard["size"]) and shard["size"] == min(shard_size, last)
            right = right and bool(SHA256.fullmatch(shard["sha256"]) and NAME.fullmatch(shard["path"]))
        for file in manifest.get("files", []):
            right = right and _whole(file["offset"], file["size"]) and min(file["offset"], file["size"]) >= 0
            right = right and file["offset"] + file["size"] <= size and isinstance(file["name"], str)
    except (KeyError, TypeError, ValueError, AttributeError):
        right = False
    if not right:
        raise Error("bad_file", f"{where} is not the manifest of a model in shards: pack the model again.")
    return manifest


def _whole(*numbers: Any) -> bool:
    """Whether all of them are integers. JSON's 1.0 and true are not, though Python holds them equal to 1."""
    return all(type(number) is int for number in numbers)


def check_range(source: Source, offset: int, size: int) -> None:
    """Raises Error("bad_file") unless offset..offset+size lies in the source."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise Error(
            "bad_file",
            f"{source.name}: bytes {offset} to {offset + size} are needed, but it has {source.size}: "
            "it was cut short, download it again.",
        )


def inside(path: str) -> bool:
    """Whether the path of a file stays within its model's folder."""
    return "\\" not in path and not {"", ".", ".."} & {*path.split("/")}


def endpoint() -> str:
    """The hub's address. As for huggingface_hub, HF_ENDPOINT may name another server with the hub's paths."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def refusal(url: str, status: int) -> Error:
    """The error for a host that answers a request with `status` instead of the file."""
    if status == 429 or status >= 500:
        return Error("offline", f"{url}: the host answered with status {status}. Try again later.")
    advice = "Download the file there, with your login, and open it." if status in (401, 403) else "Check the address."
    return Error("bad_file", f"{url}: the host answered with status {status}. {advice}")


def no_parts(url: str) -> Error:
    """The error for a host that ignores the Range header."""
    return Error(
        "bad_file", f"{url}: the host does not support range requests. Download the file, then open it from your disk."
    )


def cut_short(url: str) -> Error:
    """The error for an answer that ends too early."""
    return Error("offline", f"{url}: the connection broke before the whole file had arrived. Try again.")


def too_long(url: str, limit: int) -> Error:
    """The error for an answer of more than the expected `limit` bytes."""
    return Error("bad_file", f"{url}: the host sent more than the expected {limit} bytes. Don't trust it.")
