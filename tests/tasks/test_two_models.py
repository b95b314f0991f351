"""Two models at once: they share the pool of transient buffers, answer as they do alone, and leave nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice
from tensortab.device.native import NativeDevice

from tests.kernels.conftest import device as native
from tests.recipe_text import write
from tests.tasks.conftest import TINY


@pytest.fixture(params=["cpu", "wgpu"])
def device(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    """A device of its own: the session's has other tests' plans, whose transient buffers would be shared, too."""
    if request.param == "wgpu":
        native("wgpu")  # finds the driver, or skips
    chosen = CPUDevice() if request.param == "cpu" else NativeDevice("wgpu")
    devices.use(chosen)
    yield chosen
    devices.use(None)
    chosen.destroy()


def test_two_models_share_transients_and_give_everything_back(device: devices.Device, tmp_path: Path) -> None:
    write(tmp_path, "bert")

    async def used(*kinds: str) -> tuple[int, list[Any]]:
        """The bytes that the device has of models of these kinds, and what they answer, twice in turn."""
        before = device.counters()
        pipes = []
        for kind in kinds:
            folder = TINY if kind == "text-generation" else tmp_path
            pipes.append(await tt.pipeline(kind, model=folder, context=64 if folder is TINY else None))
        answers = []
        for _ in range(2):
            for kind, pipe in zip(kinds, pipes, strict=True):
                given = {"max_new_tokens": 4} if kind == "text-generation" else {"pooling": "mean"}
                answers.append(await pipe("what is it", **given))
        nbytes = device.counters()["bytes"] - before["bytes"]
        for pipe in pipes:
            pipe.free()
        assert {k: device.counters()[k] for k in ("buffers", "bytes")} == {k: before[k] for k in ("buffers", "bytes")}
        return nbytes, answers

    chat, said = asyncio.run(used("text-generation"))
    texts, vectors = asyncio.run(used("feature-extraction"))
    both, answers = asyncio.run(used("text-generation", "feature-extraction"))
    assert answers == [said[0], vectors[0], said[1], vectors[1]]
    assert max(chat, texts) < both < chat + texts
