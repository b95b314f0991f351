"""Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama with an RMS norm of each head of q and k before their rotation."""

from typing import Any

from ..tensor import Tensor
from ..weights import Weights
from . import llama

GGUF = llama.GGUF._replace(
    tensors=llama.GGUF.tensors | {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"},
    interleaved=False,
)


class Attention(llama.Attention):
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        super().__init__(config, weights, name, layer)
        self.norms = weights.vector(f"{name}.q_norm.weight", f"{name}.k_norm.weight")
        self.kv_heads, self.eps = config["num_key_value_heads"], config["rms_norm_eps"]

    def qkv(self, x: Tensor) -> Tensor:
        return super().qkv(x).head_norm(self.norms, self.heads, self.kv_heads, self.eps)


class DecoderLayer(llama.DecoderLayer):
    Attention = Attention


class Model(llama.Model):
    DecoderLayer = DecoderLayer
