"""Key/value cache and what a decoding step keeps on the GPU: state that kernels change in place."""

import math
import struct
from typing import Any

from .dtype import u32
from .errors import Error
from .tensor import Buffer, Tensor

STATE_WORDS = 8  # pos, done, generated, rows of logprobs written; the others are spare


class KVCache:
    """Keys and values of each layer, f16 in pairs: u32 [kv heads, context, head_dim / 2]."""

    def __init__(self, layers: int, kv_heads: int, context: int, head_dim: int) -> None:
        self.context = context
        self.long = False  # whether what is traced is for a position at which attention is worth splitting
        shape = (kv_heads, context, head_dim // 2)
        self.keys = [Tensor.of(f"keys.{n}", shape, u32) for n in range(layers)]
        self.values = [Tensor.of(f"values.{n}", shape, u32) for n in range(layers)]

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


def rope_table(context: int, head_dim: int, config: dict[str, Any], factors: list[float] | None = None) -> Tensor:
    """cos and sin of every angle in two parts, [64 + ceil(context / 64), head_dim / 2, 2]: kernels/rope.wgsl multiplies
    row pos % 64 by row 64 + pos // 64 (arXiv:2104.09864). `factors` divide the frequencies (GGUF's rope_freqs)."""
    frequencies = inverse_frequencies(head_dim, config)
    if factors is not None:
        frequencies = [f / factor for f, factor in zip(frequencies, factors, strict=True)]
    positions = [*range(64), *range(0, context, 64)]
    flat = [turn(p * f) for p in positions for f in frequencies for turn in (math.cos, math.sin)]
    data = struct.pack(f"<{len(flat)}f", *flat)
    return Tensor.of("rope", (len(positions), head_dim // 2, 2), data=data)


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
