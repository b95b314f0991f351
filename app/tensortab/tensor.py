"""Lazy tensors: an operation, its sources, a shape and a dtype. Methods only build nodes; `realize` computes them."""

import itertools
import math
import numbers
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .buffer import Buffer
from .device import choose
from .dtype import DTYPES, DType, f32, u32
from .ops import OPS, ShapeError, broadcast
from .waiting import run_sync

CODES = {"f32": "f", "u32": "I", "i32": "i"}  # typecodes of the array module for the dtypes of 4 bytes
NUMBERS = tuple(DTYPES[name] for name in CODES)
LARGEST = 3.4028234663852886e38  # the largest f32
LONGEST_ROW = 1 << 16  # elements that one workgroup reduces
MOST_GROUPS = 65535  # workgroups in one dimension of a grid

Realize = Callable[["Tensor"], Awaitable["Tensor"]]
_realize: Realize | None = None


def realizes(function: Realize) -> Realize:
    """Registers the function that `Tensor.realize` calls: that of jit.py, which this file cannot import."""
    global _realize
    _realize = function
    return function


class Tensor:
    """A node of the graph. `Tensor([[1, 2], [3, 4]])` makes one from numbers, `Tensor.of(...)` from raw bytes.

    op: a row of ops/, or "buffer" (has values), "temp" (a kernel's scratch space), "view" (strides over a source).
    """

    __slots__ = ("arg", "buffer", "dtype", "op", "shape", "src")

    __array_ufunc__ = None  # NumPy then leaves `array + tensor` to our operators, which refuse arrays

    def __init__(self, values: Any, dtype: str | DType = "f32") -> None:
        """`values`: a number, nested sequences of equal lengths (lists, tuples, ranges), or an array; dtype: "f32",
        "u32" or "i32". Raises TypeError, ValueError, OverflowError or ShapeError for values that do not fit."""
        made = number(dtype)
        shape, flat = _flatten(values)
        try:
            data = array(CODES[made.name], flat)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"Tensor: a value cannot be stored as {made.name} ({error})") from None
        self._set("buffer", (), {}, shape, made)
        self.buffer: Buffer | None = Buffer("tensor", 4 * len(flat), data.tobytes())

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
        """A node of an op in ops/, whose shape rule raises ShapeError with the op and the shapes."""
        shape, dtype = OPS[op].shape(arg, *src)
        return Tensor.node(op, *src, shape=shape, dtype=dtype, **arg)

    @staticmethod
    def of(name: str, shape: Sequence[int], dtype: DType = f32, data: Any = None) -> "Tensor":
        """A tensor with storage of its own, filled with zeros or with `data`, bytes in the GPU's layout."""
        tensor = Tensor.node("buffer", shape=shape, dtype=dtype)
        tensor.buffer = Buffer(name, dtype.gpu_size(math.prod(shape)), data)
        return tensor

    def write(self, device: Any, data: Any, offset: int = 0) -> None:
        """Puts bytes in the GPU's layout into the storage of this tensor, from byte `offset` on."""
        assert self.buffer is not None
        device.write(self.buffer.on(device), offset, data)

    def free(self) -> None:
        """Frees the storage of this tensor, if it has any on a device."""
        if self.buffer is not None:
            self.buffer.free()

    def __repr__(self) -> str:
        return f"<Tensor {self.dtype}{list(self.shape)}, {self._place()}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the shape, the dtype and where the values are. The values cannot be awaited here."""
        place = self._place().replace("&", "&amp;").replace("<", "&lt;")  # part of the text comes from a driver
        return f"<code>Tensor {self.dtype}{list(self.shape)}</code>, {place}"

    def _place(self) -> str:
        """Where the values are."""
        (*_, base) = (self, *self.src) if self.op == "view" else (self,)
        if base.buffer is None:
            return f"not computed yet ({base.op})"
        if base.buffer.device is None:
            return "not on a device yet"
        info = base.buffer.device.info
        return f"on {info['description'] or info['vendor'] or 'the GPU'}"

    def __bool__(self) -> bool:
        raise TypeError(
            "a Tensor is neither true nor false: its values are on a device. Read them first, as in "
            "`if await x.max().tolist() > 0`, or choose by element with where()"
        )

    def __len__(self) -> int:
        """The size of the first axis."""
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    __hash__ = object.__hash__  # by identity, since == compares the values

    # values

    async def realize(self) -> "Tensor":
        """Computes this tensor on the device, and returns it; afterwards it has values of its own."""
        assert _realize is not None, "jit.py was not imported"
        return await _realize(self)

    async def tobytes(self) -> bytes:
        """The values in row-major order, little-endian, as a file stores the dtype (f32, u32, i32: 4 bytes each)."""
        if self.op == "view" and self.dtype is not f32:  # kernels copy f32 only, so the elements are picked here
            base = memoryview(await self.src[0].tobytes()).cast("I")
            ranges = [range(0, n * s, s) if s else [0] * n for n, s in zip(self.shape, self.strides, strict=True)]
            picked = (base[self.arg["offset"] + sum(at)] for at in itertools.product(*ranges))
            return array("I", picked).tobytes()
        await self.realize()
        if 0 in self.shape:
            return b""
        assert self.buffer is not None
        device = self.buffer.device or await choose()
        return bytes(await device.read(self.buffer.on(device), 0, self.dtype.file_size(math.prod(self.shape))))

    async def tolist(self) -> Any:
        """The values as nested lists, or as a number if there are no axes. dtype: f32, u32 or i32."""
        values = array(CODES[number(self.dtype).name])
        values.frombytes(await self.tobytes())
        return _nest(values.tolist(), self.shape)

    def numpy(self) -> Any:
        """The values as a NumPy array of the same shape. In a browser tab this needs NumPy and JSPI; `await x.tolist()`
        needs neither."""
        import numpy as np

        names = {"f32": "<f4", "u32": "<u4", "i32": "<i4", "f16": "<f2"}
        return np.frombuffer(run_sync(self.tobytes()), names[self.dtype.name]).reshape(self.shape).copy()

    # views: no values move until something reads them

    @property
    def strides(self) -> tuple[int, ...]:
        """The distance between neighbours along each axis, in elements."""
        return self.arg["strides"] if self.op == "view" else contiguous_strides(self.shape)

    def _view(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> "Tensor":
        base = self.src[0] if self.op == "view" else self
        start = self.arg["offset"] if self.op == "view" else 0
        dense = contiguous_strides(shape)  # an axis of size 1 may have any stride, and with this one it needs no copy
        strides = [d if n == 1 else s for n, s, d in zip(shape, strides, dense, strict=True)]
        return Tensor.node("view", base, shape=shape, dtype=self.dtype, strides=tuple(strides), offset=start + offset)

    def reshape(self, *shape: int) -> "Tensor":
        """The same elements in another shape. One axis may be -1: its size follows from the others."""
        if -1 in shape:
            known = -math.prod(shape)
            shape = tuple(math.prod(self.shape) // known if n == -1 and known > 0 else n for n in shape)
        if math.prod(shape) != math.prod(self.shape) or min(shape, default=0) < 0:
            raise ShapeError(f"reshape: {list(self.shape)} cannot become {list(shape)}: the element counts differ")
        if shape == self.shape:
            return self
        dense = self if self.strides == contiguous_strides(self.shape) else self.contiguous()
        return dense if dense.shape == shape else dense._view(shape, contiguous_strides(shape))

    def permute(self, *axes: int) -> "Tensor":
        """The tensor with its axes in another order."""
        if sorted(axes) != list(range(len(self.shape))):
            raise ShapeError(f"permute: expected each axis of {list(self.shape)} once, got {axes}")
        return self._view([self.shape[a] for a in axes], [self.strides[a] for a in axes])

    def transpose(self) -> "Tensor":
        """[..., M, N] -> [..., N, M]."""
        axes = list(range(len(self.shape)))
        axes[-2:] = axes[:-3:-1]
        return self.permute(*axes)

    @property
    def T(self) -> "Tensor":
        """[M, N] -> [N, M]. For tensors of other ranks there are transpose() and permute()."""
        if len(self.shape) != 2:
            raise ShapeError(f"T needs two axes, got {list(self.shape)}: use transpose() or permute()")
        return self.transpose()

    def expand(self, *shape: int) -> "Tensor":
        """The tensor broadcast to a shape, as in NumPy, without a copy."""
        if broadcast("expand", self.shape, shape) != tuple(shape):
            raise ShapeError(f"expand: {list(self.shape)} does not broadcast to {list(shape)}")
        lead = len(shape) - len(self.shape)
        strides = [0] * lead + [
            0 if have == 1 and want != 1 else s
            for have, want, s in zip(self.shape, shape[lead:], self.strides, strict=True)
        ]
        return self._view(shape, strides)

    def __getitem__(self, index: Any) -> "Tensor":
        """A view of a part, chosen by integers and slices with step 1. It shares this tensor's storage, so that later
        changes in place show in both."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            index = (*index[:at], *(slice(None),) * (len(self.shape) - len(index) + 1), *index[at + 1 :])
        if len(index) > len(self.shape):
            raise ShapeError(f"too many indices: {len(index)} indices for {list(self.shape)}")
        shape, strides, offset = [], [], 0
        for axis, size in enumerate(self.shape):
            part = index[axis] if axis < len(index) else slice(None)
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                if step != 1:
                    raise ShapeError(f"a slice must have step 1, not {step}")
                shape.append(max(0, stop - start))
                strides.append(self.strides[axis])
            elif hasattr(part, "__index__"):
                if not -size <= part < size:
                    raise IndexError(f"index {part} is out of bounds for axis {axis} with size {size}")
                start = range(size)[part]
            else:
                name = type(part).__name__
                raise TypeError(f"an index must be an integer or a slice, not {name}: use lookup() for a Tensor of ids")
            offset += start * self.strides[axis]
        return self._view(shape, strides, offset)

    def split(self, parts: int) -> list["Tensor"]:
        """[..., parts * n] -> `parts` tensors [..., n]."""
        if not self.shape or parts < 1 or self.shape[-1] % parts:
            raise ShapeError(f"split: the last axis of {list(self.shape)} cannot be divided into {parts} equal parts")
        size = self.shape[-1] // parts
        lead = (slice(None),) * (len(self.shape) - 1)
        return [self[(*lead, slice(n * size, (n + 1) * size))] for n in range(parts)]

    def contiguous(self) -> "Tensor":
        """A row-major copy. dtype: f32."""
        return Tensor.apply("copy", self)

    # elementwise, with broadcasting. dtype: f32

    def _with(self, op: str, other: Any, swap: bool = False) -> "Tensor":
        if isinstance(other, numbers.Real):
            value = float(other)
            if abs(value) <= LARGEST:
                return Tensor.apply(op, self, value=value, swap=swap)
            other = Tensor(value)  # WGSL has no literal for infinity or NaN
        if not isinstance(other, Tensor):
            return NotImplemented
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

    def __pow__(self, other: "Tensor | float") -> "Tensor":
        return self._with("pow", other)

    def __rpow__(self, other: float) -> "Tensor":
        return self._with("pow", other, swap=True)

    # A comparison is 1.0 where it holds and 0.0 elsewhere, since there is no bool dtype.

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override]
        return self._with("equal", other)

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override]
        return self._with("not_equal", other)

    def __lt__(self, other: "Tensor | float") -> "Tensor":
        return self._with("less", other)

    def __le__(self, other: "Tensor | float") -> "Tensor":
        return self._with("less_equal", other)

    def __gt__(self, other: "Tensor | float") -> "Tensor":
        return self._with("greater", other)

    def __ge__(self, other: "Tensor | float") -> "Tensor":
        return self._with("greater_equal", other)

    def maximum(self, other: "Tensor | float") -> "Tensor":
        """The larger of each pair of elements."""
        return self._with("maximum", _operand("maximum", other))

    def minimum(self, other: "Tensor | float") -> "Tensor":
        """The smaller of each pair of elements."""
        return self._with("minimum", _operand("minimum", other))

    def clip(self, min: "Tensor | float | None" = None, max: "Tensor | float | None" = None) -> "Tensor":
        """The elements limited to the range from `min` to `max`; None sets no limit."""
        raised = self if min is None else self.maximum(min)
        return raised if max is None else raised.minimum(max)

    def penalise(self, penalties: "Tensor") -> "Tensor":
        """Repetition penalty (Keskar et al. 2019, arXiv:1909.05858): x / r where x > 0, else x * r."""
        return self._with("penalise", penalties)

    def astype(self, dtype: str | DType) -> "Tensor":
        """The numbers as "f32", "u32" or "i32". Fractions are truncated towards zero; a number out of range becomes the
        nearest one that both f32 and the dtype can represent; u32 and i32 are converted to each other bit by bit.
        Weights of other formats are dequantized first."""
        made = number(dtype)
        if made is self.dtype:
            return self
        whole = self if self.dtype in NUMBERS else self.dequantize()
        return whole if made is whole.dtype else Tensor.apply("astype", whole, to=made.name)

    def __neg__(self) -> "Tensor":
        return Tensor.apply("neg", self)

    def __abs__(self) -> "Tensor":
        return Tensor.apply("abs", self)

    def exp(self) -> "Tensor":
        """e^x."""
        return Tensor.apply("exp", self)

    def log(self) -> "Tensor":
        """The natural logarithm."""
        return Tensor.apply("log", self)

    def sqrt(self) -> "Tensor":
        """The square root."""
        return Tensor.apply("sqrt", self)

    def tanh(self) -> "Tensor":
        """The hyperbolic tangent."""
        return Tensor.apply("tanh", self)

    def relu(self) -> "Tensor":
        """max(x, 0)."""
        return Tensor.apply("relu", self)

    def sigmoid(self) -> "Tensor":
        """1 / (1 + e^-x)."""
        return Tensor.apply("sigmoid", self)

    def silu(self) -> "Tensor":
        """x * sigmoid(x) (arXiv:1702.03118)."""
        return Tensor.apply("silu", self)

    def gelu(self) -> "Tensor":
        """x * Phi(x), where Phi is the standard normal distribution function (arXiv:1606.08415)."""
        return Tensor.apply("gelu", self)

    def gelu_new(self) -> "Tensor":
        """The approximation of gelu() by tanh, which some configurations call gelu_pytorch_tanh."""
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

    def conv(
        self, weight: "Tensor", bias: "Tensor | None", stride: tuple[int, ...], padding: tuple[int, ...], groups: int
    ) -> "Tensor":
        """A convolution along one axis, [N, T, C] -> [N, T', O], or along two, [N, H, W, C] -> [N, H', W', O].

        weight: [O, C / groups, size ...] as in a checkpoint, bias: [O]; stride: of each axis; padding: zeros before
        each axis, then after each, so for two axes at the top, left, bottom and right.
        """
        order, (outputs, _, *size) = filter_order(weight.shape, groups), weight.shape
        if order[0]:
            y = Tensor.apply("conv", self, weight.permute(*order), stride=stride, padding=padding, groups=groups)
        else:
            alone = math.prod((*size, *stride)) == 1 and not any(padding)
            windows = self if alone else Tensor.apply("unfold", self, size=size, stride=stride, padding=padding)
            y = windows.linear(weight.permute(*order).reshape(outputs, -1))
        return y if bias is None else y + bias

    def pad(self, before: int, after: int) -> "Tensor":
        """[N, T, C] -> [N, before + T + after, C], filled with zeros."""
        return Tensor.apply("unfold", self, size=(1,), stride=(1,), padding=(before, after))

    def resize(self, table: "Tensor", axis: int) -> "Tensor":
        """An RGBA image, u32 [H, W], in another size along an axis; table: image.weights()."""
        return Tensor.apply("resize", self, table, axis=axis)

    def softmax(self) -> "Tensor":
        """e^x / sum(e^x) over the last axis: the same shape. dtype: f32."""
        return Tensor.apply("softmax", self)

    def _reduce(self, op: str, axis: int | tuple[int, ...] | None, keepdims: bool) -> "Tensor":
        rank = len(self.shape)
        given = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        if any(not -rank <= a < rank for a in given) or len({a % rank for a in given}) < len(given):
            raise ShapeError(f"{op}: axis {axis} is out of bounds for {list(self.shape)}, or names an axis twice")
        axes = sorted(a % rank for a in given)
        kept = [a for a in range(rank) if a not in axes]
        lead, count = [self.shape[a] for a in kept], math.prod(self.shape[a] for a in axes)
        shape = [1 if a in axes else n for a, n in enumerate(self.shape)] if keepdims else lead
        if op == "mean":
            if axes == [rank - 2] and 0 < count < LONGEST_ROW and math.prod(lead[:-1]) <= MOST_GROUPS:
                return Tensor.apply(op, self).reshape(*shape)
            if count == 0:
                raise ShapeError("mean: the mean of no elements is undefined")
            return self._reduce("sum", axis, keepdims) / count
        order = [*kept, *axes]
        x = (self if order == list(range(rank)) else self.permute(*order)).reshape(*lead, count)
        while x.shape[-1] > LONGEST_ROW:  # in parts: it is quicker and more exact, and no invocation loops for too long
            whole = x.shape[-1] // LONGEST_ROW * LONGEST_ROW
            rest = [x[..., whole:]] if x.shape[-1] > whole else []
            parts = [x[..., :whole].reshape(*lead, -1, LONGEST_ROW), *(t.reshape(*lead, 1, -1) for t in rest)]
            done = [Tensor.apply(op, part) for part in parts]
            x = Tensor.apply("concat", *done, axis=len(lead)) if rest else done[0]
        return Tensor.apply(op, x).reshape(*shape)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """The sum over one axis, several or all of them (None). These axes are removed, or have size 1 if `keepdims`.
        dtype: f32."""
        return self._reduce("sum", axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """The mean over one axis, several or all of them (None), like sum()."""
        return self._reduce("mean", axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """The largest element over one axis, several or all of them (None), like sum()."""
        return self._reduce("max", axis, keepdims)

    def min(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """The smallest element over one axis, several or all of them (None), like sum()."""
        return self._reduce("min", axis, keepdims)

    def argmax(self) -> "Tensor":
        """[..., n] -> u32 [...]: the index of the largest value of the last axis; the lowest one at a tie."""
        return Tensor.apply("argmax", self)

    def topk(self, k: int) -> "Tensor":
        """[..., n] -> u32 [..., 2, k]: the bits of the k largest values of the last axis, and their indices; the
        lowest index first among equals, NaN last."""
        return Tensor.apply("topk", self, k=k)

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
        shape. lengths: u32 [N], batch n ignores the keys from lengths[n] on; causal: row t sees the keys up to
        t + S - T; bias [H, T, S] is added to the scores; scale: D^-0.5 by default. Columns of a matrix are read without
        a copy."""
        more = [t for t in (lengths, bias) if t is not None]
        given = {"lengths": lengths is not None, "bias": bias is not None}
        scale = (self.shape[-1] // heads) ** -0.5 if scale is None else scale
        return Tensor.apply("sdpa", self, k, v, *more, heads=heads, causal=causal, scale=scale, **given)

    def lookup(self, *table: "Tensor") -> "Tensor":
        """The rows of a table [V, C] for these ids, u32 [...]: [..., C]. `table`: weights of any format, whose rows
        follow each other."""
        ids, start = self.reshape(-1), Tensor.of("start", (1,), u32)
        found = Tensor.apply("embedding", ids, start, *table, rows=ids.shape[0])
        return found.reshape(*self.shape, found.shape[-1])

    def put(self, ids: "Tensor", rows: "Tensor") -> "Tensor":
        """This table [V, C], changed in place: row ids[n] becomes row n of `rows`, f32 [A, B, C]; ids: u32 [A * B]."""
        return Tensor.apply("put", rows, ids, self)

    def relative_bias(self, buckets: "Tensor", position: "Tensor", rows: int, columns: int) -> "Tensor":
        """The attention bias [H, rows, columns] that this table [N, H] gives queries from position[0] on: column s of
        row t is table[buckets[d + far]], where d = s - t - position[0] is clamped to -far..far; buckets: u32
        [2 far + 1]."""
        return Tensor.apply("relative_bias", self, buckets, position, rows=rows, columns=columns)

    def into(self, place: "Tensor") -> "Tensor":
        """This tensor, as an output of a plan that writes its values to the storage of `place`."""
        if self.op in ("view", "buffer", "temp"):
            raise ValueError(f"into: no kernel computes {self}, use contiguous() first")
        if OPS[self.op].inplace is not None:
            raise ValueError(f"into: {self.op} is a change in place, so its result cannot go elsewhere")
        self.buffer = place.buffer
        return self

    def dequantize(self) -> "Tensor":
        """A weight of any format as f32."""
        return Tensor.apply("dequantize", self)


def filter_order(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """The order of axes in which a convolution reads its weight [O, C / groups, size ...] without a copy: a matrix
    [O, size ..., C] where a `linear` of the windows can compute it, else [size ..., C / groups, O]."""
    sizes = range(2, len(shape))
    return (0, *sizes, 1) if groups == 1 and math.prod(shape[1:]) % 32 == 0 else (*sizes, 1, 0)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def number(dtype: str | DType) -> DType:
    """The dtype of this name, if it is one of the dtypes of 4 bytes. Raises ValueError for others."""
    name = dtype.name if isinstance(dtype, DType) else dtype
    if name not in CODES:
        raise ValueError(f"{name!r} is not a dtype of numbers: use one of {', '.join(map(repr, CODES))}")
    return DTYPES[name]


def _operand(op: str, other: Any) -> Any:
    if not isinstance(other, Tensor | numbers.Real):
        raise TypeError(f"{op}: the other operand must be a Tensor or a number, not {type(other).__name__}")
    return other


def _flatten(values: Any) -> tuple[tuple[int, ...], list]:
    """A number, nested sequences or an array -> shape and flat list."""
    if hasattr(values, "tolist"):
        shape, values = getattr(values, "shape", None), values.tolist()
        if shape is not None and 0 in shape:
            return tuple(shape), []
    if isinstance(values, numbers.Number):
        return (), [values]
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise TypeError(f"Tensor: expected a number, nested sequences or an array, not {type(values).__name__}")
    parts = [_flatten(v) for v in values]
    if any(shape != parts[0][0] for shape, _ in parts):
        raise ShapeError("Tensor: nested sequences differ in length")
    return (len(parts), *(parts[0][0] if parts else ())), [v for _, flat in parts for v in flat]


def _nest(flat: list, shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = math.prod(shape[1:])
    return [_nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
