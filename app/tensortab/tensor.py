"""Lazy tensors: an operation, its sources, a shape and a dtype. Methods only build nodes; `realize` computes them."""

import itertools
import math
import struct
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .buffer import Buffer
from .device import choose
from .dtype import DTYPES, DType, f32, u32
from .ops import OPS, ShapeError, broadcast
from .waiting import run_sync

Realize = Callable[["Tensor"], Awaitable["Tensor"]]
_realize: Realize | None = None


def realizes(function: Realize) -> Realize:
    """Makes `function` what `Tensor.realize` calls. jit.py, which lies above this file, registers its own."""
    global _realize
    _realize = function
    return function


class Tensor:
    """A node of the graph. `Tensor([[1, 2], [3, 4]])` makes one of numbers, `Tensor.of(...)` of raw bytes.

    op: a row of ops/, or "buffer" (has values), "temp" (a kernel's scratch space), "view" (strides over a source).
    """

    __slots__ = ("arg", "buffer", "dtype", "op", "shape", "src")

    def __init__(self, values: Any, dtype: str = "f32") -> None:
        shape, flat = _flatten(values)
        code = {"f32": "f", "u32": "I", "i32": "i"}[dtype]
        self._set("buffer", (), {}, shape, DTYPES[dtype])
        self.buffer: Buffer | None = Buffer("tensor", 4 * len(flat), struct.pack(f"<{len(flat)}{code}", *flat))

    def _set(self, op: str, src: tuple, arg: dict, shape: tuple[int, ...], dtype: DType) -> None:
        self.op, self.src, self.arg, self.shape, self.dtype = op, src, arg, tuple(shape), dtype
        self.buffer = None

    @staticmethod
    def node(op: str, *src: "Tensor", shape: Sequence[int], dtype: DType = f32, **arg: Any) -> "Tensor":
        """A node without checks: for views, temporaries and the checked constructors below."""
        tensor = Tensor.__new__(Tensor)
        tensor._set(op, src, arg, tuple(shape), dtype)
        return tensor

    @staticmethod
    def apply(op: str, *src: "Tensor", **arg: Any) -> "Tensor":
        """A node of ops/; its shape rule raises ShapeError with the op and the shapes."""
        shape, dtype = OPS[op].shape(arg, *src)
        return Tensor.node(op, *src, shape=shape, dtype=dtype, **arg)

    @staticmethod
    def of(name: str, shape: Sequence[int], dtype: DType = f32, data: Any = None) -> "Tensor":
        """A tensor with storage of its own: zeros, or `data` in the GPU's layout."""
        tensor = Tensor.node("buffer", shape=shape, dtype=dtype)
        tensor.buffer = Buffer(name, dtype.gpu_size(math.prod(shape)), data)
        return tensor

    def __repr__(self) -> str:
        return f"<Tensor {self.op} {self.dtype}{list(self.shape)}>"

    # values

    async def realize(self) -> "Tensor":
        """Computes this tensor on the device; afterwards it has values of its own."""
        assert _realize is not None, "jit.py was not imported"
        return await _realize(self)

    async def tobytes(self) -> bytes:
        """The values, row-major, little-endian."""
        if self.op == "view" and self.dtype is not f32:  # kernels move f32 only: picked out here
            base = memoryview(await self.src[0].tobytes()).cast("I")
            ranges = [range(0, n * s, s) if s else [0] * n for n, s in zip(self.shape, self.strides, strict=True)]
            picked = (base[self.arg["offset"] + sum(at)] for at in itertools.product(*ranges))
            return array("I", picked).tobytes()
        await self.realize()
        assert self.buffer is not None
        device = self.buffer.device or await choose()
        return bytes(await device.read(self.buffer.on(device), 0, self.dtype.file_size(math.prod(self.shape))))

    async def tolist(self) -> Any:
        """The values as nested lists."""
        data = await self.tobytes()
        return _nest(
            list(struct.unpack(f"<{len(data) // 4}{ {'f32': 'f', 'u32': 'I', 'i32': 'i'}[self.dtype.name] }", data)),
            self.shape,
        )

    def numpy(self) -> Any:
        """The values as a NumPy array. The tab needs NumPy and JSPI for it; `await x.tolist()` needs neither."""
        import numpy as np

        names = {"f32": "<f4", "u32": "<u4", "i32": "<i4", "f16": "<f2"}
        return np.frombuffer(run_sync(self.tobytes()), names[self.dtype.name]).reshape(self.shape).copy()

    # views: no values move until something reads them

    @property
    def strides(self) -> tuple[int, ...]:
        return self.arg["strides"] if self.op == "view" else contiguous_strides(self.shape)

    def _view(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> "Tensor":
        base = self.src[0] if self.op == "view" else self
        start = self.arg["offset"] if self.op == "view" else 0
        dense = contiguous_strides(shape)  # axes of one element may have any stride: this one needs no copy
        strides = [d if n == 1 else s for n, s, d in zip(shape, strides, dense, strict=True)]
        return Tensor.node("view", base, shape=shape, dtype=self.dtype, strides=tuple(strides), offset=start + offset)

    def reshape(self, *shape: int) -> "Tensor":
        if -1 in shape:
            known = -math.prod(shape)
            shape = tuple(math.prod(self.shape) // known if n == -1 else n for n in shape)
        if math.prod(shape) != math.prod(self.shape):
            raise ShapeError(f"reshape: {list(self.shape)} has not as many elements as {list(shape)}")
        if shape == self.shape:
            return self
        dense = self if self.strides == contiguous_strides(self.shape) else self.contiguous()
        return dense if dense.shape == shape else dense._view(shape, contiguous_strides(shape))

    def permute(self, *axes: int) -> "Tensor":
        if sorted(axes) != list(range(len(self.shape))):
            raise ShapeError(f"permute: {axes} are not the axes of {list(self.shape)}")
        return self._view([self.shape[a] for a in axes], [self.strides[a] for a in axes])

    def transpose(self) -> "Tensor":
        """Swaps the last two axes."""
        axes = list(range(len(self.shape)))
        axes[-2:] = axes[:-3:-1]
        return self.permute(*axes)

    def expand(self, *shape: int) -> "Tensor":
        if broadcast("expand", self.shape, shape) != tuple(shape):
            raise ShapeError(f"expand: {list(self.shape)} does not broadcast to {list(shape)}")
        lead = len(shape) - len(self.shape)
        strides = [0] * lead + [
            0 if have == 1 and want != 1 else s
            for have, want, s in zip(self.shape, shape[lead:], self.strides, strict=True)
        ]
        return self._view(shape, strides)

    def __getitem__(self, index: Any) -> "Tensor":
        """Integers and slices with step 1."""
        index = index if isinstance(index, tuple) else (index,)
        if len(index) > len(self.shape):
            raise ShapeError(f"{len(index)} indices for {list(self.shape)}")
        shape, strides, offset = [], [], 0
        for axis, size in enumerate(self.shape):
            part = index[axis] if axis < len(index) else slice(None)
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                if step != 1:
                    raise ShapeError("slices have step 1")
                shape.append(max(0, stop - start))
                strides.append(self.strides[axis])
            else:
                start = range(size)[part]
            offset += start * self.strides[axis]
        return self._view(shape, strides, offset)

    def split(self, parts: int) -> list["Tensor"]:
        """Equal parts of the last axis."""
        size = self.shape[-1] // parts
        lead = (slice(None),) * (len(self.shape) - 1)
        return [self[(*lead, slice(n * size, (n + 1) * size))] for n in range(parts)]

    def contiguous(self) -> "Tensor":
        return Tensor.apply("copy", self)

    # elementwise, with broadcasting

    def _with(self, op: str, other: "Tensor | float", swap: bool = False) -> "Tensor":
        if not isinstance(other, Tensor):
            return Tensor.apply(op, self, value=float(other), swap=swap)
        shape = broadcast(op, self.shape, other.shape)
        a, b = (t if t.shape == shape else t.expand(*shape) for t in (self, other))
        return Tensor.apply(op, b, a) if swap else Tensor.apply(op, a, b)

    def __add__(self, other: "Tensor | float") -> "Tensor":
        return self._with("add", other)

    def __sub__(self, other: "Tensor | float") -> "Tensor":
        return self._with("sub", other)

    def __rsub__(self, other: float) -> "Tensor":
        return self._with("sub", other, swap=True)

    def __mul__(self, other: "Tensor | float") -> "Tensor":
        return self._with("mul", other)

    def __truediv__(self, other: "Tensor | float") -> "Tensor":
        return self._with("div", other)

    def __rtruediv__(self, other: float) -> "Tensor":
        return self._with("div", other, swap=True)

    __radd__, __rmul__ = __add__, __mul__

    def maximum(self, other: "Tensor | float") -> "Tensor":
        return self._with("maximum", other)

    def minimum(self, other: "Tensor | float") -> "Tensor":
        return self._with("minimum", other)

    def penalise(self, penalties: "Tensor") -> "Tensor":
        """Repetition penalty (Keskar et al. 2019, arXiv:1909.05858): x / r where x > 0, else x * r."""
        return self._with("penalise", penalties)

    def __neg__(self) -> "Tensor":
        return Tensor.apply("neg", self)

    def exp(self) -> "Tensor":
        return Tensor.apply("exp", self)

    def log(self) -> "Tensor":
        return Tensor.apply("log", self)

    def sqrt(self) -> "Tensor":
        return Tensor.apply("sqrt", self)

    def tanh(self) -> "Tensor":
        return Tensor.apply("tanh", self)

    def relu(self) -> "Tensor":
        return Tensor.apply("relu", self)

    def sigmoid(self) -> "Tensor":
        return Tensor.apply("sigmoid", self)

    def silu(self) -> "Tensor":
        """x * sigmoid(x) (arXiv:1702.03118)."""
        return Tensor.apply("silu", self)

    def gelu(self) -> "Tensor":
        """x * Phi(x), Phi the normal distribution (arXiv:1606.08415)."""
        return Tensor.apply("gelu", self)

    def gelu_new(self) -> "Tensor":
        """Its approximation by tanh; gelu_pytorch_tanh in other configurations."""
        return Tensor.apply("gelu_new", self)

    def quick_gelu(self) -> "Tensor":
        """x * sigmoid(1.702 x)."""
        return Tensor.apply("quick_gelu", self)

    # kernels

    def gate(self, activation: str = "silu") -> "Tensor":
        """[..., 2n] -> [..., n]: activation(first half) * second half, by the activation's op: SwiGLU with "silu",
        GeGLU with "gelu_new" (arXiv:2002.05202)."""
        return Tensor.apply("gate", self, activation=activation)

    def rms_norm(self, weight: "Tensor", eps: float) -> "Tensor":
        """x / sqrt(mean(x^2) + eps) * weight over the last axis (arXiv:1910.07467)."""
        return Tensor.apply("rms_norm", self, weight, eps=eps)

    def normalize(self) -> "Tensor":
        """x / |x| over the last axis."""
        squares = Tensor.apply("sum", self * self)
        return self / squares.reshape(*squares.shape, 1).sqrt()

    def head_norm(self, weight: "Tensor", heads: int, kv_heads: int, eps: float) -> "Tensor":
        """An RMS norm of each head of q and of k in qkv [T, (H + 2G) * D]; weight [2 D]: gains of q, then of k."""
        return Tensor.apply("head_norm", self, weight, heads=heads, kv_heads=kv_heads, eps=eps)

    def layer_norm(self, weight: "Tensor", bias: "Tensor", eps: float) -> "Tensor":
        """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis (arXiv:1607.06450)."""
        return Tensor.apply("layer_norm", self, weight, bias, eps=eps)

    def group_norm(self, weight: "Tensor", bias: "Tensor", groups: int, eps: float) -> "Tensor":
        """[N, ..., C]: as layer_norm, over all positions and the C / groups channels of a group (arXiv:1803.08494)."""
        return Tensor.apply("group_norm", self, weight, bias, groups=groups, eps=eps)

    def linear(self, *weights: "Tensor") -> "Tensor":
        """[..., K] -> [..., N]: x @ concat(weights).T; weights [n, K] of any format."""
        return Tensor.apply("linear", self, *weights)

    def matmul(self, other: "Tensor") -> "Tensor":
        """[..., M, K] @ [..., K, N], batch axes broadcast."""
        return Tensor.apply("matmul", self, other)

    __matmul__ = matmul

    def conv1d(
        self, weight: "Tensor", bias: "Tensor | None" = None, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> "Tensor":
        """[N, T, C] -> [N, T', O]; weight [O, C / groups, k] as in a checkpoint, bias [O]."""
        return self.conv(weight, bias, (stride,), (padding, padding), groups)

    def conv2d(
        self,
        weight: "Tensor",
        bias: "Tensor | None" = None,
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (0, 0, 0, 0),
        groups: int = 1,
    ) -> "Tensor":
        """[N, H, W, C] -> [N, H', W', O]; weight [O, C / groups, kh, kw] as in a checkpoint, bias [O]; padding: zeros
        at the top, left, bottom and right."""
        return self.conv(weight, bias, stride, padding, groups)

    def conv(
        self, weight: "Tensor", bias: "Tensor | None", stride: tuple[int, ...], padding: tuple[int, ...], groups: int
    ) -> "Tensor":
        """conv1d or conv2d. padding: of each axis before it, then of each after it."""
        order, (outputs, _, *size) = filter_order(weight.shape, groups), weight.shape
        if order[0]:
            y = Tensor.apply("conv", self, weight.permute(*order), stride=stride, padding=padding, groups=groups)
        else:
            alone = math.prod((*size, *stride)) == 1 and not any(padding)
            windows = self if alone else Tensor.apply("unfold", self, size=size, stride=stride, padding=padding)
            y = windows.linear(weight.permute(*order).reshape(outputs, -1))
        return y if bias is None else y + bias

    def pad(self, before: int, after: int) -> "Tensor":
        """[N, T, C] -> [N, before + T + after, C], with zeros around."""
        return Tensor.apply("unfold", self, size=(1,), stride=(1,), padding=(before, after))

    def resize(self, table: "Tensor", axis: int) -> "Tensor":
        """An RGBA image, u32 [H, W], in another size along an axis; table: image.weights()."""
        return Tensor.apply("resize", self, table, axis=axis)

    def softmax(self) -> "Tensor":
        """Over the last axis."""
        return Tensor.apply("softmax", self)

    def mean(self) -> "Tensor":
        """[..., R, C] -> [..., C]: over the last axis but one, as of all positions of an image."""
        return Tensor.apply("mean", self)

    def argmax(self) -> "Tensor":
        """Index (u32) of the largest value of the last axis; the lowest index at a tie."""
        return Tensor.apply("argmax", self)

    def topk(self, k: int) -> "Tensor":
        """[..., n] -> u32 [..., 2, k]: the bits of the k largest values of the last axis, and their indices; the
        lowest index first among equals, NaN last."""
        return Tensor.apply("topk", self, k=k)

    def max(self, axis: int = -1) -> "Tensor":
        """The largest value of the last axis."""
        return Tensor.apply("max", self)

    def sdpa(
        self,
        k: "Tensor",
        v: "Tensor",
        heads: int,
        causal: bool = False,
        lengths: "Tensor | None" = None,
        bias: "Tensor | None" = None,
        scale: float | None = None,
    ) -> "Tensor":
        """Scaled dot product attention (arXiv:1706.03762) of queries [N, T, H * D] over k and v [N, S, H * D]: the same
        shape. lengths: u32 [N], keys from there on do not count; causal: row t sees the keys up to t + S - T; bias
        [H, T, S] is added to scores; scale: D^-0.5. Columns of a matrix are read where they are."""
        more = [t for t in (lengths, bias) if t is not None]
        given = {"lengths": lengths is not None, "bias": bias is not None}
        scale = (self.shape[-1] // heads) ** -0.5 if scale is None else scale
        return Tensor.apply("sdpa", self, k, v, *more, heads=heads, causal=causal, scale=scale, **given)

    def lookup(self, *table: "Tensor") -> "Tensor":
        """Rows of a table [V, C] (weights of any format, one after the other) for ids u32 [...]: [..., C]."""
        ids, start = self.reshape(-1), Tensor.of("start", (1,), u32)
        found = Tensor.apply("embedding", ids, start, *table, rows=ids.shape[0])
        return found.reshape(*self.shape, found.shape[-1])

    def put(self, ids: "Tensor", rows: "Tensor") -> "Tensor":
        """This table [V, C], changed in place: row ids[n] is now rows[n] (f32 [..., ..., C], with as many ids)."""
        return Tensor.apply("put", rows, ids, self)

    def relative_bias(self, buckets: "Tensor", position: "Tensor", rows: int, columns: int) -> "Tensor":
        """Of a table [N, H] the bias [H, rows, columns] of attention for queries from position[0] on: column s of row t
        is table[buckets[d + far]] for d = s - t - position, which is taken from -far to far; buckets: [2 far + 1]."""
        return Tensor.apply("relative_bias", self, buckets, position, rows=rows, columns=columns)

    def into(self, place: "Tensor") -> "Tensor":
        """Itself, as an output of a plan whose values go to the storage of `place`."""
        if self.op in ("view", "buffer", "temp"):
            raise ValueError(f"{self} computes nothing that could be put elsewhere: use contiguous()")
        if OPS[self.op].inplace is not None:
            raise ValueError(f"{self.op} is a change in place: its result stays where it is")
        self.buffer = place.buffer
        return self

    def dequantize(self) -> "Tensor":
        """A weight of any format as f32."""
        return Tensor.apply("dequantize", self)


def filter_order(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """The order of axes in which a convolution reads its weight [O, C / groups, size ...] without a copy: a matrix
    [O, size ..., C] where a `linear` of the windows can take it, else [size ..., C / groups, O]."""
    sizes = range(2, len(shape))
    return (0, *sizes, 1) if groups == 1 and math.prod(shape[1:]) % 32 == 0 else (*sizes, 1, 0)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _flatten(values: Any) -> tuple[tuple[int, ...], list]:
    """Nested sequences or a NumPy array -> shape and flat list."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, (list, tuple)):
        return (), [values]
    parts = [_flatten(v) for v in values]
    if any(shape != parts[0][0] for shape, _ in parts):
        raise ShapeError("Tensor: nested lists differ in length")
    return (len(parts), *(parts[0][0] if parts else ())), [v for _, flat in parts for v in flat]


def _nest(flat: list, shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    return [_nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
