"""Whisper (Radford et al. 2022, arXiv:2212.04356): an encoder of 30 s of sound, a decoder that writes what is said.

Names follow the Hugging Face checkpoint; its q, k, v matrices are read as one. S positions of the encoder (two frames
each), T tokens, C d_model, H heads, M bands of the spectrum, V vocabulary.
"""

from typing import Any

from ..audio import BINS, HOP, LogMel
from ..dtype import u32
from ..errors import Error
from ..formats import check_config
from ..kv import CacheShape, KVCache, Rotary
from ..nn import ACTIVATIONS, MLP, Conv, Embedding, LayerNorm, Linear, PositionEmbedding
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"automatic-speech-recognition": ""}
EPS = 1e-5


class EncoderLayer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.heads = config["encoder_attention_heads"]
        self.self_attn_layer_norm = LayerNorm(weights, f"{name}.self_attn_layer_norm", EPS)
        self.qkv_proj = Linear(weights, *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.out_proj = Linear(weights, f"{name}.self_attn.out_proj")
        self.final_layer_norm = LayerNorm(weights, f"{name}.final_layer_norm", EPS)
        self.mlp = MLP(weights, name, config["activation_function"])

    def __call__(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(self.self_attn_layer_norm(x)).split(3)  # (1, S, C) each
        x = x + self.out_proj(q.sdpa(k, v, self.heads))
        return x + self.mlp(self.final_layer_norm(x))


class Encoder:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.activation_fn = ACTIVATIONS[config["activation_function"]]
        self.conv1 = Conv(weights, f"{name}.conv1", padding=(1, 1))
        self.conv2 = Conv(weights, f"{name}.conv2", 2, (1, 1))
        self.embed_positions = weights.tensor(f"{name}.embed_positions.weight")
        self.layers = [EncoderLayer(config, weights, f"{name}.layers.{n}") for n in range(config["encoder_layers"])]
        self.layer_norm = LayerNorm(weights, f"{name}.layer_norm", EPS)

    def __call__(self, mel: Tensor) -> Tensor:
        """(2 S, M) -> (1, S, C)"""
        x = self.activation_fn(self.conv1(mel.reshape(1, *mel.shape)))
        x = self.activation_fn(self.conv2(x)) + self.embed_positions
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class DecoderLayer:
    """`cross` (1, S, 2 C): the keys and values of the encoder's output."""

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int) -> None:
        self.layer, self.heads = layer, config["decoder_attention_heads"]
        self.self_attn_layer_norm = LayerNorm(weights, f"{name}.self_attn_layer_norm", EPS)
        self.qkv_proj = Linear(weights, *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.out_proj = Linear(weights, f"{name}.self_attn.out_proj")
        self.encoder_attn_layer_norm = LayerNorm(weights, f"{name}.encoder_attn_layer_norm", EPS)
        self.cross_q_proj = Linear(weights, f"{name}.encoder_attn.q_proj")
        self.cross_kv_proj = Linear(weights, *(f"{name}.encoder_attn.{part}_proj" for part in "kv"))
        self.cross_out_proj = Linear(weights, f"{name}.encoder_attn.out_proj")
        self.final_layer_norm = LayerNorm(weights, f"{name}.final_layer_norm", EPS)
        self.mlp = MLP(weights, name, config["activation_function"])
        self.cross = Tensor.of(f"{name}.cross", (1, config["max_source_positions"], 2 * config["d_model"]))

    def __call__(self, x: Tensor, state: Tensor, rope: Tensor, kv: KVCache) -> Tensor:
        count, size = x.shape
        qkv = self.qkv_proj(self.self_attn_layer_norm(x))  # (T, 3 C)
        x = x + self.out_proj(kv.attend(self.layer, qkv, state, rope, self.heads, False))
        q = self.cross_q_proj(self.encoder_attn_layer_norm(x)).reshape(1, count, size)
        k, v = self.cross.split(2)
        x = x + self.cross_out_proj(q.sdpa(k, v, self.heads).reshape(count, size))
        return x + self.mlp(self.final_layer_norm(x))


class Model:
    """`encode` fills the buffers from which the decoder reads a window; `state` holds the text's position on the GPU.

    masks (2, V), for the first token and for later ones, and marks say which tokens may follow
    (kernels/timestamps.wgsl).
    """

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        sizes = ("decoder_layers", "decoder_attention_heads", "d_model", "max_target_positions")
        more = ("encoder_layers", "encoder_attention_heads", "max_source_positions", "num_mel_bins")
        check_config(config, *sizes, *more, scale_embedding=False)
        layers, heads, size, positions = (config[name] for name in sizes)
        if config["num_mel_bins"] > BINS:
            raise Error(
                "bad_file",
                f"config.json: num_mel_bins is {config['num_mel_bins']}, which is impossible: download the file again.",
            )
        self.cache, self.rotary = CacheShape(layers, heads, size // heads, positions), Rotary(size // heads)
        self.samples = 2 * config["max_source_positions"] * HOP  # of a window
        self.log_mel = LogMel(config["num_mel_bins"])
        self.encoder = Encoder(config, weights, "model.encoder")
        self.embed_tokens = Embedding(weights, "model.decoder.embed_tokens")
        self.embed_positions = PositionEmbedding(weights, "model.decoder.embed_positions")
        self.layers = [DecoderLayer(config, weights, f"model.decoder.layers.{n}", n) for n in range(layers)]
        self.layer_norm = LayerNorm(weights, "model.decoder.layer_norm", EPS)
        self.lm_head = Linear(weights, "model.decoder.embed_tokens")
        weights.unused("proj_out.weight")  # the same
        self.masks = Tensor.of("masks", (2, sum(w.shape[0] for w in self.embed_tokens.weights)))
        self.marks = Tensor.of("marks", (4,), u32)

    def encode(self, samples: Tensor) -> list[Tensor]:
        """Recording.window() -> keys and values of each layer of the decoder (1, S, 2 C)."""
        x = self.encoder(self.log_mel(samples))
        return [layer.cross_kv_proj(x).into(layer.cross) for layer in self.layers]

    def hidden(self, tokens: Tensor, state: Tensor, rope: Tensor, kv: KVCache, rows: int) -> Tensor:
        """The last layer's output for `rows` tokens: (T, C)."""
        x = self.embed_tokens(tokens, state, rows) + self.embed_positions(state, rows)
        for layer in self.layers:
            x = layer(x, state, rope, kv)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, V)"""
        return self.lm_head(self.layer_norm(x))

    def rules(self, logits: Tensor, tokens: Tensor, state: Tensor) -> Tensor:
        """The logits (1, V) without the tokens that may not follow."""
        return Tensor.apply("timestamp_rules", logits, self.masks, tokens, state, self.marks)

    def free(self) -> None:
        self.log_mel.free()
        for tensor in (self.masks, self.marks, *(layer.cross for layer in self.layers)):
            tensor.free()
