"""Causal attention over a key/value cache, the cache's update and the rotary position embedding, in one kernel or
several."""

import math
from typing import Any

from ..dtype import f32, u32
from .base import OPS, Dispatch, Hardware, Op, check, picked, rows
from .linear import blocks
from .rows import softmax

MATRIX_ROWS = 64  # attention_matrix is used for at least this many rows
MATRIX_WORKGROUPS = 100  # with fewer workgroups, attention_matrix is cut into smaller ones
SPLITS = 16  # parts of a long context in attention_split and attention_step


def rotation(np: Any, rope_table: Any, position: int) -> Any:
    """cos + i sin of each pair at a position, from the two-part table of kernels/rope.wgsl."""
    parts = rope_table[..., 0] + 1j * rope_table[..., 1]
    return parts[position & 63] * parts[64 + (position >> 6)]


def rotate(np: Any, x: Any, angles: Any, interleaved: bool) -> Any:
    """x [..., D] with the pairs of its first R elements rotated by `angles` [R/2], cos + i sin (arXiv:2104.09864)."""
    half, end = len(angles), 2 * len(angles)
    low, high = (slice(0, end, 2), slice(1, end, 2)) if interleaved else (slice(half), slice(half, end))
    turned = (x[..., low] + 1j * x[..., high]) * angles
    out = x.copy()
    out[..., low], out[..., high] = turned.real, turned.imag
    return out


def _rope(node: Any) -> dict[str, Any]:
    """The spec of kernels/rope.wgsl."""
    return {"INTERLEAVED": node.arg["interleaved"], "ROTARY": f"{2 * node.src[2].shape[1]}u"}


def _angles(node: Any) -> int:
    """The bytes of the table that one position reads: cos and sin of each pair in two of its rows."""
    return 16 * node.src[2].shape[1]


def _heads(arg: dict, kcache: Any) -> tuple[int, int, int, int]:
    kv_heads, context, half = kcache.shape
    return arg["heads"], kv_heads, 2 * half, context


