"""rms_norm and rms_norm_serial against numpy in float64."""

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close


def norm_grid(kernel: str, rows: int, cols: int) -> tuple[int, int, int]:
    across, fold = min(rows, 65535), -(-rows // 65535)
    return (across, fold, 1) if kernel == "rms_norm" else (-(-cols // 128 // 4), across, fold)


@pytest.mark.parametrize("kernel", ["rms_norm", "rms_norm_serial"])
@pytest.mark.parametrize("rows, cols", [(1, 1), (3, 3), (2, 127), (5, 129), (1, 576), (3, 1536)])
def test_rms_norm(backend: NativeDevice, rng: np.random.Generator, kernel: str, rows: int, cols: int) -> None:
    x = (rng.standard_normal((rows, cols)) * 10 ** rng.uniform(-3, 3)).astype(np.float32)
    g = rng.standard_normal(cols).astype(np.float32)
    params = {"rows": rows, "cols": cols, "eps": 1e-5}
    y = run(backend, kernel, {}, {"x": x, "g": g}, {"y": (rows, cols)}, params, norm_grid(kernel, rows, cols))
    x64 = x.astype(np.float64)
    expected = x64 / np.sqrt((x64**2).mean(-1, keepdims=True) + 1e-5) * g
    assert_close(y, expected, np.abs(expected))


@pytest.mark.parametrize("kernel", ["rms_norm", "rms_norm_serial"])
def test_many_rows_fold_the_grid(backend: NativeDevice, rng: np.random.Generator, kernel: str) -> None:
    rows, cols = 65535 + 3, 2
    x, g = rng.standard_normal((rows, cols)).astype(np.float32), np.ones(cols, np.float32)
    params = {"rows": rows, "cols": cols, "eps": 1e-5}
    spec = {"WG": 16} if kernel == "rms_norm" else {}
    y = run(backend, kernel, spec, {"x": x, "g": g}, {"y": (rows, cols)}, params, norm_grid(kernel, rows, cols))
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-5)
    assert_close(y, expected, np.abs(expected))


@pytest.mark.parametrize("kernel", ["rms_norm", "rms_norm_serial"])
def test_epilogue(backend: NativeDevice, rng: np.random.Generator, kernel: str) -> None:
    x, e0 = rng.standard_normal((2, 3, 130)).astype(np.float32)
    g = rng.standard_normal(130).astype(np.float32)
    y = run(
        backend, kernel, {}, {"x": x, "g": g}, {"y": (3, 130)}, {"rows": 3, "cols": 130, "eps": 1e-6},
        norm_grid(kernel, 3, 130), epilogue="return v + e0[i];", extra=[e0],
    )  # fmt: skip
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-6) * g + e0
    assert_close(y, expected, np.abs(expected) + np.abs(e0))
