"""T5 (Raffel et al. 2019, arXiv:1910.10683), 1.1 and Flan: an encoder reads a text, a decoder writes another one.

Names follow the Hugging Face checkpoint; its q, k, v and wi matrices are read as one. S tokens are read, B beams write;
C d_model, H heads, W = H d_kv, F d_ff, V vocabulary. Positions are a bias of scores by the distance of query and key,
which the first layer has for all layers; scores are not scaled.
"""

import math
from typing import Any

from ..dtype import u32
from ..errors import Error
from ..formats import check_config
from ..kv import BeamCache, CacheShape
from ..nn import ACTIVATIONS, Linear, RMSNorm
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"summarization": ""}
POSITIONS = 512  # the tokens of a text in its training


class RelativeBias:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, bidirectional: bool) -> None:
        self.weight = weights.tensor(f"{name}.relative_attention_bias.weight")
        self.far = config.get("relative_attention_max_distance", 128)
        self.buckets = config["relative_attention_num_buckets"]
        self.bidirectional = bidirectional
        if self.weight.shape != (self.buckets, config["num_heads"]) or not self.buckets < self.far < 1 << 16:
            raise Error(
                "bad_file", "The relative_attention settings of config.json are impossible: download the file again."
            )

    def bucket(self, distance: int) -> int:
        """The bucket of a key that is so many positions behind the query: near keys have one each, farther ones share
        it."""
        first, count = 0, self.buckets
        if self.bidirectional:
            count //= 2
            first, distance = count * (distance > 0), abs(distance)
        else:
            distance = max(0, -distance)
        exact = count // 2
        if distance < exact:
            return first + distance
        wide = math.log(distance / exact) / math.log(self.far / exact) * (count - exact)
        return first + min(exact + int(wide), count - 1)

    def __call__(self, position: Tensor, rows: int, columns: int) -> Tensor:
        """Returns the bias (H, rows, columns) of the queries from the position on."""
        table = Tensor([self.bucket(distance) for distance in range(-self.far, self.far + 1)], "u32")
        return self.weight.relative_bias(table, position, rows, columns)


class DenseReluDense:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        gated, _, act = config.get("feed_forward_proj", "relu").rpartition("-")
        if gated not in ("", "gated") or act not in ACTIVATIONS:
            kind = config["feed_forward_proj"]
            raise Error(
                "bad_file", f"feed_forward_proj {kind!r} is not supported yet: use a model with relu or gated-gelu."
            )
        self.gate = ("gelu_new" if act == "gelu" else act) if gated else ""
        self.act = ACTIVATIONS[act]
        self.wi = Linear(weights, *(f"{name}.{part}" for part in (("wi_0", "wi_1") if gated else ("wi",))))
        self.wo = Linear(weights, f"{name}.wo")

    def __call__(self, x: Tensor) -> Tensor:
        x = self.wi(x)  # (..., F), gated: (..., 2 F)
        return self.wo(x.gate(self.gate) if self.gate else self.act(x))


