"""elementwise: the generated epilogue in one workgroup, in many and in a folded grid."""

import math

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close


@pytest.mark.parametrize("count, wg", [(1, 64), (3, 64), (127, 64), (129, 64), (65535 * 32 + 5, 32)])
def test_identity_is_exact(backend: NativeDevice, rng: np.random.Generator, count: int, wg: int) -> None:
    x = rng.standard_normal(count).astype(np.float32)
    groups = -(-count // wg)
    grid = (min(groups, 65535), -(-groups // 65535), 1)
    y = run(backend, "elementwise", {"WG": wg}, {"x": x}, {"y": (count,)}, {"count": count}, grid)
    assert (y == x).all()


def test_epilogue_with_two_inputs(backend: NativeDevice, rng: np.random.Generator) -> None:
    x, a, b = rng.standard_normal((3, 200)).astype(np.float32)
    y = run(
        backend, "elementwise", {}, {"x": x}, {"y": (200,)}, {"count": 200}, (4, 1, 1),
        epilogue="return max(v, e0[i]) * e1[i / 2u];", extra=[a, b],
    )  # fmt: skip
    assert (y == np.maximum(x, a) * b[np.arange(200) // 2]).all()


def test_gelu(backend: NativeDevice, rng: np.random.Generator) -> None:
    """An epilogue may call a function of kernels/functions."""
    x = np.concatenate([rng.uniform(-6, 6, 999), [0.0, -40.0, 40.0]]).astype(np.float32)
    y = run(
        backend, "elementwise", {}, {"x": x}, {"y": x.shape}, {"count": x.size}, (16, 1, 1), epilogue="return gelu(v);"
    )
    expected = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()])
    assert_close(y, expected, np.abs(x) + 1e-6)
