"""Scaled dot product attention without a cache: of encoders, and of decoders over an encoder's output."""

import math
from typing import Any

from ..dtype import f32, u32
from .attention import attention_merge
from .base import OPS, Dispatch, Hardware, Op, check, picked
from .rows import softmax


def _sdpa_shape(arg: dict, q: Any, k: Any, v: Any, *more: Any) -> tuple:
    heads, width = arg["heads"], q.shape[-1]
    check(all(len(t.shape) == 3 and t.dtype is f32 for t in (q, k, v)), "sdpa (needs three f32 [N, T, C])", q, k, v)
    check(k.shape == v.shape == (q.shape[0], k.shape[1], width) and width % heads == 0, "sdpa", q, k, v)
    check(k.shape[1] >= q.shape[1] or not arg["causal"], "sdpa (causal needs at least as many keys as queries)", q, k)
    given = dict(zip(_more(arg), more, strict=True))
    if "lengths" in given:
        check(given["lengths"].dtype is u32 and given["lengths"].shape == q.shape[:1], "sdpa", q, given["lengths"])
    if "bias" in given:
        whole = given["bias"].shape == (heads, q.shape[1], k.shape[1])
        check(whole, "sdpa (needs a bias [H, T, S])", q, k, given["bias"])
    return q.shape, f32


def _more(arg: dict) -> list[str]:
    """The names of the sources after q, k and v."""
    return [name for name in ("lengths", "bias") if arg[name]]


def _sdpa_definition(np: Any, arg: dict, q: Any, k: Any, v: Any, *more: Any) -> Any:
    given = dict(zip(_more(arg), more, strict=True))
    (n, t, width), s, heads = q.shape, k.shape[1], arg["heads"]
    q, k, v = (x.reshape(n, -1, heads, width // heads).transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(arg["scale"]) + given.get("bias", np.float32(0))
    seen = np.ones((n, 1, t, s), bool)
    if "lengths" in given:
        seen &= np.arange(s) < given["lengths"].reshape(n, 1, 1, 1)
    if arg["causal"]:
        seen &= np.arange(s) <= np.arange(t)[:, None] + s - t
    weights = softmax(np, {}, np.where(seen, scores, np.float32(-3.4e38))) * seen
    return (weights @ v).transpose(0, 2, 1, 3).reshape(n, t, width)


def _sdpa(hw: Hardware, node: Any) -> list[Dispatch]:
    q, k, v, *more = node.src
    arg = node.arg
    (n, t, width), s, heads = q.shape, k.shape[1], arg["heads"]
    dim = width // heads
    given = dict(zip(_more(arg), more, strict=True))
    places, bind = {}, []
    for name, x in (("q", q), ("k", k), ("v", v)):
        bind.append(x.src[0] if x.op == "view" else x)
        places[f"{name}_start"] = x.arg["offset"] if x.op == "view" else 0
        places |= {f"{name}_row": x.strides[1], f"{name}_batch": x.strides[0] if n > 1 else 0}
    bind += [given.get("lengths", bind[0]), given.get("bias", bind[0]), node]
    params: dict[str, Any] = {"t": t, "s": s, "heads": heads, "scale": arg["scale"]}
    spec = {"HEAD_DIM": f"{dim}u", "CAUSAL": arg["causal"], "LENGTHS": arg["lengths"], "BIAS": arg["bias"]}
    fours = dim % 4 == 0 and all(place % 4 == 0 for place in places.values())
    stem = picked("sdpa", _stem(hw, t, dim) if fours else "sdpa_serial", KERNELS)
    if stem == "sdpa_serial":
        return [Dispatch(stem, bind, {"n": n} | params | places, hw.grid(-(-n * -(-t // 4) * heads // 16)), spec)]
    params |= {name: place // 4 for name, place in places.items()}
    if stem == "sdpa":
        return [Dispatch(stem, bind, params, (-(-t // 32), heads, n), spec)]
    slices = -(-s // SLICE)
    if slices == 1:
        return [Dispatch(stem, bind, params, (t, heads, n), spec)]
    parts = node.node("temp", shape=(n * t, heads, slices, dim + 2))
    split = Dispatch(stem, [*bind[:-1], parts], params, (t * slices, heads, n), spec | {"SPLIT": True})
    return [split, *attention_merge(parts, node, heads, dim)]


KERNELS = ("sdpa", "sdpa_row", "sdpa_serial")
FEW = 8  # sdpa_row is used for up to this many rows
SLICE = 128  # the keys of a workgroup of sdpa_row


def _stem(hw: Hardware, t: int, dim: int) -> str:
    if hw.tier == "software" or dim > 128:
        return "sdpa_serial"
    if t <= FEW:
        return "sdpa_row"
    return "sdpa" if 256 * dim + 6400 <= hw.storage else "sdpa_serial"


OPS["sdpa"] = Op(
    _sdpa_shape,
    _sdpa_definition,
    _sdpa,
    fuse=True,
    strided=True,
    flops=lambda node: 4 * math.prod(node.shape) * node.src[1].shape[1],
)


def _relative_bias_shape(arg: dict, table: Any, buckets: Any, position: Any) -> tuple:
    whole = buckets.dtype is position.dtype is u32 and buckets.shape[0] % 2 == 1
    check(whole and table.dtype is f32 and len(table.shape) == 2, "relative_bias", table, buckets, position)
    return (table.shape[1], arg["rows"], arg["columns"]), f32


def _relative_bias_definition(np: Any, arg: dict, table: Any, buckets: Any, position: Any) -> Any:
    queries, far = np.arange(arg["rows"]) + int(position[0]), len(buckets) // 2
    distances = np.clip(np.arange(arg["columns"]) - queries[:, None], -far, far)
    return np.moveaxis(table[buckets[distances + far]], -1, 0)


def _relative_bias(hw: Hardware, node: Any) -> list[Dispatch]:
    params = dict(zip(("heads", "rows", "cols"), node.shape, strict=True)) | {"far": node.src[1].shape[0] // 2}
    return [Dispatch("relative_bias", [*node.src, node], params, hw.grid(-(-math.prod(node.shape) // 64)))]


OPS["relative_bias"] = Op(_relative_bias_shape, _relative_bias_definition, _relative_bias)
