"""rms_norm, head_norm, layer_norm and group_norm against NumPy in float64."""

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close


def normed(x: np.ndarray, g: np.ndarray, eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * g


@pytest.mark.parametrize("wg", ["4u", "128u"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 3), (2, 127), (5, 129), (1, 576), (3, 1536)])
def test_rms_norm(backend: NativeDevice, rng: np.random.Generator, wg: str, rows: int, cols: int) -> None:
    x = (rng.standard_normal((rows, cols)) * 10 ** rng.uniform(-3, 3)).astype(np.float32)
    g = rng.standard_normal(cols).astype(np.float32)
    params = {"rows": rows, "cols": cols, "eps": 1e-5}
    y = run(backend, "rms_norm", {"WG": wg}, {"x": x, "g": g}, {"y": (rows, cols)}, params, (rows, 1, 1))
    expected = normed(x, g, 1e-5)
    assert_close(y, expected, np.abs(expected))


def test_many_rows_fold_the_grid(backend: NativeDevice, rng: np.random.Generator) -> None:
    rows, cols = 65535 + 3, 2
    x, g = rng.standard_normal((rows, cols)).astype(np.float32), np.ones(cols, np.float32)
    params = {"rows": rows, "cols": cols, "eps": 1e-5}
    y = run(backend, "rms_norm", {"WG": 16}, {"x": x, "g": g}, {"y": (rows, cols)}, params, (65535, 2, 1))
    expected = normed(x, g, 1e-5)
    assert_close(y, expected, np.abs(expected))


def test_epilogue(backend: NativeDevice, rng: np.random.Generator) -> None:
    x, e0 = rng.standard_normal((2, 3, 130)).astype(np.float32)
    g = rng.standard_normal(130).astype(np.float32)
    y = run(
        backend, "rms_norm", {}, {"x": x, "g": g}, {"y": (3, 130)}, {"rows": 3, "cols": 130, "eps": 1e-6},
        (3, 1, 1), epilogue="return v + e0[i];", extra=[e0],
    )  # fmt: skip
    expected = normed(x, g, 1e-6) + e0
    assert_close(y, expected, np.abs(expected) + np.abs(e0))


@pytest.mark.parametrize("wg", ["4u", "128u"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 3), (2, 127), (5, 129), (1, 384), (3, 1536)])
def test_layer_norm(backend: NativeDevice, rng: np.random.Generator, wg: str, rows: int, cols: int) -> None:
    """Also with a large mean: the error is that of x, relative to its deviation."""
    for mean in (0.0, 30.0):
        x = (rng.standard_normal((rows, cols)) + mean).astype(np.float32)
        g, b = rng.standard_normal((2, cols)).astype(np.float32)
        params = {"rows": rows, "cols": cols, "eps": 1e-5}
        inputs = {"x": x, "g": g, "b": b}
        y = run(backend, "layer_norm", {"WG": wg}, inputs, {"y": (rows, cols)}, params, (rows, 1, 1))
        about = x.astype(np.float64) - x.mean(-1, keepdims=True, dtype=np.float64)
        deviation = np.sqrt((about**2).mean(-1, keepdims=True) + 1e-5)
        assert_close(y, about / deviation * g + b, (np.abs(x) + np.abs(about)) / deviation * np.abs(g) + np.abs(b))


def grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """The reference for [N, P, C], with groups as PyTorch forms them: channels before positions, [N, groups, ...]."""
    return np.moveaxis(x.astype(np.float64), -1, 1).reshape(len(x), groups, -1)


@pytest.mark.parametrize("wg", ["4u", "256u"])
@pytest.mark.parametrize(
    ("n", "positions", "channels", "groups"), [(1, 1, 1, 1), (2, 3, 6, 3), (1, 129, 127, 1), (3, 127, 64, 32)]
)
def test_group_norm(
    backend: NativeDevice, rng: np.random.Generator, wg: str, n: int, positions: int, channels: int, groups: int
) -> None:
    for mean in (0.0, 30.0):
        x = (rng.standard_normal((n, positions, channels)) + mean).astype(np.float32)
        g, b = rng.standard_normal((2, channels)).astype(np.float32)
        params = {"positions": positions, "channels": channels, "groups": groups, "eps": 1e-5}
        inputs = {"x": x, "g": g, "b": b}
        y = run(backend, "group_norm", {"WG": wg}, inputs, {"y": x.shape}, params, (groups, n, 1))
        about = grouped(x, groups) - grouped(x, groups).mean(-1, keepdims=True)
        deviation = np.sqrt((about**2).mean(-1, keepdims=True) + 1e-5)
        # the mean errs with the magnitudes that are summed, and with the root of the additions of an invocation
        additions = max(100, positions * channels // groups // int(wg[:-1]))
        mean_error = np.abs(grouped(x, groups)).mean(-1, keepdims=True) * np.sqrt(additions / 100)
        expected, scale = (
            np.moveaxis((part / deviation).reshape(n, channels, positions), 1, -1)
            for part in (about, np.abs(grouped(x, groups)) + np.abs(about) + mean_error)
        )
        assert_close(y, expected * g + b, scale * np.abs(g) + np.abs(b))


@pytest.mark.parametrize("wg", ["4u", "64u"])
@pytest.mark.parametrize(("rows", "heads", "kv_heads", "head_dim"), [(1, 1, 1, 1), (3, 4, 2, 127), (2, 3, 1, 129)])
def test_head_norm(
    backend: NativeDevice, rng: np.random.Generator, wg: str, rows: int, heads: int, kv_heads: int, head_dim: int
) -> None:
    x = rng.standard_normal((rows, heads + 2 * kv_heads, head_dim)).astype(np.float32) * 7
    g = rng.standard_normal((2, head_dim)).astype(np.float32)
    params = {"rows": rows, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "eps": 1e-6}
    grid = (-(-rows * (heads + 2 * kv_heads) // 2), 2, 1)  # folded
    y = run(backend, "head_norm", {"WG": wg}, {"x": x, "g": g}, {"y": x.shape}, params, grid)
    expected = x.astype(np.float64)
    expected[:, :heads] = normed(x[:, :heads], g[0], 1e-6)
    expected[:, heads : heads + kv_heads] = normed(x[:, heads : heads + kv_heads], g[1], 1e-6)
    assert_close(y, expected, np.abs(expected))
