"""Each decoder's architecture against transformers: hidden states, logits and greedy tokens of tiny random models, from
safetensors folders and from GGUF files."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from tensortab.device import Device
from tensortab.errors import Error
from tensortab.formats import open_checkpoint
from tensortab.generate import Generator
from tensortab.jit import Program

from tests.kernels.tolerances import TOLERANCES
from tests.models.test_llama import greedy, logits, opened, relative
from tests.recipe import weight, write_folder, write_gguf

GOLDEN = Path(__file__).parents[1] / "golden"
OUTPUTS = np.load(GOLDEN / "decoders.npz")
MODELS = json.loads((GOLDEN / "decoders.json").read_text())["models"]
CONTEXT = {"phi3_short": 32}  # up to the original one


@pytest.fixture(params=["cpu", "dawn-default", "dawn-subgroups", "wgpu-software"])
def adapter(adapter: Device) -> Device:
    return adapter


def written(name: str, folder: Path, kind: str = "safetensors") -> Path:
    model = MODELS[name]
    tensors = {key: weight(key, shape) for key, shape in model["tensors"].items()}
    if kind == "gguf":
        return write_gguf(folder / "model.gguf", model["config"], tensors)
    return write_folder(folder / "model", model["config"], tensors)


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_tokens(adapter: Device, tmp_path: Path, name: str) -> None:
    generator = opened(written(name, tmp_path), adapter, CONTEXT.get(name, 128))
    ids, want = OUTPUTS[f"{name}.ids"].tolist(), OUTPUTS[f"{name}.logits"]
    for rows in (1, len(ids)):
        assert relative(logits(generator, ids, rows), want) < TOLERANCES["f16"]  # keys and values are f16
    assert greedy(generator, ids, 8) == OUTPUTS[f"{name}.greedy"].tolist()
    before = generator.device.counters()
    generator.free()
    assert generator.device.counters()["bytes"] < before["bytes"]


@pytest.mark.parametrize("name", MODELS)
def test_gguf(software: Device, tmp_path: Path, name: str) -> None:
    generator = opened(written(name, tmp_path, "gguf"), software, CONTEXT.get(name, 128))
    ids, want = OUTPUTS[f"{name}.ids"].tolist(), OUTPUTS[f"{name}.logits"]
    assert relative(logits(generator, ids, len(ids)), want) < TOLERANCES["f16"]
    generator.free()
