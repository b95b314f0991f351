"""Phi-3 (Abdin et al. 2024, arXiv:2404.14219): Llama whose files have q, k and v in one matrix, gate and up in another.
Long contexts have LongRoPE (kv.Rotary); where a layer would see a sliding window, a text ends with it (kv.CacheShape).
"""

from . import llama

GGUF = llama.GGUF._replace(
    tensors=llama.GGUF.tensors | {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
    config=llama.GGUF.config
    | {
        "original_max_position_embeddings": ("rope.scaling.original_context_length", int, None),
        "sliding_window": ("attention.sliding_window", int, None),
    },
    interleaved=False,
)


class Attention(llama.Attention):
    QKV = ("qkv_proj",)


class MLP(llama.MLP):
    GATE_UP = ("gate_up_proj",)


class DecoderLayer(llama.DecoderLayer):
    Attention, MLP = Attention, MLP


class Model(llama.Model):
    DecoderLayer = DecoderLayer