def _kv_update_shape(arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> tuple:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    check(kcache.shape == vcache.shape and qkv.shape[-1] == (heads + 2 * kv_heads) * dim, "kv_update", qkv, kcache)
    return kcache.shape, u32


def _kv_update_definition(np: Any, arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> Any:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    split = qkv.reshape(len(qkv), heads + 2 * kv_heads, dim)
    for t, row in enumerate(split):
        position = int(state[0]) + t
        keys = rotate(np, row[heads : heads + kv_heads], rotation(np, rope_table, position), arg["interleaved"])
        kcache[:, position] = keys.astype(np.float16).view(np.uint32)
        vcache[:, position] = row[heads + kv_heads :].astype(np.float16).view(np.uint32)
    return kcache


def _kv_update(hw: Hardware, node: Any) -> list[Dispatch]:
    qkv, state, rope_table, kcache, vcache = node.src
    heads, kv_heads, dim, context = _heads(node.arg, kcache)
    params = {"rows": qkv.shape[0], "heads": heads, "kv_heads": kv_heads, "head_dim": dim, "context": context}
    grid = hw.grid(-(-qkv.shape[0] * kv_heads * dim // 2 // 64))
    spec = _rope(node)
    touched = dict.fromkeys((3, 4), 2 * qkv.shape[0] * kv_heads * dim) | {2: _angles(node) * qkv.shape[0]}
    return [Dispatch("kv_update", [qkv, state, rope_table, kcache, vcache], params, grid, spec, touched=touched)]


OPS["kv_update"] = Op(
    _kv_update_shape, _kv_update_definition, _kv_update, inplace=3, writes=(4,), stored={3: "f2", 4: "f2"}
)


def _head_norm_shape(arg: dict, qkv: Any, weight: Any) -> tuple:
    heads, dim = arg["heads"] + 2 * arg["kv_heads"], weight.shape[0] // 2
    check(qkv.dtype is f32 and weight.dtype is f32 and weight.shape == (2 * dim,), "head_norm", qkv, weight)
    check(qkv.shape[-1] == heads * dim, "head_norm", qkv, weight)
    return qkv.shape, f32


def _head_norm_definition(np: Any, arg: dict, qkv: Any, weight: Any) -> Any:
    heads, kv_heads = arg["heads"], arg["kv_heads"]
    out = qkv.reshape(len(qkv), heads + 2 * kv_heads, -1).copy()
    gains = np.repeat(weight.reshape(2, 1, -1), [heads, kv_heads], axis=0)[:, 0]
    turned = out[:, : heads + kv_heads]
    turned *= gains / np.sqrt((turned * turned).mean(-1, keepdims=True) + np.float32(arg["eps"]))
    return out.reshape(qkv.shape)


def _head_norm(hw: Hardware, node: Any) -> list[Dispatch]:
    qkv, weight = node.src
    heads, kv_heads, dim = node.arg["heads"], node.arg["kv_heads"], weight.shape[0] // 2
    params = {"rows": rows(qkv), "heads": heads, "kv_heads": kv_heads, "head_dim": dim, "eps": node.arg["eps"]}
    count = rows(qkv) * (heads + 2 * kv_heads)
    return [Dispatch("head_norm", [qkv, weight, node], params, hw.grid(count), hw.workgroup(4))]


OPS["head_norm"] = Op(_head_norm_shape, _head_norm_definition, _head_norm, flops=lambda n: 4 * math.prod(n.shape))


def _attention_shape(arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> tuple:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    check(qkv.shape[-1] == (heads + 2 * kv_heads) * dim and heads % kv_heads == 0, "attention", qkv, kcache)
    check(dim % 2 == 0 and dim <= 256, "attention (needs heads of an even size up to 256)", qkv, kcache)
    return (qkv.shape[0], heads * dim), f32


def _attention_definition(np: Any, arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> Any:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    out = np.empty((len(qkv), heads * dim), np.float32)
    for t, row in enumerate(qkv):
        position = int(state[0]) + t
        q = rotate(np, row[: heads * dim].reshape(heads, dim), rotation(np, rope_table, position), arg["interleaved"])
        keys, values = (c[:, : position + 1].view(np.float16).astype(np.float32) for c in (kcache, vcache))
        q = q.reshape(kv_heads, heads // kv_heads, dim)
        scores = softmax(np, {}, q @ keys.transpose(0, 2, 1) / np.float32(dim**0.5))
        out[t] = (scores @ values).reshape(-1)
    return out


ATTENTIONS = (
    "attention", "attention_split", "attention_serial", "attention_step", "attention_step_linear", "attention_matrix",
)  # fmt: skip
STEP_WEIGHTS = 128 << 10  # bytes of weights a head, up to which attention_step_linear is quicker


def _absorbs(hw: Hardware, node: Any) -> list[list[Any]]:
    """The kv_update before an attention of one row; in small models also the linear before that and its norm."""
    _, _, dim, _ = _heads(node.arg, node.src[3])
    stem = picked("attention", "attention_step", ATTENTIONS)
    fits = hw.tier == "subgroups" and node.src[0].shape[0] == 1 and dim % 8 == 0
    if not fits or not stem.startswith("attention_step") or node.src[3].op != "kv_update":
        return []
    product = node.src[0]
    return [[node.src[3]], *([[product, product.src[0]]] if _fits_linear(hw, node, product, dim) else [])]


def _fits_linear(hw: Hardware, node: Any, product: Any, dim: int) -> bool:
    """Whether attention_step_linear can compute the linear `product` and the rms_norm before it, and is faster."""
    if product.op != "linear" or len(product.src) != 2 or product.src[0].op != "rms_norm" or node.arg["long"]:
        return False
    weight = product.src[1]
    items = 3 * dim * weight.shape[1] // 32
    storage = 4 * items + 80 * weight.shape[1] // 32 + 256 // hw.lanes * dim * 4 + 2048
    few = weight.dtype.quantised and weight.dtype.file_size(32 * items) <= STEP_WEIGHTS and storage <= hw.storage
    stem = picked("attention", "attention_step_linear" if few else "attention_step", ATTENTIONS)
    return stem == "attention_step_linear"


def _attention_step(hw: Hardware, node: Any, norm: Any = None) -> list[Dispatch]:
    """Attention of one row with the kv_update before it; with `norm` also the linear before that and its rms_norm."""
    qkv, state, rope_table, kcache, vcache = node.src
    heads, kv_heads, dim, context = _heads(node.arg, kcache)
    abreast, splits = math.gcd(dim // 8, 16, hw.lanes), SPLITS if node.arg["long"] else 1
    if abreast > 1 and abreast == dim // 8:
        abreast //= 2  # two eights an invocation
    size = min(256, hw.invocations)
    while size // hw.lanes * dim * 4 > hw.storage - 2048:
        size //= 2
    spec = _rope(node) | {"HEAD_DIM": dim, "ABREAST": abreast, "LANES": min(hw.lanes, 32)}
    spec |= {"WG": size, "SPLIT": splits > 1}
    params = {"heads": heads, "kv_heads": kv_heads, "context": context, "splits": splits, "scale": dim**-0.5}
    position = (4 * kv_heads * dim, 4 * heads * dim)
    new, table = 2 * kv_heads * dim, _angles(node)  # bytes written to each cache, bytes read from the table
    if norm is not None:
        weight = qkv.src[1]
        spec |= {"FORMAT": weight.dtype.name, "K": weight.shape[1]}
        params |= {"blocks": blocks(weight), "eps": norm.arg["eps"]}
        bind = [*norm.src, weight, state, rope_table, kcache, vcache, node]
        touched = {4: table, 5: new, 6: new}
        stem = "attention_step_linear"
        return [Dispatch(stem, bind, params, (1, heads, 1), spec, bake=True, touched=touched, per_position=position)]
    target = node.node("temp", shape=(1, heads, splits, dim + 2)) if splits > 1 else node
    bind, touched = [qkv, state, rope_table, kcache, vcache, target], {2: table, 3: new, 4: new}
    grid = (splits, heads, 1)
    step = Dispatch("attention_step", bind, params, grid, spec, bake=True, touched=touched, per_position=position)
    return [step, *attention_merge(target, node, heads, dim)] if splits > 1 else [step]


def attention_merge(parts: Any, node: Any, heads: int, dim: int) -> list[Dispatch]:
    """Joins the parts [rows, heads, slices, dim + 2] that the slices of the keys computed."""
    count, _, splits, _ = parts.shape
    params = {"rows": count, "heads": heads, "head_dim": dim, "splits": splits}
    return [Dispatch("attention_merge", [parts, node], params, (-(-dim // 64), heads, count), bake=True)]


def _attention(hw: Hardware, node: Any, update: Any = None, product: Any = None, norm: Any = None) -> list[Dispatch]:
    if update is not None:
        return _attention_step(hw, node, norm)
    qkv, state, rope_table, kcache, vcache = node.src
    heads, kv_heads, dim, context = _heads(node.arg, kcache)
    count = qkv.shape[0]
    params = {"rows": count, "heads": heads, "kv_heads": kv_heads, "head_dim": dim, "context": context}
    params["scale"] = dim**-0.5
    spec = {**_rope(node), **hw.workgroup(max(8, 1 << (dim // 8 - 1).bit_length()))}
    bind = [qkv, state, rope_table, kcache, vcache, node]
    touched = dict.fromkeys((3, 4), 2 * count * kv_heads * dim) | {2: _angles(node) * count}
    read: dict[str, Any] = {"touched": touched, "per_position": (4 * kv_heads * dim, 4 * count * heads * dim)}
    stem = "attention_serial" if dim % 8 else "attention_split" if count == 1 and node.arg["long"] else "attention"
    if hw.matrix and count >= MATRIX_ROWS and dim in (64, 96, 128):
        stem = "attention_matrix"
    stem = picked("attention", stem, ATTENTIONS)
    if stem == "attention_matrix":
        subgroups = 4 if heads * -(-count // 64) >= MATRIX_WORKGROUPS else 2
        spec = _rope(node) | {"HEAD_DIM": f"{dim}u", "SUBGROUPS": f"{subgroups}u"}
        return [Dispatch(stem, bind, params, (heads, -(-count // (16 * subgroups)), 1), spec, **read)]
    if stem == "attention_serial":
        spec.pop("WG", None)
        return [Dispatch(stem, bind, params, hw.grid(-(-count * heads // 4)), spec, **read)]
    if stem == "attention":
        return [Dispatch(stem, bind, params, (heads, count, 1), spec, **read)]
    parts = node.node("temp", shape=(count, heads, SPLITS, dim + 2))
    split = Dispatch(stem, [*bind[:-1], parts], params | {"splits": SPLITS}, (SPLITS, heads, count), spec, **read)
    return [split, *attention_merge(parts, node, heads, dim)]


OPS["attention"] = Op(_attention_shape, _attention_definition, _attention, absorbs=_absorbs)
