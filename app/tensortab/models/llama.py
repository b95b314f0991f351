"""Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped-query attention (arXiv:2305.13245).

Names follow the Hugging Face checkpoint; its q, k, v and gate, up matrices are read as one. T tokens, C hidden
size, H heads, G key/value heads, D head size, V vocabulary. Most models since are made of these parts; their files
say what differs.
"""

from typing import Any

from ..formats import check_config
from ..formats.gguf import REQUIRED, Names
from ..kv import CacheShape, KVCache, Rotary
from ..nn import Embedding, Linear, RMSNorm
from ..tensor import Tensor
from ..weights import Weights

GGUF = Names(
    {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "blk": "model.layers",
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    },
    {
        "hidden_size": ("embedding_length", int, REQUIRED),
        "intermediate_size": ("feed_forward_length", int, REQUIRED),
        "num_hidden_layers": ("block_count", int, REQUIRED),
        "num_attention_heads": ("attention.head_count", int, REQUIRED),
        "num_key_value_heads": ("attention.head_count_kv", int, None),
        "head_dim": ("attention.key_length", int, None),
        "max_position_embeddings": ("context_length", int, REQUIRED),
        "rms_norm_eps": ("attention.layer_norm_rms_epsilon", float, REQUIRED),
        "rotary_dim": ("rope.dimension_count", int, None),
        "rope_theta": ("rope.freq_base", float, 10000.0),
    },
    interleaved=True,
)


class Attention:
    QKV: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        self.layer, self.heads = layer, config["num_attention_heads"]
        self.interleaved = weights.checkpoint.rope_interleaved
        self.qkv_proj = Linear(weights, *(f"{name}.{part}" for part in self.QKV))
        self.o_proj = Linear(weights, f"{name}.o_proj")

    def qkv(self, x: Tensor) -> Tensor:
        return self.qkv_proj(x)  # (T, (H + 2G) D)

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        attended = kv.attend(self.layer, self.qkv(x), state, rope, self.heads, self.interleaved)
        return self.o_proj(attended)  # (T, C)


class MLP:
    GATE_UP: tuple[str, ...] = ("gate_proj", "up_proj")
    ACTIVATION = "silu"

    def __init__(self, weights: Weights, name: str) -> None:
        self.gate_up_proj = Linear(weights, *(f"{name}.{part}" for part in self.GATE_UP))
        self.down_proj = Linear(weights, f"{name}.down_proj")

    def __call__(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gate_up_proj(x).gate(self.ACTIVATION))  # (T, C)


class DecoderLayer:
    Attention, MLP, RMSNorm = Attention, MLP, RMSNorm

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        eps = config["rms_norm_eps"]
        self.input_layernorm = self.RMSNorm(weights, f"{name}.input_layernorm", eps)
        self.self_attn = self.Attention(config, weights, f"{name}.self_attn", layer)
        self.post_attention_layernorm = self.RMSNorm(weights, f"{name}.post_attention_layernorm", eps)
        self.mlp = self.MLP(weights, f"{name}.mlp")

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), state, rope, kv)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model:
    """The decoder. `state` holds the position on the GPU; tokens are read from there on."""

    DecoderLayer = DecoderLayer
    HIDDEN_ACT = "silu"

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        check_config(config, "num_attention_heads", "rms_norm_eps", hidden_act=self.HIDDEN_ACT)
        self.cache = CacheShape.of(config)
        self.rotary = Rotary(self.cache.head_dim, config, weights)
        self.embed_tokens = Embedding(weights, "model.embed_tokens")
        layers = range(self.cache.layers)
        self.layers = [self.DecoderLayer(config, weights, f"model.layers.{n}", n) for n in layers]
        self.norm = self.DecoderLayer.RMSNorm(weights, "model.norm", config["rms_norm_eps"])
        self.lm_head = Linear(weights, "lm_head" if "lm_head.weight" in weights else "model.embed_tokens")

    def embed(self, tokens: Tensor, state: Tensor, rows: int) -> Tensor:
        return self.embed_tokens(tokens, state, rows)

    def hidden(self, tokens: Tensor, state: Tensor, rope: Tensor, kv: KVCache, rows: int) -> Tensor:
        """The last layer's output for `rows` tokens: (T, C)."""
        x = self.embed(tokens, state, rows)
        for layer in self.layers:
            x = layer(x, state, rope, kv)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, V)"""
        return self.lm_head(self.norm(x))
