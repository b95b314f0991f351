"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): learned positions, layer norms
before each part, and biases everywhere. Its safetensors files have matrices [in, out].
"""

from typing import Any

from ..formats import check_config
from ..formats.gguf import REQUIRED, Names
from ..kv import CacheShape, KVCache, Rotary
from ..nn import Embedding, LayerNorm, Linear, PositionEmbedding
from ..tensor import Tensor
from ..weights import Weights

GGUF = Names(
    {
        "token_embd": "wte",
        "position_embd": "wpe",
        "output_norm": "ln_f",
        "output": "lm_head",
        "blk": "h",
        "attn_norm": "ln_1",
        "attn_qkv": "attn.c_attn",
        "attn_output": "attn.c_proj",
        "ffn_norm": "ln_2",
        "ffn_up": "mlp.c_fc",
        "ffn_down": "mlp.c_proj",
    },
    {
        "n_embd": ("embedding_length", int, REQUIRED),
        "n_layer": ("block_count", int, REQUIRED),
        "n_head": ("attention.head_count", int, REQUIRED),
        "n_positions": ("context_length", int, REQUIRED),
        "layer_norm_epsilon": ("attention.layer_norm_epsilon", float, REQUIRED),
    },
)


class Conv1D(Linear):
    """A Linear whose matrix is transposed in the file."""

    def __init__(self, weights: Weights, name: str) -> None:
        if weights.checkpoint.format == "gguf":
            super().__init__(weights, name)
        else:
            self.weights = [weights.once(lambda w: w.transpose().contiguous(), f"{name}.weight")]
            self.bias = weights.vector(f"{name}.bias")


class Block:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        self.layer, self.heads, eps = layer, config["n_head"], config["layer_norm_epsilon"]
        self.ln_1 = LayerNorm(weights, f"{name}.ln_1", eps)
        self.c_attn = Conv1D(weights, f"{name}.attn.c_attn")
        self.attn_proj = Conv1D(weights, f"{name}.attn.c_proj")
        self.ln_2 = LayerNorm(weights, f"{name}.ln_2", eps)
        self.c_fc = Conv1D(weights, f"{name}.mlp.c_fc")
        self.mlp_proj = Conv1D(weights, f"{name}.mlp.c_proj")

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        qkv = self.c_attn(self.ln_1(x))  # (T, 3C)
        x = x + self.attn_proj(kv.attend(self.layer, qkv, state, rope, self.heads))
        return x + self.mlp_proj(self.c_fc(self.ln_2(x)).gelu_new())


class Model:
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        check_config(
            config, "n_embd", "n_layer", "n_head", "n_positions", "layer_norm_epsilon", activation_function="gelu_new",
            scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False,
        )  # fmt: skip
        layers, heads, head_dim = config["n_layer"], config["n_head"], config["n_embd"] // config["n_head"]
        self.cache = CacheShape(layers, heads, head_dim, config["n_positions"])
        self.rotary = Rotary(head_dim)
        name = "transformer." if "transformer.wte.weight" in weights else ""
        weights.unused("*.attn.bias", "*.attn.masked_bias", "multiple_choice_head.*")  # causal masks, and another head
        self.embed_tokens = Embedding(weights, f"{name}wte")
        self.wpe = PositionEmbedding(weights, f"{name}wpe")
        self.h = [Block(config, weights, f"{name}h.{n}", n) for n in range(layers)]
        self.ln_f = LayerNorm(weights, f"{name}ln_f", config["layer_norm_epsilon"])
        self.lm_head = Linear(weights, "lm_head" if "lm_head.weight" in weights else f"{name}wte")

    def hidden(self, tokens: Tensor, state: Tensor, rope: Tensor, kv: KVCache, rows: int) -> Tensor:
        """The last block's output for `rows` tokens: (T, C)."""
        x = self.embed_tokens(tokens, state, rows) + self.wpe(state, rows)
        for block in self.h:
            x = block(x, state, rope, kv)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, V)"""
        return self.lm_head(self.ln_f(x))
