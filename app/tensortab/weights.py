"""A model's weights: which tensors of a checkpoint it uses, and how they are brought to the GPU in chunks.

They are declared first, so that their memory is known before a byte is read. No file is ever whole in a heap.
"""

import asyncio
import math
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from .device import Device
from .dtype import f32, u32
from .errors import Error
from .formats import Checkpoint, TensorInfo
from .jit import Program
from .tensor import Tensor

CHUNK = 8 << 20  # bytes of a file that are read at once
AHEAD = 4  # chunks that are read before the GPU needs them
GAP = 1 << 16  # bytes of a file that may be read though nothing needs them, to join two reads

# Names of tensors in published files that none of our models computes with: tables that follow from the config (rope_*
# are read by kv.Rotary), and parts beside a language model that text does not pass through.
UNUSED = (
    "rope_freqs.weight", "rope_factors_*.weight", "*rotary_emb.*", "blk.*.attn_rot_embd.weight",
    "*.position_ids", "mtp.*", "model.mtp.*", "visual.*", "model.visual.*", "vision_tower.*", "model.vision_tower.*",
    "multi_modal_projector.*", "model.multi_modal_projector.*",
)  # fmt: skip


@dataclass
class _Piece:
    """Rows of a checkpoint's tensor that become rows of a weight."""

    weight: Tensor
    info: TensorInfo
    first: int  # the byte in the checkpoint's tensor
    nbytes: int
    element: int  # in the weight

    @property
    def narrow(self) -> bool:
        """Whether the file has 16 bits per number of what is a vector of f32 on the GPU."""
        return self.weight.dtype is not self.info.dtype

    @property
    def offset(self) -> int:
        """Where the piece begins in the file, in bytes."""
        return self.info.offset + self.first

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


