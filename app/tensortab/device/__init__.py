"""Devices run plans: in a browser tab (browser.py), natively (native.py) or in NumPy (cpu.py), by the same methods."""

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, Protocol

from ..debug import knob
from ..errors import Error


class Device(Protocol):
    """Buffers and plans are named by integers; offsets and sizes are in bytes. `data` is bytes-like, in a browser tab
    also a JavaScript array."""

    # vendor, architecture, device, description, fallback, features: list, limits: dict (WebGPU names), subgroupMinSize,
    # dot4: whether WGSL has dot4I8Packed
    info: dict
    interprets: bool  # whether it runs the NumPy definitions of ops/, and so needs a plan's "graph"

    def create_buffer(self, size: int, label: str) -> int: ...
    def destroy_buffer(self, buffer: int) -> None: ...
    def write(self, buffer: int, offset: int, data: Any) -> None: ...
    def copy(self, source: int, offset: int, target: int, size: int) -> None:
        """Copies `size` bytes of `source` from `offset` on, both multiples of 4, to the beginning of `target`."""
        ...

    async def read(self, buffer: int, offset: int, size: int) -> bytes: ...
    async def load(self, plan: dict, buffers: dict[str, int]) -> int:
        """Compiles a plan (plan.py), binds its buffers and returns its handle. `buffers`: {name: buffer} for the named
        buffers of the plan."""
        ...

    def replay(self, plan: int, steps: int = 1, buffer: int = -1, offset: int = 0, size: int = 0) -> Awaitable[bytes]:
        """Submits a plan `steps` times at once; the awaitable resolves to `size` bytes of `buffer` afterwards."""
        ...

    async def profile(self, plan: int) -> list[int]:
        """Nanoseconds of each step of one replay (feature timestamp-query)."""
        ...

    def unload(self, plan: int) -> None: ...
    def counters(self) -> dict[str, int]:
        """buffers, bytes, pipelines, bindGroups: those that exist now; submits, created: all submissions and all GPU
        objects ever made."""
        ...

    def destroy(self) -> None:
        """Frees everything. Afterwards only destroy_buffer and unload may be called, and do nothing."""
        ...


def tier(info: dict) -> str:
    """The tier of kernels for an adapter: "software" (it runs on the processor), "subgroups" or "default"."""
    forced = knob("TIER")
    if forced:
        return forced
    if info["fallback"]:
        return "software"
    return "subgroups" if "subgroups" in info["features"] and info["dot4"] else "default"


def f16(info: dict) -> bool:
    """Whether inner products are computed in f16: if the adapter has shader-f16 and is not a software adapter."""
    return "shader-f16" in info["features"] and not info["fallback"]


def matrix(info: dict) -> bool:
    """Whether kernels may use subgroup matrices. A device lists the feature only if its matrices are the ones that
    kernels/*_matrix.wgsl need; these kernels also need more than the default workgroup memory."""
    listed = "chromium-experimental-subgroup-matrix" in info["features"]
    return listed and f16(info) and info["limits"]["maxComputeWorkgroupStorageSize"] >= 36864


def lanes(info: dict) -> int:
    """The number of neighbouring invocations that are certainly in one subgroup; 0 without subgroups. Some drivers
    report a smallest size below 32 although all subgroups of the vendor have 32."""
    if "subgroups" not in info["features"]:
        return 0
    return 32 if info["vendor"].lower() in ("nvidia", "apple") else min(32, info["subgroupMinSize"])


DEVICES = ("", "cpu", "gpu", "dawn", "wgpu")
_chosen: Device | None = None
_opening: asyncio.Task | None = None


async def choose() -> Device:
    """The device of this process; DEVICE=cpu | gpu | dawn | wgpu forces one. Raises Error("no_webgpu"), ("no_adapter")
    or ("bad_request"). Calls made while it is being opened get the same device or the same error; after an error the
    next call tries again."""
    global _opening
    if _chosen is None:
        if _opening is None or _opening.get_loop() is not asyncio.get_running_loop():
            _opening = asyncio.ensure_future(_open(knob("DEVICE")))
            _opening.add_done_callback(_opened)
        opening = _opening
        await asyncio.wait([opening])  # a caller that is cancelled meanwhile does not cancel it for the others
        return _chosen or opening.result()
    return _chosen


def _opened(task: asyncio.Task) -> None:
    global _chosen, _opening
    opened = None if task.cancelled() or task.exception() else task.result()
    if task is _opening:
        _chosen, _opening = opened, None
    elif opened is not None:  # use() chose another device meanwhile
        opened.destroy()


async def _open(name: str) -> Device:
    if name not in DEVICES:
        raise Error("bad_request", f"There is no DEVICE={name}: leave it out, or set one of {', '.join(DEVICES[1:])}.")
    if name == "cpu":
        from .cpu import CPUDevice

        return CPUDevice()
    if sys.platform == "emscripten":
        from .browser import BrowserDevice

        return await BrowserDevice.create()
    from .native import NativeDevice

    return NativeDevice("" if name == "gpu" else name)


def use(device: Device | None) -> None:
    """Makes choose() return this device from now on, or open a new one (None: the old one was lost or destroyed)."""
    global _chosen, _opening
    _chosen, _opening = device, None
