"""THE table of operations: name -> shape rule, numpy definition, kernels, flops and bytes.

The numpy definition is what an operation means: the CPU device runs it and tests compare kernels with it.
A kernel choice returns Dispatches; adding an operation is one row here, one kernel file and one row in a test.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .debug import knob
from .dtype import DType, f32, u32
from .sampling import sample

MATVEC_ROWS = 4  # up to so many rows a matvec kernel is used, beyond a matmul
MATRIX_ROWS = 64  # from so many rows on attention_matrix is used
MATRIX_WORKGROUPS = 100  # below, attention_matrix is cut into smaller workgroups
SPLITS = 16  # parts of a long context in attention_split and attention_step


class ShapeError(ValueError):
    """Shapes or dtypes that an operation cannot take."""


@dataclass(frozen=True)
class Hardware:
    """What the choice of kernels depends on."""

    tier: str  # "software" (adapters that run on the processor), "default", "subgroups"
    f16: bool
    max_binding: int
    workgroups: int = 65535
    lanes: int = 0  # neighbouring invocations that are certainly in one subgroup
    invocations: int = 256  # of a workgroup, at most
    storage: int = 16384  # bytes of workgroup memory
    matrix: bool = False  # 16 x 16 x 16 subgroup matrices, f16 with f32 sums, in subgroups of 32

    def workgroup(self, invocations: int) -> dict[str, str]:
        """The spec of a kernel with barriers on a processor, where they cost by the invocation: few of them."""
        return {"WG": f"{invocations}u"} if self.tier == "software" else {}

    def grid(self, workgroups: int) -> tuple[int, int, int]:
        """A one-dimensional count folded into y where it exceeds the limit."""
        rows = -(-workgroups // self.workgroups)
        return (-(-workgroups // rows), rows, 1)


@dataclass
class Dispatch:
    """One kernel with its operands in binding order (outputs included) and parameters."""

    stem: str
    bind: list[Any]
    params: dict[str, int | float]
    grid: tuple[int, int, int]
    spec: dict[str, Any] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)  # what it computes, the result last
    epilogue: str = ""
    extra: list[Any] = field(default_factory=list)  # operands of the epilogue
    bake: bool = False  # parameters are constants of the kernel, which then has no uniform
    touched: dict[int, int] = field(default_factory=dict)  # bytes of an operand, where not all of it is read or written
    a_position: tuple[int, int] = (0, 0)  # bytes and flops more for each position in the cache


@dataclass(frozen=True)
class Op:
    shape: Callable[..., tuple[tuple[int, ...], DType]]
    numpy: Callable[..., Any]
    lower: Callable[..., list[Dispatch]] | None = None  # (hardware, node) -> dispatches; None: elementwise
    expr: str = ""  # elementwise: WGSL of {a} and {b}
    fuse: bool = False  # an elementwise chain may run in this kernel's store
    inplace: int | None = None  # the result is source number `inplace`, changed
    flops: Callable[[Any], int] = lambda node: 0
    writes: tuple[int, ...] = ()  # further sources that are changed


OPS: dict[str, Op] = {}


def broadcast(op: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape, as in NumPy; ShapeError if there is none."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    out = []
    for sizes in zip(*padded, strict=True):
        wide = {n for n in sizes if n != 1}
        if len(wide) > 1:
            raise ShapeError(f"{op}: shapes {[list(s) for s in shapes]} do not broadcast")
        out.append(wide.pop() if wide else 1)
    return tuple(out)


def _check(condition: bool, op: str, *tensors: Any) -> None:
    if not condition:
        raise ShapeError(f"{op}: does not take {', '.join(f'{t.dtype}{list(t.shape)}' for t in tensors)}")


def rows(tensor: Any) -> int:
    """The product of all axes but the last."""
    return math.prod(tensor.shape[:-1])


# elementwise


def _elementwise(name: str, expr: str, numpy: Callable) -> None:
    def shape(arg: dict, *src: Any) -> tuple:
        _check(all(s.dtype is f32 for s in src), name, *src)
        return broadcast(name, *(s.shape for s in src)), f32

    def define(np: Any, arg: dict, *values: Any) -> Any:
        if "value" in arg:
            values = (*values, np.float32(arg["value"]))
        return numpy(np, *(reversed(values) if arg.get("swap") else values))

    OPS[name] = Op(shape, define, expr=expr, fuse=True)


_elementwise("copy", "{a}", lambda np, a: np.array(a))
_elementwise("add", "{a} + {b}", lambda np, a, b: a + b)
_elementwise("sub", "{a} - {b}", lambda np, a, b: a - b)
_elementwise("mul", "{a} * {b}", lambda np, a, b: a * b)
_elementwise("div", "{a} / {b}", lambda np, a, b: a / b)
_elementwise("maximum", "max({a}, {b})", lambda np, a, b: np.maximum(a, b))
_elementwise("minimum", "min({a}, {b})", lambda np, a, b: np.minimum(a, b))
_elementwise("penalise", "select({a} * {b}, {a} / {b}, {a} > 0.0)", lambda np, a, b: np.where(a > 0, a / b, a * b))
_elementwise("neg", "-{a}", lambda np, a: -a)
_elementwise("exp", "exp({a})", lambda np, a: np.exp(a))
_elementwise("log", "log({a})", lambda np, a: np.log(a))
_elementwise("sqrt", "sqrt({a})", lambda np, a: np.sqrt(a))
# WGSL's tanh may overflow for large arguments
_elementwise("tanh", "tanh(clamp({a}, -15.0, 15.0))", lambda np, a: np.tanh(a))
_elementwise("relu", "max({a}, 0.0)", lambda np, a: np.maximum(a, 0))
_elementwise("sigmoid", "1.0 / (1.0 + exp(-{a}))", lambda np, a: 1 / (1 + np.exp(-a)))
_elementwise("silu", "{a} / (1.0 + exp(-{a}))", lambda np, a: a / (1 + np.exp(-a)))
_elementwise(
    "gelu",
    "0.5 * {a} * (1.0 + tanh(clamp(0.7978845608 * ({a} + 0.044715 * {a} * {a} * {a}), -15.0, 15.0)))",
    lambda np, a: 0.5 * a * (1 + np.tanh(0.7978845608 * (a + 0.044715 * a**3))),
)


# rows: norms, softmax, argmax


def _rms_norm_shape(arg: dict, x: Any, weight: Any) -> tuple:
    _check(x.dtype is f32 and weight.dtype is f32 and weight.shape == x.shape[-1:], "rms_norm", x, weight)
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


def _rows_shape(name: str, reduce: bool) -> Callable:
    def shape(arg: dict, x: Any) -> tuple:
        _check(x.dtype is f32 and len(x.shape) > 0 and x.shape[-1] > 0, name, x)
        return (x.shape[:-1], u32) if reduce else (x.shape, f32)

    return shape


def _softmax_definition(np: Any, arg: dict, x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _row_kernel(stem: str) -> Callable:
    def lower(hw: Hardware, node: Any) -> list[Dispatch]:
        (x,) = node.src
        return [Dispatch(stem, [x, node], {"rows": rows(x), "cols": x.shape[-1]}, hw.grid(rows(x)), hw.workgroup(4))]

    return lower


OPS["softmax"] = Op(_rows_shape("softmax", False), _softmax_definition, _row_kernel("softmax"), fuse=True)
OPS["argmax"] = Op(
    _rows_shape("argmax", True),
    lambda np, arg, x: x.argmax(-1).astype(np.uint32),
    _row_kernel("argmax"),
)


def _sum_shape(arg: dict, x: Any) -> tuple:
    _check(x.dtype is f32 and len(x.shape) > 0 and x.shape[-1] % 4 == 0, "sum (columns in fours)", x)
    return x.shape[:-1], f32


OPS["sum"] = Op(_sum_shape, lambda np, arg, x: x.sum(-1), _row_kernel("sum"), flops=lambda n: math.prod(n.src[0].shape))


# products


def _linear_shape(arg: dict, x: Any, *weights: Any) -> tuple:
    for w in weights:
        _check(x.dtype is f32 and len(w.shape) == 2 and w.shape[1] == x.shape[-1], "linear", x, w)
        _check(w.shape[1] % max(32, w.dtype.block) == 0, "linear (columns in whole blocks of 32)", x, w)
    return (*x.shape[:-1], sum(w.shape[0] for w in weights)), f32


def blocks(weight: Any) -> int:
    """Blocks of a weight's GPU buffer, where its planes begin."""
    return math.prod(weight.shape) // weight.dtype.block


