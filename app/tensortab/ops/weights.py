"""Operations on weights as they are stored: to dequantize them, to look rows up, to change rows, and to repack the
bytes of a file."""

import math
from typing import Any

from ..dtype import f32, u32
from .base import OPS, Dispatch, Hardware, Op, check, rows
from .linear import blocks


def _dequantize(hw: Hardware, node: Any) -> list[Dispatch]:
    (w,) = node.src
    groups = math.prod(w.shape) // 32
    params = {"groups": groups, "blocks": blocks(w)}
    return [Dispatch("dequantize", [w, node], params, hw.grid(-(-groups // 64)), {"FORMAT": w.dtype.name})]


def _dequantize_shape(arg: dict, w: Any) -> tuple:
    check(math.prod(w.shape) % 32 == 0, "dequantize (needs a multiple of 32 elements)", w)
    return w.shape, f32


OPS["dequantize"] = Op(_dequantize_shape, lambda np, arg, w: w, _dequantize, fuse=True)


def _embedding_shape(arg: dict, tokens: Any, state: Any, *weights: Any) -> tuple:
    check(tokens.dtype is u32 and state.dtype is u32 and len({w.shape[1] for w in weights}) == 1, "embedding", *weights)
    check(len(weights) == 1 or "first" not in arg, "embedding (positions need a single table)", *weights)
    return (arg["rows"], weights[0].shape[1]), f32


def _embedding(hw: Hardware, node: Any) -> list[Dispatch]:
    tokens, state, *weights = node.src
    dispatches, row = [], 0
    for w in weights:
        spec = {"FORMAT": w.dtype.name} | ({"POSITIONS": True} if "first" in node.arg else {})
        params = {"rows": node.shape[0], "k": w.shape[1], "blocks": blocks(w), "row_start": row}
        params["first"] = node.arg.get("first", 0)
        row += w.shape[0]
        params["row_end"] = row
        grid = hw.grid(-(-node.shape[0] * w.shape[1] // 32 // 64))
        dispatches.append(Dispatch("embedding", [tokens, state, w, node], params, grid, spec))
        dispatches[-1].touched = {0: 4 * node.shape[0], 2: w.dtype.file_size(node.shape[0] * w.shape[1])}
    return dispatches


def _embedding_definition(np: Any, arg: dict, tokens: Any, state: Any, *weights: Any) -> Any:
    pos, table = int(state[0]), np.concatenate(weights, 0)
    if "first" in arg:
        return table[np.minimum(arg["first"] + pos + np.arange(arg["rows"]), len(table) - 1)]
    return table[tokens[pos : pos + arg["rows"]]]


# with `first`: the rows of the positions pos, pos + 1, ..., where position 0 has row `first`; tokens are not read
OPS["embedding"] = Op(_embedding_shape, _embedding_definition, _embedding, fuse=True)


def _put_shape(arg: dict, x: Any, ids: Any, table: Any) -> tuple:
    check(x.dtype is f32 and table.dtype is f32 and ids.dtype is u32, "put", x, ids, table)
    check(len(x.shape) == 3 and ids.shape == (rows(x),) and table.shape[1:] == x.shape[2:], "put", x, ids, table)
    return table.shape, f32


def _put_definition(np: Any, arg: dict, x: Any, ids: Any, table: Any) -> Any:
    inside = ids < len(table)
    table[ids[inside]] = x.reshape(len(ids), -1)[inside]
    return table


def _put(hw: Hardware, node: Any) -> list[Dispatch]:
    x, ids, table = node.src
    batch, count, k = x.shape
    params = {"batch": batch, "rows": count, "k": k, "count": table.shape[0], "x_row": x.strides[1]}
    params |= {"x_batch": x.strides[0], "x_start": x.arg["offset"] if x.op == "view" else 0}
    bind, grid = [x.src[0] if x.op == "view" else x, ids, table], hw.grid(-(-batch * count * k // 64))
    return [Dispatch("put", bind, params, grid, touched=dict.fromkeys((0, 2), 4 * batch * count * k))]


OPS["put"] = Op(_put_shape, _put_definition, _put, strided=True, inplace=2)


def _repack_definition(np: Any, arg: dict, source: Any, target: Any) -> Any:
    blocks = source.view(np.uint8).reshape(-1)[arg["offset"] :]
    rows = np.lib.stride_tricks.as_strided(blocks, (arg["count"], arg["size"]), (arg["block"], 1))
    plane = rows.reshape(-1)
    target.view(np.uint8)[arg["start"] : arg["start"] + len(plane)] = plane
    return target


def _repack(hw: Hardware, node: Any) -> list[Dispatch]:
    arg = node.arg
    words = -(-arg["count"] * arg["size"] // 4)
    params = {"src_bytes": arg["block"], "src_offset": arg["offset"], "plane_bytes": arg["size"]}
    params |= {"count": words, "dst_word": arg["start"] // 4}
    return [Dispatch("repack", list(node.src), params, hw.grid(-(-words // 64)))]


# Copies `size` bytes of each of `count` blocks to a plane of a weight (dtype.py). A block has `block` bytes; the bytes
# of the first block are at byte `offset` of the source, the plane begins at byte `start` of the target.
OPS["repack"] = Op(
    lambda arg, source, target: (target.shape, target.dtype), _repack_definition, _repack, inplace=1, disjoint=True
)
