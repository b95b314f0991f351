"""topk: the k largest values of the last axis and their indices, in rows of one slice and of many."""

import asyncio
from heapq import nsmallest

import numpy as np
import pytest
from tensortab import debug
from tensortab.device.cpu import CPUDevice
from tensortab.device.native import NativeDevice
from tensortab.jit import Program
from tensortab.ops import ShapeError
from tensortab.tensor import Tensor

from tests.kernels.harness import run


def topk(
    device: NativeDevice | CPUDevice, x: np.ndarray, k: int, tier: str = "", **knobs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values and indices."""

    async def computed() -> bytes:
        found = Tensor.of("x", x.shape, data=x.tobytes()).topk(k)
        with debug(TIER=tier, **knobs):
            program = await Program(device, [found]).load()
        data = await program.replay(1, found, 0, 8 * k * (x.size // x.shape[-1]))
        program.unload()
        return data

    data = np.frombuffer(asyncio.run(computed()), np.uint32).reshape(*x.shape[:-1], 2, k)
    return data[..., 0, :].copy().view(np.float32), data[..., 1, :]


def check(x: np.ndarray, k: int, values: np.ndarray, indices: np.ndarray) -> None:
    """Against Python's own order of (NaN or not, -value, index)."""
    for row, value, index in zip(
        x.reshape(-1, x.shape[-1]), values.reshape(-1, k), indices.reshape(-1, k), strict=True
    ):
        keys = [(v != v, 0.0 if v != v else -v, i) for i, v in enumerate(row.tolist())]
        assert index.tolist() == [i for _, _, i in nsmallest(k, keys)]
        np.testing.assert_array_equal(value, row[index])


@pytest.mark.parametrize("rows, n, k", [(1, 1, 1), (3, 127, 1), (2, 129, 129 - 1), (5, 1000, 17), (1, 4097, 5)])
def test_one_slice_or_two(backend: NativeDevice, rng: np.random.Generator, rows: int, n: int, k: int) -> None:
    x = rng.standard_normal((rows, n)).astype(np.float32)
    for tier in ("software", "default"):
        check(x, k, *topk(backend, x, k, tier))


@pytest.mark.parametrize("k", [1, 10, 64])
def test_a_million(backend: NativeDevice, rng: np.random.Generator, k: int) -> None:
    x = rng.integers(-50_000, 50_000, (1, 1_000_003)).astype(np.float32)  # ties
    check(x, k, *topk(backend, x, k))


def test_ties_infinities_and_nan(backend: NativeDevice, rng: np.random.Generator) -> None:
    x = rng.integers(-2, 3, (2, 3, 9001)).astype(np.float32)
    x[0, 0, 7] = x[0, 0, 8999] = np.inf
    x[0, 1] = -np.inf
    x[0, 2] = np.where(rng.random(9001) < 0.5, -0.0, 0.0)
    x[1, 0, :] = np.nan
    x[1, 1, rng.random(9001) < 0.9] = -np.nan
    x[1, 2, 20:] = np.nan  # more than the values are asked for
    for tier in ("software", "default"):
        check(x, 30, *topk(backend, x, 30, tier))
        check(x, 30, *topk(backend, x, 30, tier, CHECK=1))
    check(x, 30, *topk(CPUDevice(), x, 30))


def test_a_slice_with_fewer_values_than_k(backend: NativeDevice) -> None:
    x = np.array([[1, np.nan, 3]], np.float32)
    params = {"rows": 1, "n": 3, "k": 2, "slice": 2}
    y = run(backend, "topk", {}, {"x": x}, {"y": ((1, 2, 4), np.uint32)}, params, (2, 1, 1))
    assert y[0, 1].tolist() == [0, 1, 2, 0xFFFFFFFF]
    np.testing.assert_array_equal(y[0, 0].copy().view(np.float32), [1, np.nan, 3, np.nan])


def test_too_many() -> None:
    for k in (0, 4, 129):
        with pytest.raises(ShapeError, match="topk"):
            Tensor(np.zeros((2, 3 if k < 100 else 500))).topk(k)
