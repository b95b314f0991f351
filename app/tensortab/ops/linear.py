"""Products of x and a weight of any format (`linear`, and the gate after it), and of two tensors (`matmul`)."""

import math
from typing import Any

from ..dtype import f32
from .base import OPS, Dispatch, Hardware, Op, ShapeError, broadcast, check, picked, rows

MATVEC_ROWS = 4  # a matvec kernel is used for up to this many rows, a matmul kernel for more


def _linear_shape(arg: dict, x: Any, *weights: Any) -> tuple:
    for w in weights:
        check(x.dtype is f32 and len(w.shape) == 2 and w.shape[1] == x.shape[-1], "linear", x, w)
        block = max(32, w.dtype.block)
        check(w.shape[1] % block == 0, f"linear (needs a multiple of {block} columns)", x, w)
    return (*x.shape[:-1], sum(w.shape[0] for w in weights)), f32


def blocks(weight: Any) -> int:
    """The number of blocks in a weight's GPU buffer, from which kernels compute where its planes begin."""
    return math.prod(weight.shape) // weight.dtype.block


def linear_stem(hw: Hardware, count: int) -> str:
    """The kernel of `linear` for `count` rows of x."""
    if count > MATVEC_ROWS:
        fast = "matmul_matrix" if hw.matrix else "matmul_half" if hw.f16 else "matmul"
        stem = "matmul_serial" if hw.tier == "software" else fast
    else:
        stem = {"software": "matvec_serial", "default": "matvec", "subgroups": "matvec_int8"}[hw.tier]
    return picked("linear", stem, LINEAR_TILE)


def _absorbs_norm(hw: Hardware, product: Any) -> list[list[Any]]:
    """The norm that computes x, if a matvec can compute it too. On a processor it is cheaper to compute it once."""
    stem, norm = linear_stem(hw, rows(product)), product.src[0]
    if norm.op == "layer_norm":
        plain = stem == "matvec_int8" and not any(w.dtype.quantised for w in product.src[1:])
        return [[norm]] if plain or stem == "matvec_subgroup" else []
    fits = norm.op == "rms_norm" and hw.tier != "software" and stem.startswith("matvec")
    return [[norm]] if fits else []


# kernel of `linear` -> (outputs of a workgroup, of which a gated one has half; rows of x of a workgroup)
LINEAR_TILE = {
    "matvec_serial": (64, 1), "matvec": (8, 1), "matvec_subgroup": (8, 1), "matvec_int8": (0, 1), "matmul": (64, 64),
    "matmul_half": (64, 64), "matmul_serial": (64, 4), "matmul_matrix": (128, 128), "matmul_matrix_small": (32, 32),
}  # fmt: skip
HALVES = ("matmul_half", "matmul_matrix", "matmul_matrix_small", "attention_matrix")  # kernels that multiply in f16
FEW = 32  # with fewer workgroups matmul_matrix_small is faster than matmul_matrix


