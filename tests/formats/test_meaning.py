"""What a checkpoint says is enough to compute the reference's logits, whichever format the model is in.

The model is computed here in numpy in the plainest way, from nothing but the Checkpoint and blocks.py.
"""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from tensortab.blocks import dequantize
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.tokenizer import load_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = ["tiny_llama", "tiny_llama3", "tiny_llama3.gguf", "tiny_k.gguf"]
MODELS += [f"tiny_{name}.gguf" for name in ("f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1")]


class Model:
    """Llama in numpy."""

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self.config = checkpoint.config

    def weight(self, name: str) -> np.ndarray:
        info = self.checkpoint.tensor(f"{name}.weight")
        raw = asyncio.run(info.source.bytes(info.offset, info.nbytes))
        return dequantize(raw, info.dtype).reshape(info.shape).astype(np.float64)  # f32 products differ by processor

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"]) * self.weight(name)

    def frequencies(self) -> np.ndarray:
        size, theta, scaling = (self.config[key] for key in ("head_dim", "rope_theta", "rope_scaling"))
        plain = theta ** -(np.arange(0, size, 2) / size)
        if "rope_freqs.weight" in self.checkpoint.tensors:
            return plain / self.weight("rope_freqs")
        if not scaling:
            return plain
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * plain / (2 * np.pi)
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return plain * (keep + (1 - keep) / scaling["factor"])

    def rotate(self, x: np.ndarray) -> np.ndarray:
        """x: [heads, T, D]"""
        angle = np.arange(x.shape[1])[:, None] * self.frequencies()
        if self.checkpoint.rope_interleaved:
            pairs = x[..., 0::2] + 1j * x[..., 1::2]
        else:
            pairs = x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]
        pairs = pairs * np.exp(1j * angle)
        return np.concatenate([pairs.real, pairs.imag], axis=-1)  # the order doesn't matter to q · k

    def logits(self, ids: np.ndarray) -> np.ndarray:
        heads, groups, size = (self.config[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim"))
        x = self.weight("model.embed_tokens")[ids]
        for number in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{number}."
            h = self.norm(x, layer + "input_layernorm")
            q, k, v = (h @ self.weight(f"{layer}self_attn.{name}_proj").T for name in "qkv")
            q, k, v = (a.reshape(len(ids), -1, size).swapaxes(0, 1) for a in (q, k, v))
            k, v = (np.repeat(a, heads // groups, axis=0) for a in (k, v))
            scores = self.rotate(q) @ self.rotate(k).swapaxes(1, 2) / np.sqrt(size)
            scores[:, ~np.tri(len(ids), dtype=bool)] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            out = (scores / scores.sum(-1, keepdims=True)) @ v
            x = x + out.swapaxes(0, 1).reshape(len(ids), -1) @ self.weight(layer + "self_attn.o_proj").T
            h = self.norm(x, layer + "post_attention_layernorm")
            gate, up = (h @ self.weight(f"{layer}mlp.{name}_proj").T for name in ("gate", "up"))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weight(layer + "mlp.down_proj").T
        head = "model.embed_tokens" if self.config["tie_word_embeddings"] else "lm_head"
        return self.norm(x, "model.norm") @ self.weight(head).T


@pytest.mark.parametrize("name", MODELS)
def test_logits(name: str) -> None:
    golden = np.load(GOLDEN / "tiny.npz")
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / name))
    ids = golden["ids"]
    assert load_tokenizer(checkpoint).encode(str(golden["text"])) == ids.tolist()
    logits = Model(checkpoint).logits(ids)
    expected = golden[f"{name.removesuffix('.gguf')}.logits"]
    assert np.abs(logits - expected).max() < 2e-5
    assert logits[-1].argmax() == golden[f"{name.removesuffix('.gguf')}.greedy"][0]
