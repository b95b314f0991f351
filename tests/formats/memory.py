"""A Source over bytes that remembers what was read, and small files made by hand."""

import asyncio
import json
import struct
from typing import Any

from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.sources import check_range

STRUCT = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i")}
STRUCT |= {"f32": (6, "f"), "bool": (7, "?"), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}


class MemorySource:
    """Bytes as a Source."""

    name = "memory"

    def __init__(self, data: bytes):
        self.data = data
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []

    async def bytes(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        self.reads.append((offset, size))
        return self.data[offset : offset + size]

    async def chunk(self, offset: int, size: int) -> bytes:
        return await self.bytes(offset, size)


def read(data: bytes) -> Checkpoint:
    return asyncio.run(open_checkpoint(MemorySource(data)))


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def typed(kind: str, value: Any) -> bytes:
    """A metadata value with its type: typed("u32", 5), typed("[str", ["a"]), typed("[[u8", [[1], [2]])."""
    if kind == "str":
        return struct.pack("<I", 8) + string(value)
    if kind.startswith("["):
        items = [typed(kind[1:], item) for item in value]
        of = typed(kind[1:], [] if kind[1] == "[" else "" if kind[1:] == "str" else 0)[:4]
        return struct.pack("<I", 9) + of + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)
    number, code = STRUCT[kind]
    return struct.pack("<I" + code, number, value)


LLAMA: dict[str, tuple[str, Any]] = {
    "general.architecture": ("str", "llama"),
    "llama.embedding_length": ("u32", 64),
    "llama.feed_forward_length": ("u32", 128),
    "llama.block_count": ("u32", 1),
    "llama.attention.head_count": ("u32", 4),
    "llama.context_length": ("u32", 256),
    "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
}


def gguf(
    entries: dict[str, tuple[str, Any]] | None = None,
    tensors: tuple[tuple[str, tuple[int, ...], int, int], ...] = (),
    data: int | bytes = 0,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """A GGUF file; `tensors` are (name, dimensions as in the file, type id, offset), `data` what follows the header."""
    entries = LLAMA if entries is None else entries
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    out = b"GGUF" + struct.pack("<IQQ", version, tensor_count, entry_count)
    out += b"".join(string(key) + typed(*value) for key, value in entries.items())
    for name, dimensions, kind, offset in tensors:
        out += string(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        out += struct.pack("<IQ", kind, offset)
    out += bytes(-len(out) % alignment)
    return out + (bytes(data) if isinstance(data, int) else data)


def safetensors(header: Any, data: int = 0, length: int | None = None) -> bytes:
    """A safetensors file; `header` is JSON text or what becomes it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)
