"""A model's weights: which tensors of a checkpoint it asks for, and their way in chunks to the GPU.

Declaring comes first, so that the memory they need is known before a byte is read. No file is ever whole in a heap.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .device import Device
from .dtype import f32, u32
from .errors import Error
from .formats import Checkpoint, TensorInfo
from .jit import hardware
from .ops import OPS
from .plan import build
from .tensor import Tensor

CHUNK = 8 << 20  # bytes of a file in flight at once


@dataclass
class _Piece:
    """Rows of a checkpoint's tensor that become rows of a weight."""

    weight: Tensor
    info: TensorInfo
    first: int  # byte in the checkpoint's tensor
    nbytes: int
    element: int  # in the weight


class Weights:
    """The tensors of `checkpoint` that a model uses, each at most `max_binding` bytes on the GPU."""

    def __init__(self, checkpoint: Checkpoint, max_binding: int) -> None:
        self.checkpoint = checkpoint
        self.max_binding = max_binding
        self._pieces: list[_Piece] = []
        self._vectors: list[tuple[Tensor, TensorInfo]] = []
        self._made: dict[tuple[str, ...], list[Tensor]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.checkpoint.tensors

    def matrix(self, *names: str) -> list[Tensor]:
        """The rows of these tensors [n, K] one after the other: as few weights as formats and bindings allow."""
        if names not in self._made:
            infos = [self.checkpoint.tensor(name) for name in names]
            for info in infos:
                if len(info.shape) != 2 or info.shape[1] != infos[0].shape[1]:
                    raise Error("bad_file", f"{info.name} has the shape {list(info.shape)}: the model file is damaged")
                if info.shape[1] % max(32, info.dtype.block):
                    raise Error("bad_file", f"{info.name}: rows of {info.shape[1]} are not a multiple of 32: not supported")
            runs: list[list[TensorInfo]] = []
            for info in infos:
                size = sum(i.dtype.gpu_size(i.size) for i in runs[-1]) if runs else 0
                if runs and runs[-1][0].dtype is info.dtype and size + info.nbytes <= self.max_binding:
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
        (info,) = infos  # runs are split at the limit, so only a single tensor exceeds it
        step = max(16, (self.max_binding - 64) // dtype.file_size(columns) // 16 * 16)  # 64: the planes' padding
        weights = []
        for row in range(0, info.shape[0], step):
            count = min(step, info.shape[0] - row)
            weights.append(Tensor.of(f"{info.name}[{row}:]", (count, columns), dtype))
            nbytes = dtype.file_size(count * columns)
            self._pieces.append(_Piece(weights[-1], info, dtype.file_size(row * columns), nbytes, 0))
        return weights

    def vector(self, name: str) -> Tensor:
        """A small tensor (a norm's gain, a bias) as f32."""
        info = self.checkpoint.tensor(name)
        if info.dtype.quantised:
            raise Error("bad_file", f"{name} is {info.dtype}, expected f32, f16 or bf16: the model file is damaged")
        vector = Tensor.of(name, (info.size,), f32)
        self._vectors.append((vector, info))
        return vector

    @property
    def nbytes(self) -> int:
        """Bytes on the GPU."""
        return sum(t.buffer.nbytes for t in self._tensors())  # type: ignore[union-attr]

    def _tensors(self) -> list[Tensor]:
        return [t for made in self._made.values() for t in made] + [t for t, _ in self._vectors]

    async def load(self, device: Device, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Streams everything to `device`. Raises Error("bad_file") for tensors that a file cuts short."""
        total = sum(p.nbytes for p in self._pieces) + sum(i.nbytes for _, i in self._vectors)
        done = 0
        for vector, info in self._vectors:
            assert vector.buffer is not None
            vector.buffer.data = as_f32(await info.source.bytes(info.offset, info.nbytes), info.dtype.name)
            vector.buffer.on(device)
            done += info.nbytes
        repack = _Repack(device)
        for piece in self._pieces:
            dtype = piece.weight.dtype
            step = max(CHUNK // dtype.nbytes // 64 * 64, 64) * dtype.nbytes
            for start in range(0, piece.nbytes, step):
                nbytes = min(step, piece.nbytes - start)
                data = await piece.info.source.chunk(piece.info.offset + piece.first + start, nbytes)
                await repack(piece.weight, data, nbytes, piece.element // dtype.block + start // dtype.nbytes)
                done += nbytes
                on_progress(done, total)
        repack.close()

    def free(self) -> None:
        for tensor in self._tensors():
            if tensor.buffer is not None:
                tensor.buffer.free()


class _Repack:
    """File bytes -> planes on the GPU (kernels/repack.wgsl); formats of one plane are written as they are."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.staging = Tensor.of("staging", (CHUNK // 4 + 64 * 64,), u32)  # a chunk has at least 64 blocks
        self.plans: dict[tuple, dict[str, Any]] = {}

    async def __call__(self, weight: Tensor, data: Any, nbytes: int, block: int) -> None:
        device, dtype = self.device, weight.dtype
        assert weight.buffer is not None and self.staging.buffer is not None
        target, count = weight.buffer.on(device), nbytes // dtype.nbytes
        if len(dtype.planes) == 1:
            device.write(target, block * dtype.nbytes, data)
            return
        staging = self.staging.buffer.on(device)
        device.write(staging, 0, data)
        key = (dtype.name, count, block, weight.shape)
        if key not in self.plans:
            self.plans[key] = self._plan(weight, count, block)
        handle = await device.load(self.plans[key], {"staging": staging, "weight": target})
        await device.replay(handle)
        device.unload(handle)

    def _plan(self, weight: Tensor, count: int, block: int) -> dict[str, Any]:
        assert weight.buffer is not None
        target = Tensor.of("weight", (weight.buffer.nbytes // 4,), u32)
        starts = weight.dtype.plane_starts(math.prod(weight.shape))
        dispatches = []
        hw = hardware(self.device.info)
        for start, plane in zip(starts, weight.dtype.planes, strict=False):
            at = start + block * plane[1]
            assert at % 4 == 0, "chunks begin at even blocks"
            node = Tensor.apply("repack", self.staging, target, plane=plane, nbytes=weight.dtype.nbytes, count=count, start=at)
            lower = OPS["repack"].lower
            assert lower is not None
            for d in lower(hw, node):
                d.nodes = [node]
                dispatches.append(d)
        return build(dispatches, [], hw)[0]

    def close(self) -> None:
        assert self.staging.buffer is not None
        self.staging.buffer.free()


def as_f32(data: bytes, dtype: str) -> bytes:
    """f32, f16 or bf16 bytes -> f32 bytes."""
    if dtype == "f32":
        return bytes(data)
    count = len(data) // 2
    if dtype == "f16":
        return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", data))
    return struct.pack(f"<{count}I", *(h << 16 for h in struct.unpack(f"<{count}H", data)))
