"""The key/value cache and the other state of decoding on the GPU, which kernels change in place."""

import math
import struct
from array import array
from dataclasses import dataclass
from typing import Any

from .buffer import Buffer
from .dtype import u32
from .errors import Error
from .formats import check_config
from .tensor import Tensor
from .weights import Weights, read_vector

LONGROPE = ("longrope", "su")
STATE_WORDS = 8  # pos, done, generated, rows of logprobs written; the other words are spare


@dataclass(frozen=True)
class CacheShape:
    """The shape of a decoder's cache; `positions`: the most tokens that a text may have."""

    layers: int
    kv_heads: int
    head_dim: int
    positions: int

    def __post_init__(self) -> None:
        if self.head_dim % 2 or not 2 <= self.head_dim <= 256:
            message = f"Heads of {self.head_dim} numbers are not supported: use a model with an even size up to 256."
            raise Error("bad_file", message)

    @staticmethod
    def of(config: dict[str, Any]) -> "CacheShape":
        """Reads a config with Llama's keys. A text ends where a sliding window would begin to forget."""
        sizes = ["num_hidden_layers", "num_key_value_heads", "head_dim", "max_position_embeddings"]
        if config.get("sliding_window") and config.get("use_sliding_window", True):
            sizes.append("sliding_window")
        check_config(config, *sizes)
        layers, kv_heads, head_dim, *positions = (config[size] for size in sizes)
        return CacheShape(layers, kv_heads, head_dim, min(positions))