class EncoderBlock:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.heads, eps = config["num_heads"], config["layer_norm_epsilon"]
        self.self_norm = RMSNorm(weights, f"{name}.layer.0.layer_norm", eps)
        self.qkv = Linear(weights, *(f"{name}.layer.0.SelfAttention.{part}" for part in "qkv"))
        self.o = Linear(weights, f"{name}.layer.0.SelfAttention.o")
        self.dense_norm = RMSNorm(weights, f"{name}.layer.1.layer_norm", eps)
        self.dense = DenseReluDense(config, weights, f"{name}.layer.1.DenseReluDense")

    def __call__(self, x: Tensor, length: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.qkv(self.self_norm(x)).split(3)  # (1, S, W) each
        x = x + self.o(q.sdpa(k, v, self.heads, lengths=length, bias=bias, scale=1.0))
        return x + self.dense(self.dense_norm(x))


class DecoderBlock:
    """`cross` (1, S, 2 W): the keys and values of the text that was read."""

    def __init__(self, config: dict[str, Any], weights: Weights, name: str, layer: int, source: int) -> None:
        self.layer, self.heads, eps = layer, config["num_heads"], config["layer_norm_epsilon"]
        self.self_norm = RMSNorm(weights, f"{name}.layer.0.layer_norm", eps)
        self.qkv = Linear(weights, *(f"{name}.layer.0.SelfAttention.{part}" for part in "qkv"))
        self.o = Linear(weights, f"{name}.layer.0.SelfAttention.o")
        self.cross_norm = RMSNorm(weights, f"{name}.layer.1.layer_norm", eps)
        self.cross_q = Linear(weights, f"{name}.layer.1.EncDecAttention.q")
        self.cross_kv = Linear(weights, *(f"{name}.layer.1.EncDecAttention.{part}" for part in "kv"))
        self.cross_o = Linear(weights, f"{name}.layer.1.EncDecAttention.o")
        self.dense_norm = RMSNorm(weights, f"{name}.layer.2.layer_norm", eps)
        self.dense = DenseReluDense(config, weights, f"{name}.layer.2.DenseReluDense")
        self.cross = Tensor.of(f"{name}.cross", (1, source, 2 * self.heads * config["d_kv"]))

    def __call__(self, x: Tensor, beams: BeamCache, bias: Tensor) -> Tensor:
        qkv = self.qkv(self.self_norm(x))  # (B, 3 W)
        x = x + self.o(beams.attend(self.layer, qkv, self.heads, bias=bias, scale=1.0))
        count, size = x.shape[0], beams.width
        q = self.cross_q(self.cross_norm(x)).reshape(1, count, size)
        k, v = self.cross.split(2)
        heard = q.sdpa(k, v, self.heads, lengths=beams.source, scale=1.0).reshape(count, size)
        x = x + self.cross_o(heard)
        return x + self.dense(self.dense_norm(x))


class Model:
    """`encode` fills the buffers from which the decoder reads a text."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        sizes = ("num_layers", "num_heads", "d_kv", "d_model")
        check_config(config, *sizes, "relative_attention_num_buckets", "layer_norm_epsilon")
        layers, heads, head_dim, size = (config[name] for name in sizes)
        eps, deep = config["layer_norm_epsilon"], config.get("num_decoder_layers") or layers
        check_config({"n_positions": POSITIONS} | config, "n_positions")
        self.source = config.get("n_positions", POSITIONS)
        self.cache = CacheShape(deep, heads, head_dim, self.source)
        self.shared = weights.matrix("shared.weight")
        first = "block.0.layer.0.SelfAttention"
        # copies of the embedding, and a bias of the decoder's second attention, which never had one
        weights.unused("*coder.embed_tokens.weight", "lm_head.weight", "*.EncDecAttention.relative_attention_bias.*")
        self.encoder_bias = RelativeBias(config, weights, f"encoder.{first}", bidirectional=True)
        self.encoder = [EncoderBlock(config, weights, f"encoder.block.{n}") for n in range(layers)]
        self.encoder_norm = RMSNorm(weights, "encoder.final_layer_norm", eps)
        self.decoder_bias = RelativeBias(config, weights, f"decoder.{first}", bidirectional=False)
        names = [f"decoder.block.{n}" for n in range(deep)]
        self.decoder = [DecoderBlock(config, weights, name, n, self.source) for n, name in enumerate(names)]
        self.decoder_norm = RMSNorm(weights, "decoder.final_layer_norm", eps)
        tied = config.get("tie_word_embeddings", True)
        self.head_scale = size**-0.5 if tied else 1.0
        self.lm_head = Linear(weights, "shared" if tied else "lm_head")

    def read(self, ids: Tensor, length: Tensor) -> Tensor:
        """The encoder: ids u32 (1, S), of which the first `length` count -> (1, S, C)"""
        x, count = ids.lookup(*self.shared), ids.shape[1]
        bias = self.encoder_bias(Tensor.of("start", (1,), u32), count, count)
        for block in self.encoder:
            x = block(x, length, bias)
        return self.encoder_norm(x)

    def encode(self, ids: Tensor, length: Tensor) -> list[Tensor]:
        """Keys and values of each block of the decoder: (1, S, 2 W)"""
        x = self.read(ids, length)
        return [block.cross_kv(x).into(block.cross) for block in self.decoder]

    def hidden(self, beams: BeamCache) -> Tensor:
        """The last block's output for the last token of each beam: (B, C)"""
        x, bias = beams.tokens.lookup(*self.shared), self.decoder_bias(beams.position, 1, beams.positions)
        for block in self.decoder:
            x = block(x, beams, bias)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, V)"""
        return self.lm_head(self.decoder_norm(x) * self.head_scale)
