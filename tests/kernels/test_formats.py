"""Every weight format: the GPU repacks a file's bytes and dequantises them to the same bits as the gguf package."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Q
from tensortab.device.native import NativeDevice
from tensortab.dtype import DTYPES

from tests.kernels.harness import planes, run

FORMATS = ("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k")
SCALES = {  # byte offsets of the f16 numbers in a block
    "q4_0": (0,), "q4_1": (0, 2), "q5_0": (0,), "q5_1": (0, 2), "q8_0": (0,),
    "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,),
}  # fmt: skip
# smallest subnormal, largest subnormal, smallest normal, 1, largest, and both zeros
EXTREME = np.array([0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x0000, 0x8000, 0x8001, 0x83FF, 0xFBFF], np.uint16)


def random_blocks(rng: np.random.Generator, format: str, count: int) -> np.ndarray:
    """[count, nbytes] u8: random quants, finite scales of which some are extreme, and all-zero blocks."""
    dtype = DTYPES[format]
    if format == "f32":
        values = rng.standard_normal(count).astype(np.float32)
        values[: min(count, 4)] = [0.0, -0.0, 3.4e38, 1.2e-38][:count]
        return values.view(np.uint8).reshape(count, 4)
    if format in ("f16", "bf16"):
        halves = rng.integers(0, 1 << 16, count).astype(np.uint16)
        infinite = {"f16": 0x7C00, "bf16": 0x7F80}[format]
        halves[(halves & infinite) == infinite] = 0x1234
        if format == "bf16":
            halves[(halves & infinite) == 0] = 0  # subnormal f32 may be flushed
        return halves.view(np.uint8).reshape(count, 2)
    blocks = rng.integers(0, 256, (count, dtype.nbytes), dtype=np.uint8)
    for offset in SCALES[format]:
        scales = rng.normal(0, 0.05, count).astype(np.float16).view(np.uint16)
        scales[::3] = rng.choice(EXTREME, len(scales[::3]))
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(count, 2)
    blocks[1::5] = 0
    return blocks


def dequantized(format: str, blocks: np.ndarray) -> np.ndarray:
    """The f32 values that the gguf package computes."""
    if format == "f32":
        return blocks.view(np.float32).reshape(-1)
    if format == "f16":
        return blocks.view(np.float16).reshape(-1).astype(np.float32)
    if format == "bf16":
        return (blocks.view(np.uint16).reshape(-1).astype(np.uint32) << 16).view(np.float32)
    return gguf.quants.dequantize(blocks, Q[format.upper()]).reshape(-1)


@pytest.mark.parametrize("format", FORMATS)
def test_dequantize_bit_exact(backend: NativeDevice, rng: np.random.Generator, format: str) -> None:
    blocks = random_blocks(rng, format, 32 * 65 if DTYPES[format].block == 1 else 65)
    expected = dequantized(format, blocks)
    groups = len(expected) // 32
    params = {"groups": groups, "blocks": len(blocks)}
    grid = (2, -(-groups // 64 // 2) + 1, 1)  # folded, with some idle workgroups
    y = run(
        backend, "dequantize", {"FORMAT": format}, {"w": planes(format, blocks)}, {"y": expected.shape}, params, grid
    )
    np.testing.assert_array_equal(y + 0.0, expected + 0.0)  # -0 counts as 0


def test_every_f16_scale(backend: NativeDevice) -> None:
    """q8_0 blocks with each finite f16 as their scale."""
    halves = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    halves = halves[(halves & 0x7C00) != 0x7C00]
    blocks = np.zeros((len(halves), 34), np.uint8)
    blocks[:, :2] = halves.view(np.uint8).reshape(-1, 2)
    blocks[:, 2:] = np.arange(32) * 8  # signed, both ends
    expected = dequantized("q8_0", blocks)
    params = {"groups": len(blocks), "blocks": len(blocks)}
    grid = (-(-len(blocks) // 64), 1, 1)
    y = run(
        backend, "dequantize", {"FORMAT": "q8_0"}, {"w": planes("q8_0", blocks)}, {"y": expected.shape}, params, grid
    )
    np.testing.assert_array_equal(y + 0.0, expected + 0.0)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [1, 2, 7, 130])
def test_repack(backend: NativeDevice, rng: np.random.Generator, format: str, count: int) -> None:
    """Each plane is repacked in two chunks, of which the second begins at an even block."""
    dtype = DTYPES[format]
    if dtype.block == 1:
        count *= 32
    blocks = rng.integers(0, 256, (count, dtype.nbytes), dtype=np.uint8)
    starts = dtype.plane_starts(count * dtype.block)
    expected = planes(format, blocks)
    assert starts[-1] == len(expected)
    y = np.zeros(len(expected) // 4, np.uint32)
    first = count // 4 * 2
    for plane, (offset, nbytes) in enumerate(dtype.planes):
        for begin, end in ((0, first), (first, count)):
            words = -(-(end - begin) * nbytes // 4)
            if words == 0:
                continue
            params = {"src_bytes": dtype.nbytes, "src_offset": offset, "plane_bytes": nbytes, "count": words}
            params["dst_word"] = (starts[plane] + begin * nbytes) // 4
            grid = (1, -(-words // 64), 1)
            y = run(backend, "repack", {}, {"src": blocks[begin:end]}, {"dst": y}, params, grid)
    for plane, (_, nbytes) in enumerate(dtype.planes):
        part = slice(starts[plane], starts[plane] + count * nbytes)
        np.testing.assert_array_equal(y.view(np.uint8)[part], expected[part])


@pytest.mark.parametrize("format", FORMATS)
def test_embedding(backend: NativeDevice, rng: np.random.Generator, format: str) -> None:
    """Rows of a table that is split over two buffers."""
    k, vocabulary, split = (256 if DTYPES[format].block == 256 else 96), 11, 6
    per_row = k // DTYPES[format].block
    blocks = random_blocks(rng, format, vocabulary * per_row)
    table = dequantized(format, blocks).reshape(vocabulary, k)
    tokens = rng.integers(0, vocabulary, 9).astype(np.uint32)
    tokens[3:8] = [0, split - 1, split, vocabulary - 1, 2]
    state = np.array([3, 0, 0, 0, 0, 0, 0, 0], np.uint32)
    y: np.ndarray | tuple = (5, k)
    for begin, end in ((0, split), (split, vocabulary)):
        part = blocks[begin * per_row : end * per_row]
        params = {"rows": 5, "k": k, "blocks": len(part), "row_start": begin, "row_end": end, "first": 0}
        inputs = {"tokens": tokens, "state": state, "w": planes(format, part)}
        y = run(backend, "embedding", {"FORMAT": format}, inputs, {"y": y}, params, (1, 1, 1))
        assert np.isnan(y).any() == (end < vocabulary)
    np.testing.assert_array_equal(y + 0.0, table[tokens[3:8]] + 0.0)


@pytest.mark.parametrize("format", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize(("position", "first"), [(0, 0), (3, 2), (8, 1)])
def test_embedding_of_positions(
    backend: NativeDevice, rng: np.random.Generator, format: str, position: int, first: int
) -> None:
    """The rows from the position on; beyond the table the last row is repeated. Tokens are not read."""
    blocks = random_blocks(rng, format, 11 * 96 // DTYPES[format].block)
    table = dequantized(format, blocks).reshape(11, 96)
    state = np.array([position, 0, 0, 0, 0, 0, 0, 0], np.uint32)
    params = {"rows": 5, "k": 96, "blocks": len(blocks), "row_start": 0, "row_end": 11, "first": first}
    inputs = {"tokens": np.zeros(1, np.uint32), "state": state, "w": planes(format, blocks)}
    y = run(backend, "embedding", {"FORMAT": format, "POSITIONS": True}, inputs, {"y": (5, 96)}, params, (1, 1, 1))
    rows = np.minimum(first + position + np.arange(5), 10)
    np.testing.assert_array_equal(y + 0.0, table[rows] + 0.0)
