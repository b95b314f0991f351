"""Both WGSL compilers in one process: Dawn (Tint) on SwiftShader and wgpu-native (Naga) on lavapipe.

The Vulkan loader reads VK_DRIVER_FILES when a library makes its instance, so each gets its own driver. A value that
the user has set is kept for both. GPU=1 (`build.py test --gpu`) means the machine's own GPU, with all that Dawn can do
there: subgroup matrices, which are emulated otherwise, and f16, which Dawn leaves out on NVIDIA unless it is told.
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
        gpu = os.environ.get("GPU") == "1"
        given = os.environ.get("VK_DRIVER_FILES")
        if not given and not gpu:
            found = [path for pattern in DRIVERS[name] for path in sorted(glob(pattern))]
            if not found:
                pytest.skip(f"no Vulkan driver for {name}: none of {DRIVERS[name]}")
            os.environ["VK_DRIVER_FILES"] = found[0]
        os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")
        if name == "dawn":
            from wgpudawn.backends.dawn import extras

            wanted = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"] if gpu else []
            # otherwise Dawn rounds GPU times to 65,536 ns, so that a small kernel seems to need no time
            extras.set_instance_extras(enable_toggles=wanted, disable_toggles=["timestamp_quantization"])
        try:
            _devices[name] = NativeDevice(name)
        finally:
            if not given:
                os.environ.pop("VK_DRIVER_FILES", None)
        info = _devices[name].info
        assert not (gpu and info["fallback"]), f"GPU=1, but {name} found only {info['description'] or info['device']}"
    return _devices[name]


@pytest.fixture(params=["dawn", "wgpu"])
def backend(request: pytest.FixtureRequest) -> NativeDevice:
    return device(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The devices that the tests ran on, for the report of a failure."""
    for name, used in _devices.items():
        info = used.info
        about = [str(info[key]) for key in ("vendor", "architecture", "device", "description") if info[key]]
        terminalreporter.write_line(f"{name}: {', '.join(about)}; {', '.join(info['features'])}")


@pytest.fixture
def rng() -> Iterator[np.random.Generator]:
    """Fresh random numbers each run; pytest shows the seed of a failing test, SEED repeats it."""
    seed = int(os.environ.get("SEED") or secrets.randbits(32))
    print(f"SEED={seed}")
    yield np.random.default_rng(seed)