def linear_stem(hw: Hardware, count: int) -> str:
    """The kernel of `linear` for `count` rows of x. Only a matvec can take a norm in."""
    if count > MATVEC_ROWS:
        fast = "matmul_matrix" if hw.matrix else "matmul_half" if hw.f16 else "matmul"
        stem = "matmul_serial" if hw.tier == "software" else fast
    else:
        stem = {"software": "matvec_serial", "default": "matvec", "subgroups": "matvec_int8"}[hw.tier]
    return picked("linear", stem, LINEAR_TILE)


# outputs a workgroup (half as many if gated) and rows of x a workgroup, of each kernel of `linear`
LINEAR_TILE = {
    "matvec_serial": (64, 1), "matvec": (8, 1), "matvec_subgroup": (8, 1), "matvec_int8": (0, 1), "matmul": (64, 64),
    "matmul_half": (64, 64), "matmul_serial": (64, 4), "matmul_matrix": (128, 128), "matmul_matrix_small": (32, 32),
}  # fmt: skip
HALVES = ("matmul_half", "matmul_matrix", "matmul_matrix_small", "attention_matrix")  # kernels that multiply in f16
FEW = 32  # workgroups: below, matmul_matrix_small does better than matmul_matrix


def _matvec_int8_spec(hw: Hardware, n: int, k: int) -> dict[str, int]:
    """Shapes that were quickest on an H100 (bench/notes.md): several outputs a team where there are enough teams."""
    lanes = min(hw.lanes, 32)
    spec = {"K": k, "LANES": lanes, "WG": min(hw.invocations, 512 if k > 4096 else 256)}
    spec["OUTPUTS"] = 2 if (n >= 4096 or k > 4096) and lanes == 32 else 1
    return spec | {"TILE": (hw.storage - 1024) // 80}


def linear(hw: Hardware, node: Any, norm: Any = None, gated: bool = False) -> list[Dispatch]:
    """`norm`: the rms_norm node that is x, computed inside; `gated`: the silu_gate after it, too."""
    x, *weights = node.src
    count, width = rows(x), node.shape[-1] // (2 if gated else 1)
    dispatches, offset = [], 0
    for w in weights:
        stem = linear_stem(hw, count)
        n = w.shape[0] // (2 if gated else 1)
        params = {"rows": count, "n": n, "k": w.shape[1], "blocks": blocks(w), "y_stride": width, "y_offset": offset}
        params |= {"eps": norm.arg["eps"] if norm else 0.0}
        spec: dict[str, Any] = {"FORMAT": w.dtype.name}
        if stem == "matvec_int8" and not w.dtype.quantised:
            stem = "matvec_subgroup"
        source, gain = (norm.src[0], norm.src[1]) if norm else (x, x)
        bind = [source, w, node]
        if stem.startswith("matvec"):
            bind.insert(1, gain)
            spec |= {"NORM": norm is not None, "GATED": gated}
        elif gated:
            spec["GATED"] = True
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
)


