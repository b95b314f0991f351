"""Run one kernel on one backend with numpy arrays.

    y = run(backend, "rms_norm", {"WG": 64}, {"x": x, "g": g}, {"y": (3, 576)}, {"rows": 3, ...}, (3, 1, 1))

Outputs are filled with NaN before (so an element never written shows) and followed by sentinel words (so a store
beyond the end shows); inputs are followed by NaN (so a load beyond the end shows). Several cases of one kernel
share its pipeline, which the device caches.
"""

import asyncio
import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensortab.device.native import NativeDevice
from tensortab.dtype import DTYPES
from tensortab.kernels import Kernel, kernel

from tests.kernels.matrices import ENABLE, FEATURE, emulated

NAN = 0x7FC0FFEE
SENTINEL = 0x7FC0DEAD
GUARD = 64  # words behind every buffer

Output = Sequence[int] | tuple[Sequence[int], Any] | np.ndarray


def words(array: np.ndarray) -> np.ndarray:
    """The bytes of `array` as u32 words, the last one padded with 0xFF."""
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data + b"\xff" * (-len(data) % 4), np.uint32)


def planes(format: str, blocks: np.ndarray) -> np.ndarray:
    """GPU planes (bytes, u8) of a weight given as its bytes in a file."""
    dtype = DTYPES[format]
    table = np.ascontiguousarray(blocks).view(np.uint8).reshape(-1, dtype.nbytes)
    parts = []
    for offset, nbytes in dtype.planes:
        part = table[:, offset : offset + nbytes].reshape(-1)
        parts.append(np.concatenate([part, np.full(-part.size % 16, 0xFF, np.uint8)]))
    return np.concatenate(parts)


def emulates(backend: NativeDevice, code: str) -> bool:
    """Whether a kernel uses subgroup matrices that the backend does not have: plain WGSL then replaces them."""
    return ENABLE in code and FEATURE not in backend.info["features"]


def supports(backend: NativeDevice, spec: Mapping[str, Any], code: str = "") -> bool:
    """Whether the backend has the features that a spec or a kernel's text asks for. Matrices can be emulated, which is
    too slow with SwiftShader."""
    if emulates(backend, code):
        return backend.info["architecture"] != "swiftshader"
    wanted = ["shader-f16"] * ("enable f16;" in code) + ["subgroups"] * ("enable subgroups;" in code)
    return all(feature in backend.info["features"] for feature in wanted)


def run(
    backend: NativeDevice,
    stem: str,
    spec: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, Output],
    params: Mapping[str, int | float],
    grid: Sequence[int],
    epilogue: str = "",
    extra: Sequence[np.ndarray] = (),
    repeat: int = 1,
) -> Any:
    """The outputs of one dispatch: one array, or a dict of them by binding name if there are several.

    `outputs` by binding name: a shape (f32, poisoned), (shape, dtype), or an array that is its contents before
    (for kernels that work in place). `extra` are the epilogue's buffers e0, e1, ...
    """
    k = kernel(stem, epilogue=epilogue, extra=len(extra), **spec)
    if emulates(backend, k.code):
        k = dataclasses.replace(k, label=k.label + ".emulated", code=emulated(k.code))
    start = dict(inputs) | {f"e{n}": array for n, array in enumerate(extra)}
    shapes = {}
    for name, what in outputs.items():
        if isinstance(what, np.ndarray):
            shapes[name], start[name] = (what.shape, what.dtype), what
        else:
            nested = len(what) == 2 and not np.isscalar(what[0])
            shape, dtype = what if nested else (what, np.float32)
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            shapes[name], start[name] = (tuple(shape), np.dtype(dtype)), np.full((size + 3) // 4, NAN, np.uint32)
    return asyncio.run(_run(backend, k, start, shapes, params, tuple(grid), repeat))


async def _run(
    backend: NativeDevice, k: Kernel, start: dict, shapes: dict, params: Mapping, grid: tuple, repeat: int
) -> Any:
    storage = [name for name, mode in zip(k.names, k.bindings, strict=True) if mode != "uniform"]
    assert set(storage) == set(start), f"{k.label} binds {storage}, given {sorted(start)}"
    ids, buffers, bind = {}, [], []
    for n, name in enumerate(storage):
        filler = SENTINEL if name in shapes else 0xFFFFFFFF
        data = np.concatenate([words(start[name]), np.full(GUARD, filler, np.uint32)])
        size = (data.nbytes + 15) // 16 * 16
        ids[name] = backend.create_buffer(size, name)
        backend.write(ids[name], 0, data)
        buffers.append({"name": name, "size": size})
        bind.append([n, 0, size])
    uniform = k.pack(dict(params)).ljust(256, b"\0")
    plan = {
        "version": 1,
        "buffers": buffers,
        "kernels": [{"label": k.label, "code": k.code, "bindings": list(k.bindings)}],
        "params": base64.b64encode(uniform).decode(),
        "steps": [{"kernel": 0, "bind": bind, "params": 0, "grid": list(grid)}],
    }
    handle = await backend.load(plan, ids)
    await backend.replay(handle, repeat)
    results = {}
    for name, (shape, dtype) in shapes.items():
        size = int(np.prod(shape)) * dtype.itemsize
        padded = (size + 3) // 4 * 4
        data = await backend.read(ids[name], 0, padded + 4 * GUARD)
        behind = np.frombuffer(data, np.uint32, GUARD, padded)
        assert (behind == SENTINEL).all(), (
            f"{k.label} wrote behind {name}, at word {np.flatnonzero(behind != SENTINEL)}"
        )
        results[name] = np.frombuffer(data[:size], dtype).reshape(shape)
    backend.unload(handle)
    for buffer in ids.values():
        backend.destroy_buffer(buffer)
    return results if len(results) > 1 else next(iter(results.values()))
