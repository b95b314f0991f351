"""Operations along the last axis or groups of it: norms, softmax, argmax, topk, sum, max and min; and the mean along
the last axis but one."""

import math
from collections.abc import Callable
from typing import Any

from ..dtype import f32, u32
from .base import OPS, Dispatch, Hardware, Op, ShapeError, check, rows


def _rms_norm_shape(arg: dict, x: Any, weight: Any) -> tuple:
    check(x.dtype is f32 and weight.dtype is f32 and weight.shape == x.shape[-1:], "rms_norm", x, weight)
    return x.shape, f32


def _rms_norm(hw: Hardware, node: Any) -> list[Dispatch]:
    x, weight = node.src
    params = {"rows": rows(x), "cols": x.shape[-1], "eps": node.arg["eps"]}
    return [Dispatch("rms_norm", [x, weight, node], params, hw.grid(rows(x)), hw.workgroup(4))]


OPS["rms_norm"] = Op(
    _rms_norm_shape,
    lambda np, arg, x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(arg["eps"])) * w,
    _rms_norm,
    fuse=True,
    flops=lambda node: 4 * math.prod(node.shape),
)


def _fit(x: Any, weight: Any, bias: Any) -> bool:
    """Whether each column of x has a weight and a bias."""
    return all(t.dtype is f32 for t in (x, weight, bias)) and weight.shape == bias.shape == x.shape[-1:]


def _layer_norm_shape(arg: dict, x: Any, weight: Any, bias: Any) -> tuple:
    check(_fit(x, weight, bias), "layer_norm", x, weight, bias)
    return x.shape, f32


def _layer_norm_definition(np: Any, arg: dict, x: Any, weight: Any, bias: Any) -> Any:
    about = x - x.mean(-1, keepdims=True)
    return about / np.sqrt((about * about).mean(-1, keepdims=True) + np.float32(arg["eps"])) * weight + bias


def _layer_norm(hw: Hardware, node: Any) -> list[Dispatch]:
    x, weight, bias = node.src
    params = {"rows": rows(x), "cols": x.shape[-1], "eps": node.arg["eps"]}
    return [Dispatch("layer_norm", [x, weight, bias, node], params, hw.grid(rows(x)), hw.workgroup(4))]


OPS["layer_norm"] = Op(
    _layer_norm_shape,
    _layer_norm_definition,
    _layer_norm,
    fuse=True,
    flops=lambda node: 8 * math.prod(node.shape),
)


def _group_norm_shape(arg: dict, x: Any, weight: Any, bias: Any) -> tuple:
    whole = len(x.shape) > 1 and x.shape[-1] % arg["groups"] == 0
    check(_fit(x, weight, bias) and whole, "group_norm", x, weight, bias)
    return x.shape, f32


def _group_norm_definition(np: Any, arg: dict, x: Any, weight: Any, bias: Any) -> Any:
    split = x.reshape(x.shape[0], -1, arg["groups"], x.shape[-1] // arg["groups"])
    about = split - split.mean((1, 3), keepdims=True)
    normed = about / np.sqrt((about * about).mean((1, 3), keepdims=True) + np.float32(arg["eps"]))
    return normed.reshape(x.shape) * weight + bias


def _group_norm(hw: Hardware, node: Any) -> list[Dispatch]:
    x, weight, bias = node.src
    params = {"positions": math.prod(x.shape[1:-1]), "channels": x.shape[-1]}
    params |= {"groups": node.arg["groups"], "eps": node.arg["eps"]}
    return [Dispatch("group_norm", [x, weight, bias, node], params, (node.arg["groups"], x.shape[0], 1))]


# over all axes but the first, for each group of the last
OPS["group_norm"] = Op(
    _group_norm_shape,
    _group_norm_definition,
    _group_norm,
    fuse=True,
    flops=lambda node: 8 * math.prod(node.shape),
)


def _rows_shape(name: str, reduce: bool) -> Callable:
    def shape(arg: dict, x: Any) -> tuple:
        check(x.dtype is f32 and len(x.shape) > 0 and x.shape[-1] > 0, name, x)
        return (x.shape[:-1], u32) if reduce else (x.shape, f32)

    return shape


def softmax(np: Any, arg: dict, x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _row_kernel(stem: str, **spec: Any) -> Callable:
    def lower(hw: Hardware, node: Any) -> list[Dispatch]:
        (x,) = node.src
        params: dict[str, int | float] = {"rows": rows(x), "cols": x.shape[-1]}
        return [Dispatch(stem, [x, node], params, hw.grid(rows(x)), hw.workgroup(4) | spec)]

    return lower


OPS["softmax"] = Op(_rows_shape("softmax", False), softmax, _row_kernel("softmax"), fuse=True)
OPS["argmax"] = Op(
    _rows_shape("argmax", True),
    lambda np, arg, x: x.argmax(-1).astype(np.uint32),
    _row_kernel("argmax"),
)

MOST = 128  # the largest k for topk


def _topk_shape(arg: dict, x: Any) -> tuple:
    fits = x.dtype is f32 and len(x.shape) > 0 and 1 <= arg["k"] <= min(MOST, x.shape[-1])
    check(fits, f"topk with k = {arg['k']} (at least 1, at most {MOST} and the number of columns)", x)
    return (*x.shape[:-1], 2, arg["k"]), u32


def _topk_definition(np: Any, arg: dict, x: Any) -> Any:
    order = np.lexsort((np.where(np.isnan(x), 0, -x), np.isnan(x)))[..., : arg["k"]]
    values = np.take_along_axis(x, order, -1)
    values = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0))
    return np.stack([values.view(np.uint32), order.astype(np.uint32)], -2)


