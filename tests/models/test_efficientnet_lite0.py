"""EfficientNet-lite0 with its real weights classifies a cat, a cup of coffee and an astronaut as it does in PyTorch."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab.device import Device

from building.models import model
from building.steps import alone
from tests.kernels.tolerances import of_model, of_scores

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vision_lite0.npz")
SEEN = {"chelsea": "cat", "coffee": "espresso", "astronaut": "helmet"}


def softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits - logits.max())
    return scores / scores.sum()


def allowed(pipe: Any) -> float:
    """What |got - want| / |want| may be: three convolutions a block, of which the depthwise one is in f32."""
    return of_model(pipe.vision.device, 2 * len(pipe.vision.model.blocks) + 2, 128)


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
            ratio = of_scores(allowed(pipe), scores[best])
            assert [entry["score"] for entry in result] == pytest.approx(list(scores[best]), rel=ratio)
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
        # the worst channel of a place by four deviations of its size
        error = np.abs(values[height // 2, width // 2] - want).max()
        assert error <= 4 * allowed(pipe) * np.sqrt(np.square(values).mean())
    assert len(made) == 17
    run.free()
