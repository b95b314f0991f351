"""Tiny BART and T5 models with the recipe's weights, as tests/make_golden_seq.py says, and what they compute."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tensortab.beam import BeamGenerator, GenerationConfig
from tensortab.device import Device
from tensortab.formats import open_checkpoint
from tensortab.jit import Program, jit
from tensortab.tensor import Tensor

from tests.kernels.tolerances import of_model
from tests.recipe import weight, write_folder

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = json.loads((GOLDEN / "seq.json").read_text())
ARRAYS = np.load(GOLDEN / "seq.npz")


def folder(name: str, to: Path, **more: Any) -> Path:
    """The model as a folder; `more` goes to its config.json."""
    described, tensors = MODELS[name], {}
    for key, shape in described["tensors"].items():
        factor = next((factor for end, factor in described["factors"].items() if key.endswith(end)), 1)
        tensors[key] = (weight(key, shape).astype(np.float64) * factor).astype(np.float32)
    return write_folder(to / name, described["config"] | more, tensors)


def opened(path: Path, device: Device, settings: dict[str, Any]) -> BeamGenerator:
    """A model with its weights, whose encoder compiles when it is needed."""
    checkpoint = asyncio.run(open_checkpoint(path))
    ends = np.atleast_1d(settings.get("eos_token_id", checkpoint.config["eos_token_id"])).tolist()
    start = checkpoint.config["decoder_start_token_id"]
    config = GenerationConfig(**settings | {"eos_token_id": frozenset(ends), "decoder_start_token_id": start})
    generator = BeamGenerator(checkpoint, device, config)

    async def load() -> None:
        await generator.weights.load(device)
        await generator.step.load()

    asyncio.run(load())
    return generator


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """|got - want| / |want|; NaN never passes."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def tolerance(generator: BeamGenerator, padded: int, texts: int = 0) -> float:
    """Of hidden states of the encoder (q/k/v, output, inner and outer product a layer), or of logits of so many texts,
    which come after it, the keys that are looked at, and eight products a layer of the decoder. T5 does not divide its
    scores by sqrt(d_kv): an error of q and k counts d_kv times in the sum of squares."""
    encoder, decoder = len(generator.model.encoder), len(generator.model.decoder)
    scores = generator.weights.checkpoint.config.get("d_kv", 1)
    read = of_model(generator.device, (3 + scores) * encoder + bool(texts), padded)
    return math.hypot(read, of_model(generator.device, (6 + 2 * scores) * decoder + 1, texts)) if texts else read


def hidden(generator: BeamGenerator, ids: list[int], padded: int) -> list[np.ndarray]:
    """For `ids`, padded with tokens that must not count, what each block of the encoder reads and what the last writes:
    [S, C / 2], every other channel."""

    def blocks(ids: Tensor, length: Tensor) -> list[Tensor]:
        model, seen = generator.model, []
        layers = model.encoder
        model.encoder = [
            lambda x, *more, layer=layer: seen.append(x.contiguous()) or layer(x, *more) for layer in layers
        ]
        last = model.read(ids, length)
        model.encoder = layers
        return [*seen, last]

    async def run() -> list[bytes]:
        compute = jit(blocks, generator.device)
        found = await compute(Tensor([ids + [5] * (padded - len(ids))], "u32"), Tensor([len(ids)], "u32"))
        data = [await generator.device.read(x.buffer.id, 0, x.buffer.nbytes) for x in found]
        compute.free()
        return data

    return [np.frombuffer(d, np.float32).reshape(padded, -1)[: len(ids), ::2] for d in asyncio.run(run())]


def logits(generator: BeamGenerator, ids: list[int], texts: list[list[int]]) -> np.ndarray:
    """Of a text for each beam the logits at every position: [B, T, V / 4], of every fourth token."""
    g, beams = generator, generator.beams
    out = g.model.logits(g.model.hidden(beams))

    async def run() -> list[bytes]:
        await g.encode(Tensor([ids], "u32"), Tensor([len(ids)], "u32"))
        program, parts = await Program(g.device, [out]).load(), []
        for position in range(len(texts[0])):
            wrote = [[b] * position for b in range(len(texts))]
            beams.state.write(g.device, beams.step([text[position] for text in texts], wrote, len(ids)))
            parts.append(await program.replay(1, out, 0, 4 * len(texts) * g.vocabulary))
        program.unload()
        return parts

    return np.stack([np.frombuffer(p, np.float32).reshape(len(texts), -1)[:, ::4] for p in asyncio.run(run())], 1)
