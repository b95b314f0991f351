"""A model as one file: an uncompressed tar of its folder, manifest.json first, then the shards in their order.

Any tar program can unpack it, into a folder that opens as a model and that a site can serve. An archive whose entries
are not exactly those of its manifest is refused, so no entry can lead elsewhere.
"""

import json
from typing import Any

from ..errors import Error
from . import Source
from .manifest import check

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_MANIFEST = 16 << 20
MANIFEST = "manifest.json"


def head(manifest: dict[str, Any]) -> bytes:
    """The beginning of a model's archive. For each shard its header(), its bytes and padding() follow, and then END."""
    text = json.dumps(manifest).encode()
    return header(MANIFEST, len(text)) + text + padding(len(text))


def header(name: str, size: int) -> bytes:
    """The entry of a file (POSIX ustar)."""
    start = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0"
    end = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return start + b"%06o\0 " % (sum(start + end) + 8 * ord(" ")) + end


def padding(size: int) -> bytes:
    """The zeros that follow a file of that size."""
    return bytes(-size % BLOCK)


async def read_archive(source: Source) -> tuple[dict[str, Any], list[int]]:
    """Returns the manifest and where each shard begins, in bytes; it does not verify the shards' hashes. Raises
    Error("bad_file")."""
    size = await _entry(source, 0, MANIFEST)
    if size > MAX_MANIFEST:
        raise _bad(source)
    try:
        manifest = json.loads(await source.bytes(BLOCK, size))
    except (ValueError, RecursionError):
        raise _bad(source) from None
    check(manifest, f"The first file of {source.name}")
    offset, offsets = BLOCK + size + len(padding(size)), []
    for shard in manifest["shards"]:
        if await _entry(source, offset, shard["path"]) != shard["size"]:
            raise _bad(source)
        offsets.append(offset + BLOCK)
        offset += BLOCK + shard["size"] + len(padding(shard["size"]))
        if offset > source.size:
            raise _bad(source)
    return manifest, offsets


async def _entry(source: Source, offset: int, name: str) -> int:
    """The size of the file called `name`, whose entry must be at the offset."""
    if offset + BLOCK > source.size:
        raise _bad(source)
    block = await source.bytes(offset, BLOCK)
    digits = block[124:135]
    if block[257:262] != b"ustar" or not digits.isdigit() or block[:100].rstrip(b"\0") != name.encode():
        raise _bad(source)
    try:
        size = int(digits, 8)
    except ValueError:
        raise _bad(source) from None
    if offset + BLOCK + size > source.size:
        raise _bad(source)
    return size


def _bad(source: Source) -> Error:
    return Error("bad_file", f"{source.name} is not an exported model, or it was cut short: export the model again.")