def _silu_gate_shape(arg: dict, x: Any) -> tuple:
    _check(x.dtype is f32 and x.shape[-1] % 2 == 0, "silu_gate", x)
    return (*x.shape[:-1], x.shape[-1] // 2), f32


def _silu_gate_definition(np: Any, arg: dict, x: Any) -> Any:
    gate, up = np.split(x, 2, -1)
    return gate / (1 + np.exp(-gate)) * up


OPS["silu_gate"] = Op(_silu_gate_shape, _silu_gate_definition)  # schedule.py writes it as views and elementwise


def _matmul_shape(arg: dict, a: Any, b: Any) -> tuple:
    _check(a.dtype is f32 and b.dtype is f32 and min(len(a.shape), len(b.shape)) > 1, "matmul", a, b)
    _check(a.shape[-1] == b.shape[-2], "matmul", a, b)
    return (*broadcast("matmul", a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), f32


def _matmul(hw: Hardware, node: Any) -> list[Dispatch]:
    a, b = node.src
    batch = math.prod(node.shape[:-2])
    for t in (a, b):
        if math.prod(t.shape[:-2]) not in (1, batch):
            raise ShapeError("matmul: expand the batch axes of both sides first")
    (m, k), n = a.shape[-2:], b.shape[-1]
    params = {"m": m, "n": n, "k": k, "batch": batch}
    params |= {
        f"{x}_batch": math.prod(t.shape[-2:]) if math.prod(t.shape[:-2]) > 1 else 0 for x, t in (("a", a), ("b", b))
    }
    return [Dispatch("matmul_batched", [a, b, node], params, (-(-n // 32), -(-m // 32), batch))]


OPS["matmul"] = Op(
    _matmul_shape,
    lambda np, arg, a, b: a @ b,
    _matmul,
    fuse=True,
    flops=lambda node: 2 * math.prod(node.shape) * node.src[0].shape[-1],
)


def _dequantize(hw: Hardware, node: Any) -> list[Dispatch]:
    (w,) = node.src
    groups = math.prod(w.shape) // 32
    params = {"groups": groups, "blocks": blocks(w)}
    return [Dispatch("dequantize", [w, node], params, hw.grid(-(-groups // 64)), {"FORMAT": w.dtype.name})]


OPS["dequantize"] = Op(lambda arg, w: (w.shape, f32), lambda np, arg, w: w, _dequantize, fuse=True)


# a transformer's own


def _embedding_shape(arg: dict, tokens: Any, state: Any, *weights: Any) -> tuple:
    _check(
        tokens.dtype is u32 and state.dtype is u32 and len({w.shape[1] for w in weights}) == 1, "embedding", *weights
    )
    return (arg["rows"], weights[0].shape[1]), f32


def _embedding(hw: Hardware, node: Any) -> list[Dispatch]:
    tokens, state, *weights = node.src
    dispatches, row = [], 0
    for w in weights:
        params = {"rows": node.shape[0], "k": w.shape[1], "blocks": blocks(w), "row_start": row}
        row += w.shape[0]
        params["row_end"] = row
        grid = hw.grid(-(-node.shape[0] * w.shape[1] // 32 // 64))
        dispatches.append(Dispatch("embedding", [tokens, state, w, node], params, grid, {"FORMAT": w.dtype.name}))
        dispatches[-1].touched = {0: 4 * node.shape[0], 2: w.dtype.file_size(node.shape[0] * w.shape[1])}
    return dispatches


def _embedding_definition(np: Any, arg: dict, tokens: Any, state: Any, *weights: Any) -> Any:
    pos = int(state[0])
    return np.concatenate(weights, 0)[tokens[pos : pos + arg["rows"]]]


OPS["embedding"] = Op(_embedding_shape, _embedding_definition, _embedding)


def rotation(np: Any, rope_table: Any, position: int) -> Any:
    """cos + i sin of each pair at a position, from the two-part table of kernels/rope.wgsl."""
    parts = rope_table[..., 0] + 1j * rope_table[..., 1]
    return parts[position & 63] * parts[64 + (position >> 6)]


def rotate(np: Any, x: Any, angles: Any, interleaved: bool) -> Any:
    """x [..., D] with its pairs turned by angles [D/2] (arXiv:2104.09864)."""
    half = x.shape[-1] // 2
    first, second = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = (first + 1j * second) * angles
    out = np.empty_like(x)
    if interleaved:
        out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
    else:
        out[..., :half], out[..., half:] = turned.real, turned.imag
    return out


def _heads(arg: dict, kcache: Any) -> tuple[int, int, int, int]:
    kv_heads, context, half = kcache.shape
    return arg["heads"], kv_heads, 2 * half, context


def _kv_update_shape(arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> tuple:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    _check(kcache.shape == vcache.shape and qkv.shape[-1] == (heads + 2 * kv_heads) * dim, "kv_update", qkv, kcache)
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
    spec = {"INTERLEAVED": node.arg["interleaved"]}
    touched = dict.fromkeys((3, 4), 2 * qkv.shape[0] * kv_heads * dim) | {2: 8 * qkv.shape[0] * dim}
    return [Dispatch("kv_update", [qkv, state, rope_table, kcache, vcache], params, grid, spec, touched=touched)]


OPS["kv_update"] = Op(_kv_update_shape, _kv_update_definition, _kv_update, inplace=3, writes=(4,))


def _attention_shape(arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> tuple:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    _check(qkv.shape[-1] == (heads + 2 * kv_heads) * dim and heads % kv_heads == 0, "attention", qkv, kcache)
    _check(dim % 2 == 0 and dim <= 256, "attention (heads of an even size up to 256)", qkv, kcache)
    return (qkv.shape[0], heads * dim), f32


def _attention_definition(np: Any, arg: dict, qkv: Any, state: Any, rope_table: Any, kcache: Any, vcache: Any) -> Any:
    heads, kv_heads, dim, _ = _heads(arg, kcache)
    out = np.empty((len(qkv), heads * dim), np.float32)
    for t, row in enumerate(qkv):
        position = int(state[0]) + t
        q = rotate(np, row[: heads * dim].reshape(heads, dim), rotation(np, rope_table, position), arg["interleaved"])
        keys, values = (c[:, : position + 1].view(np.float16).astype(np.float32) for c in (kcache, vcache))
        q = q.reshape(kv_heads, heads // kv_heads, dim)
        scores = _softmax_definition(np, {}, q @ keys.transpose(0, 2, 1) / np.float32(dim**0.5))
        out[t] = (scores @ values).reshape(-1)
    return out


ATTENTIONS = (
    "attention", "attention_split", "attention_serial", "attention_step", "attention_step_linear", "attention_matrix",
)  # fmt: skip
STEP_WEIGHTS = 128 << 10  # bytes of weights a head, up to which attention_step_linear is quicker


def takes_update(hw: Hardware, node: Any) -> bool:
    """Whether the kernel of an attention can do the kv_update before it, too."""
    _, _, dim, _ = _heads(node.arg, node.src[3])
    stem = picked("attention", "attention_step", ATTENTIONS)
    fits = hw.tier == "subgroups" and node.src[0].shape[0] == 1 and dim % 8 == 0
    return fits and stem.startswith("attention_step")


def takes_linear(hw: Hardware, node: Any) -> bool:
    """Whether the kernel of an attention that does its kv_update can do the norm and the linear before that, too."""
    product = node.src[0]
    if product.op != "linear" or len(product.src) != 2 or product.src[0].op != "rms_norm" or node.arg["long"]:
        return False
    weight = product.src[1]
    _, _, dim, _ = _heads(node.arg, node.src[3])
    items = 3 * dim * weight.shape[1] // 32
    storage = 4 * items + 80 * weight.shape[1] // 32 + 256 // hw.lanes * dim * 4 + 2048
    few = weight.dtype.quantised and weight.dtype.file_size(32 * items) <= STEP_WEIGHTS and storage <= hw.storage
    stem = picked("attention", "attention_step_linear" if few else "attention_step", ATTENTIONS)
    return stem == "attention_step_linear"


def attention_step(hw: Hardware, node: Any, norm: Any = None) -> list[Dispatch]:
    """Attention of one row and the kv_update before it; with `norm`, also the linear before that and the rms_norm."""
    qkv, state, rope_table, kcache, vcache = node.src
    heads, kv_heads, dim, context = _heads(node.arg, kcache)
    abreast, splits = math.gcd(dim // 8, 16, hw.lanes), SPLITS if node.arg["long"] else 1
    if abreast > 1 and abreast == dim // 8:
        abreast //= 2  # two eights an invocation
    size = min(256, hw.invocations)
    while size // hw.lanes * dim * 4 > hw.storage - 2048:
        size //= 2
    spec = {"INTERLEAVED": node.arg["interleaved"], "HEAD_DIM": dim, "ABREAST": abreast, "LANES": min(hw.lanes, 32)}
    spec |= {"WG": size, "SPLIT": splits > 1}
    params = {"heads": heads, "kv_heads": kv_heads, "context": context, "splits": splits, "scale": dim**-0.5}
    position = (4 * kv_heads * dim, 4 * heads * dim)
    new, table = 2 * kv_heads * dim, 8 * dim  # bytes of the cache that are written, and of the table that are read
    if norm:
        weight = qkv.src[1]
        spec |= {"FORMAT": weight.dtype.name, "K": weight.shape[1]}
        params |= {"blocks": blocks(weight), "eps": norm.arg["eps"]}
        bind = [*norm.src, weight, state, rope_table, kcache, vcache, node]
        touched = {4: table, 5: new, 6: new}
        stem = "attention_step_linear"
        return [Dispatch(stem, bind, params, (1, heads, 1), spec, bake=True, touched=touched, a_position=position)]
    target = node.node("temp", shape=(1, heads, splits, dim + 2)) if splits > 1 else node
    bind, touched = [qkv, state, rope_table, kcache, vcache, target], {2: table, 3: new, 4: new}
    grid = (splits, heads, 1)
    step = Dispatch("attention_step", bind, params, grid, spec, bake=True, touched=touched, a_position=position)
    return [step, *_attention_merge(target, node, heads, dim)] if splits > 1 else [step]


def _attention_merge(parts: Any, node: Any, heads: int, dim: int) -> list[Dispatch]:
    rows, _, splits, _ = parts.shape
    params = {"rows": rows, "heads": heads, "head_dim": dim, "splits": splits}
    return [Dispatch("attention_merge", [parts, node], params, (-(-dim // 64), heads, rows))]


def _attention(hw: Hardware, node: Any) -> list[Dispatch]:
    qkv, state, rope_table, kcache, vcache = node.src
    heads, kv_heads, dim, context = _heads(node.arg, kcache)
    count = qkv.shape[0]
    params = {"rows": count, "heads": heads, "kv_heads": kv_heads, "head_dim": dim, "context": context}
    params["scale"] = dim**-0.5
    spec = {"INTERLEAVED": node.arg["interleaved"], **hw.workgroup(max(8, 1 << (dim // 8 - 1).bit_length()))}
    bind = [qkv, state, rope_table, kcache, vcache, node]
    touched = dict.fromkeys((3, 4), 2 * count * kv_heads * dim) | {2: 8 * count * dim}
    read: dict[str, Any] = {"touched": touched, "a_position": (4 * kv_heads * dim, 4 * count * heads * dim)}
    stem = "attention_serial" if dim % 8 else "attention_split" if count == 1 and node.arg["long"] else "attention"
    if hw.matrix and count >= MATRIX_ROWS and dim in (64, 96, 128):
        stem = "attention_matrix"
    stem = picked("attention", stem, ATTENTIONS)
    if stem == "attention_matrix":
        subgroups = 4 if heads * -(-count // 64) >= MATRIX_WORKGROUPS else 2
        spec = {"INTERLEAVED": node.arg["interleaved"], "HEAD_DIM": f"{dim}u", "SUBGROUPS": f"{subgroups}u"}
        return [Dispatch(stem, bind, params, (heads, -(-count // (16 * subgroups)), 1), spec, **read)]
    if stem == "attention_serial":
        spec.pop("WG", None)
        return [Dispatch(stem, bind, params, hw.grid(-(-count * heads // 4)), spec, **read)]
    if stem == "attention":
        return [Dispatch(stem, bind, params, (heads, count, 1), spec, **read)]
    parts = node.node("temp", shape=(count, heads, SPLITS, dim + 2))
    split = Dispatch(stem, [*bind[:-1], parts], params | {"splits": SPLITS}, (SPLITS, heads, count), spec, **read)
    return [split, *_attention_merge(parts, node, heads, dim)]


OPS["attention"] = Op(_attention_shape, _attention_definition, _attention)


def _sample_shape(arg: dict, logits: Any, penalties: Any, tokens: Any, state: Any, settings: Any, *more: Any) -> tuple:
    _check(rows(logits) == 1 and penalties.shape == logits.shape[-1:] and tokens.dtype is u32, "sample", logits, tokens)
    return tokens.shape, u32


def _sample(hw: Hardware, node: Any) -> list[Dispatch]:
    """A sixth source, `logprobs` [C + 1, 21, 2], is given the log probabilities of the token and the likeliest ones."""
    logits, penalties, tokens, state, settings, *logprobs = node.src
    size = logits.shape[-1]
    slices = -(-size // 1024)
    parts, hist, candidates = (node.node("temp", shape=(n,), dtype=u32) for n in (16 + 8 * slices, 3072, 2048 * slices))
    params, grid, spec = {"vocab": size}, (slices, 1, 1), hw.workgroup(4)
    spec |= {"BINS": "256u"} if spec else {}
    dispatches = [
        Dispatch(
            "sample_max",
            [logits, state, settings, parts, hist],
            params,
            grid,
            spec | ({"LOGPROBS": True} if logprobs else {}),
        ),
        Dispatch("sample_histogram", [logits, state, settings, parts, hist], params, grid, spec),
        Dispatch("sample_select", [logits, state, settings, hist, parts, candidates], params, grid, spec),
        Dispatch(
            "sample_draw", [logits, settings, parts, candidates, penalties, tokens, state], params, (1, 1, 1), spec
        ),
    ]
    for d in dispatches[1:3]:  # a greedy token ends them before they read anything
        d.touched = {0: 0, 3: 0, 4: 0, 5: 0}
    dispatches[3].touched = {0: 0, 3: 0, 4: 4, 5: 4}
    if logprobs:
        dispatches.append(
            Dispatch("sample_logprobs", [logits, tokens, parts, state, *logprobs], params, (1, 1, 1), spec)
        )
    return dispatches


OPS["sample"] = Op(_sample_shape, sample, _sample, inplace=2, writes=(1, 3))


def picked(op: str, stem: str, kernels: Iterable[str]) -> str:
    """The kernel for an op, unless PICK=op:kernel says another one of its kernels."""
    name, _, forced = knob("PICK").partition(":")
    if name != op:
        return stem
    if forced not in kernels:
        raise ValueError(f"PICK={op}:{forced}: the kernels of {op} are {', '.join(kernels)}")
    return forced


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


# `size` bytes of each of `count` blocks (`block` bytes each, the first ones at byte `offset` of the source) -> a plane
# of a weight (dtype.py), beginning at byte `start` of the target
OPS["repack"] = Op(lambda arg, source, target: (target.shape, target.dtype), _repack_definition, _repack, inplace=1)
