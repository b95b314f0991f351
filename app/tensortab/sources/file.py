"""A file on disk as a Source, memory-mapped: pages are read when they are touched."""

import mmap
import os
from pathlib import Path

from ..errors import Error
from . import MODULE, Folder, check_range

MODEL_FILES = (".gguf", ".safetensors", ".json", ".jinja", "vocab.txt")


class FileSource:
    """A local file. Raises Error("bad_file") if it is missing, empty or not a file."""

    def __init__(self, path: str | os.PathLike[str], name: str = ""):
        path = os.fspath(path)
        self.name = name or os.path.basename(path)
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size == 0:
                    raise Error("bad_file", f"{path} is empty: get it again")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Error("bad_file", f"{path} can't be opened ({error.strerror}): check the path") from error

    async def bytes(self, offset: int, size: int) -> bytes:
        """Bytes offset..offset+size, copied."""
        check_range(self, offset, size)
        return self._map[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> memoryview:
        """A view of bytes offset..offset+size, not copied."""
        check_range(self, offset, size)
        return memoryview(self._map)[offset : offset + size]


def open_folder(path: str | os.PathLike[str]) -> Folder:
    """The files of a folder that may be a model's. Raises Error("bad_file")."""
    folder = Path(path)
    files = {file.relative_to(folder).as_posix(): file for file in [*folder.glob("*"), *folder.glob("*/config.json")]}
    names = [
        name for name in sorted(files) if name.endswith(MODEL_FILES) and ("/" not in name or MODULE.fullmatch(name))
    ]
    return Folder(os.fspath(path), (FileSource(files[name], name) for name in names if files[name].is_file()))
