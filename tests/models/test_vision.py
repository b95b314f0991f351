"""Vision models against transformers and torch: hidden states block by block, outputs for several images."""

import asyncio
import json
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab.device import Device
from tensortab.formats import open_checkpoint
from tensortab.jit import Program, hardware, jit
from tensortab.tensor import Tensor
from tensortab.weights import Weights

from tests.kernels.conftest import device as native
from tests.kernels.tolerances import of_model
from tests.models.test_llama import relative
from tests.recipe import weight, write_folder

GOLDEN = Path(__file__).parents[1] / "golden"
ARRAYS = np.load(GOLDEN / "vision_models.npz")
MODELS = json.loads((GOLDEN / "vision_models.json").read_text())
CLASSIFIERS = ("efficientnet_lite", "efficientnet", "vit")


def products(name: str) -> int:
    """Products that a vector goes through, one after the other."""
    config = MODELS[name]["config"]
    if "hidden_size" in config or "vision_config" in config:  # q/k/v, output, inner and outer product; patches, head
        return 4 * max(c.get("num_hidden_layers", 0) for c in (config, *config.values()) if isinstance(c, dict)) + 2
    return sum(key.endswith("weight") and len(shape) > 1 for key, shape in MODELS[name]["shapes"].items())


def tensors(name: str) -> dict[str, np.ndarray]:
    """The recipe's weights; those of a filter as of a matrix's row."""
    made = {}
    for key, shape in MODELS[name]["shapes"].items():
        flat = (shape[0], math.prod(shape[1:])) if len(shape) > 2 else tuple(shape)
        made[key] = np.asarray(weight(key, flat)).reshape(shape)
    return made


@pytest.fixture(params=["cpu", "dawn-subgroups", "wgpu-software", "wgpu-default"])
def adapter(adapter: Device) -> Device:
    return adapter


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    return {name: write_folder(root / name, model["config"], tensors(name)) for name, model in MODELS.items()}


class Opened:
    """A model with its weights on a device."""

    def __init__(self, folder: Path, name: str, device: Device) -> None:
        self.device, self.before = device, device.counters()
        checkpoint = asyncio.run(open_checkpoint(folder))
        self.weights = Weights(checkpoint, hardware(device.info).max_binding)
        file, head = import_module(f"tensortab.models.{name}"), "Model" if name == "clip" else "ForImageClassification"
        self.model = getattr(file, head)(checkpoint.config, self.weights)
        asyncio.run(self.weights.load(device))

    def outputs(self, function: Callable[..., Any], *inputs: Tensor) -> list[np.ndarray]:
        async def run() -> list[np.ndarray]:
            traced = jit(function, self.device)
            made = await traced(*inputs)
            values = [
                np.frombuffer(await t.tobytes(), np.float32).reshape(t.shape)
                for t in (made if isinstance(made, list) else [made])
            ]
            traced.free()
            return values

        return asyncio.run(run())

    def close(self) -> None:
        """Nothing is left behind."""
        self.weights.free()
        after = self.device.counters()
        assert [after[key] for key in ("buffers", "bytes")] == [self.before[key] for key in ("buffers", "bytes")]


def close(have: np.ndarray, want: np.ndarray, name: str, device: Device) -> None:
    """In rows of hundreds of pixels, patches or tokens."""
    assert have.shape == want.shape
    assert relative(have, want) < of_model(device, products(name), 128, stored_f16=want.dtype == np.float16)


def pixels(name: str, count: int) -> Tensor:
    values = ARRAYS[f"{name}.pixel_values"][:count].astype(np.float32)
    return Tensor.of("pixel_values", values.shape, data=values.tobytes())


def stored(name: str) -> list[np.ndarray]:
    return [ARRAYS[f"{name}{n}"] for n in range(sum(file.startswith(name) for file in ARRAYS.files))]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(adapter: Device, folders: dict[str, Path], name: str) -> None:
    opened = Opened(folders[name], name, adapter)
    want = stored(f"{name}.hidden")
    hidden = opened.outputs(opened.model.hidden, pixels(name, 1))
    assert len(hidden) == len(want) > 2
    for have, block in zip(hidden, want, strict=True):
        close(have, block, name, adapter)
    (logits,) = opened.outputs(opened.model.logits, pixels(name, 3))
    close(logits, ARRAYS[f"{name}.logits"], name, adapter)
    if name == "vit":
        (rows,) = opened.outputs(opened.model.embed_image, pixels(name, 3))
        close(rows, ARRAYS["vit.embed_image"], name, adapter)
    opened.close()


def test_clip(adapter: Device, folders: dict[str, Path]) -> None:
    opened = Opened(folders["clip"], "clip", adapter)
    model, ids = opened.model, ARRAYS["clip.ids"].astype(np.uint32)
    for have, block in zip(
        opened.outputs(model.vision_model.hidden, pixels("clip", 1)), stored("clip.hidden"), strict=True
    ):
        close(have, block, "clip", adapter)
    for have, block in zip(
        opened.outputs(model.text_model.hidden, Tensor(ids[:1], "u32")), stored("clip.text_hidden"), strict=True
    ):
        close(have, block, "clip", adapter)
    (image,) = opened.outputs(model.embed_image, pixels("clip", 3))
    close(image, ARRAYS["clip.embed_image"], "clip", adapter)
    ends = (ids == MODELS["clip"]["config"]["text_config"]["eos_token_id"]).argmax(-1) + 24 * np.arange(3)
    (text,) = opened.outputs(model.embed_text, Tensor(ids, "u32"), Tensor(ends.astype(np.uint32), "u32"))
    close(text, ARRAYS["clip.embed_text"], "clip", adapter)
    opened.close()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_plan_copies_no_weights(folders: dict[str, Path], name: str) -> None:
    """Batch normalisation is part of the weights, activations are part of the kernels before them."""
    opened = Opened(folders[name], name, native("wgpu"))
    plan = Program(opened.device, [opened.model.logits(pixels(name, 1))]).plan
    steps = [plan["kernels"][step["kernel"]]["label"].split(".")[0].split("+")[0] for step in plan["steps"]]
    gates = len(opened.model.blocks) if name == "efficientnet" else 0  # of squeeze and excitation
    assert steps.count("elementwise") == gates
    opened.weights.free()