class KVCache:
    """Keys and values of each layer, f16 in pairs: u32 [kv heads, context, head_dim / 2]."""

    def __init__(self, shape: CacheShape, context: int) -> None:
        self.context = context
        self.long = False  # whether the traced plan is for positions at which splitting attention is worth it
        each = (shape.kv_heads, context, shape.head_dim // 2)
        self.keys = [Tensor.of(f"keys.{n}", each, u32) for n in range(shape.layers)]
        self.values = [Tensor.of(f"values.{n}", each, u32) for n in range(shape.layers)]

    def attend(
        self, layer: int, qkv: Tensor, state: Tensor, rope: Tensor, heads: int, interleaved: bool = False
    ) -> Tensor:
        """Writes the keys and values of qkv [T, (H + 2G) * D] into the cache, then attends -> [T, H * D]."""
        arg = {"heads": heads, "interleaved": interleaved}
        self.keys[layer] = keys = Tensor.apply(
            "kv_update", qkv, state, rope, self.keys[layer], self.values[layer], **arg
        )
        return Tensor.apply("attention", qkv, state, rope, keys, self.values[layer], **arg, long=self.long)

    def traced(self) -> list[Tensor]:
        """Returns each layer's last update since the trace began, and makes the cache ready for the next trace."""
        nodes, self.keys = self.keys, [_stored(k) for k in self.keys]
        return [n for n in nodes if n.op != "buffer"]

    @property
    def nbytes(self) -> int:
        return sum(buffer.nbytes for buffer in self._buffers())

    def free(self) -> None:
        for buffer in self._buffers():
            buffer.free()

    def _buffers(self) -> list[Buffer]:
        return [t.buffer for t in map(_stored, (*self.keys, *self.values)) if t.buffer is not None]


class BeamCache:
    """The keys and values of B beams' tokens: f32 [B * positions, 2 W] per layer, a row per token; W = kv heads *
    head_dim. A beam that continues another one refers to that one's rows, so nothing is moved.

    What changes from decoding step to decoding step is in one buffer, `state`: for each beam its last token, the row
    for that token's keys and values, the number of its positions and their rows; then the position, and the number of
    tokens that the encoder read (source).
    """

    def __init__(self, shape: CacheShape, beams: int, positions: int) -> None:
        self.beams, self.positions = beams, positions
        self.width = width = shape.kv_heads * shape.head_dim
        self.tables = [Tensor.of(f"beams.{n}", (beams * positions, 2 * width)) for n in range(shape.layers)]
        self.state = Tensor.of("beams", (5 * 64 + beams * positions,), u32)  # views begin at 256 bytes
        sizes = (beams, beams, beams, 1, 1)
        views = (self.state[64 * n : 64 * n + size] for n, size in enumerate(sizes))
        self.tokens, self.new, self.lengths, self.position, self.source = views
        self.rows = self.state[5 * 64 :].reshape(beams, positions)

    def step(self, tokens: list[int], wrote: list[list[int]], source: int) -> bytes:
        """Returns `state` for the decoding step at position len(wrote[b]). wrote[b][s]: the beam whose row beam b has
        at s."""
        position, words = len(wrote[0]), array("I")
        new = [b * self.positions + position for b in range(self.beams)]
        for block in (tokens, new, [position + 1] * self.beams, [position], [source]):
            words.extend(block + [0] * (64 - len(block)))
        for b, each in enumerate(wrote):
            rows = [other * self.positions + s for s, other in enumerate(each)]
            words.extend([*rows, new[b]] + [0] * (self.positions - position - 1))
        return words.tobytes()

    def attend(self, layer: int, qkv: Tensor, heads: int, **more: Any) -> Tensor:
        """Writes the keys and values of qkv [B, 3 W] into the cache, then attends -> [B, W]. more: sdpa's bias and
        scale."""
        count, width = self.beams, self.width
        qkv = qkv.reshape(count, 1, 3 * width)
        kv = self.rows.lookup(self.tables[layer].put(self.new, qkv[:, :, width:]))  # (B, positions, 2 W)
        q, k, v = qkv[:, :, :width], kv[:, :, :width], kv[:, :, width:]
        return q.sdpa(k, v, heads, lengths=self.lengths, **more).reshape(count, width)


def _stored(node: Tensor) -> Tensor:
    while node.op == "kv_update":
        node = node.src[3]
    return node


class Rotary:
    """Rotary positions (arXiv:2104.09864) of heads of `head_dim`, as the config and the file say; no rotation without
    a config.

    frequencies   the angle per position of each pair of elements of a head that is rotated
    """

    def __init__(self, head_dim: int, config: dict[str, Any] | None = None, weights: Weights | None = None) -> None:
        dim = rotary_dim(head_dim, config or {})
        self.frequencies = inverse_frequencies(dim, config) if config else [0.0] * (dim // 2)
        self.config, self.weights = config or {}, weights

    async def table(self, context: int, room: int) -> bytes:
        """cos and sin (f32) of every angle for `room` positions, in two parts, [64 + ceil(room / 64), pairs, 2]:
        kernels/rope.wgsl multiplies row pos % 64 by row 64 + pos // 64. context: the most tokens of a text."""
        if rope_type(self.config) in LONGROPE or (self.weights and "rope_factors_long.weight" in self.weights):
            factors, scale = await self._long(context)
        else:
            factors, scale = await self._stored("rope_freqs"), 1.0
        frequencies = self.frequencies
        if factors is not None:
            if len(factors) != len(frequencies) or not all(type(f) in (int, float) and f > 0 for f in factors):
                raise Error(
                    "bad_file", f"The rope factors {factors} don't fit the model's config: download its files again."
                )
            frequencies = [f / factor for f, factor in zip(frequencies, factors, strict=True)]
        turns = (math.cos, math.sin)
        flat = [scale * turn(p * f) for p in range(64) for f in frequencies for turn in turns]
        flat += [turn(p * f) for p in range(0, room, 64) for f in frequencies for turn in turns]
        return struct.pack(f"<{len(flat)}f", *flat)

    async def _long(self, context: int) -> tuple[Any, float]:
        """LongRoPE (arXiv:2402.13753): returns the divisors of the frequencies, which differ between contexts up to
        that of the training and longer ones, and the scale of cos and sin."""
        scaling = self.config | (self.config.get("rope_scaling") or {})
        check_config(scaling, "max_position_embeddings", "original_max_position_embeddings")
        original = scaling["original_max_position_embeddings"]
        longer = scaling.get("factor") or scaling["max_position_embeddings"] / original
        scale = scaling.get("attention_factor") or math.sqrt(1 + max(0.0, math.log(longer)) / math.log(original))
        which = "long" if context > original else "short"
        return scaling.get(f"{which}_factor") or await self._stored(f"rope_factors_{which}") or [], scale

    async def _stored(self, name: str) -> list[float] | None:
        """Reads the factors that GGUF files store as a tensor (those of Llama 3's scaling, too)."""
        if self.weights is None or f"{name}.weight" not in self.weights:
            return None
        return await read_vector(self.weights.checkpoint.tensor(f"{name}.weight"))


def rotary_dim(head_dim: int, config: dict[str, Any]) -> int:
    """How many of each head's elements, the first ones, are rotated: GGUF files (and GPT-J's config.json) have their
    number, other files a fraction. Raises Error("bad_file")."""
    if config.get("rotary_dim") is not None:
        check_config(config, "rotary_dim")
        dim = config["rotary_dim"]
    elif config.get("partial_rotary_factor") is not None:
        check_config(config, "partial_rotary_factor")
        dim = int(head_dim * config["partial_rotary_factor"])
    else:
        return head_dim
    if dim % 2 or not 2 <= dim <= head_dim:
        raise Error(
            "bad_file", f"{dim} of the {head_dim} elements of a head can't be rotated: download the file again."
        )
    return dim


def rope_type(config: dict[str, Any]) -> str:
    scaling = config.get("rope_scaling") or {}
    return scaling.get("rope_type", scaling.get("type", "default"))


def inverse_frequencies(dim: int, config: dict[str, Any]) -> list[float]:
    """theta^(-2i/dim), scaled as rope_scaling says ("linear", "llama3"); raises Error("bad_file") for other
    kinds."""
    theta = config.get("rope_theta") or 10000.0
    plain = [theta ** (-2 * i / dim) for i in range(dim // 2)]
    scaling, kind = config.get("rope_scaling") or {}, rope_type(config)
    if kind in ("default", *LONGROPE):
        return plain
    if kind == "linear":
        check_config(scaling, "factor")
        return [f / scaling["factor"] for f in plain]
    if kind != "llama3":
        raise Error(
            "bad_file", f"rope_scaling {kind!r} is not supported yet: use a model with linear, llama3 or longrope."
        )
    check_config(scaling, "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    scaled = []
    for f in plain:
        turns = original * f / (2 * math.pi)  # how often the pair turns within the original context
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        scaled.append(f / factor * (1 - smooth) + f * smooth)
    return scaled
