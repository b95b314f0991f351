"""Convolutions against their definition in float64: dense, depthwise, grouped, strided, and along one axis."""

import asyncio
import itertools
from typing import Any

import numpy as np
import pytest
from tensortab import Tensor
from tensortab.device.native import NativeDevice
from tensortab.jit import Program
from tensortab.ops import OPS

from tests.kernels.harness import run
from tests.kernels.tolerances import F32, assert_close, assert_within, of_sums, stems


def windows(x: np.ndarray, size: tuple, stride: tuple, padding: tuple) -> np.ndarray:
    """[N, H', W', kh, kw, C] of x [N, H, W, C], one window after the other."""
    top, left, bottom, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    steps = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, stride, strict=True)]
    out = np.empty((len(x), *steps, *size, x.shape[-1]), x.dtype)
    for oy, ox in itertools.product(*map(range, steps)):
        top, left = oy * stride[0], ox * stride[1]
        out[:, oy, ox] = x[:, top : top + size[0], left : left + size[1]]
    return out


def expected(x: np.ndarray, weight: np.ndarray, stride: tuple, padding: tuple, groups: int) -> np.ndarray:
    """y [N, H', W', O] for weight [O, C / groups, kh, kw], in float64."""
    seen = windows(x.astype(np.float64), weight.shape[2:], stride, padding)
    each_in, each_out = x.shape[-1] // groups, len(weight) // groups
    parts = []
    for g in range(groups):
        part = weight[g * each_out : (g + 1) * each_out].astype(np.float64)
        parts.append(np.einsum("nyxhwc,ochw->nyxo", seen[..., g * each_in : (g + 1) * each_in], part, optimize=True))
    return np.concatenate(parts, -1)


def geometry(x: np.ndarray, steps: tuple, size: tuple, stride: tuple, padding: tuple) -> dict[str, int]:
    _, height, width, channels = x.shape
    return {
        "height": height, "width": width, "channels": channels, "out_height": steps[0], "out_width": steps[1],
        "kernel_height": size[0], "kernel_width": size[1], "stride_y": stride[0], "stride_x": stride[1],
        "top": padding[0], "left": padding[1],
    }  # fmt: skip


def fold(count: int) -> tuple[int, int, int]:
    n = -(-count // 64)
    return min(n, 65535), -(-n // 65535), 1


SIZES = [
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((2, 5, 7, 3), (3, 3), (2, 2), (0, 0, 1, 1)),
    ((1, 9, 6, 4), (3, 5), (1, 2), (1, 2, 1, 2)),
    ((3, 1, 127, 8), (1, 3), (1, 1), (0, 1, 0, 1)),
    ((1, 6, 6, 12), (5, 5), (1, 1), (4, 4, 4, 4)),  # some windows see only zeros in a row
    ((1, 129, 3, 4), (4, 3), (4, 1), (3, 0, 0, 0)),
]


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), SIZES)
def test_unfold(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, size: tuple, stride: tuple, padding: tuple
) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    want = windows(x, size, stride, padding)
    params = geometry(x, want.shape[1:3], size, stride, padding) | {"count": want.size}
    more = {"epilogue": "return v * 2.0;"}
    y = run(backend, "unfold", {}, {"x": x}, {"y": want.shape}, params, fold(want.size), **more)
    assert (y == 2 * want).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("shape", "size", "stride", "padding"), SIZES)
