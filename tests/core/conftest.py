"""The fixture `device`: the core runs on NumPy and on both native WebGPU backends."""

from collections.abc import Iterator

import pytest
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice

from tests.kernels.conftest import device as native
from tests.kernels.conftest import rng  # noqa: F401


@pytest.fixture(params=["cpu", "dawn", "wgpu"])
def device(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    chosen = CPUDevice() if request.param == "cpu" else native(request.param)
    devices.use(chosen)
    yield chosen
    devices.use(None)