def _matvec_int8_spec(hw: Hardware, n: int, k: int) -> dict[str, int]:
    """The sizes that were fastest on an H100 (bench/notes.md): several outputs a team if there are enough teams."""
    lanes = min(hw.lanes, 32)
    spec = {"K": k, "LANES": lanes, "WG": min(hw.invocations, 512 if k > 4096 else 256)}
    spec["OUTPUTS"] = 2 if (n >= 4096 or k > 4096) and lanes == 32 else 1
    return spec | {"TILE": (hw.storage - 1024) // 80}


def linear(hw: Hardware, node: Any, norm: Any = None, gate: str = "") -> list[Dispatch]:
    """The dispatches of a linear and what its kernel absorbed. `norm`: the rms_norm or layer_norm that computes x;
    `gate`: the activation of the gate after it."""
    x, *weights = node.src
    gated = bool(gate)
    count, width = rows(x), node.shape[-1] // (2 if gated else 1)
    dispatches, offset = [], 0
    for w in weights:
        stem = linear_stem(hw, count)
        n = w.shape[0] // (2 if gated else 1)
        params = {"rows": count, "n": n, "k": w.shape[1], "blocks": blocks(w), "y_stride": width, "y_offset": offset}
        params |= {"eps": norm.arg["eps"] if norm is not None else 0.0}
        spec: dict[str, Any] = {"FORMAT": w.dtype.name}
        if stem == "matvec_int8" and not w.dtype.quantised:
            stem = "matvec_subgroup"
        source, *gains = norm.src if norm is not None else (x, x)
        bind = [source, w, node]
        if stem.startswith("matvec"):
            layer = len(gains) > 1
            bind.insert(1, gains[0])
            spec |= {"NORM": norm is not None and not layer, "GATED": gated}
            if stem == "matvec_subgroup":
                bind.insert(2, gains[-1])
                spec["LAYER"] = layer
        elif gated:
            spec["GATED"] = True
        if gate not in ("", "silu"):
            spec["GATE"] = gate
        tile, tile_rows = LINEAR_TILE[stem]
        if stem == "matmul_matrix" and -(-w.shape[0] // tile) * -(-count // tile_rows) < FEW:
            stem, (tile, tile_rows) = "matmul_matrix_small", LINEAR_TILE["matmul_matrix_small"]
        outputs = tile // 2 if gated else tile
        if stem == "matvec_int8":
            spec |= _matvec_int8_spec(hw, n, w.shape[1])
            outputs = spec["OUTPUTS"] * spec["WG"] // spec["LANES"]
        grid = hw.grid(-(-n // outputs))
        grid = (grid[0], grid[1], -(-count // tile_rows))
        dispatches.append(Dispatch(stem, bind, params, grid, spec, bake=stem == "matvec_int8"))
        offset += n
    return dispatches


OPS["linear"] = Op(
    _linear_shape,
    lambda np, arg, x, *weights: np.concatenate([x @ w.T for w in weights], -1),
    linear,
    fuse=True,
    flops=lambda node: 2 * math.prod(node.shape) * node.src[0].shape[-1],
    absorbs=_absorbs_norm,
)


GATES = ("silu", "gelu_new")  # the activations that a linear can compute for the gate after it (kernels/gates)


def _gate_shape(arg: dict, x: Any) -> tuple:
    check(x.dtype is f32 and x.shape[-1] % 2 == 0, "gate", x)
    return (*x.shape[:-1], x.shape[-1] // 2), f32


def _gate_definition(np: Any, arg: dict, x: Any) -> Any:
    first, second = np.split(x, 2, -1)
    return OPS[arg["activation"]].numpy(np, {}, first) * second


def _absorbs_linear(hw: Hardware, node: Any) -> list[list[Any]]:
    """The linear with a single weight that computes x, and the nodes that it absorbs."""
    (x,) = node.src
    if x.op != "linear" or len(x.src) != 2 or node.arg["activation"] not in GATES:
        return []
    return [] if linear_stem(hw, rows(x)) in ("matmul", "matmul_serial") else [[x], *_absorbs_norm(hw, x)]


def _gate(hw: Hardware, node: Any, product: Any, norm: Any = None) -> list[Dispatch]:
    dispatches = linear(hw, product, norm, gate=node.arg["activation"])
    for d in dispatches:
        d.bind[-1] = node
    return dispatches


def _gate_decomposed(node: Any) -> Any:
    first, second = node.src[0].split(2)
    return node.apply(node.arg["activation"], first) * second


OPS["gate"] = Op(
    _gate_shape, _gate_definition, _gate, fuse=True, absorbs=_absorbs_linear, decompose=_gate_decomposed
)


def _matmul_shape(arg: dict, a: Any, b: Any) -> tuple:
    check(a.dtype is f32 and b.dtype is f32 and min(len(a.shape), len(b.shape)) > 1, "matmul", a, b)
    check(a.shape[-1] == b.shape[-2], "matmul", a, b)
    return (*broadcast("matmul", a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), f32


MATMULS = ("matmul_batched", "matmul_batched_serial")


def _matmul(hw: Hardware, node: Any) -> list[Dispatch]:
    a, b = node.src
    batch = math.prod(node.shape[:-2])
    for t in (a, b):
        if math.prod(t.shape[:-2]) not in (1, batch):
            raise ShapeError("matmul: an operand's batch axes are broadcast only in part, use expand() on it first")
    (m, k), n = a.shape[-2:], b.shape[-1]
    params = {"m": m, "n": n, "k": k, "batch": batch}
    params |= {
        f"{x}_batch": math.prod(t.shape[-2:]) if math.prod(t.shape[:-2]) > 1 else 0 for x, t in (("a", a), ("b", b))
    }
    stem = picked("matmul", "matmul_batched_serial" if hw.tier == "software" else "matmul_batched", MATMULS)
    tiles = hw.grid(-(-batch * -(-m // 4) * -(-n // 8) // 8))
    grid = tiles if stem == "matmul_batched_serial" else (-(-n // 32), -(-m // 32), batch)
    return [Dispatch(stem, [a, b, node], params, grid)]


OPS["matmul"] = Op(
    _matmul_shape,
    lambda np, arg, a, b: a @ b,
    _matmul,
    fuse=True,
    flops=lambda node: 2 * math.prod(node.shape) * node.src[0].shape[-1],
)
