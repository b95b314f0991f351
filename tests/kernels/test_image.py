"""resize and pixel_values against Pillow and against their definitions."""

from pathlib import Path

import numpy as np
import pytest
from tensortab.device.native import NativeDevice
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
    """[H, W] u32 -> [H, W, 4], signed so that differences are."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4).astype(int)


def resized(backend: NativeDevice, x: np.ndarray, size: tuple[int, ...], resample: int) -> np.ndarray:
    for axis in (1, 0):
        shape = list(x.shape)
        shape[axis] = size[axis]
        count = shape[0] * shape[1]
        params = {"count": count, "size": x.shape[axis], "out_size": size[axis], "step": shape[1] if axis == 0 else 1}
        out = {"y": (tuple(shape), np.uint32)}
        x = run(backend, "resize", {"FILTER": f"{resample}u"}, {"x": x}, out, params, (-(-count // 64), 1, 1))
    return x


@pytest.mark.parametrize("resample", [0, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_resize_is_pillows(backend: NativeDevice, case: int, resample: int) -> None:
    want = GOLDEN[f"out{case}.{resample}"]
    y = channels(resized(backend, packed(GOLDEN[f"in{case}"]), want.shape[:2], resample))
    assert (y[..., 3] == 255).all()
    error = np.abs(y[..., :3] - want)
    assert error.max() <= 1 and (error > 0).mean() < 0.01, "only where a sum lies between two values"


@pytest.mark.parametrize("case", CASES)
def test_definition_is_pillows(case: int) -> None:
    for resample in (0, 2, 3):
        want = GOLDEN[f"out{case}.{resample}"]
        y = OPS["resize"].numpy(np, {"size": want.shape[:2], "resample": resample}, packed(GOLDEN[f"in{case}"]))
        assert (channels(y)[..., :3] == want).all()


@pytest.mark.parametrize("resample", [0, 2, 3])
@pytest.mark.parametrize(("shape", "size"), [((101, 67), (37, 89)), ((3, 127), (129, 31)), ((531, 1), (190, 1))])
def test_resize_of_noise(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, size: tuple, resample: int
) -> None:
    """Sizes without common factors: weights like 1/8 have many sums right between two values."""
    x = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    want = OPS["resize"].numpy(np, {"size": size, "resample": resample}, x)
    error = np.abs(channels(resized(backend, x, size, resample)) - channels(want))
    assert error.max() <= 1 and (error > 0).mean() < 0.01


@pytest.mark.parametrize("resample", [2, 3])
def test_a_large_photo(backend: NativeDevice, rng: np.random.Generator, resample: int) -> None:
    """Far from the first pixel f32 is as good."""
    x = rng.integers(0, 1 << 32, (3, 12001), dtype=np.uint32)
    want = OPS["resize"].numpy(np, {"size": (3, 129), "resample": resample}, x)
    error = np.abs(channels(resized(backend, x, (3, 129), resample)) - channels(want))
    assert error.max() <= 1 and (error > 0).mean() < 0.01


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
