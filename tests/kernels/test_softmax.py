"""softmax, argmax, max, min and sum over the last axis, mean over the one before, for any number of columns."""

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close

SHAPES = [(1, 1), (2, 3), (3, 127), (5, 129), (1, 49152)]


def fold(n: int) -> tuple[int, int, int]:
    return min(n, 65535), -(-n // 65535), 1


@pytest.mark.parametrize("rows, cols", SHAPES)
def test_softmax(backend: NativeDevice, rng: np.random.Generator, rows: int, cols: int) -> None:
    x = (rng.standard_normal((rows, cols)) * 5 + rng.choice([-3000, 0, 3000])).astype(np.float32)
    x[0, 1::3] = -np.inf
    y = run(backend, "softmax", {}, {"x": x}, {"y": (rows, cols)}, {"rows": rows, "cols": cols}, fold(rows))
    gap = np.maximum(x.astype(np.float64) - x.max(-1, keepdims=True), -1000)
    expected = np.exp(gap) / np.exp(gap).sum(-1, keepdims=True)
    assert_close(y, expected, np.maximum(expected * (1 - gap), 1e-30))  # exp errs by the rounding of its argument
    assert (y[0, 1::3] == 0).all()


@pytest.mark.parametrize("rows, cols", [*SHAPES, (65536, 2)])
def test_argmax(backend: NativeDevice, rng: np.random.Generator, rows: int, cols: int) -> None:
    x = rng.integers(-4, 5, (rows, cols)).astype(np.float32) * np.float32(1e30)  # many ties
    x[rng.random((rows, cols)) < 0.1] = -np.inf
    x[0, :] = -0.0 if rows > 2 else x[0, :]
    wg = {"WG": 16} if rows > 100 else {}
    y = run(backend, "argmax", wg, {"x": x}, {"y": ((rows,), np.uint32)}, {"rows": rows, "cols": cols}, fold(rows))
    assert (y == x.argmax(-1)).all()


def test_argmax_never_chooses_nan(backend: NativeDevice) -> None:
    nan, inf = np.nan, np.inf
    x = np.array([[nan, -inf, -1, -nan], [nan, -inf, nan, nan], [nan] * 4, [-1, inf, nan, inf], [-0.0, 0, nan, -0.0]])
    y = run(
        backend, "argmax", {}, {"x": x.astype(np.float32)}, {"y": ((5,), np.uint32)}, {"rows": 5, "cols": 4}, fold(5)
    )
    assert y.tolist() == [2, 1, 0, 1, 0]


@pytest.mark.parametrize("rows, cols", [(1, 4), (3, 128), (5, 4 * 1025), (2, 49152), (65536, 4)])
def test_sum(backend: NativeDevice, rng: np.random.Generator, rows: int, cols: int) -> None:
    x = rng.standard_normal((rows, cols)).astype(np.float32)
    wg = {"WG": 4} if rows > 100 else {}
    y = run(backend, "sum", wg, {"x": x}, {"y": (rows,)}, {"rows": rows, "cols": cols}, fold(rows))
    assert_close(y, x.sum(-1, dtype=np.float64), np.abs(x).sum(-1, dtype=np.float64))


@pytest.mark.parametrize("rows, cols", [*SHAPES, (65536, 2)])
def test_sum_scalar(backend: NativeDevice, rng: np.random.Generator, rows: int, cols: int) -> None:
    x, e0 = rng.standard_normal((rows, cols)).astype(np.float32), rng.standard_normal(rows).astype(np.float32)
    wg = {"WG": 4} if rows > 100 else {}
    params = {"rows": rows, "cols": cols}
    y = run(
        backend, "sum_scalar", wg, {"x": x}, {"y": (rows,)}, params, fold(rows),
        epilogue="return v + e0[i];", extra=[e0],
    )  # fmt: skip
    assert_close(y, x.sum(-1, dtype=np.float64) + e0, np.abs(x).sum(-1, dtype=np.float64) + np.abs(e0))


@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize("rows, cols", [*SHAPES, (65536, 2)])
def test_max(backend: NativeDevice, rng: np.random.Generator, least: bool, rows: int, cols: int) -> None:
    x = (rng.standard_normal((rows, cols)) - rng.choice([-1e30, 0, 1e30])).astype(np.float32)
    spec = {"LEAST": least} | ({"WG": 4} if rows > 100 else {})
    y = run(backend, "max", spec, {"x": x}, {"y": (rows,)}, {"rows": rows, "cols": cols}, fold(rows))
    assert (y == (x.min(-1) if least else x.max(-1))).all()


@pytest.mark.parametrize("wg", ["16u", "256u"])
@pytest.mark.parametrize(("batch", "rows", "cols"), [(1, 1, 1), (3, 49, 17), (2, 3, 129), (1, 1000, 127)])
def test_mean(backend: NativeDevice, rng: np.random.Generator, wg: str, batch: int, rows: int, cols: int) -> None:
    x = rng.standard_normal((batch, rows, cols)).astype(np.float32)
    grid, params = (-(-cols // 16), batch, 1), {"rows": rows, "cols": cols}
    y = run(backend, "mean", {"WG": wg}, {"x": x}, {"y": (batch, cols)}, params, grid, epilogue="return v * 2.0;")
    assert_close(y, 2 * x.mean(-2, dtype=np.float64), 2 * np.abs(x).mean(-2, dtype=np.float64))
