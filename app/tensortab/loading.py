"""How a model gets from its files to a device, in the same way for every task.

The files are opened first (`open_files`). Then a task declares what it needs of them, which reads no weights and puts
nothing on the device, and loads it (`load`). tasks/__init__.py does all three, and frees everything if one fails.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from .device import Device, choose
from .formats import Checkpoint, open_checkpoint
from .sources.model import default, find
from .weights import Weights

Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass
class Files:
    """A model's files, of which only headers and configurations are read yet, and the device to bring them to."""

    name: str
    checkpoint: Checkpoint
    device: Device


async def open_files(task: str, model: Any, device: Device | None, on_progress: Progress) -> Files:
    """Opens the files of `model` (sources/model.py find), or of the task's default model. Stage: "download"."""
    device = device or await choose()
    model = default(task) if model is None else model
    source = await find(model, lambda done, total: on_progress("download", done, total))
    return Files(str(getattr(source, "name", model)), await open_checkpoint(source), device)


async def load(
    weights: Weights,
    device: Device,
    plans: Iterable[Coroutine[Any, Any, Any]],
    on_progress: Progress,
    meanwhile: Callable[[], Any] = lambda: None,
) -> Any:
    """Streams the weights to the device while the plans compile. Stages: "load" (bytes), "compile" (plans).

    The iterator `plans` makes a plan when it is asked for the next one; awaiting that compiles it. So every plan is
    made, and checked against the adapter's limits, before a weight is read. Returns the result of `meanwhile`, which is
    called once there is something to wait for. If one part fails, or the load is cancelled, the other parts end before
    the error is raised.
    """
    parts: list[asyncio.Task] = []

    async def stream() -> None:
        await weights.load(device, lambda done, total: on_progress("load", done, total))
        if count:
            on_progress("compile", 0, count)

    try:
        for plan in plans:
            parts.append(asyncio.create_task(plan))
            await asyncio.sleep(0)  # its kernels compile while the next plan is made
        count = len(parts)
        parts.append(asyncio.create_task(stream()))
        for _ in range(2):  # until the first weights are being read
            await asyncio.sleep(0)
        result = meanwhile()
        await asyncio.gather(*parts)
    finally:
        for part in parts:
            if not part.cancelling():  # a second cancellation would end the cleanup after the first
                part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
    if count:
        on_progress("compile", count, count)
    return result
