"""Functions of the Python array API (https://data-apis.org/array-api) that create or join tensors."""

import math
from array import array

from .dtype import DType
from .ops import broadcast
from .tensor import CODES, Tensor, number

Shape = int | tuple[int, ...]


def _filled(shape: Shape, values: array, dtype: str | DType) -> Tensor:
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if any(n < 0 for n in sizes):
        raise ValueError(f"the sizes of a shape must not be negative, got {sizes}")
    count = math.prod(sizes)
    return Tensor.of("tensor", sizes, number(dtype), (values * (count if len(values) == 1 else 1)).tobytes())


def full(shape: Shape, value: float, dtype: str | DType = "f32") -> Tensor:
    """A tensor of this shape filled with `value`. dtype: "f32", "u32" or "i32"."""
    return _filled(shape, array(CODES[number(dtype).name], [value]), dtype)


def zeros(shape: Shape, dtype: str | DType = "f32") -> Tensor:
    """A tensor of zeros. dtype: "f32", "u32" or "i32"."""
    return full(shape, 0, dtype)


def ones(shape: Shape, dtype: str | DType = "f32") -> Tensor:
    """A tensor of ones. dtype: "f32", "u32" or "i32"."""
    return full(shape, 1, dtype)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: str | DType = "f32") -> Tensor:
    """[n]: start, start + step, ..., excluding `stop`. With one argument it is `stop`, and start is 0. dtype: "f32",
    "u32" or "i32"."""
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError("arange: step must not be 0")
    count = max(0, math.ceil((stop - start) / step))
    values = array(CODES[number(dtype).name], [start + n * step for n in range(count)])
    return Tensor.of("tensor", (count,), number(dtype), values.tobytes())


def where(condition: Tensor, x1: Tensor | float, x2: Tensor | float) -> Tensor:
    """Elements of x1 where `condition` is not 0, and of x2 where it is 0. The three are broadcast. dtype: f32."""
    operands = [t if isinstance(t, Tensor) else Tensor(t) for t in (condition, x1, x2)]
    shape = broadcast("where", *(t.shape for t in operands))
    return Tensor.apply("where", *(t if t.shape == shape else t.expand(*shape) for t in operands))


def concat(arrays: list[Tensor] | tuple[Tensor, ...], axis: int | None = 0) -> Tensor:
    """The tensors joined along an axis, the only one in which their shapes may differ; with None they are flattened
    first. dtype: f32, u32 or i32, the same for all."""
    if not arrays:
        raise ValueError("concat: expected at least one tensor, got none")
    if axis is None:
        arrays, axis = [t.reshape(-1) for t in arrays], 0
    rank = len(arrays[0].shape)
    if not -rank <= axis < rank:
        raise ValueError(f"concat: axis {axis} is out of bounds for {list(arrays[0].shape)}")
    joined = Tensor.apply("concat", *arrays, axis=axis % rank)
    some = [t for t in arrays if 0 not in t.shape]
    return Tensor.apply("concat", *some, axis=axis % rank) if 0 < len(some) < len(arrays) else joined
