"""`pipe`: text-generation with the tiny random Llama, in numpy (quick) and on wgpu-native."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice

from tests.kernels.conftest import device as native
from tests.kernels.conftest import rng  # noqa: F401

TINY = Path(__file__).parents[1] / "golden" / "tiny_llama"


@pytest.fixture(params=["cpu", "wgpu"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Any]:
    device = CPUDevice() if request.param == "cpu" else native("wgpu")
    devices.use(device)
    before = device.counters()["bytes"]
    made = asyncio.run(tt.pipeline("text-generation", model=TINY, context=128))
    yield made
    made.free()
    assert device.counters()["bytes"] == before, "free() gives everything back"
    devices.use(None)
