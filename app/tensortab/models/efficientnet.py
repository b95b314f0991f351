"""EfficientNet (Tan and Le 2019, arXiv:1905.11946), with squeeze and excitation (arXiv:1709.01507).

Names follow the Hugging Face checkpoint. N images of H x W pixels, C channels, L labels.
"""

import math
from typing import Any

from ..errors import Error
from ..nn import ACTIVATIONS, Conv, Linear
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"image-classification": "ForImageClassification", "image-feature-extraction": ""}


class SqueezeExcite:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.activation = ACTIVATIONS[config["hidden_act"]]
        self.reduce, self.expand = (Conv(weights, f"{name}.{part}") for part in ("reduce", "expand"))

    def __call__(self, x: Tensor) -> Tensor:
        n, _, _, channels = x.shape
        mean = x.reshape(n, -1, channels).mean(-2).reshape(n, 1, 1, channels)
        return x * self.expand(self.activation(self.reduce(mean))).sigmoid()


class Block:
    """Expansion, depthwise convolution, squeeze and excitation, projection, and the residual, except in a stage's
    first block. square: with a stride of 2 both sides are padded alike."""

    def __init__(
        self, config: dict[str, Any], weights: Weights, name: str, stride: int, square: bool, first: bool
    ) -> None:
        self.activation, self.first = ACTIVATIONS[config["hidden_act"]], first
        expand, project = f"{name}.expansion.expand", f"{name}.projection.project"
        depthwise = f"{name}.depthwise_conv.depthwise"
        eps, expands = config["batch_norm_eps"], f"{expand}_conv.weight" in weights
        self.expand = Conv(weights, f"{expand}_conv", norm=f"{expand}_bn", eps=eps) if expands else None
        channels, _, size, _ = weights.checkpoint.tensor(f"{depthwise}_conv.weight").shape
        before, after = size // 2 - (not square), size // 2
        padding = (before, before, after, after) if stride == 2 else None
        self.depthwise = Conv(weights, f"{depthwise}_conv", stride, padding, channels, f"{depthwise}_norm", eps)
        self.squeeze_excite = SqueezeExcite(config, weights, f"{name}.squeeze_excite")
        self.project = Conv(weights, f"{project}_conv", norm=f"{project}_bn", eps=eps)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.activation(self.expand(x)) if self.expand else x
        y = self.project(self.squeeze_excite(self.activation(self.depthwise(y))))
        return y if self.first else x + y


class Model:
    """pixel_values f32 (N, H, W, 3)."""

    CLASSIFIER = "classifier"

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        if config.get("pooling_type", "mean") != "mean":
            raise Error(
                "bad_file",
                f"config.json: pooling_type {config['pooling_type']!r} is not supported yet, only 'mean' is.",
            )
        self.activation = ACTIVATIONS[config["hidden_act"]]
        name = "efficientnet." if "efficientnet.embeddings.convolution.weight" in weights else ""
        weights.unused(f"{self.CLASSIFIER}.*")
        stem, top, eps = f"{name}embeddings", f"{name}encoder.top", config["batch_norm_eps"]
        self.stem = Conv(weights, f"{stem}.convolution", 2, (0, 0, 1, 1), norm=f"{stem}.batchnorm", eps=eps)
        self.blocks: list[Any] = []
        for repeats, stride in zip(config["num_block_repeats"], config["strides"], strict=True):
            for n in range(math.ceil(config["depth_coefficient"] * repeats)):
                number = len(self.blocks)
                block, square = f"{name}encoder.blocks.{number}", number in config["depthwise_padding"]
                self.blocks.append(Block(config, weights, block, stride if n == 0 else 1, square, n == 0))
        self.top = Conv(weights, f"{top}_conv", norm=f"{top}_bn", eps=eps)

    def hidden(self, pixel_values: Tensor) -> list[Tensor]:
        """The output of the stem and of each block: (N, H', W', C)."""
        x = [self.activation(self.stem(pixel_values))]
        for block in self.blocks:
            x.append(block(x[-1]))
        return x

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """The mean over all positions: (N, C)"""
        x = self.activation(self.top(self.hidden(pixel_values)[-1]))
        return x.reshape(x.shape[0], -1, x.shape[-1]).mean(-2)


class ForImageClassification(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        self.classifier = Linear(weights, self.CLASSIFIER)

    def logits(self, pixel_values: Tensor) -> Tensor:
        """(N, L)"""
        return self.classifier(self.embed_image(pixel_values))
