"""Gemma (Mesnard et al. 2024, arXiv:2403.08295): Llama with a GeGLU, gains of 1 + weight, embeddings times the root of
their size, and the embedding as the head.
"""

from typing import Any

from .. import nn
from ..tensor import Tensor
from ..weights import Weights
from . import llama

GGUF = llama.GGUF._replace(interleaved=False)


class RMSNorm(nn.RMSNorm):
    def __init__(self, weights: Weights, name: str, eps: float) -> None:
        if weights.checkpoint.format == "gguf":  # there the 1 is added already
            super().__init__(weights, name, eps)
        else:
            self.weight, self.eps = weights.once(lambda w: w + 1.0, f"{name}.weight"), eps


class MLP(llama.MLP):
    ACTIVATION = "gelu_new"


class DecoderLayer(llama.DecoderLayer):
    MLP, RMSNorm = MLP, RMSNorm


class Model(llama.Model):
    DecoderLayer = DecoderLayer
    HIDDEN_ACT = "gelu_pytorch_tanh"

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        if config.get("hidden_act") == "gelu":  # the first files say so, and mean the other
            config = config | {"hidden_act": self.HIDDEN_ACT}
        super().__init__(config, weights)

    def embed(self, tokens: Tensor, state: Tensor, rows: int) -> Tensor:
        x = super().embed(tokens, state, rows)
        return x * x.shape[-1] ** 0.5
