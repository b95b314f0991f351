"""`adapter`: numpy, and each tier of kernels under both WGSL compilers."""

from collections.abc import Iterator

import pytest
from tensortab import debug
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice

from tests.kernels.conftest import device as native
from tests.kernels.conftest import rng  # noqa: F401


@pytest.fixture(params=["cpu", "dawn-software", "dawn-default", "dawn-subgroups", "wgpu-software", "wgpu-default"])
def adapter(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    name, _, tier = request.param.partition("-")
    chosen = CPUDevice() if name == "cpu" else native(name)
    devices.use(chosen)
    with debug(TIER=tier):
        yield chosen
    devices.use(None)


@pytest.fixture
def software() -> Iterator[devices.Device]:
    """The quickest device here for real weights: wgpu-native on lavapipe."""
    chosen = native("wgpu")
    devices.use(chosen)
    yield chosen
    devices.use(None)
