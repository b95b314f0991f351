"""Sources of bytes: a file, a browser's File, a URL, a model in verified shards. All read ranges, never the whole."""

from typing import Any, Protocol, runtime_checkable

from ..errors import Error


@runtime_checkable
class Source(Protocol):
    """Bytes that can be read in ranges. A range outside [0, size) raises Error("bad_file")."""

    name: str
    size: int

    async def bytes(self, offset: int, size: int) -> bytes:
        """Bytes offset..offset+size, for headers and small tensors."""
        ...

    async def chunk(self, offset: int, size: int) -> Any:
        """The same bytes in a form that Device.write takes without another copy (in the tab outside the WASM heap)."""
        ...


def check_range(source: Source, offset: int, size: int) -> None:
    """Raises Error("bad_file") unless offset..offset+size lies in the source."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise Error(
            "bad_file",
            f"{source.name}: bytes {offset} to {offset + size} are needed but it has {source.size}: "
            "it was cut short, get it again",
        )