def _topk(hw: Hardware, node: Any) -> list[Dispatch]:
    """The k largest of each slice of a row, then those of slices of these, until there is one slice."""
    (x,), k, count = node.src, node.arg["k"], rows(node.src[0])
    spec, size = hw.workgroup(4), 1024 if hw.tier == "software" else 4096
    n, slices = x.shape[-1], 0
    dispatches: list[Dispatch] = []
    while slices != 1:
        slices = -(-n // size)
        y = node if slices == 1 else node.node("temp", shape=(count, 2, slices * k), dtype=u32)
        params = {"rows": count, "n": n, "k": k, "slice": size}
        dispatches.append(Dispatch("topk", [x, y], params, hw.grid(count * slices), spec | {"FIRST": not dispatches}))
        x, n = y, slices * k
    return dispatches


OPS["topk"] = Op(_topk_shape, _topk_definition, _topk)


def _reduced(name: str, least: int) -> Callable:
    """The shape rule of a reduction of the last axis, which must have at least `least` elements."""

    def shape(arg: dict, x: Any) -> tuple:
        check(x.dtype is f32 and len(x.shape) > 0, name, x)
        if x.shape[-1] < least:
            raise ShapeError(f"{name}: the {name} of no elements is undefined")
        return x.shape[:-1], f32

    return shape


OPS["max"] = Op(_reduced("max", 1), lambda np, arg, x: x.max(-1), _row_kernel("max"))
OPS["min"] = Op(_reduced("min", 1), lambda np, arg, x: x.min(-1), _row_kernel("max", LEAST=True))


def _sum(hw: Hardware, node: Any) -> list[Dispatch]:
    return _row_kernel("sum_scalar" if node.src[0].shape[-1] % 4 else "sum")(hw, node)


OPS["sum"] = Op(
    _reduced("sum", 0),
    lambda np, arg, x: x.sum(-1),
    _sum,
    fuse=True,
    flops=lambda n: math.prod(n.src[0].shape),
)


def _mean_shape(arg: dict, x: Any) -> tuple:
    check(x.dtype is f32 and len(x.shape) > 1 and x.shape[-2] > 0, "mean", x)
    return (*x.shape[:-2], x.shape[-1]), f32


def _mean(hw: Hardware, node: Any) -> list[Dispatch]:
    (x,) = node.src
    params = {"rows": x.shape[-2], "cols": x.shape[-1]}
    grid = (-(-x.shape[-1] // 16), math.prod(x.shape[:-2]), 1)
    return [Dispatch("mean", [x, node], params, grid, hw.workgroup(16))]


# over the last axis but one
OPS["mean"] = Op(
    _mean_shape, lambda np, arg, x: x.mean(-2), _mean, fuse=True, flops=lambda n: math.prod(n.src[0].shape)
)
