"""EfficientNet-lite0 with its real weights sees what it sees in torch: a cat, a cup of coffee, an astronaut."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab.device import Device

from building.models import model
from building.steps import alone

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vision_lite0.npz")
SEEN = {"chelsea": "cat", "coffee": "espresso", "astronaut": "helmet"}


def softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits - logits.max())
    return scores / scores.sum()


def test_photographs(software: Device) -> None:
    with alone():
        folder = model("efficientnet-lite0")

    async def run() -> None:
        pipe = await tt.pipeline("image-classification", model=folder)
        for name, thing in SEEN.items():
            result = await pipe(GOLDEN[name], top_k=5)
            scores = softmax(GOLDEN[f"{name}.logits"].astype(np.float64))
            best = np.argsort(-scores)[:5]
            assert [entry["label"] for entry in result] == [pipe.labels[n] for n in best]
            assert [entry["score"] for entry in result] == pytest.approx(list(scores[best]), rel=1e-3)
            assert any(thing in entry["label"] for entry in result)
        await hidden(pipe)
        pipe.free()

    asyncio.run(run())


async def hidden(pipe: Any) -> None:
    """The middle of each block's output for the cat, which is still prepared after another look."""
    await pipe(GOLDEN["chelsea"])
    run = tt.jit(pipe.vision.model.hidden, pipe.vision.device)
    made = await run(pipe.vision.processor.pixel_values)
    for n, block in enumerate(made):
        want = GOLDEN[f"chelsea.hidden{n}"]
        _, height, width, channels = block.shape
        values = np.frombuffer(await block.tobytes(), np.float32).reshape(height, width, channels)
        assert np.abs(values[height // 2, width // 2] - want).max() <= 2e-4 * np.abs(values).max()
    assert len(made) == 17
    run.free()
