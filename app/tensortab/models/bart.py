"""BART (Lewis et al. 2019, arXiv:1910.13461): an encoder reads a text, a decoder writes another one. DistilBART, too.

Names follow the Hugging Face checkpoint; its q, k, v matrices are read as one. S tokens are read, B beams write; C
d_model, V vocabulary. Norms come after the residual.
"""

import math
from typing import Any

from ..dtype import u32
from ..formats import check_config
from ..kv import BeamCache, CacheShape
from ..nn import MLP, LayerNorm, Linear, PositionEmbedding
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"summarization": ""}
EPS = 1e-5
FIRST = 2  # the row of position 0 in the position tables


class EncoderLayer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.heads = config["encoder_attention_heads"]
        self.qkv_proj = Linear(weights, *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.out_proj = Linear(weights, f"{name}.self_attn.out_proj")
        self.self_attn_layer_norm = LayerNorm(weights, f"{name}.self_attn_layer_norm", EPS)
        self.mlp = MLP(weights, name, config["activation_function"])
        self.final_layer_norm = LayerNorm(weights, f"{name}.final_layer_norm", EPS)

    def __call__(self, x: Tensor, length: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(x).split(3)  # (1, S, C) each
        x = self.self_attn_layer_norm(x + self.out_proj(q.sdpa(k, v, self.heads, lengths=length)))
        return self.final_layer_norm(x + self.mlp(x))


class DecoderLayer:
    """`cross` (1, S, 2 C): the keys and values of the text that was read."""

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        self.layer, self.heads = layer, config["decoder_attention_heads"]
        self.qkv_proj = Linear(weights, *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.out_proj = Linear(weights, f"{name}.self_attn.out_proj")
        self.self_attn_layer_norm = LayerNorm(weights, f"{name}.self_attn_layer_norm", EPS)
        self.cross_q_proj = Linear(weights, f"{name}.encoder_attn.q_proj")
        self.cross_kv_proj = Linear(weights, *(f"{name}.encoder_attn.{part}_proj" for part in "kv"))
        self.cross_out_proj = Linear(weights, f"{name}.encoder_attn.out_proj")
        self.encoder_attn_layer_norm = LayerNorm(weights, f"{name}.encoder_attn_layer_norm", EPS)
        self.mlp = MLP(weights, name, config["activation_function"])
        self.final_layer_norm = LayerNorm(weights, f"{name}.final_layer_norm", EPS)
        self.cross = Tensor.of(f"{name}.cross", (1, config["max_position_embeddings"], 2 * config["d_model"]))

    def __call__(self, x: Tensor, beams: BeamCache) -> Tensor:
        count, size = x.shape
        x = self.self_attn_layer_norm(x + self.out_proj(beams.attend(self.layer, self.qkv_proj(x), self.heads)))
        q, (k, v) = self.cross_q_proj(x).reshape(1, count, size), self.cross.split(2)
        heard = q.sdpa(k, v, self.heads, lengths=beams.source).reshape(count, size)
        x = self.encoder_attn_layer_norm(x + self.cross_out_proj(heard))
        return self.final_layer_norm(x + self.mlp(x))


class Model:
    """`encode` fills the buffers from which the decoder reads a text."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        sizes = ("decoder_layers", "decoder_attention_heads", "d_model", "max_position_embeddings")
        check_config(config, *sizes, "encoder_layers", "encoder_attention_heads")
        layers, heads, size, self.source = (config[name] for name in sizes)
        self.cache = CacheShape(layers, heads, size // heads, self.source)
        self.embed_scale = math.sqrt(size) if config.get("scale_embedding") else 1.0
        self.shared = weights.matrix("model.shared.weight")
        weights.unused("model.*coder.embed_tokens.weight", "lm_head.weight", "model.*coder.version")  # its copies
        self.encoder_positions = PositionEmbedding(weights, "model.encoder.embed_positions", FIRST)
        self.encoder_norm = LayerNorm(weights, "model.encoder.layernorm_embedding", EPS)
        encoder = range(config["encoder_layers"])
        self.encoder = [EncoderLayer(config, weights, f"model.encoder.layers.{n}") for n in encoder]
        self.decoder_positions = PositionEmbedding(weights, "model.decoder.embed_positions", FIRST)
        self.decoder_norm = LayerNorm(weights, "model.decoder.layernorm_embedding", EPS)
        self.decoder = [DecoderLayer(config, weights, f"model.decoder.layers.{n}", n) for n in range(layers)]
        self.lm_head = Linear(weights, "model.shared")
        bias = "final_logits_bias" in weights  # a buffer of zeros, which some files leave out
        self.final_logits_bias = weights.vector("final_logits_bias") if bias else None

    def read(self, ids: Tensor, length: Tensor) -> Tensor:
        """The encoder: ids u32 (1, S), of which the first `length` count -> (1, S, C)"""
        positions = self.encoder_positions(Tensor.of("start", (1,), u32), ids.shape[1])
        x = self.encoder_norm(ids.lookup(*self.shared) * self.embed_scale + positions)
        for layer in self.encoder:
            x = layer(x, length)
        return x

    def encode(self, ids: Tensor, length: Tensor) -> list[Tensor]:
        """Keys and values of each layer of the decoder: (1, S, 2 C)"""
        x = self.read(ids, length)
        return [layer.cross_kv_proj(x).into(layer.cross) for layer in self.decoder]

    def hidden(self, beams: BeamCache) -> Tensor:
        """The last layer's output for the last token of each beam: (B, C)"""
        x = beams.tokens.lookup(*self.shared) * self.embed_scale + self.decoder_positions(beams.position, 1)
        x = self.decoder_norm(x)
        for layer in self.decoder:
            x = layer(x, beams)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, V)"""
        y = self.lm_head(x)
        return y if self.final_logits_bias is None else y + self.final_logits_bias
