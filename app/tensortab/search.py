"""Semantic search: finds the vectors nearest to a query, among up to millions on the GPU."""

import asyncio
import math
import struct
from collections.abc import Sequence
from typing import Any

from .device import Device
from .errors import Error
from .jit import Program
from .ops.rows import MOST
from .tensor import Tensor

CHUNK = 16 << 20  # bytes of a buffer of vectors


class Index:
    """Vectors on the GPU, numbered in the order in which they came. Nearness is the cosine with the query.

    index = Index(pipe.dimensions, device)
    index.add(await pipe(texts))
    for number, cosine in await index.search(vector): ...

    count: how many vectors it has. A vector is a sequence of `dimensions` numbers; its length does not matter.
    """

    def __init__(self, dimensions: int, device: Device) -> None:
        """dimensions: a multiple of 32, as those of all models are."""
        if dimensions < 32 or dimensions % 32:
            raise Error("bad_request", f"The vectors of an index must have a multiple of 32 numbers, got {dimensions}.")
        self.dimensions, self.device, self.count = dimensions, device, 0
        self._room = CHUNK // (4 * dimensions)  # vectors in a chunk
        self._chunks: list[Tensor] = []
        self._query = Tensor.of("query", (1, dimensions))
        self._plan: tuple[int, int, Program] | None = None  # by the number of vectors and k
        self._turn = asyncio.Lock()

    def add(self, vectors: Sequence[Sequence[float]]) -> None:
        """Appends vectors. Raises Error("bad_request")."""
        self._append(b"".join([self._unit(vector) for vector in vectors]))

    async def search(self, vector: Sequence[float], k: int = 10) -> list[tuple[int, float]]:
        """Returns (number, cosine) of the k nearest vectors, or of all if there are fewer, the nearest first. Raises
        Error("bad_request")."""
        if not 1 <= k <= MOST:
            raise Error("bad_request", f"k must be from 1 to {MOST}, got {k}.")
        query = self._unit(vector)
        if not self.count:
            return []
        async with self._turn:
            k = min(k, self.count)
            program = await self._program(k)
            self._query.write(self.device, query)
            data = memoryview(await program.replay(1, program.outputs[0], 0, 8 * k))
        return list(zip(data[4 * k :].cast("I"), data[: 4 * k].cast("f"), strict=True))

    async def save(self) -> bytes:
        """Returns all vectors, scaled to length 1: f32, little-endian, row by row."""
        parts = []
        for n, chunk in enumerate(self._chunks):
            count = min(self._room, self.count - n * self._room)
            parts.append(await self.device.read(self._on(chunk), 0, 4 * self.dimensions * count))
        return b"".join(parts)

    @classmethod
    def load(cls, data: Any, dimensions: int, device: Device) -> "Index":
        """Returns the index that save() wrote as `data` (bytes-like). Raises Error("bad_file")."""
        if len(data) % (4 * dimensions):
            raise Error(
                "bad_file",
                f"{len(data)} bytes are not a whole number of vectors of {dimensions} numbers: make the index again.",
            )
        index = cls(dimensions, device)
        index._append(data)
        return index

    def free(self) -> None:
        """Frees the GPU's memory; the index is empty afterwards."""
        self._unload()
        for tensor in (self._query, *self._chunks):
            tensor.free()
        self._chunks.clear()
        self.count = 0

    def _unit(self, vector: Sequence[float]) -> bytes:
        if len(vector) != self.dimensions:
            raise Error(
                "bad_request", f"A vector of this index must have {self.dimensions} numbers, got {len(vector)}."
            )
        length = math.hypot(*vector)
        if not math.isfinite(length):
            raise Error("bad_request", "The numbers of a vector must be finite, got NaN or an infinity.")
        return struct.pack(f"<{self.dimensions}f", *(x / (length or 1.0) for x in vector))

    def _append(self, data: Any) -> None:
        view, each = memoryview(data), 4 * self.dimensions
        while view:
            if self.count == self._room * len(self._chunks):
                self._chunks.append(Tensor.of("vectors", (self._room, self.dimensions)))
            place = self.count % self._room
            part = view[: (self._room - place) * each]
            self._chunks[-1].write(self.device, part, place * each)
            self.count += len(part) // each
            view = view[len(part) :]

    async def _program(self, k: int) -> Program:
        """The plan that multiplies the query by each vector, and finds the k largest products."""
        if self._plan is None or self._plan[:2] != (self.count, k):
            self._unload()
            chunks = [chunk[: self.count - n * self._room] for n, chunk in enumerate(self._chunks)]
            self._plan = (self.count, k, await Program(self.device, [self._query.linear(*chunks).topk(k)]).load())
        return self._plan[2]

    def _unload(self) -> None:
        if self._plan is not None:
            self._plan[2].unload()
            self._plan = None

    def _on(self, tensor: Tensor) -> int:
        assert tensor.buffer is not None
        return tensor.buffer.on(self.device)
