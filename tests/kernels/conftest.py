"""Both WGSL compilers in one process: Dawn (Tint) on SwiftShader and wgpu-native (Naga) on lavapipe.

The Vulkan loader reads VK_DRIVER_FILES when a library makes its instance, so each gets its own driver. A value set
by the user is kept for both (to try the kernels on a real GPU or another driver). TOGGLES=a,b gives Dawn toggles:
allow_unsafe_apis,vulkan_enable_f16_on_nvidia for the subgroup matrices of a real GPU, which are emulated otherwise.
"""

import os
import secrets
from collections.abc import Iterator
from glob import glob

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

DRIVERS = {
    "dawn": ("/usr/lib/chromium/vk_swiftshader_icd.json", "/usr/lib/chromium-browser/vk_swiftshader_icd.json"),
    "wgpu": ("/usr/share/vulkan/icd.d/lvp_icd*.json",),
}
_devices: dict[str, NativeDevice] = {}


def device(name: str) -> NativeDevice:
    """The one device of a backend for the whole session; skips the test where its package or driver is missing."""
    if name not in _devices:
        pytest.importorskip({"dawn": "wgpudawn", "wgpu": "wgpu"}[name])
        given = os.environ.get("VK_DRIVER_FILES")
        if not given:
            found = [path for pattern in DRIVERS[name] for path in sorted(glob(pattern))]
            if not found:
                pytest.skip(f"no Vulkan driver for {name}: none of {DRIVERS[name]}")
            os.environ["VK_DRIVER_FILES"] = found[0]
        os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")
        if name == "dawn":
            from wgpudawn.backends.dawn import extras

            wanted = [toggle for toggle in os.environ.get("TOGGLES", "").split(",") if toggle]
            # Dawn rounds GPU times to 65,536 ns otherwise: a small kernel then takes none at all
            extras.set_instance_extras(enable_toggles=wanted, disable_toggles=["timestamp_quantization"])
        try:
            _devices[name] = NativeDevice(name)
        finally:
            if not given:
                del os.environ["VK_DRIVER_FILES"]
    return _devices[name]


@pytest.fixture(params=["dawn", "wgpu"])
def backend(request: pytest.FixtureRequest) -> NativeDevice:
    return device(request.param)


@pytest.fixture
def rng() -> Iterator[np.random.Generator]:
    """Fresh random numbers each run; pytest shows the seed of a failing test, SEED repeats it."""
    seed = int(os.environ.get("SEED") or secrets.randbits(32))
    print(f"SEED={seed}")
    yield np.random.default_rng(seed)