class Weights:
    """The tensors of `checkpoint` that a model uses, each at most `max_binding` bytes on the GPU."""

    def __init__(self, checkpoint: Checkpoint, max_binding: int) -> None:
        self.checkpoint = checkpoint
        self.max_binding = max_binding
        self._used: set[str] = set()  # names that the model asked for
        self._unused = list(UNUSED)
        self._pieces: list[_Piece] = []
        self._vectors: list[Tensor] = []
        self._made: dict[tuple[str, ...], list[Tensor]] = {}
        self._once: list[tuple[Tensor, list[Tensor]]] = []  # expressions, and what only they read

    def __contains__(self, name: str) -> bool:
        return name in self.checkpoint.tensors

    def unused(self, *patterns: str) -> None:
        """Names tensors that the model's files may have but it does not compute with: other heads, tied copies, masks.
        A "*" stands for any text."""
        self._unused += patterns

    def check_known(self) -> None:
        """Raises Error("bad_file") if the file has tensors that the model neither asked for nor declared to be unused:
        it is of another architecture then, whatever it says, and the results would be wrong."""
        left = self.checkpoint.tensors.keys() - self._used
        unknown = sorted(name for name in left if not any(fnmatchcase(name, pattern) for pattern in self._unused))
        if unknown:
            names = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            kind = self.checkpoint.config.get("model_type")
            raise Error(
                "bad_file",
                f"The file has tensors that models of type {kind!r} do not have here: {names}. "
                "Its answers would be wrong: use another file of the model.",
            )

    def _tensor(self, name: str) -> TensorInfo:
        """Returns the checkpoint's tensor, which counts as used from now on."""
        self._used.add(name)
        return self.checkpoint.tensor(name)

    def matrix(self, *names: str) -> list[Tensor]:
        """The rows of these tensors [n, K], one after the other, in as few weights as formats and bindings allow."""
        if names not in self._made:
            infos = [self._tensor(name) for name in names]
            for info in infos:
                if len(info.shape) != 2 or info.shape[1] != infos[0].shape[1]:
                    raise Error(
                        "bad_file",
                        f"{info.name} has the shape {list(info.shape)}: the model's file is damaged, download it "
                        "again.",
                    )
                if info.shape[1] % max(32, info.dtype.block):
                    raise Error(
                        "bad_file",
                        f"{info.name} has rows of {info.shape[1]} numbers, which must be a multiple of 32: use "
                        "another model.",
                    )
            runs: list[list[TensorInfo]] = []
            for info in infos:
                size = sum(i.dtype.gpu_size(i.size) for i in runs[-1]) if runs else 0
                room = self.max_binding - 64  # 64: the planes' padding
                if runs and runs[-1][0].dtype is info.dtype and size + info.dtype.gpu_size(info.size) <= room:
                    runs[-1].append(info)
                else:
                    runs.append([info])
            self._made[names] = [weight for run in runs for weight in self._matrix(run)]
        return self._made[names]

    def _matrix(self, infos: list[TensorInfo]) -> list[Tensor]:
        dtype, columns = infos[0].dtype, infos[0].shape[1]
        if dtype.gpu_size(sum(i.size for i in infos)) <= self.max_binding:
            weight = Tensor.of(infos[0].name, (sum(i.shape[0] for i in infos), columns), dtype)
            element = 0
            for info in infos:
                self._pieces.append(_Piece(weight, info, 0, info.nbytes, element))
                element += info.size
            return [weight]
        (info,) = infos  # runs are split at the limit, so only a single tensor can exceed it
        step = max(16, (self.max_binding - 64) // dtype.file_size(columns) // 16 * 16)  # 64: the planes' padding
        weights = []
        for row in range(0, info.shape[0], step):
            count = min(step, info.shape[0] - row)
            weights.append(Tensor.of(f"{info.name}[{row}:]", (count, columns), dtype))
            nbytes = dtype.file_size(count * columns)
            self._pieces.append(_Piece(weights[-1], info, dtype.file_size(row * columns), nbytes, 0))
        return weights

    def vector(self, *names: str | int) -> Tensor:
        """Small tensors (a norm's gain, biases), one after the other, as f32; an int stands for that many zeros."""
        parts = [self._tensor(name) if isinstance(name, str) else name for name in names]
        infos = [part for part in parts if isinstance(part, TensorInfo)]
        for info in infos:
            if info.dtype.quantised:
                raise Error(
                    "bad_file",
                    f"{info.name} is {info.dtype}, expected f32, f16 or bf16: the file is damaged, download it again.",
                )
        sizes = [part.size if isinstance(part, TensorInfo) else part for part in parts]
        vector = Tensor.of(infos[0].name, (sum(sizes),), f32)
        self._vectors.append(vector)
        for n, part in enumerate(parts):
            if isinstance(part, TensorInfo):
                self._pieces.append(_Piece(vector, part, 0, part.nbytes, sum(sizes[:n])))
        return vector

    def tensor(self, name: str) -> Tensor:
        """A tensor of any shape, as f32."""
        info = self.checkpoint.tensor(name)
        if info.dtype is not f32 and info.size % 32 == 0:
            return self.once(lambda w: w, name)
        vector = self.vector(name)
        vector.shape = info.shape
        return vector

    def once(self, function: Callable[..., Tensor], *names: str) -> Tensor:
        """The result of `function` for the tensors of these names (f32). It is computed once everything is loaded; then
        the tensors are freed."""
        sources = [self._source(self._tensor(name)) for name in names]
        expression = function(*(s if s.dtype is f32 else s.dequantize() for s in sources))
        result = Tensor.of(names[0], expression.shape)
        self._once.append((expression.into(result), sources))
        self._vectors.append(result)
        return result

    def _source(self, info: TensorInfo) -> Tensor:
        """A tensor in the file's format, or in f32 if that cannot be unpacked in groups of 32."""
        if info.size % 32 and info.dtype is not f32:
            vector = self.vector(info.name)
            self._vectors.pop()  # the one that was just made
            vector.shape = info.shape
            return vector
        source = Tensor.of(info.name, info.shape, info.dtype)
        self._pieces.append(_Piece(source, info, 0, info.nbytes, 0))
        return source

    @property
    def nbytes(self) -> int:
        """Bytes on the GPU."""
        return sum(t.buffer.nbytes for t in self._tensors() if t.buffer is not None)

    def _tensors(self) -> list[Tensor]:
        return [t for made in self._made.values() for t in made] + self._vectors

    async def load(self, device: Device, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Streams everything to `device`, in the order of the file. Raises Error("bad_file") if the file is cut
        short."""
        total, done = sum(piece.nbytes for piece in self._pieces), 0
        staging = Tensor.of("staging", (CHUNK // 4,), u32)
        spans = deque(_spans(self._pieces))
        reads: deque[tuple[list[_Piece], asyncio.Future]] = deque()
        programs: deque[Program] = deque(maxlen=2)  # the ones that may be loaded
        repacked: asyncio.Future = asyncio.ensure_future(asyncio.sleep(0))

        async def repack(before: asyncio.Future, program: Program, data: Any) -> None:
            await before  # the staging buffer is free again
            staging.write(device, data)
            await program.replay()
            program.unload()

        try:
            while spans or reads:
                while spans and len(reads) < AHEAD:
                    reads.append((spans[0], asyncio.ensure_future(_read(spans.popleft()))))
                span, read = reads[0]
                data = await read
                reads.popleft()
                start, wide = span[0].offset, [piece for piece in span if not piece.narrow]
                for piece in span:
                    if piece.narrow:
                        values = as_f32(_part(data, piece.offset - start, piece.nbytes), piece.info.dtype.name)
                        piece.weight.write(device, values, 4 * piece.element)
                if wide:
                    program = Program(device, [node for piece in wide for node in _repack(staging, piece, start)])
                    programs.append(program)
                    await program.load()
                    before, repacked = repacked, asyncio.ensure_future(repack(repacked, program, data))
                    await before
                on_progress(done, total)
                done += sum(piece.nbytes for piece in span)
            await repacked
            on_progress(done, total)
            await self._compute(device)
        finally:
            for _, read in reads:
                read.cancel()
            try:
                await asyncio.gather(repacked, *(read for _, read in reads), return_exceptions=True)
            finally:  # even if the load was cancelled
                for program in programs:
                    program.unload()
                staging.free()

    async def _compute(self, device: Device) -> None:
        if self._once:
            program = await Program(device, [expression for expression, _ in self._once]).load()
            try:
                await program.replay()
            finally:
                program.unload()
        self._free_sources()

    def _free_sources(self) -> None:
        for _, sources in self._once:
            _free(sources)
        self._once.clear()

    def free(self) -> None:
        self._free_sources()
        _free(self._tensors())


def _free(tensors: list[Tensor]) -> None:
    for tensor in tensors:
        tensor.free()


def _spans(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Yields groups of pieces that lie close together in one file, of at most CHUNK bytes; larger pieces are cut
    between even blocks."""
    span: list[_Piece] = []
    for whole in sorted(pieces, key=lambda p: (id(p.info.source), p.offset)):
        nbytes, block = whole.info.dtype.nbytes, whole.info.dtype.block
        step = CHUNK // nbytes // 64 * 64 * nbytes
        for start in range(0, whole.nbytes, step):
            element = whole.element + start // nbytes * block
            piece = replace(whole, first=whole.first + start, nbytes=min(step, whole.nbytes - start), element=element)
            near = span and piece.info.source is span[0].info.source and piece.offset - span[-1].end <= GAP
            if not near or piece.end - span[0].offset > CHUNK:
                if span:
                    yield span
                span = []
            span.append(piece)
    if span:
        yield span


async def _read(span: list[_Piece]) -> Any:
    return await span[0].info.source.chunk(span[0].offset, span[-1].end - span[0].offset)


def _part(data: Any, start: int, size: int) -> Any:
    """Bytes of a chunk, which in the tab is a JavaScript array."""
    if hasattr(data, "subarray"):
        return data.subarray(start, start + size).to_bytes()
    return memoryview(data)[start : start + size]


def _repack(staging: Tensor, piece: _Piece, offset: int) -> list[Tensor]:
    """Brings a file's blocks into planes on the GPU (kernels/repack.wgsl); `offset`: where staging begins in the
    file."""
    dtype, weight = piece.weight.dtype, piece.weight
    assert weight.buffer is not None
    target = Tensor.node("buffer", shape=(weight.buffer.nbytes // 4,), dtype=u32)
    target.buffer = weight.buffer
    nodes, block = [], piece.element // dtype.block
    for start, (at, size) in zip(dtype.plane_starts(math.prod(weight.shape)), dtype.planes, strict=False):
        arg = {"offset": piece.offset - offset + at, "size": size, "start": start + block * size}
        assert arg["start"] % 4 == 0, "pieces begin at even blocks"
        nodes.append(
            Tensor.apply("repack", staging, target, block=dtype.nbytes, count=piece.nbytes // dtype.nbytes, **arg)
        )
    return nodes


async def read_vector(info: TensorInfo) -> list[float]:
    """Reads the numbers of a small tensor into Python."""
    raw = as_f32(await info.source.bytes(info.offset, info.nbytes), info.dtype.name)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def as_f32(data: bytes, dtype: str) -> bytes:
    """Converts the bytes of f32, f16 or bf16 numbers to those of f32."""
    if dtype == "f32":
        return bytes(data)
    count = len(data) // 2
    if dtype == "f16":
        return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", data))
    return struct.pack(f"<{count}I", *(h << 16 for h in struct.unpack(f"<{count}H", data)))
