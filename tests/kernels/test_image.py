"""resize and pixel_values against Pillow and against their definitions."""

from pathlib import Path

import numpy as np
import pytest
from tensortab.device.native import NativeDevice
from tensortab.image import weights
from tensortab.ops import OPS

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vision_images.npz")
CASES = [int(name[2:]) for name in GOLDEN.files if name.startswith("in")]


def packed(rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] u8 -> [H, W] u32, opaque."""
    rgba = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], -1)
    return np.ascontiguousarray(rgba).view(np.uint32)[..., 0]


def channels(pixels: np.ndarray) -> np.ndarray:
    """[H, W] u32 -> [H, W, 4], signed, so that differences do not wrap."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4).astype(int)


def resized(backend: NativeDevice | None, x: np.ndarray, size: tuple[int, ...], resample: int) -> np.ndarray:
    """Resized by the kernel, or by its definition if there is no backend."""
    for axis in (1, 0):
        taps = np.array(weights(x.shape[axis], size[axis], resample), np.int32).reshape(size[axis], -1)
        if backend is None:
            x = OPS["resize"].numpy(np, {"axis": axis}, x, taps)
            continue
        shape = list(x.shape)
        shape[axis] = size[axis]
        count = shape[0] * shape[1]
        params = {"count": count, "size": x.shape[axis], "out_size": size[axis], "taps": taps.shape[1] - 1}
        params["step"] = shape[1] if axis == 0 else 1
        out = {"y": (tuple(shape), np.uint32)}
        x = run(backend, "resize", {}, {"x": x, "table": taps}, out, params, (-(-count // 64), 1, 1))
    return x


@pytest.mark.parametrize("resample", [0, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_resize_is_pillows(backend: NativeDevice, case: int, resample: int) -> None:
    """The kernel and the NumPy definition equal Pillow byte for byte."""
    x, want = packed(GOLDEN[f"in{case}"]), GOLDEN[f"out{case}.{resample}"]
    for way in (backend, None):
        y = channels(resized(way, x, want.shape[:2], resample))
        assert (y[..., :3] == want).all() and (y[..., 3] == 255).all()


@pytest.mark.parametrize("resample", [0, 2, 3])
@pytest.mark.parametrize(("shape", "size"), [((101, 67), (37, 89)), ((3, 12001), (5, 129)), ((1, 1), (1, 1))])
def test_resize_of_noise(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, size: tuple, resample: int
) -> None:
    x = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    assert (resized(backend, x, size, resample) == resized(None, x, size, resample)).all()


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(9, 7, 2, 1), (3, 20, -1, 5), (1, 1, -2, -3), (40, 2, 9, 0)]
)
def test_pixel_values(
    backend: NativeDevice, rng: np.random.Generator, height: int, width: int, top: int, left: int
) -> None:
    x = rng.integers(0, 1 << 32, (height, width), dtype=np.uint32)
    before = rng.standard_normal((3, 6, 5, 3)).astype(np.float32)
    scale, offset = rng.uniform(0.1, 2, 3), rng.uniform(-2, 2, 3)
    arg = {"index": 1, "top": top, "left": left, "scale": tuple(scale), "offset": tuple(offset)}
    params = {"height": height, "width": width, "out_height": 6, "out_width": 5, "index": 1, "top": top, "left": left}
    params |= {f"{name}_{c}": v for name in ("scale", "offset") for c, v in zip("rgb", arg[name], strict=True)}
    y = run(backend, "pixel_values", {}, {"x": x}, {"y": before}, params, (1, 1, 1))
    want = np.zeros((6, 5, 3))
    for r in range(6):
        for c in range(5):
            if 0 <= top + r < height and 0 <= left + c < width:
                want[r, c] = channels(x)[top + r, left + c, :3]
    assert (y[[0, 2]] == before[[0, 2]]).all(), "the other images stay"
    assert_close(y[1], want * scale + offset, 300 * scale)
    assert_close(OPS["pixel_values"].numpy(np, arg, x, before.copy())[1], want * scale + offset, 300 * scale)
