"""Layers. They are made from Weights and tensor names of a checkpoint; calling one builds a part of the graph."""

from collections.abc import Callable

from .errors import Error
from .tensor import Tensor, filter_order
from .weights import Weights


class _Activations(dict[str, Callable[[Tensor], Tensor]]):
    def __missing__(self, name: str) -> Callable[[Tensor], Tensor]:
        raise Error("bad_file", f"The activation {name!r} is not supported yet: use a model with {', '.join(self)}.")


# by their names in configurations (hidden_act, activation_function)
ACTIVATIONS = _Activations({
    "gelu": Tensor.gelu, "gelu_new": Tensor.gelu_new, "gelu_pytorch_tanh": Tensor.gelu_new,
    "quick_gelu": Tensor.quick_gelu, "relu": Tensor.relu, "silu": Tensor.silu, "swish": Tensor.silu,
    "relu6": lambda x: x.maximum(0.0).minimum(6.0), "tanh": Tensor.tanh,
})  # fmt: skip


class Linear:
    """x [..., K] -> [..., N]: x W^T + b. The matrices of several names are joined by rows; if only some of them have a
    bias, the others get zeros."""

    def __init__(self, weights: Weights, *names: str) -> None:
        self.weights = weights.matrix(*(f"{name}.weight" for name in names))
        self.bias = None
        if any(f"{name}.bias" in weights for name in names):
            rows = {name: weights.checkpoint.tensor(f"{name}.weight").shape[0] for name in names}
            self.bias = weights.vector(*(f"{n}.bias" if f"{n}.bias" in weights else rows[n] for n in names))

    def __call__(self, x: Tensor) -> Tensor:
        y = x.linear(*self.weights)
        return y if self.bias is None else y + self.bias


class Conv:
    """A convolution along one axis ([N, T, C], weight [O, C / groups, k]) or two ([N, H, W, C], weight [O, C / groups,
    kh, kw]). The weight is stored once in the order in which kernels read it. padding: the number of zeros before each
    axis, then after each; by default the output has ceil(size / stride) elements, and an odd zero is added after
    (TensorFlow's "SAME").

    norm: the name of a batch normalisation after it (arXiv:1502.03167), which becomes part of weight and bias.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        stride: int = 1,
        padding: tuple[int, ...] | None = None,
        groups: int = 1,
        norm: str = "",
        eps: float = 0.0,
    ) -> None:
        self.stride, self.padding, self.groups = stride, padding, groups
        order = filter_order(weights.checkpoint.tensor(f"{name}.weight").shape, groups)
        parts = [f"{norm}.{part}" for part in ("weight", "running_var", "bias", "running_mean")] if norm else []
        biases = [f"{name}.bias"] if f"{name}.bias" in weights else []

        def filters(weight: Tensor, *gain: Tensor) -> Tensor:
            if norm:
                weight = weight * scale(*gain).reshape(-1, *(1 for _ in weight.shape[1:]))
            return weight.permute(*order).contiguous()

        def scale(weight: Tensor, variance: Tensor) -> Tensor:
            return weight / (variance + eps).sqrt()

        def shift(weight: Tensor, variance: Tensor, bias: Tensor, mean: Tensor, *before: Tensor) -> Tensor:
            return bias - (mean - before[0] if before else mean) * scale(weight, variance)

        stored = weights.once(filters, f"{name}.weight", *parts[:2])
        self.weight = stored.permute(*(order.index(axis) for axis in range(len(order))))
        self.bias = weights.once(shift, *parts, *biases) if norm else weights.vector(*biases) if biases else None

    def __call__(self, x: Tensor) -> Tensor:
        stride, size, padding = self.stride, self.weight.shape[2:], self.padding
        if padding is None:
            sides = zip(x.shape[1:-1], size, strict=True)
            missing = [max(0, (-(-n // stride) - 1) * stride + k - n) for n, k in sides]
            padding = (*(n // 2 for n in missing), *(n - n // 2 for n in missing))
        return x.conv(self.weight, self.bias, tuple(stride for _ in size), padding, self.groups)


class Patches:
    """Images [N, H, W, 3] -> [N, 1 + P, C]: a learned row, then one for each of P patches of size x size pixels, all
    with learned position embeddings (arXiv:2010.11929)."""

    def __init__(self, weights: Weights, name: str, size: int, first: str, positions: str) -> None:
        self.projection = Conv(weights, name, size, (0, 0, 0, 0))
        *_, rows, columns = weights.checkpoint.tensor(positions).shape

        def table(first: Tensor, positions: Tensor) -> Tensor:
            return positions.reshape(1, rows, columns) + first.reshape(1, 1, columns).pad(0, rows - 1)

        self.table = weights.once(table, first, positions)

    def __call__(self, pixel_values: Tensor) -> Tensor:
        x = self.projection(pixel_values)
        return x.reshape(x.shape[0], -1, x.shape[-1]).pad(1, 0) + self.table


class MLP:
    """fc2(activation(fc1(x)))."""

    def __init__(self, weights: Weights, name: str, activation: str) -> None:
        self.fc1, self.fc2 = Linear(weights, f"{name}.fc1"), Linear(weights, f"{name}.fc2")
        self.activation_fn = ACTIVATIONS[activation]

    def __call__(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class Embedding:
    """The rows of a table [V, C] for the T tokens from the current position on: [T, C]."""

    def __init__(self, weights: Weights, name: str) -> None:
        self.weights = weights.matrix(f"{name}.weight")

    def __call__(self, tokens: Tensor, state: Tensor, rows: int) -> Tensor:
        return Tensor.apply("embedding", tokens, state, *self.weights, rows=rows)


class PositionEmbedding:
    """Learned position embeddings: the rows of a table [positions, C] for T positions from the current one on: [T, C].
    Position 0 has row `first`."""

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
