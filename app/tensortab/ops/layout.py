"""Joining tensors along an axis, and conversion to another dtype."""

import math
from typing import Any

from ..dtype import DTYPES, f32, i32, u32
from .base import OPS, Dispatch, Hardware, Op, ShapeError, check

NUMBERS = (f32, u32, i32)  # the dtypes of 4 bytes


def _concat_shape(arg: dict, *parts: Any) -> tuple:
    first, axis = parts[0], arg["axis"]
    check(all(t.dtype is first.dtype and t.dtype in NUMBERS for t in parts), "concat", *parts)
    for t in parts:
        if len(t.shape) != len(first.shape) or any(
            a != b for n, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if n != axis
        ):
            raise ShapeError(f"concat: {list(t.shape)} and {list(first.shape)} differ in more than axis {axis}")
    return (*first.shape[:axis], sum(t.shape[axis] for t in parts), *first.shape[axis + 1 :]), first.dtype


def _concat(hw: Hardware, node: Any) -> list[Dispatch]:
    axis, start, dispatches = node.arg["axis"], 0, []
    whole = math.prod(node.shape[axis:])
    for x in node.src:
        count, part = math.prod(x.shape), math.prod(x.shape[axis:])
        if count:
            params: dict[str, int | float] = {"count": count, "part": part, "whole": whole, "start": start}
            dispatches.append(Dispatch("concat", [x, node], params, hw.grid(-(-count // 64))))
        start += part
    return dispatches


OPS["concat"] = Op(_concat_shape, lambda np, arg, *parts: np.concatenate(parts, arg["axis"]), _concat)


def _astype_shape(arg: dict, x: Any) -> tuple:
    check(x.dtype in NUMBERS, f"astype({arg['to']})", x)
    return x.shape, DTYPES[arg["to"]]


def _astype_definition(np: Any, arg: dict, x: Any) -> Any:
    to = {"f32": np.float32, "u32": np.uint32, "i32": np.int32}[arg["to"]]
    if x.dtype.kind != "f":
        return x.astype(to)
    low, high = {"u32": (0, 4294967040), "i32": (-2147483648, 2147483520)}[arg["to"]]
    return np.clip(x, np.float32(low), np.float32(high)).astype(to)


def _astype(hw: Hardware, node: Any) -> list[Dispatch]:
    (x,), count = node.src, math.prod(node.shape)
    spec = {"FROM": f"{NUMBERS.index(x.dtype)}u", "TO": f"{NUMBERS.index(node.dtype)}u"}
    return [Dispatch("astype", [x, node], {"count": count}, hw.grid(-(-count // 64)), spec)]


# truncates towards zero; a number out of range becomes the nearest that both f32 and the dtype can represent
OPS["astype"] = Op(_astype_shape, _astype_definition, _astype)