def test_conv(
    backend: NativeDevice, rng: np.random.Generator, groups: int,
    shape: tuple, size: tuple, stride: tuple, padding: tuple,
) -> None:  # fmt: skip
    if shape[-1] % groups:
        shape = (*shape[:-1], groups)
    outputs = groups * int(rng.integers(1, 8))
    x = rng.standard_normal(shape).astype(np.float32)
    weight = rng.standard_normal((outputs, shape[-1] // groups, *size)).astype(np.float32)
    value, scale = (expected(f(x), f(weight), stride, padding, groups) for f in (np.asarray, np.abs))
    e0 = rng.standard_normal(value.shape).astype(np.float32)
    _, height, width, _ = value.shape
    params = geometry(x, (height, width), size, stride, padding) | {"outputs": outputs, "groups": groups}
    params["count"] = len(x) * height * -(-width // 4) * groups * -(-(outputs // groups) // 4)
    w = weight.transpose(2, 3, 1, 0)
    y = run(
        backend, "conv", {}, {"x": x, "w": w}, {"y": value.shape}, params, fold(params["count"]),
        epilogue="return v + e0[i];", extra=[e0],
    )  # fmt: skip
    assert_close(y, value + e0, scale + np.abs(e0))


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), SIZES)
def test_conv_depthwise(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, size: tuple, stride: tuple, padding: tuple
) -> None:
    channels = -(-shape[-1] // 4) * 4
    x = rng.standard_normal((*shape[:-1], channels)).astype(np.float32)
    weight = rng.standard_normal((channels, 1, *size)).astype(np.float32)
    value, scale = (expected(f(x), f(weight), stride, padding, channels) for f in (np.asarray, np.abs))
    e0 = rng.standard_normal(value.shape).astype(np.float32)
    params = geometry(x, value.shape[1:3], size, stride, padding) | {"count": value.size // 4}
    w = weight.transpose(2, 3, 1, 0)
    y = run(
        backend, "conv_depthwise", {}, {"x": x, "w": w}, {"y": value.shape}, params, fold(params["count"]),
        epilogue="return v * 2.0 + e0[i];", extra=[e0],
    )  # fmt: skip
    assert_close(y, 2 * value + e0, 2 * scale + np.abs(e0))


# shape, outputs, size, stride, padding, groups, kernels without linear's
LOWERED = [
    ((2, 3, 5, 64), 24, (1, 1), (1, 1), (0, 0, 0, 0), 1, []),
    ((2, 3, 5, 32), 24, (1, 1), (2, 2), (0, 0, 0, 0), 1, ["unfold"]),
    ((1, 32, 16, 3), 40, (16, 16), (16, 16), (0, 0, 0, 0), 1, ["unfold"]),
    ((1, 9, 9, 3), 16, (3, 3), (2, 2), (0, 0, 1, 1), 1, ["conv"]),
    ((1, 9, 9, 16), 16, (3, 3), (1, 1), (1, 1, 1, 1), 16, ["conv_depthwise"]),
    ((1, 9, 9, 6), 6, (3, 3), (1, 1), (1, 1, 1, 1), 6, ["conv"]),
    ((1, 9, 9, 8), 32, (3, 3), (1, 1), (1, 1, 1, 1), 8, ["conv"]),
]


@pytest.mark.parametrize(("shape", "outputs", "size", "stride", "padding", "groups", "before"), LOWERED)
def test_conv2d(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, outputs: int, size: tuple, stride: tuple,
    padding: tuple, groups: int, before: list[str],
) -> None:  # fmt: skip
    """Tensor.conv with a checkpoint's weight, a bias and ReLU6, which must not need kernels of their own."""
    x = rng.standard_normal(shape).astype(np.float32)
    weight = rng.standard_normal((outputs, shape[-1] // groups, *size)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    order = (2, 3, 1, 0) if "conv" in str(before) else (0, 2, 3, 1)
    stored = Tensor(weight.transpose(order)) if before else Tensor(weight)
    given = stored.permute(*np.argsort(order).tolist()) if before else stored  # without a copy of the weight
    y = Tensor(x).conv(given, Tensor(bias), stride, padding, groups).maximum(0.0).minimum(6.0)
    program = Program(backend, [y])
    assert [s for s in stems(program) if s in ("unfold", "conv", "conv_depthwise", "elementwise")] == before
    value, bound = wanted(program, x, weight, bias, stride, padding, groups)
    assert_within(values(program, y), np.clip(value, 0, 6), bound)


def wanted(
    program: Program, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *geometry: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The convolution with its bias, and the largest error that the plan's last kernel may make."""
    value, one, two = (expected(f(x), f(weight), *geometry) for f in (np.asarray, np.abs, np.square))
    return value + bias, of_sums(stems(program)[-1], one, np.sqrt(two)) + F32 * (np.abs(value) + np.abs(bias))


@pytest.mark.parametrize(("channels", "outputs", "k", "stride", "padding"), [(80, 33, 3, 1, 1), (32, 24, 3, 2, 1)])
def test_conv1d(
    backend: NativeDevice, rng: np.random.Generator, channels: int, outputs: int, k: int, stride: int, padding: int
) -> None:
    x = rng.standard_normal((2, 31, channels)).astype(np.float32)
    weight = rng.standard_normal((outputs, channels, k)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    y = Tensor(x).conv(Tensor(weight), Tensor(bias), (stride,), (padding, padding), 1)
    program = Program(backend, [y])
    arg = ((1, stride), (0, padding, 0, padding), 1)
    value, bound = (v[:, 0] for v in wanted(program, x[:, None], weight[:, :, None], bias, *arg))
    assert y.shape == value.shape
    assert_within(values(program, y), value, bound)


def values(program: Program, y: Tensor) -> np.ndarray:
    async def read() -> bytes:
        await program.load()
        await program.replay()
        assert y.buffer is not None
        return await program.device.read(y.buffer.id, 0, 4 * int(np.prod(y.shape)))

    return np.frombuffer(asyncio.run(read()), np.float32).reshape(y.shape)


@pytest.mark.parametrize("groups", [1, 3])
def test_definition(rng: np.random.Generator, groups: int) -> None:
    """The NumPy definitions in ops/ agree with the references of this file."""
    x = rng.standard_normal((2, 7, 5, 6)).astype(np.float32)
    weight = rng.standard_normal((9, 6 // groups, 3, 2)).astype(np.float32)
    arg = {"stride": (2, 1), "padding": (1, 0, 0, 1), "groups": groups, "size": (3, 2)}
    want = expected(x, weight, arg["stride"], arg["padding"], groups)
    np.testing.assert_allclose(OPS["conv"].numpy(np, arg, x, weight.transpose(2, 3, 1, 0)), want, atol=1e-5)
    rows = windows(x, (3, 2), arg["stride"], arg["padding"])
    assert (OPS["unfold"].numpy(np, arg, x) == rows.reshape(*rows.shape[:3], -1)).all()


def test_shapes_that_do_not_fit() -> None:
    from tensortab.ops import ShapeError

    x = Tensor.of("x", (1, 4, 4, 6))
    for shape, groups in (((8, 5, 3, 3), 1), ((8, 6, 5, 5), 1), ((8, 2, 3, 3), 3), ((8, 6, 3), 1)):
        with pytest.raises(ShapeError):
            x.conv(Tensor.of("w", shape), None, (1, 1), (0, 0, 0, 0), groups)
