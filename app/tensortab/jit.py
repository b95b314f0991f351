"""Programs: a graph is traced once, compiled to a plan, and replayed from then on."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

from .debug import knob, level
from .device import Device, choose, f16, lanes, matrix, tier
from .dtype import f32
from .errors import Error
from .ops import Hardware
from .plan import build
from .schedule import home, schedule
from .tensor import Tensor, contiguous_strides, realizes


def hardware(info: dict) -> Hardware:
    limits = info["limits"]
    return Hardware(
        tier(info),
        f16(info),
        limits["maxStorageBufferBindingSize"],
        lanes=lanes(info),
        invocations=limits["maxComputeInvocationsPerWorkgroup"],
        storage=limits["maxComputeWorkgroupStorageSize"],
        matrix=matrix(info) and tier(info) == "subgroups",
    )


class Program:
    """A plan on a device. `outputs` are the traced tensors, which now have storage. A Program that is garbage-collected
    unloads its plan."""

    def __init__(self, device: Device, outputs: list[Tensor], hw: Hardware | None = None) -> None:
        """`hw`: the hardware to choose kernels for, by default that of `device`."""
        self.device, self.handle = device, 0
        self._steps: list[int] = []  # with CHECK=1 the handles of one plan for each step
        hw = hw or hardware(device.info)
        dispatches, stored = schedule(outputs, hw)
        for n, d in enumerate(dispatches if level("DEBUG") >= 3 else []):
            print(f"{n:4} {d.stem} {d.spec} grid {d.grid} {d.params} {d.epilogue}")
        graph = device.interprets or level("CHECK") or level("DEBUG") >= 5 or knob("DUMP")
        self.plan, self.named = build(dispatches, stored, hw, bool(graph))
        for output, place in zip(outputs, stored, strict=True):
            if output.buffer is None:  # it was rewritten, or shares another tensor's storage
                output.buffer = home(place)[0].buffer
        self.outputs = outputs
        self._timed = (level("PROFILE") > 0 or level("DEBUG") == 2) and "timestamp-query" in device.info["features"]
        self.times = [0] * len(self.plan["steps"])  # nanoseconds of each step in all `replays` that were timed
        self.replays = 0

    async def load(self) -> "Program":
        """Compiles the kernels and binds the buffers."""
        if level("CHECK") and find_spec("numpy") is None:
            raise Error("bad_request", "CHECK=1 computes each step in NumPy as well: install it, or unset CHECK.")
        self._report()
        buffers = {name: buffer.on(self.device) for name, buffer in self.named.items()}
        self.handle = await self.device.load(self.plan, buffers)
        if level("CHECK"):
            for plan in self._single_steps():
                self._steps.append(await self.device.load(plan, buffers))
        return self

    def replay(self, steps: int = 1, read: Tensor | None = None, offset: int = 0, size: int = 0) -> Awaitable[bytes]:
        """Submits the plan `steps` times; the awaitable resolves to `size` bytes of the tensor `read` afterwards."""
        if self.watched:
            return self._watched(steps, read, offset, size)
        if read is None or read.buffer is None:
            return self.device.replay(self.handle, steps)
        return self.device.replay(self.handle, steps, read.buffer.id, offset, size)

    async def submit(self, read: Tensor | None = None, size: int = 0) -> Awaitable[bytes]:
        """A replay that later writes cannot change: a watched one has ended when this returns."""
        replay = self.replay(1, read, 0, size)
        if self.watched:
            replay = asyncio.ensure_future(replay)
            await asyncio.wait([replay])
        return replay

    @property
    def watched(self) -> bool:
        """Whether a replay runs step by step while it is awaited (CHECK=1, PROFILE=1), and not when it is called."""
        return bool(self._steps) or self._timed

    async def measure(self, replays: int, position: int = 0) -> list[dict[str, Any]]:
        """Runs the plan `replays` times with timestamps (feature timestamp-query); its side effects remain. Returns
        profile(position)."""
        self.times, self.replays = [0] * len(self.times), 0
        for _ in range(replays):
            await self._time()
        return self.profile(position)

    def profile(self, position: int = 0) -> list[dict[str, Any]]:
        """What measure() or PROFILE=1 timed, for each step: its kernel, the ns of a replay, and the flops and bytes
        (read and written) with `position` positions in the cache."""
        rows = []
        for step, ns in zip(self.plan["steps"], self.times, strict=True):
            label = self.plan["kernels"][step["kernel"]]["label"]
            more = [position * each for each in step["per_position"]]
            row = {"kernel": label, "ns": ns / max(1, self.replays)}
            rows.append(row | {"flops": step["flops"] + more[1], "bytes": step["bytes"] + more[0]})
        return rows

    async def _time(self) -> None:
        times = await self.device.profile(self.handle)
        self.times = [a + b for a, b in zip(self.times, times, strict=True)]
        self.replays += 1

    def unload(self) -> None:
        """Removes the plan from the device. Does nothing if it is not loaded."""
        handles, self.handle, self._steps = [self.handle, *self._steps], 0, []
        for handle in filter(None, handles):
            self.device.unload(handle)

    def __del__(self) -> None:
        self.unload()

    def _single_steps(self) -> list[dict]:
        """One plan for each node that is computed: the dispatches up to the step that names the node."""
        plans: list[dict] = []
        steps: list[dict] = []
        for step in self.plan["steps"]:
            steps.append(step)
            if step["nodes"]:
                plans.append({**self.plan, "steps": steps})
                steps = []
        return plans

    async def _watched(self, steps: int, read: Tensor | None, offset: int, size: int) -> bytes:
        """With CHECK=1 computes each step in NumPy too, on the same inputs, and raises at the first that differs; with
        PROFILE=1 times the steps."""
        from .device.cpu import check

        for _ in range(steps):
            if not self._steps:
                await self._time()
                continue
            for handle, single in zip(self._steps, self._single_steps(), strict=True):
                await check(self.device, single, self.named, handle)
        if level("DEBUG") == 2 and self._timed:
            for row in self.profile():
                ns = max(1, row["ns"])
                rates = f"{row['bytes'] / ns:8.1f} GB/s {row['flops'] / ns:8.1f} GFLOP/s"
                print(f"{ns / 1000:10.1f} us {rates}  {row['kernel'].split('+')[0]}")
        if read is None or read.buffer is None:
            return b""
        return bytes(await self.device.read(read.buffer.id, offset, size))

    def _report(self) -> None:
        debug = level("DEBUG")
        plan = self.plan
        if debug:
            pool = sum(b["size"] for b in plan["buffers"] if b["name"] is None)
            counts = f"{len(plan['steps'])} steps, {len(plan['kernels'])} kernels"
            print(f"plan: {counts}, {pool:,} bytes of transient buffers")
        if debug >= 4:
            for made in plan["kernels"]:
                print(f"// {made['label']}\n{made['code']}")
        if debug >= 5:
            for entry in plan["graph"]:
                print(entry)
        if knob("DUMP"):
            from pathlib import Path

            target = Path(knob("DUMP"))
            target.mkdir(parents=True, exist_ok=True)
            number = len(list(target.glob("plan*.json")))
            (target / f"plan{number}.json").write_text(json.dumps(plan, indent=1))
            for made in plan["kernels"]:
                (target / f"{made['label'].split('+')[0]}.wgsl").write_text(made["code"])


@realizes
async def realize(tensor: Tensor) -> Tensor:
    """Computes a tensor, which then has values of its own and no sources."""
    if tensor.op == "buffer":
        return tensor
    if tensor.op == "view":
        tensor.buffer = (await realize(tensor.contiguous())).buffer
        tensor.op, tensor.src, tensor.arg = "buffer", (), {}
        return tensor
    device = await choose()
    program = await Program(device, [tensor]).load()
    try:
        await program.replay()
    finally:
        program.unload()
    tensor.op, tensor.src, tensor.arg = "buffer", (), {}
    return tensor


def jit(function: Callable[..., Any], device: Device | None = None) -> "Jit":
    """Traces `function`, which takes tensors and returns a Tensor or a list of them, once for each combination of
    shapes and dtypes; later calls replay the plan.

    The next call with the same shapes overwrites the results of a call: where calls may overlap, use `async with` on
    the Jit.
    """
    return Jit(function, device)


class Jit:
    def __init__(self, function: Callable[..., Any], device: Device | None) -> None:
        self.function, self.device = function, device
        self.traced: dict[tuple, tuple[list[Tensor], Any, Program]] = {}
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Jit":
        await self._turn.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._turn.release()

    async def program(self, *args: Tensor) -> tuple[list[Tensor], Any, Program]:
        """The inputs, the results and the loaded Program for arguments of these shapes and dtypes."""
        key = tuple((a.shape, a.dtype.name) for a in args)
        if key not in self.traced:
            self.device = self.device or await choose()
            inputs = [Tensor.of("input", a.shape, a.dtype) for a in args]
            results = self.function(*inputs)
            outputs = [results] if isinstance(results, Tensor) else results
            if not all(isinstance(output, Tensor) and output.op != "buffer" for output in outputs):
                raise TypeError("a jit function must return a Tensor that it computes, or a list of them")
            outputs = [_whole(output) for output in outputs]
            self.traced[key] = (inputs, results, Program(self.device, outputs))
        program = self.traced[key][2]
        if not program.handle:  # it is in `traced` before it is loaded, so that free() finds its buffers on failure
            await program.load()
        return self.traced[key]

    async def __call__(self, *args: Tensor) -> Any:
        results, program = await self._given(*args)
        await program.replay()
        stored = [_stored(output) for output in program.outputs]
        return stored[0] if isinstance(results, Tensor) else stored

    async def submit(self, *args: Tensor) -> Awaitable[bytes]:
        """The awaitable resolves to the bytes of the only result, whatever is called meanwhile."""
        _, program = await self._given(*args)
        (output,) = program.outputs
        return await program.submit(output, output.dtype.file_size(math.prod(output.shape)))

    async def read(self, *args: Tensor) -> bytes:
        """The bytes of the only result, read by the submission that computes them."""
        return await (await self.submit(*args))

    async def _given(self, *args: Tensor) -> tuple[Any, Program]:
        """The results and the Program, after the values of `args` were copied to its inputs."""
        inputs, results, program = await self.program(*args)
        for given, place in zip(args, inputs, strict=True):
            await _put(program.device, given, place)
        return results, program

    def free(self) -> None:
        """Unloads the plans and frees their inputs and results; the next call traces again."""
        for inputs, _, program in self.traced.values():
            program.unload()
            for tensor in (*inputs, *program.outputs):
                tensor.free()
        self.traced.clear()


async def _put(device: Device, given: Tensor, place: Tensor) -> None:
    """Copies the values of `given` to the storage of `place`, on the device if they are there already."""
    assert place.buffer is not None
    target = place.buffer.on(device)
    if 0 in given.shape:
        return
    if given.buffer is not None and given.buffer.data is not None:
        device.write(target, 0, given.buffer.data)
        return
    source, offset = given, 0
    if given.op == "view" and given.strides == contiguous_strides(given.shape):
        source, offset = given.src[0], 4 * given.arg["offset"]
    elif given.op == "view" and given.dtype is not f32:  # kernels copy f32 only
        device.write(target, 0, await given.tobytes())
        return
    await source.realize()
    assert source.buffer is not None
    if source.buffer.device not in (None, device):
        device.write(target, 0, await given.tobytes())
    elif (buffer := source.buffer.on(device)) != target:
        device.copy(buffer, offset, target, min(source.buffer.nbytes - offset, place.buffer.nbytes))


def _whole(output: Tensor) -> Tensor:
    """The output as a tensor that begins where its storage begins: a view that does not is copied."""
    reshaped = output.strides == contiguous_strides(output.shape) and output.op == "view" and output.arg["offset"] == 0
    return output if output.op != "view" or (reshaped and output.src[0].op != "buffer") else output.contiguous()


def _stored(output: Tensor) -> Tensor:
    """A tensor of its own with the storage of a plan's output."""
    result = Tensor.node("buffer", shape=output.shape, dtype=output.dtype)
    result.buffer = output.buffer
    return result
