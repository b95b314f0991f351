"""From images (8-bit RGBA, a u32 for each pixel, red in the lowest byte) to the input of a vision model."""

import math
from typing import Any

from ..dtype import f32, i32, u32
from .base import OPS, Dispatch, Hardware, Op, check

BITS = 22  # of the fraction in the weights of a resize


def _resize_shape(arg: dict, x: Any, table: Any) -> tuple:
    check(x.dtype is u32 and len(x.shape) == 2 and arg["axis"] in (0, 1), "resize", x, table)
    check(table.dtype is i32 and len(table.shape) == 2 and table.shape[1] > 1, "resize", x, table)
    return (table.shape[0], x.shape[1]) if arg["axis"] == 0 else (x.shape[0], table.shape[0]), u32


def _resize_definition(np: Any, arg: dict, x: Any, table: Any) -> Any:
    pixels = np.ascontiguousarray(x).view(np.uint8).reshape(*x.shape, 4)
    lines = np.moveaxis(pixels, arg["axis"], 0).astype(np.int64)
    seen = np.minimum(table[:, :1] + np.arange(table.shape[1] - 1), len(lines) - 1)
    sums = np.stack([np.tensordot(w, lines[at], 1) for w, at in zip(table[:, 1:].astype(np.int64), seen, strict=True)])
    rounded = np.clip((sums + (1 << BITS - 1)) >> BITS, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(rounded, 0, arg["axis"])).view(np.uint32)[..., 0]


def _resize(hw: Hardware, node: Any) -> list[Dispatch]:
    x, table = node.src
    axis, count = node.arg["axis"], math.prod(node.shape)
    params: dict[str, int | float] = {"count": count, "size": x.shape[axis], "out_size": node.shape[axis]}
    params |= {"step": math.prod(node.shape[axis + 1 :]), "taps": table.shape[1] - 1}
    return [Dispatch("resize", [x, table, node], params, hw.grid(-(-count // 64)))]


# table: for each output along the axis the first pixel that it depends on, and the weights of the pixels from there on
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


# Image `index` of target [N, H, W, 3] becomes byte * scale + offset of the pixels of x from row `top` and column `left`
# on; pixels outside of x are 0
OPS["pixel_values"] = Op(_pixel_values_shape, _pixel_values_definition, _pixel_values, inplace=1, disjoint=True)
