"""Layers. They take Weights and the names of a checkpoint; calling one builds a part of the graph."""

from collections.abc import Callable

from .errors import Error
from .tensor import Tensor
from .weights import Weights


class _Activations(dict[str, Callable[[Tensor], Tensor]]):
    def __missing__(self, name: str) -> Callable[[Tensor], Tensor]:
        raise Error("bad_file", f"The activation {name!r} is not supported yet: take a model with {', '.join(self)}.")


# by the names of configurations (hidden_act, activation_function)
ACTIVATIONS = _Activations({
    "gelu": Tensor.gelu, "gelu_new": Tensor.gelu_new, "gelu_pytorch_tanh": Tensor.gelu_new,
    "quick_gelu": Tensor.quick_gelu, "relu": Tensor.relu, "silu": Tensor.silu, "swish": Tensor.silu,
})  # fmt: skip


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
