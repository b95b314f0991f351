"""Runs plans in NumPy by the definitions of ops/: slow, but the reference for every kernel."""

import asyncio
import math
from collections.abc import Awaitable
from typing import Any

from ..dtype import DTYPES, DType
from ..memory import Pool
from ..ops import HALVES, OPS

TOLERANCE = {"f32": 2e-3, "f16": 2e-2, "u32": 0}  # of CHECK=1, relative to the largest value of a tensor


class CPUDevice:
    interprets = True

    def __init__(self) -> None:
        self.info = {
            "vendor": "numpy", "architecture": "cpu", "device": "", "description": "NumPy on the CPU", "fallback": True,
            "features": ["timestamp-query"], "limits": {"maxBufferSize": 2**40, "maxStorageBufferBindingSize": 2**40,
            "maxComputeInvocationsPerWorkgroup": 256, "maxComputeWorkgroupStorageSize": 16384},
            "subgroupMinSize": 4, "dot4": False,
        }  # fmt: skip
        self._buffers: dict[int, Any] = {}
        self._plans: dict[int, tuple[dict, list[int], list[int]]] = {}
        self._pool = Pool(lambda size: self.create_buffer(size, "transient"), self.destroy_buffer)
        self._next = 0
        self._counts = {"bytes": 0, "submits": 0, "created": 0}
        self._destroyed = False

    def create_buffer(self, size: int, label: str) -> int:
        import numpy as np

        self._next += 1
        self._counts["created"] += 1
        self._buffers[self._next] = np.zeros((size + 15) // 16 * 16, np.uint8)
        self._counts["bytes"] += len(self._buffers[self._next])
        return self._next

    def destroy_buffer(self, buffer: int) -> None:
        if not self._destroyed:
            self._counts["bytes"] -= len(self._buffers.pop(buffer))

    def write(self, buffer: int, offset: int, data: Any) -> None:
        import numpy as np

        raw = np.frombuffer(data, np.uint8)
        self._buffers[buffer][offset : offset + len(raw)] = raw

    def copy(self, source: int, offset: int, target: int, size: int) -> None:
        self._buffers[target][:size] = self._buffers[source][offset : offset + size]

    async def read(self, buffer: int, offset: int, size: int) -> bytes:
        await asyncio.sleep(0)  # other asyncio tasks run meanwhile, as with a GPU
        return self._buffers[buffer][offset : offset + size].tobytes()

    async def load(self, plan: dict, buffers: dict[str, int]) -> int:
        shared = self._pool.acquire([b["size"] for b in plan["buffers"] if not b["name"]])
        spare = iter(shared)
        ids = [buffers[b["name"]] if b["name"] else next(spare) for b in plan["buffers"]]
        self._next += 1
        self._plans[self._next] = (plan, ids, shared)
        return self._next

    def replay(self, plan: int, steps: int = 1, buffer: int = -1, offset: int = 0, size: int = 0) -> Awaitable[bytes]:
        made, ids, _ = self._plans[plan]
        for _ in range(steps):
            for step in made["steps"]:
                run_step(made["graph"], step, [self._buffers[i] for i in ids])
        self._counts["submits"] += 1
        data = self._buffers[buffer][offset : offset + size].tobytes() if size else b""

        async def result() -> bytes:
            await asyncio.sleep(0)
            return data

        return result()

    async def profile(self, plan: int) -> list[int]:
        from time import perf_counter_ns

        made, ids, _ = self._plans[plan]
        times = []
        for step in made["steps"]:
            start = perf_counter_ns()
            run_step(made["graph"], step, [self._buffers[i] for i in ids])
            times.append(perf_counter_ns() - start)
        return times

    def unload(self, plan: int) -> None:
        if not self._destroyed:
            self._pool.release(self._plans.pop(plan)[2])

    def counters(self) -> dict[str, int]:
        return {**self._counts, "buffers": len(self._buffers), "pipelines": 0, "bindGroups": 0}

    def destroy(self) -> None:
        self._destroyed = True
        self._buffers.clear()
        self._plans.clear()


def run_step(graph: list[dict], step: dict, buffers: list[Any]) -> None:
    """Computes a step's nodes from `buffers` (a uint8 array for each buffer of the plan) and stores its result."""
    if not step["nodes"]:
        return
    result = evaluate(graph, step, buffers)
    last = graph[step["nodes"][-1]]
    if OPS[last["op"]].inplace is None:
        _window(buffers, step["result"])[: result.nbytes] = result.reshape(-1).view("u1")


def evaluate(graph: list[dict], step: dict, buffers: list[Any]) -> Any:
    import numpy as np

    values: dict[int, Any] = {}

    def value(number: int) -> Any:
        if number not in values:
            node = graph[number]
            dtype = DTYPES[node["dtype"]]
            if node["op"] == "buffer":
                values[number] = decode(_window(buffers, node["bind"]), dtype, node["shape"])
            elif node["op"] == "view":
                base = value(node["src"][0])
                strides = [s * base.itemsize for s in node["arg"]["strides"]]
                start = base.reshape(-1)[node["arg"]["offset"] :]
                values[number] = np.lib.stride_tricks.as_strided(start, node["shape"], strides)
            else:
                sources = [value(s) for s in node["src"]]
                with np.errstate(all="ignore"):
                    made = OPS[node["op"]].numpy(np, node["arg"], *sources)
                plain = {"f32": np.float32, "u32": np.uint32, "i32": np.int32}.get(node["dtype"])
                values[number] = made if plain is None else np.asarray(made, plain)
        return values[number]

    return [value(n) for n in step["nodes"]][-1]


def _window(buffers: list[Any], bind: list[int]) -> Any:
    buffer, offset, size = bind
    return buffers[buffer][offset : offset + (size + 3) // 4 * 4]


def decode(raw: Any, dtype: DType, shape: list[int]) -> Any:
    """Bytes in the GPU's layout -> an array; for plain dtypes a view, so that in-place definitions change the bytes."""
    plain = {"f32": "<f4", "u32": "<u4", "i32": "<i4"}.get(dtype.name)
    count = math.prod(shape)
    if plain:
        return raw[: 4 * count].view(plain).reshape(shape)
    from ..blocks import dequantize

    return dequantize(blocks_of(raw, dtype, count), dtype).reshape(shape)


def blocks_of(raw: Any, dtype: DType, count: int) -> Any:
    """Planes (dtype.py) -> blocks in the layout of a file."""
    import numpy as np

    number = count // dtype.block
    out = np.empty((number, dtype.nbytes), np.uint8)
    for start, (offset, size) in zip(dtype.plane_starts(count), dtype.planes, strict=False):
        out[:, offset : offset + size] = raw[start : start + number * size].reshape(number, size)
    return out


def _read_by(graph: list[dict], nodes: list[int]) -> set[int]:
    """The buffers that these nodes are computed from."""
    found: set[int] = set()
    for number in nodes:
        node = graph[number]
        found |= {node["bind"][0]} if node["op"] == "buffer" else _read_by(graph, node["src"])
    return found


async def check(device: Any, plan: dict, named: dict[str, Any], handle: int) -> None:
    """Runs a plan, whose last step has "nodes", on `device` and in NumPy on the same inputs. Raises AssertionError if
    the results differ."""
    import numpy as np

    step, graph = plan["steps"][-1], plan["graph"]
    names = [entry["name"] for entry in plan["buffers"]]

    async def contents(buffer: int) -> Any:
        size = (plan["buffers"][buffer]["size"] + 15) // 16 * 16
        return np.frombuffer(await device.read(named[names[buffer]].id, 0, size), np.uint8).copy()

    used = _read_by(graph, step["nodes"])
    before = [await contents(n) if n in used else b"" for n in range(len(names))]
    await device.replay(handle)
    label, node = plan["kernels"][step["kernel"]]["label"], graph[step["nodes"][-1]]
    want = np.array(evaluate(graph, step, before))  # changes in place were made to `before`
    op = OPS[node["op"]]
    if op.inplace is None:
        buffer, offset, size = step["result"]
        raw = (await contents(buffer))[offset : offset + (size + 3) // 4 * 4]
        compared = [(decode(raw, DTYPES[node["dtype"]], node["shape"]), want)]
    else:
        compared = []
        for n in op.changes(len(node["src"])):
            source = graph[node["src"][n]]
            buffer, offset, size = source["bind"]
            view = np.dtype(op.stored.get(n, f"{source['dtype'][0]}4"))
            pair = [a[offset : offset + size].view(view) for a in (await contents(buffer), before[buffer])]
            compared.append((pair[0], pair[1]))
    for have, wanted in compared:
        half = have.dtype == np.float16 or label.partition(".")[0] in HALVES
        kind = "u32" if have.dtype.kind == "u" else "f16" if half else "f32"
        scale = max(1e-6, float(np.abs(wanted.astype(np.float64)).max()))
        if not (np.abs(have.astype(np.float64) - wanted).max() <= TOLERANCE[kind] * scale):
            first = f"{have.reshape(-1)[:5]} not {wanted.reshape(-1)[:5]}"
            raise AssertionError(f"CHECK: {label} differs from its definition: {first}")
