"""EfficientNet-lite (Liu 2020, github.com/tensorflow/tpu, after Tan and Le 2019, arXiv:1905.11946): without squeeze and
excitation, and with ReLU6. The names of the weights are those of its PyTorch ports.

N images of H x W pixels, C channels, L labels.
"""

from typing import Any

from ..nn import ACTIVATIONS, Conv
from ..tensor import Tensor
from ..weights import Weights
from . import efficientnet

TASKS = efficientnet.TASKS


class Block:
    """Expansion, depthwise convolution, projection, and the residual, except in a stage's first block."""

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, stride: int, first: bool) -> None:
        self.activation, self.first = ACTIVATIONS[config["hidden_act"]], first
        eps, expands = config["batch_norm_eps"], f"{name}._expand_conv.weight" in weights
        self.expand = Conv(weights, f"{name}._expand_conv", norm=f"{name}._bn0", eps=eps) if expands else None
        channels = weights.checkpoint.tensor(f"{name}._depthwise_conv.weight").shape[0]
        self.depthwise = Conv(weights, f"{name}._depthwise_conv", stride, None, channels, f"{name}._bn1", eps)
        self.project = Conv(weights, f"{name}._project_conv", norm=f"{name}._bn2", eps=eps)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.activation(self.expand(x)) if self.expand else x
        y = self.project(self.activation(self.depthwise(y)))
        return y if self.first else x + y


class Model(efficientnet.Model):
    """pixel_values f32 (N, H, W, 3)."""

    CLASSIFIER = "_fc"

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        self.activation = ACTIVATIONS[config["hidden_act"]]
        weights.unused(f"{self.CLASSIFIER}.*")
        eps = config["batch_norm_eps"]
        self.stem = Conv(weights, "_conv_stem", 2, norm="_bn0", eps=eps)
        self.blocks: list[Any] = []
        for repeats, stride in zip(config["num_block_repeats"], config["strides"], strict=True):
            for n in range(repeats):
                name = f"_blocks.{len(self.blocks)}"
                self.blocks.append(Block(config, weights, name, stride if n == 0 else 1, n == 0))
        self.top = Conv(weights, "_conv_head", norm="_bn1", eps=eps)


class ForImageClassification(efficientnet.ForImageClassification, Model):
    pass
