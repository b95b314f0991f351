"""Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped-query attention (arXiv:2305.13245).

Names follow the Hugging Face checkpoint; its q, k, v and gate, up matrices are read as one. T tokens, C hidden
size, H heads, G key/value heads, D head size, V vocabulary.
"""

from typing import Any

from ..kv import KVCache
from ..nn import Embedding, Linear, RMSNorm
from ..tensor import Tensor
from ..weights import Weights


class Attention:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        self.layer, self.heads = layer, config["num_attention_heads"]
        self.interleaved = weights.checkpoint.rope_interleaved
        self.qkv_proj = Linear(weights, *(f"{name}.{part}_proj" for part in "qkv"))
        self.o_proj = Linear(weights, f"{name}.o_proj")

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        qkv = self.qkv_proj(x)  # (T, (H + 2G) D)
        return self.o_proj(kv.attend(self.layer, qkv, state, rope, self.heads, self.interleaved))  # (T, C)


class MLP:
    def __init__(self, weights: Weights, name: str) -> None:
        self.gate_up_proj = Linear(weights, f"{name}.gate_proj", f"{name}.up_proj")
        self.down_proj = Linear(weights, f"{name}.down_proj")

    def __call__(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gate_up_proj(x).silu_gate())  # (T, C)


class DecoderLayer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        eps = config["rms_norm_eps"]
        self.input_layernorm = RMSNorm(weights, f"{name}.input_layernorm", eps)
        self.self_attn = Attention(config, weights, f"{name}.self_attn", layer)
        self.post_attention_layernorm = RMSNorm(weights, f"{name}.post_attention_layernorm", eps)
        self.mlp = MLP(weights, f"{name}.mlp")

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), state, rope, kv)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model:
    """The decoder. `state` holds the position on the GPU; tokens are read from there on."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        self.embed_tokens = Embedding(weights, "model.embed_tokens")
        layers = range(config["num_hidden_layers"])
        self.layers = [DecoderLayer(config, weights, f"model.layers.{n}", n) for n in layers]
        self.norm = RMSNorm(weights, "model.norm", config["rms_norm_eps"])
        self.lm_head = Linear(weights, "lm_head" if "lm_head.weight" in weights else "model.embed_tokens")

    def hidden(self, tokens: Tensor, state: Tensor, rope: Tensor, kv: KVCache, rows: int) -> Tensor:
        """The last layer's output for `rows` tokens: (T, C)."""
        x = self.embed_tokens(tokens, state, rows)
        for layer in self.layers:
            x = layer(x, state, rope, kv)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, V)"""
        return self.lm_head(self.norm(x))
