"""Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped-query attention (arXiv:2305.13245).

Names follow the Hugging Face checkpoint; its q, k, v and gate, up matrices are read as one. T tokens, C hidden
size, H heads, G key/value heads, D head size, V vocabulary. Its parts are those of most models since; their files say
what differs.
"""

from typing import Any

from ..formats.gguf import REQUIRED, Names
from ..kv import CacheShape, KVCache, Rotary
from ..nn import Embedding, Linear, RMSNorm, check_config
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
        "rope_theta": ("rope.freq_base", float, 10000.0),
    },
    interleaved=True,
)


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
        sizes = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
        check_config(config, *sizes, "max_position_embeddings", "rms_norm_eps", hidden_act="silu")
        layers, _, kv_heads, head_dim = (config[size] for size in sizes)
        self.cache = CacheShape(layers, kv_heads, head_dim, config["max_position_embeddings"])
        self.rotary = Rotary(head_dim, config, weights)
        self.embed_tokens = Embedding(weights, "model.embed_tokens")
        self.layers = [DecoderLayer(config, weights, f"model.layers.{n}", n) for n in range(layers)]
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
