"""Files on disk as Sources. They are memory-mapped, so only the parts in use are read."""

import json
import mmap
import os
from pathlib import Path
from typing import Any

from ..errors import Error
from . import MODULE, Folder, check_range, parts
from .manifest import check

MODEL_FILES = (".gguf", ".safetensors", ".json", ".jinja", "vocab.txt")


class FileSource:
    """A local file. Raises Error("bad_file") if it is missing, empty or not a file."""

    def __init__(self, path: str | os.PathLike[str], name: str = ""):
        self.path = path = os.fspath(path)
        self.name = name or os.path.basename(path)
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size == 0:
                    raise Error("bad_file", f"{path} is empty: download it again.")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Error("bad_file", f"{path} can't be opened ({error.strerror}): check the path.") from error

    async def bytes(self, offset: int, size: int) -> bytes:
        """Bytes offset..offset+size, copied."""
        check_range(self, offset, size)
        return self._map[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> memoryview:
        """A view of bytes offset..offset+size, not copied."""
        check_range(self, offset, size)
        return memoryview(self._map)[offset : offset + size]


class ShardSource:
    """A model of a site (build.py pack) in a folder: manifest.json and its shards. The counterpart in the
    tab is browser/shards.py.

    files   {name: Source} of the packed files (one for a GGUF model, several for a model's folder)
    Raises Error("bad_file") if a shard is missing or of the wrong size; hashes are verified only for
    downloads.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        path = os.path.join(folder, "manifest.json")
        try:
            with open(path, encoding="utf-8") as file:
                manifest: Any = json.load(file)
        except (OSError, ValueError, RecursionError) as error:
            raise Error("bad_file", f"{path} can't be read ({error}): pack the model again.") from error
        self.manifest = check(manifest, path)
        self.name, self.size, self._shard_size = manifest["name"], manifest["size"], manifest["shard_size"]
        self.shards = [FileSource(os.path.join(folder, shard["path"])) for shard in manifest["shards"]]
        for source, shard in zip(self.shards, manifest["shards"], strict=True):
            if source.size != shard["size"]:
                raise Error("bad_file", f"{source.name} of {self.name} was cut short: pack the model again.")
        self.files = parts(self, manifest)

    async def bytes(self, offset: int, size: int) -> bytes:
        """Bytes offset..offset+size, copied."""
        return bytes(await self.chunk(offset, size))

    async def shard(self, index: int) -> memoryview:
        """A whole shard, not copied."""
        return await self.shards[index].chunk(0, self.shards[index].size)

    async def chunk(self, offset: int, size: int) -> memoryview:
        """Bytes offset..offset+size: a view, or a copy where several shards have them."""
        check_range(self, offset, size)
        views = []
        for index in range(offset // self._shard_size, max(offset, offset + size - 1) // self._shard_size + 1):
            start = index * self._shard_size
            first, end = max(offset, start), min(offset + size, start + self._shard_size)
            views.append(await self.shards[index].chunk(first - start, end - first))
        return views[0] if len(views) == 1 else memoryview(b"".join(views))


def open_folder(path: str | os.PathLike[str]) -> Folder:
    """Returns the files of a folder that may belong to a model. Raises Error("bad_file")."""
    folder = Path(path)
    files = {file.relative_to(folder).as_posix(): file for file in [*folder.glob("*"), *folder.glob("*/config.json")]}
    names = [
        name for name in sorted(files) if name.endswith(MODEL_FILES) and ("/" not in name or MODULE.fullmatch(name))
    ]
    return Folder(os.fspath(path), (FileSource(files[name], name) for name in names if files[name].is_file()))
