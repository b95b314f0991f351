"""Images: 8-bit RGBA, a u32 for each pixel (red lowest), to what a vision model reads."""

import math
from typing import Any

from ..dtype import f32, u32
from .base import OPS, Dispatch, Hardware, Op, check

# Pillow's numbers of filters, which Hugging Face's `resample` has, too
FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def _filter(name: str, x: float) -> float:
    """Weight of a sample at a distance; bicubic: Keys 1981, a = -1/2."""
    x = abs(x)
    if name == "bilinear":
        return max(0.0, 1 - x)
    return (1.5 * x - 2.5) * x * x + 1 if x < 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _resize_axis(np: Any, x: Any, axis: int, size: int, name: str) -> Any:
    """One pass of Pillow: weights of 22 bits, sums rounded to 8 bits."""
    scale = x.shape[axis] / size
    moved = np.moveaxis(x, axis, 0).astype(np.int64)
    if name == "nearest":
        return np.moveaxis(moved[((np.arange(size) + 0.5) * scale).astype(int)], 0, axis)
    stretch = max(1.0, scale)
    rows = []
    for o in range(size):
        center, support = (o + 0.5) * scale, SUPPORT[name] * stretch
        first, last = max(0, int(center - support + 0.5)), min(len(moved), int(center + support + 0.5))
        weights = np.array([_filter(name, (s - center + 0.5) / stretch) for s in range(first, last)])
        exact = np.floor(weights / weights.sum() * (1 << 22) + 0.5).astype(np.int64)
        total = np.tensordot(exact, moved[first:last], 1) + (1 << 21)
        rows.append(np.clip(total >> 22, 0, 255))
    return np.moveaxis(np.stack(rows), 0, axis)


def _resize_shape(arg: dict, x: Any) -> tuple:
    check(x.dtype is u32 and len(x.shape) == 2 and min(*x.shape, *arg["size"]) > 0, "resize", x)
    check(max(*x.shape, *arg["size"]) < 1 << 15, "resize (sides below 32768)", x)
    return tuple(arg["size"]), u32


def _resize_definition(np: Any, arg: dict, x: Any) -> Any:
    pixels = np.ascontiguousarray(x).view(np.uint8).reshape(*x.shape, 4)
    for axis in (1, 0):
        if pixels.shape[axis] != arg["size"][axis]:
            pixels = _resize_axis(np, pixels, axis, arg["size"][axis], FILTERS[arg["resample"]])
    return np.ascontiguousarray(pixels.astype(np.uint8)).view(np.uint32)[..., 0]


def _resize(hw: Hardware, node: Any) -> list[Dispatch]:
    """Along the rows, then along the columns, as Pillow (before 13: always); an axis that stays needs no pass."""
    (x,) = node.src
    spec = {"FILTER": f"{node.arg['resample']}u"}
    axes = [axis for axis in (1, 0) if x.shape[axis] != node.shape[axis]] or [1]
    source, shape, dispatches = x, list(x.shape), []
    for axis in axes:
        shape[axis] = node.shape[axis]
        target = node if axis == axes[-1] else node.node("temp", shape=shape, dtype=u32)
        count = math.prod(shape)
        params: dict[str, int | float] = {"count": count, "size": x.shape[axis], "out_size": shape[axis]}
        params["step"] = math.prod(shape[axis + 1 :])
        dispatches.append(Dispatch("resize", [source, target], params, hw.grid(-(-count // 64)), spec))
        source = target
    return dispatches


OPS["resize"] = Op(_resize_shape, _resize_definition, _resize)


def _pixel_values_shape(arg: dict, x: Any, target: Any) -> tuple:
    check(x.dtype is u32 and len(x.shape) == 2, "pixel_values", x, target)
    check(target.dtype is f32 and len(target.shape) == 4 and target.shape[-1] == 3, "pixel_values", x, target)
    return target.shape, f32


def _pixel_values_definition(np: Any, arg: dict, x: Any, target: Any) -> Any:
    pixels = np.ascontiguousarray(x).view(np.uint8).reshape(*x.shape, 4)[..., :3].astype(np.float32)
    _, height, width, _ = target.shape
    cut = np.zeros((height, width, 3), np.float32)
    top, left = max(0, arg["top"]), max(0, arg["left"])
    seen = pixels[top : max(0, arg["top"] + height), left : max(0, arg["left"] + width)]
    row, column = top - arg["top"], left - arg["left"]
    cut[row : row + seen.shape[0], column : column + seen.shape[1]] = seen
    target[arg["index"]] = cut * np.float32(arg["scale"]) + np.float32(arg["offset"])
    return target


def _pixel_values(hw: Hardware, node: Any) -> list[Dispatch]:
    x, target = node.src
    arg, (_, height, width, _) = node.arg, target.shape
    params = {"height": x.shape[0], "width": x.shape[1], "out_height": height, "out_width": width}
    params |= {"index": arg["index"], "top": arg["top"], "left": arg["left"]}
    params |= {f"scale_{c}": v for c, v in zip("rgb", arg["scale"], strict=True)}
    params |= {f"offset_{c}": v for c, v in zip("rgb", arg["offset"], strict=True)}
    return [Dispatch("pixel_values", [x, target], params, hw.grid(-(-height * width // 64)))]


# Image number `index` of target [N, H, W, 3] becomes byte * scale + offset of x from row `top` and column `left` on,
# where what lies outside of x counts as 0
OPS["pixel_values"] = Op(_pixel_values_shape, _pixel_values_definition, _pixel_values, inplace=1)
