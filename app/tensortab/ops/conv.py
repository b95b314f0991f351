"""Convolutions along one or two axes, with the channels last: x is [N, T, C] or [N, H, W, C]."""

import math
from typing import Any

from ..dtype import f32
from .base import OPS, Dispatch, Hardware, Op, check


def _steps(arg: dict, x: Any, size: tuple[int, ...], op: str) -> tuple[int, ...]:
    """The number of windows of `size` along each axis."""
    axes = len(x.shape) - 2
    check(axes in (1, 2) and axes == len(size) == len(arg["stride"]) == len(arg["padding"]) // 2, op, x)
    before, after = arg["padding"][:axes], arg["padding"][axes:]
    sizes = zip(x.shape[1:-1], before, after, size, arg["stride"], strict=True)
    steps = tuple((n + b + a - k) // s + 1 for n, b, a, k, s in sizes)
    check(min(steps) > 0, f"{op} with windows of {list(size)}", x)
    return steps


def _windows(np: Any, arg: dict, x: Any, size: tuple[int, ...]) -> Any:
    """[N, steps ..., C, size ...]: the elements of each window, with zeros around x."""
    axes = len(size)
    pairs = zip(arg["padding"][:axes], arg["padding"][axes:], strict=True)
    padded = np.pad(x, [(0, 0), *pairs, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, tuple(range(1, axes + 1)))
    return windows[(slice(None), *(slice(None, None, s) for s in arg["stride"]))]


def _params(node: Any, size: tuple[int, ...]) -> dict[str, int | float]:
    """The geometry as parameters of a kernel, which always has two axes."""
    x, arg = node.src[0], node.arg
    one = len(size) == 1
    height, width = (1, *x.shape[1:-1]) if one else x.shape[1:-1]
    out_height, out_width = (1, *node.shape[1:-1]) if one else node.shape[1:-1]
    (kh, kw), (sy, sx) = ((1, *size), (1, *arg["stride"])) if one else (size, arg["stride"])
    top, left = (0, arg["padding"][0]) if one else arg["padding"][:2]
    return {
        "height": height, "width": width, "channels": x.shape[-1], "out_height": out_height, "out_width": out_width,
        "kernel_height": kh, "kernel_width": kw, "stride_y": sy, "stride_x": sx, "top": top, "left": left,
    }  # fmt: skip


def _unfold_shape(arg: dict, x: Any) -> tuple:
    check(x.dtype is f32, "unfold", x)
    return (x.shape[0], *_steps(arg, x, arg["size"], "unfold"), math.prod(arg["size"]) * x.shape[-1]), f32


def _unfold_definition(np: Any, arg: dict, x: Any) -> Any:
    windows = _windows(np, arg, x, arg["size"])
    return np.moveaxis(windows, len(arg["size"]) + 1, -1).reshape(*windows.shape[: len(arg["size"]) + 1], -1)


def _unfold(hw: Hardware, node: Any) -> list[Dispatch]:
    count = math.prod(node.shape)
    params = _params(node, node.arg["size"]) | {"count": count}
    return [Dispatch("unfold", [node.src[0], node], params, hw.grid(-(-count // 64)))]


OPS["unfold"] = Op(_unfold_shape, _unfold_definition, _unfold, fuse=True)


def _conv_shape(arg: dict, x: Any, weight: Any) -> tuple:
    *size, channels, outputs = weight.shape
    groups = arg["groups"]
    check(x.dtype is f32 and weight.dtype is f32 and outputs % groups == 0, "conv", x, weight)
    check(x.shape[-1] == channels * groups, "conv", x, weight)
    return (x.shape[0], *_steps(arg, x, tuple(size), "conv"), outputs), f32


def _conv_definition(np: Any, arg: dict, x: Any, weight: Any) -> Any:
    *size, channels, outputs = weight.shape
    groups = arg["groups"]
    windows = _windows(np, arg, x, tuple(size))
    steps = windows.shape[: len(size) + 1]
    windows = windows.reshape(*steps, groups, channels, -1)
    weight = weight.reshape(-1, channels, groups, outputs // groups)
    return np.einsum("...gck,kcgo->...go", windows, weight, optimize=True).reshape(*steps, outputs)


def _conv(hw: Hardware, node: Any) -> list[Dispatch]:
    x, weight = node.src
    *size, channels, outputs = weight.shape
    groups, params = node.arg["groups"], _params(node, tuple(size))
    pixels = math.prod(node.shape[:-1])
    if channels == 1 and groups == outputs and outputs % 4 == 0:
        stem, count = "conv_depthwise", pixels * outputs // 4
    else:
        stem, count = "conv", pixels // node.shape[-2] * -(-node.shape[-2] // 4) * groups * -(-outputs // groups // 4)
        params |= {"outputs": outputs, "groups": groups}
    return [Dispatch(stem, [x, weight, node], params | {"count": count}, hw.grid(-(-count // 64)))]


# weight: [size ..., C / groups, O], which Tensor.conv makes from the layout of a checkpoint
OPS["conv"] = Op(
    _conv_shape,
    _conv_definition,
    _conv,
    fuse=True,
    flops=lambda node: 2 * math.prod(node.shape) * math.prod(node.src[1].shape[:-1]),
)
