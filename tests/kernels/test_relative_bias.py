"""The bias of scores by distance against NumPy: the kernel, and the op on every device."""

import numpy as np
import pytest
from tensortab import Tensor
from tensortab.device.native import NativeDevice

from tests.core.conftest import device  # noqa: F401
from tests.kernels.harness import run


def reference(table: np.ndarray, buckets: np.ndarray, position: int, rows: int, columns: int) -> np.ndarray:
    far, y = len(buckets) // 2, np.zeros((table.shape[1], rows, columns), np.float32)
    for h, t, s in np.ndindex(y.shape):
        distance = min(max(s - t - position, -far), far)
        y[h, t, s] = table[buckets[distance + far], h]
    return y


@pytest.mark.parametrize(("heads", "rows", "columns", "far"), [(1, 1, 1, 1), (3, 5, 129, 20), (8, 127, 65, 128)])
def test_relative_bias(
    backend: NativeDevice, rng: np.random.Generator, heads: int, rows: int, columns: int, far: int
) -> None:
    table = rng.standard_normal((7, heads)).astype(np.float32)
    buckets, position = rng.integers(0, 7, 2 * far + 1).astype(np.uint32), int(rng.integers(0, 100))
    inputs = {"table": table, "buckets": buckets, "position": np.array([position], np.uint32)}
    params = {"heads": heads, "rows": rows, "cols": columns, "far": far}
    grid = (-(-heads * rows * columns // 64), 1, 1)
    y = run(backend, "relative_bias", {}, inputs, {"y": (heads, rows, columns)}, params, grid)
    assert np.array_equal(y, reference(table, buckets, position, rows, columns))


def test_the_op(device, rng: np.random.Generator) -> None:  # noqa: F811
    table, buckets = rng.standard_normal((4, 3)).astype(np.float32), rng.integers(0, 4, 41).astype(np.uint32)
    y = Tensor(table).relative_bias(Tensor(buckets, "u32"), Tensor([9], "u32"), 33, 50)
    assert np.array_equal(y.numpy(), reference(table, buckets, 9, 33, 50))
