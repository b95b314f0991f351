"""Elementwise operations: a formula in WGSL and one in NumPy. They have no kernels of their own (see schedule.py)."""

import math
from collections.abc import Callable
from typing import Any

from ..dtype import f32
from .base import OPS, Op, broadcast, check


def _elementwise(name: str, expr: str, numpy: Callable) -> None:
    def shape(arg: dict, *src: Any) -> tuple:
        check(all(s.dtype is f32 for s in src), name, *src)
        return broadcast(name, *(s.shape for s in src)), f32

    def define(np: Any, arg: dict, *values: Any) -> Any:
        if "value" in arg:
            values = (*values, np.float32(arg["value"]))
        return numpy(np, *(reversed(values) if arg.get("swap") else values))

    OPS[name] = Op(shape, define, expr=expr, fuse=True)


def _gelu(np: Any, a: Any) -> Any:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return _limit(np, a, 0.5 * a * (1 + erf(a / math.sqrt(2))))


def _limit(np: Any, a: Any, value: Any) -> Any:
    """`value`, or 0 where a is minus infinity: the limit of a times a factor that vanishes faster."""
    return np.where(np.isneginf(a), np.float32(0), value)


_elementwise("copy", "{a}", lambda np, a: np.array(a))
_elementwise("add", "{a} + {b}", lambda np, a, b: a + b)
_elementwise("sub", "{a} - {b}", lambda np, a, b: a - b)
_elementwise("mul", "{a} * {b}", lambda np, a, b: a * b)
_elementwise("div", "{a} / {b}", lambda np, a, b: a / b)
_elementwise("pow", "power({a}, {b})", lambda np, a, b: np.power(a, b))
_elementwise("maximum", "max({a}, {b})", lambda np, a, b: np.maximum(a, b))
_elementwise("minimum", "min({a}, {b})", lambda np, a, b: np.minimum(a, b))
_elementwise("penalise", "select({a} * {b}, {a} / {b}, {a} > 0.0)", lambda np, a, b: np.where(a > 0, a / b, a * b))
_elementwise("neg", "-{a}", lambda np, a: -a)
_elementwise("abs", "abs({a})", lambda np, a: np.abs(a))
_elementwise("exp", "exp({a})", lambda np, a: np.exp(a))
_elementwise("log", "log({a})", lambda np, a: np.log(a))
_elementwise("sqrt", "sqrt({a})", lambda np, a: np.sqrt(a))
# WGSL's tanh may overflow for large arguments
_elementwise("tanh", "tanh(clamp({a}, -15.0, 15.0))", lambda np, a: np.tanh(a))
_elementwise("relu", "max({a}, 0.0)", lambda np, a: np.maximum(a, 0))
_elementwise("sigmoid", "sigmoid({a})", lambda np, a: 1 / (1 + np.exp(-a)))
_elementwise("silu", "silu({a})", lambda np, a: _limit(np, a, a / (1 + np.exp(-a))))
_elementwise("gelu", "gelu({a})", lambda np, a: _gelu(np, a))
_elementwise(
    "gelu_new",
    "gelu_new({a})",
    lambda np, a: _limit(np, a, 0.5 * a * (1 + np.tanh(0.7978845608 * (a + 0.044715 * a**3)))),
)
_elementwise("quick_gelu", "quick_gelu({a})", lambda np, a: _limit(np, a, a / (1 + np.exp(-1.702 * a))))

# There is no bool dtype: true is 1.0 and false is 0.0.
_elementwise("equal", "f32({a} == {b})", lambda np, a, b: np.equal(a, b))
# compilers turn != into a comparison that is false for NaN
_elementwise("not_equal", "1.0 - f32({a} == {b})", lambda np, a, b: np.not_equal(a, b))
_elementwise("less", "f32({a} < {b})", lambda np, a, b: np.less(a, b))
_elementwise("less_equal", "f32({a} <= {b})", lambda np, a, b: np.less_equal(a, b))
_elementwise("greater", "f32({a} > {b})", lambda np, a, b: np.greater(a, b))
_elementwise("greater_equal", "f32({a} >= {b})", lambda np, a, b: np.greater_equal(a, b))
_elementwise("where", "select({b}, {c}, {a} == 0.0)", lambda np, a, b, c: np.where(a != 0, b, c))
