"""Changing rows of a table in place: the kernel, and the op with views and lookups on every device."""

import numpy as np
import pytest
from tensortab import Tensor
from tensortab.device.native import NativeDevice

from tests.core.conftest import device  # noqa: F401
from tests.kernels.harness import run


@pytest.mark.parametrize(("batch", "rows", "k", "count"), [(1, 1, 1, 1), (3, 1, 127, 129), (2, 33, 96, 200)])
def test_put(backend: NativeDevice, rng: np.random.Generator, batch: int, rows: int, k: int, count: int) -> None:
    """The rows are columns of a larger matrix; the last id is beyond the table."""
    x = rng.standard_normal((batch, rows, k + 3)).astype(np.float32)
    y = rng.standard_normal((count, k)).astype(np.float32)
    ids = np.append(rng.permutation(count)[: batch * rows - 1], count).astype(np.uint32)
    params = {"batch": batch, "rows": rows, "k": k, "count": count, "x_start": 2, "x_row": k + 3}
    params["x_batch"] = rows * (k + 3)
    got = run(backend, "put", {}, {"x": x, "ids": ids}, {"y": y}, params, (-(-batch * rows * k // 64), 1, 1))
    want = y.copy()
    want[ids[:-1]] = x.reshape(-1, k + 3)[:-1, 2 : 2 + k]
    assert np.array_equal(got, want)


def test_the_op(device, rng: np.random.Generator) -> None:  # noqa: F811
    """A lookup reads the new rows, and the table keeps them."""
    table, x = rng.standard_normal((9, 32)).astype(np.float32), rng.standard_normal((1, 4, 96)).astype(np.float32)
    stored, ids = Tensor(table), [8, 0, 3, 5]
    rows = (Tensor(x) * 2)[:, :, 32:64]
    found = Tensor([[5, 1], [8, 3]], "u32").lookup(stored.put(Tensor(ids, "u32"), rows))
    table[ids] = 2 * x[0, :, 32:64]
    assert np.array_equal(found.numpy(), table[[[5, 1], [8, 3]]])
    assert np.array_equal(stored.numpy(), table)
