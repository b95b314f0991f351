"""Each decoder's architecture against transformers: hidden states, logits and greedy tokens of tiny random models, from
safetensors folders and from GGUF files."""

import asyncio
import gc
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab.device import Device
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error
from tensortab.generate import Generator
from tensortab.jit import Program

from tests.models.test_llama import greedy, logits, opened, relative, tolerance
from tests.recipe import weight, write_folder, write_gguf

GOLDEN = Path(__file__).parents[1] / "golden"
OUTPUTS = np.load(GOLDEN / "decoders.npz")
MODELS = json.loads((GOLDEN / "decoders.json").read_text())["models"]
CONTEXT = {"phi3_short": 32}  # up to the original one, where the others have 128


@pytest.fixture(params=["cpu", "dawn-subgroups", "wgpu-software"])
def adapter(adapter: Device) -> Device:
    return adapter


def written(name: str, folder: Path, kind: str = "safetensors", **changes: Any) -> Path:
    config = MODELS[name]["config"] | changes
    tensors = {key: weight(key, shape) for key, shape in MODELS[name]["tensors"].items()}
    if kind == "gguf":
        return write_gguf(folder / "model.gguf", config, tensors)
    return write_folder(folder / "model", config, tensors)


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_tokens(adapter: Device, tmp_path: Path, name: str) -> None:
    if adapter.info["architecture"] == "swiftshader" and name not in ("qwen3", "gemma", "gpt2"):
        pytest.skip("slow to compile there, and of the kernels that Llama has")
    before = adapter.counters().get("bytes", 0)
    generator = opened(written(name, tmp_path), adapter, CONTEXT.get(name, 128))
    ids, want = OUTPUTS[f"{name}.ids"].tolist(), OUTPUTS[f"{name}.logits"]
    assert relative(logits(generator, ids, len(ids)), want) < tolerance(generator, len(ids))
    assert greedy(generator, ids, 8) == OUTPUTS[f"{name}.greedy"].tolist()
    generator.free()
    gc.collect()
    assert adapter.counters().get("bytes", 0) == before


@pytest.mark.parametrize("name", MODELS)
def test_gguf(software: Device, tmp_path: Path, name: str) -> None:
    """As the folder: the config that it is read into, too."""
    generator = opened(written(name, tmp_path, "gguf"), software, CONTEXT.get(name, 128))
    ids, want = OUTPUTS[f"{name}.ids"].tolist(), OUTPUTS[f"{name}.logits"]
    assert relative(logits(generator, ids, len(ids)), want) < tolerance(generator, len(ids))
    generator.free()


def hidden(generator: Generator, ids: list[int]) -> np.ndarray:
    g = generator.decoder
    out = g.model.hidden(g.tokens, g.state, g.rope, g.kv, len(ids))
    g.kv.traced()

    async def run() -> bytes:
        program = await Program(g.device, [out]).load()
        g.tokens.write(g.device, struct.pack(f"<{len(ids)}I", *ids))
        g.state.write(g.device, struct.pack("<4I", 0, 0, 0, 0))
        return await program.replay(1, out, 0, 4 * out.shape[0] * out.shape[1])

    return np.frombuffer(asyncio.run(run()), np.float32).reshape(out.shape)


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states(software: Device, tmp_path: Path, name: str) -> None:
    """After each block but the last, and after the embedding: of the model without the blocks behind."""
    generator = opened(written(name, tmp_path), software, CONTEXT.get(name, 128))
    blocks = generator.decoder.model.h if name == "gpt2" else generator.decoder.model.layers
    ids = OUTPUTS[f"{name}.ids"].tolist()
    for count, want in reversed(list(enumerate(OUTPUTS[f"{name}.hidden"]))):
        del blocks[count:]
        assert relative(hidden(generator, ids), want) < tolerance(generator, len(ids), count), count
    generator.free()


def refused(message: str, folder: Path, name: str, **changes: Any) -> None:
    with pytest.raises(Error, match=message) as caught:
        opened(written(name, folder, **changes), CPUDevice())
    assert caught.value.code == "bad_file"


def test_a_config_that_is_not_supported_is_refused(tmp_path: Path) -> None:
    cases = [
        ("no model_type|type 'None'", "mistral", {"model_type": None}),
        ("type '../llama'", "mistral", {"model_type": "../llama"}),
        ("type '__init__'", "mistral", {"model_type": "__init__"}),
        ("type 'kv'", "mistral", {"model_type": "kv"}),
        ("hidden_act 'relu' is not supported", "mistral", {"hidden_act": "relu"}),
        ("no rms_norm_eps", "qwen2", {"rms_norm_eps": None}),
        ("num_hidden_layers is 2.5", "qwen3", {"num_hidden_layers": 2.5}),
        ("num_attention_heads is '4'", "gemma", {"num_attention_heads": "4", "head_dim": 256}),
        ("Heads of 512", "gemma", {"head_dim": 512}),
        ("Heads of 0", "gpt2", {"n_head": 65}),
        ("17 of the 16 elements", "phi3", {"rotary_dim": 17}),
        ("7 of the 16 elements", "phi3", {"partial_rotary_factor": 0.45}),
        ("partial_rotary_factor is 'x'", "phi3", {"partial_rotary_factor": "x"}),
        ("rotary_dim is -2", "mistral", {"rotary_dim": -2}),
        ("rope_scaling 'yarn'", "qwen2", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
        ("sliding_window is '64'", "mistral", {"sliding_window": "64"}),
        ("no factor", "qwen2", {"rope_scaling": {"rope_type": "linear"}}),
        ("rope factors", "phi3_long", {"rope_scaling": {"rope_type": "su", "long_factor": [1, 2]}}),
        ("activation_function 'relu'", "gpt2", {"activation_function": "relu"}),
        ("scale_attn_by_inverse_layer_idx True", "gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ]
    for n, (message, name, changes) in enumerate(cases):
        (tmp_path / str(n)).mkdir()
        refused(message, tmp_path / str(n), name, **changes)


def test_a_sliding_window_ends_the_context(tmp_path: Path) -> None:
    cpu = CPUDevice()
    assert opened(written("mistral", tmp_path), cpu, 128).context == 64
