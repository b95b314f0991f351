"""Layers. They take Weights and the names of a checkpoint; calling one builds a part of the graph."""

from collections.abc import Callable
from typing import Any

from .errors import Error
from .tensor import Tensor, filter_order
from .weights import Weights

# by the names of configurations (hidden_act, activation_function)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": Tensor.gelu, "gelu_new": Tensor.gelu_new, "gelu_pytorch_tanh": Tensor.gelu_new,
    "quick_gelu": Tensor.quick_gelu, "relu": Tensor.relu, "silu": Tensor.silu, "swish": Tensor.silu,
}  # fmt: skip


def check_config(config: dict[str, Any], *needed: str, **only: Any) -> None:
    """Error("bad_file") unless config has positive numbers under the keys `needed`, and under the keys of `only`, if
    at all, these values."""
    for key in needed:
        value = config.get(key)
        if value is None:
            raise Error("bad_file", f"config.json has no {key}: take all files of the model's folder.")
        if type(value) not in (int, float) or not value > 0:
            raise Error("bad_file", f"config.json: {key} is {value!r}, which can't be: get the file again.")
    for key, value in only.items():
        if config.get(key, value) != value:
            raise Error("bad_file", f"{key} {config[key]!r} is not supported yet: take a model with {value!r}.")


class Linear:
    """x [..., K] -> [..., N]: x W^T + b. Several names are one matrix, their rows one after the other; those without a
    bias have zeros in it if others have one."""

    def __init__(self, weights: Weights, *names: str) -> None:
        self.weights = weights.matrix(*(f"{name}.weight" for name in names))
        self.bias = None
        if any(f"{name}.bias" in weights for name in names):
            rows = {name: weights.checkpoint.tensor(f"{name}.weight").shape[0] for name in names}
            self.bias = weights.vector(*(f"{n}.bias" if f"{n}.bias" in weights else rows[n] for n in names))

    def __call__(self, x: Tensor) -> Tensor:
        y = x.linear(*self.weights)
        return y if self.bias is None else y + self.bias


class Embedding:
    """Rows of a table [V, C] for the tokens from the current position on: [T, C]."""

    def __init__(self, weights: Weights, name: str) -> None:
        self.weights = weights.matrix(f"{name}.weight")

    def __call__(self, tokens: Tensor, state: Tensor, rows: int) -> Tensor:
        return Tensor.apply("embedding", tokens, state, *self.weights, rows=rows)


class Conv1d:
    """[N, T, C] -> [N, T', O], with zeros around x."""

    def __init__(self, weights: Weights, name: str, stride: int = 1, padding: int = 0) -> None:
        order = filter_order(weights.checkpoint.tensor(f"{name}.weight").shape, 1)
        stored = weights.once(lambda w: w.permute(*order).contiguous(), f"{name}.weight")
        self.weight = stored.permute(*(order.index(axis) for axis in range(3)))
        self.bias = weights.vector(f"{name}.bias")
        self.stride, self.padding = stride, padding

    def __call__(self, x: Tensor) -> Tensor:
        return x.conv1d(self.weight, self.bias, self.stride, self.padding)


class PositionEmbedding:
    """Learned positions: rows of a table [positions, C] for the current position and those after it: [T, C]. Position
    0 has row `first`."""

    def __init__(self, weights: Weights, name: str, first: int = 0) -> None:
        self.weights, self.first = weights.matrix(f"{name}.weight"), first

    def __call__(self, state: Tensor, rows: int) -> Tensor:
        return Tensor.apply("embedding", state, state, *self.weights, rows=rows, first=self.first)


class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * weight + bias (arXiv:1607.06450)."""

    def __init__(self, weights: Weights, name: str, eps: float) -> None:
        self.weight, self.bias = weights.vector(f"{name}.weight"), weights.vector(f"{name}.bias")
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return x.layer_norm(self.weight, self.bias, self.eps)


class RMSNorm:
    """x / sqrt(mean(x^2) + eps) * weight (arXiv:1910.07467)."""

    def __init__(self, weights: Weights, name: str, eps: float) -> None:
        self.weight = weights.vector(f"{name}.weight")
        self.eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return x.rms_norm(self.weight, self.eps)
