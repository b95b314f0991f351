"""Key/value cache and what a decoding step keeps on the GPU: state that kernels change in place."""

import math
import struct
from dataclasses import dataclass
from typing import Any

from .dtype import u32
from .errors import Error
from .tensor import Buffer, Tensor
from .weights import Weights, read_vector

FACTORS = "rope_freqs.weight"  # what each frequency is divided by
STATE_WORDS = 8  # pos, done, generated, rows of logprobs written; the others are spare


@dataclass(frozen=True)
class CacheShape:
    """What a decoder keeps of each token; `positions`: tokens that a text has at most."""

    layers: int
    kv_heads: int
    head_dim: int
    positions: int


class KVCache:
    """Keys and values of each layer, f16 in pairs: u32 [kv heads, context, head_dim / 2]."""

    def __init__(self, shape: CacheShape, context: int) -> None:
        self.context = context
        self.long = False  # whether what is traced is for a position at which attention is worth splitting
        each = (shape.kv_heads, context, shape.head_dim // 2)
        self.keys = [Tensor.of(f"keys.{n}", each, u32) for n in range(shape.layers)]
        self.values = [Tensor.of(f"values.{n}", each, u32) for n in range(shape.layers)]

    def attend(self, layer: int, qkv: Tensor, state: Tensor, rope: Tensor, heads: int, interleaved: bool) -> Tensor:
        """Puts the keys and values of qkv [T, (H + 2G) * D] into the cache, then attends: [T, H * D]."""
        arg = {"heads": heads, "interleaved": interleaved}
        self.keys[layer] = keys = Tensor.apply(
            "kv_update", qkv, state, rope, self.keys[layer], self.values[layer], **arg
        )
        return Tensor.apply("attention", qkv, state, rope, keys, self.values[layer], **arg, long=self.long)

    def traced(self) -> list[Tensor]:
        """The last update of each layer since the trace began; the cache is ready for the next trace."""
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


def _stored(node: Tensor) -> Tensor:
    while node.op == "kv_update":
        node = node.src[3]
    return node


class Rotary:
    """Rotary positions (arXiv:2104.09864) of heads of `head_dim`, as the config and the file say; none without them."""

    def __init__(self, head_dim: int, config: dict[str, Any] | None = None, weights: Weights | None = None) -> None:
        if config and config.get("partial_rotary_factor", 1.0) != 1.0:
            raise Error("bad_file", "Models that rotate a part of each head (partial_rotary_factor) are not supported.")
        self.frequencies = inverse_frequencies(head_dim, config) if config else [0.0] * (head_dim // 2)
        self.checkpoint = weights.checkpoint if weights else None

    async def table(self, room: int) -> bytes:
        """cos and sin (f32) of every angle in two parts, [64 + ceil(room / 64), head_dim / 2, 2]: kernels/rope.wgsl
        multiplies row pos % 64 by row 64 + pos // 64."""
        frequencies = self.frequencies
        if self.checkpoint and FACTORS in self.checkpoint.tensors:  # GGUF's way to scale, as Llama 3 does
            factors = await read_vector(self.checkpoint.tensor(FACTORS))
            frequencies = [f / factor for f, factor in zip(frequencies, factors, strict=True)]
        positions = [*range(64), *range(0, room, 64)]
        flat = [turn(p * f) for p in positions for f in frequencies for turn in (math.cos, math.sin)]
        return struct.pack(f"<{len(flat)}f", *flat)


def inverse_frequencies(head_dim: int, config: dict[str, Any]) -> list[float]:
    """theta^(-2i/D), scaled as rope_scaling says ("linear", "llama3"); Error("bad_file") for other kinds."""
    theta = config.get("rope_theta") or 10000.0
    plain = [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return plain
    if kind == "linear":
        return [f / scaling["factor"] for f in plain]
    if kind != "llama3":
        raise Error("bad_file", f"rope_scaling {kind!r} is not supported yet: take one with linear or llama3.")
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    scaled = []
    for f in plain:
        turns = original * f / (2 * math.pi)  # how often the pair turns within the original context
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        scaled.append(f / factor * (1 - smooth) + f * smooth)
    return scaled
