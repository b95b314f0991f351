"""A file that the user chose, as a Source."""

from typing import Any

import js
from pyodide.ffi import JsException

from ...errors import Error
from .. import check_range


class BlobSource:
    """A File that the user chose, or any Blob."""

    def __init__(self, blob: Any, name: str = "") -> None:
        self._blob = blob
        self.name = name or getattr(blob, "name", "the file")
        self.size = blob.size
        if self.size == 0:
            raise Error("bad_file", f"{self.name} is empty: choose another file.")

    async def chunk(self, offset: int, size: int) -> Any:
        """Bytes offset..offset+size as a JavaScript Uint8Array."""
        check_range(self, offset, size)
        try:
            return js.Uint8Array.new(await self._blob.slice(offset, offset + size).arrayBuffer())
        except JsException as error:
            raise Error("bad_file", f"{self.name} can't be read any more ({error.message}): choose it again.") from None

    async def bytes(self, offset: int, size: int) -> bytes:
        return (await self.chunk(offset, size)).to_bytes()
