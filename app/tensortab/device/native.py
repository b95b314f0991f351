"""Runs plans on native WebGPU through the wgpu API: Dawn (wgpudawn, Tint) or wgpu-native (wgpu, Naga).

The twin of static/executor.js: the same operations on the same plans, and the same errors. Natively WebGPU raises an
error in the call that it belongs to.
"""

import asyncio
import base64
import functools
import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from ..errors import Error
from ..memory import Pool

MATRIX = "chromium-experimental-subgroup-matrix"
FEATURES = ("shader-f16", "subgroups", "timestamp-query", MATRIX)
LIMITS = (
    "max-buffer-size", "max-storage-buffer-binding-size", "max-compute-workgroup-storage-size",
    "max-compute-invocations-per-workgroup", "max-compute-workgroup-size-x", "max-storage-buffers-per-shader-stage",
)  # fmt: skip
PACKAGES = {"dawn": "wgpudawn", "wgpu": "wgpu"}  # backend -> its module
INSTALL = {"dawn": "tensortab[dawn]", "wgpu": "wgpu"}  # backend -> what pip must install
POOL, POOL_BYTES = 4, 65536  # staging buffers made in advance, for as many replays in flight
KEEP_BYTES = 1 << 20  # larger staging buffers are not kept
SOFTWARE = ("swiftshader", "llvmpipe", "lavapipe", "microsoft basic")


def matrices(adapter: Any) -> bool:
    """Whether the adapter has the subgroup matrices that the kernels need: 16 x 16 x 16, f16 with f32 sums, in
    subgroups of 32. NVIDIA's subgroups always have 32, whatever range its driver reports."""
    from wgpudawn.backends.dawn.extras import get_adapter_properties

    wanted = {"component_type": "f16", "result_component_type": "f32", "m": 16, "n": 16, "k": 16}
    if str(adapter.info["vendor"]).lower() != "nvidia":
        wanted |= {"min_subgroup_size": 32, "max_subgroup_size": 32}
    found = get_adapter_properties(adapter).get("subgroup_matrix_configs") or []
    return any(wanted.items() <= config.items() for config in found)


def _camel(name: str) -> str:
    head, *rest = name.split("-")
    return head + "".join(word.capitalize() for word in rest)


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, with WebGPU's errors raised as Error."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def later(self: "NativeDevice", *args: Any, **options: Any) -> Any:
            with self._errors():
                return await method(self, *args, **options)

        return later

    @functools.wraps(method)
    def now(self: "NativeDevice", *args: Any, **options: Any) -> Any:
        with self._errors():
            return method(self, *args, **options)

    return now


class NativeDevice:
    interprets = False

    def __init__(self, backend: str = "") -> None:
        """`backend`: "dawn", "wgpu" or "" for the first that is installed and has an adapter."""
        problems = []
        for name in [backend] if backend else list(PACKAGES):
            if name not in PACKAGES:
                raise Error("bad_request", f"There is no device {name!r}: DEVICE is cpu, gpu, {' or '.join(PACKAGES)}.")
            try:
                self.api = importlib.import_module(PACKAGES[name])
            except ImportError as problem:
                problems.append(f"{name} needs a package: pip install '{INSTALL[name]}' ({problem})")
                continue
            try:
                adapter = self.api.gpu.request_adapter_sync(power_preference="high-performance")
                break
            except RuntimeError as problem:
                problems.append(f"{name} finds no adapter: install a Vulkan driver ({problem})")
        else:
            raise Error("no_adapter", f"No native WebGPU device. {'; '.join(problems)}. Or set DEVICE=cpu.")
        features = [f for f in FEATURES if f in adapter.features and (f != MATRIX or matrices(adapter))]
        if "subgroup" in adapter.features:  # wgpu-native's own name; Naga has no `enable subgroups;` yet
            features = [f for f in features if f != "subgroups"]
        self.device = adapter.request_device_sync(
            required_features=features, required_limits={k: adapter.limits[k] for k in LIMITS}
        )
        text = {k: str(adapter.info[k] or "") for k in ("vendor", "architecture", "device", "description")}
        software = any(word in " ".join(text.values()).lower() for word in SOFTWARE)
        self.info: dict[str, Any] = {
            **text,
            "fallback": software,
            "dot4": True,
            "subgroupMinSize": int(adapter.info.get("stackgroup_min_size", 4)),
            "features": features,
            "limits": {_camel(k): v for k, v in self.device.limits.items()},
        }
        self._buffers: dict[int, Any] = {}
        self._plans: dict[int, SimpleNamespace] = {}
        self._pool = Pool(lambda size: self.create_buffer(size, "transient"), self.destroy_buffer)
        self._pipelines: dict[tuple, Any] = {}
        self._staging: list[Any] = []  # idle staging buffers
        self._next = 0
        self._destroyed = False
        self._counts = {"buffers": 0, "bytes": 0, "bindGroups": 0, "submits": 0, "created": 0}
        self._staging += [self._new_staging(POOL_BYTES) for _ in range(POOL)]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self.api.classes.GPUOutOfMemoryError as error:
            message = f"The GPU has no memory left ({error}). Close other programs or use a smaller model."
            raise Error("out_of_memory", message) from error
        except (self.api.classes.GPUError, self.api.classes.GPUPipelineError) as error:
            raise Error("internal", str(error)) from error

    def _buffer(self, buffer: int) -> Any:
        if buffer not in self._buffers:
            raise Error("internal", f"there is no buffer {buffer}")
        return self._buffers[buffer]

    def _range(self, buffer: int, offset: int, size: int) -> Any:
        """The buffer, if the range is within it: wgpu-native ends the process for a copy beyond the end."""
        found = self._buffer(buffer)
        if offset % 4 or not 0 <= offset <= offset + size <= found.size:
            raise Error("internal", f"buffer {buffer} has {found.size} bytes, the range is {offset} to {offset + size}")
        return found

    def _plan(self, plan: int) -> SimpleNamespace:
        if plan not in self._plans:
            raise Error("internal", f"there is no plan {plan}")
        return self._plans[plan]

    def _id(self) -> int:
        self._next += 1
        return self._next

    def _create(self, size: int, usage: int, label: str) -> Any:
        limit = self.info["limits"]["maxBufferSize"]
        if size > limit:
            raise Error(
                "out_of_memory",
                f"Buffer {label!r} needs {size:,} bytes, this GPU allows {limit:,} in one: use a smaller model or a "
                "shorter context.",
            )
        self._counts["created"] += 1
        return self.device.create_buffer(size=max(16, (size + 15) // 16 * 16), usage=usage, label=label)

    @_checked
    def create_buffer(self, size: int, label: str) -> int:
        usage = self.api.BufferUsage
        buffer = self._create(size, usage.STORAGE | usage.COPY_SRC | usage.COPY_DST, label)
        self._counts["buffers"] += 1
        self._counts["bytes"] += buffer.size
        self._buffers[key := self._id()] = buffer
        return key

    def destroy_buffer(self, buffer: int) -> None:
        if self._destroyed:
            return
        gone = self._buffer(buffer)
        for program in self._plans.values():
            if buffer in program.ids:
                program.destroyed = buffer
        del self._buffers[buffer]
        self._counts["buffers"] -= 1
        self._counts["bytes"] -= gone.size
        gone.destroy()

    @_checked
    def write(self, buffer: int, offset: int, data: Any) -> None:
        view = memoryview(data).cast("B")
        if len(view) % 4:
            view = memoryview(bytes(view) + bytes(-len(view) % 4))
        self.device.queue.write_buffer(self._range(buffer, offset, len(view)), offset, view)

    @_checked
    def copy(self, source: int, offset: int, target: int, size: int) -> None:
        pair = self._range(source, offset, size), self._range(target, 0, size)
        encoder = self.device.create_command_encoder()
        encoder.copy_buffer_to_buffer(pair[0], offset, pair[1], 0, size)
        self.device.queue.submit([encoder.finish()])

    @_checked
    async def read(self, buffer: int, offset: int, size: int) -> bytes:
        source, staging = self._range(buffer, offset, size), self._stage(size)
        encoder = self.device.create_command_encoder()
        encoder.copy_buffer_to_buffer(source, offset, staging, 0, (size + 3) // 4 * 4)
        self.device.queue.submit([encoder.finish()])
        return await self._landed(staging, size)

    def _new_staging(self, size: int) -> Any:
        return self._create(size, self.api.BufferUsage.MAP_READ | self.api.BufferUsage.COPY_DST, "staging")

    def _stage(self, size: int) -> Any:
        fit = next((n for n, buffer in enumerate(self._staging) if buffer.size >= size), None)
        return self._new_staging(max(POOL_BYTES, size)) if fit is None else self._staging.pop(fit)

    @_checked
    async def _landed(self, staging: Any, size: int) -> bytes:
        """The bytes that were copied to the staging buffer, if any. Other asyncio tasks run first, since waiting for
        the GPU blocks the event loop."""
        try:
            await asyncio.sleep(0)
        finally:  # the staging buffer must be returned even if this was cancelled
            data = self._unstage(staging, size) if staging else b""
        return data

    def _unstage(self, staging: Any, size: int) -> bytes:
        staging.map_sync(self.api.MapMode.READ)
        data = bytes(staging.read_mapped(0, (size + 15) // 16 * 16)[:size])
        staging.unmap()
        if staging.size <= KEEP_BYTES:
            self._staging.append(staging)
        else:
            staging.destroy()
        return data

    def _pipeline(self, kernel: dict) -> tuple[Any, Any]:
        key = (kernel["label"], kernel["code"])
        if key not in self._pipelines:
            try:
                self._pipelines[key] = self._compile(kernel)
            except self.api.classes.GPUError as error:
                raise Error("internal", f"kernel {kernel['label']} does not compile: {error}") from error
        return self._pipelines[key]

    def _compile(self, kernel: dict) -> tuple[Any, Any]:
        layout = self.device.create_bind_group_layout(
            entries=[
                {"binding": n, "visibility": self.api.ShaderStage.COMPUTE, "buffer": {"type": mode}}
                for n, mode in enumerate(kernel["bindings"])
            ]
        )
        pipeline = self.device.create_compute_pipeline(
            label=kernel["label"],
            layout=self.device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={
                "module": self.device.create_shader_module(label=kernel["label"], code=kernel["code"]),
                "entry_point": "main",
            },
        )
        self._counts["created"] += 4
        return pipeline, layout

    @_checked
    async def load(self, plan: dict, buffers: dict[str, int]) -> int:
        if missing := [b["name"] for b in plan["buffers"] if b["name"] and b["name"] not in buffers]:
            raise Error("internal", f'plan: buffer "{missing[0]}" was not passed')
        pipelines = [self._pipeline(kernel) for kernel in plan["kernels"]]
        params = base64.b64decode(plan["params"])
        usage = self.api.BufferUsage
        uniform = self._create(len(params), usage.UNIFORM | usage.COPY_DST, "params")
        if params:
            self.device.queue.write_buffer(uniform, 0, params)
        shared: list[int] = []
        try:
            shared += self._pool.acquire([b["size"] for b in plan["buffers"] if not b["name"]])
            spare = iter(shared)
            ids = [buffers[b["name"]] if b["name"] else next(spare) for b in plan["buffers"]]
            steps = self._bind(plan, ids, uniform, pipelines)
        except BaseException:  # a plan that was not loaded leaves nothing behind
            self._pool.release(shared)
            uniform.destroy()
            raise
        self._counts["created"] += len(steps)
        self._counts["bindGroups"] += len(steps)
        self._plans[key := self._id()] = SimpleNamespace(
            steps=steps, ids=frozenset(ids), shared=shared, uniform=uniform, destroyed=0
        )
        return key

    def _bind(self, plan: dict, ids: list[int], uniform: Any, pipelines: list) -> list[tuple]:
        """(pipeline, bind group, grid) of each step; `ids` are the ids of the plan's buffers."""
        steps = []
        for step in plan["steps"]:
            kernel = plan["kernels"][step["kernel"]]
            pipeline, layout = pipelines[step["kernel"]]
            bind = iter(step["bind"])
            entries = []
            for n, mode in enumerate(kernel["bindings"]):
                if mode == "uniform":
                    resource = {"buffer": uniform, "offset": step["params"], "size": 256}
                else:
                    index, offset, size = next(bind)
                    resource = {"buffer": self._buffer(ids[index]), "offset": offset, "size": size}
                entries.append({"binding": n, "resource": resource})
            group = self.device.create_bind_group(label=kernel["label"], layout=layout, entries=entries)
            steps.append((pipeline, group, tuple(step["grid"])))
        return steps

    @_checked
    def replay(self, plan: int, steps: int = 1, buffer: int = -1, offset: int = 0, size: int = 0) -> Awaitable[bytes]:
        program = self._plan(plan)
        if program.destroyed:  # wgpu-native ends the process there
            raise Error("internal", f"plan: its buffer {program.destroyed} was destroyed")
        source = self._range(buffer, offset, size) if size else None
        encoder = self.device.create_command_encoder()
        compute = encoder.begin_compute_pass()
        for _ in range(steps):
            for pipeline, group, grid in program.steps:
                compute.set_pipeline(pipeline)
                compute.set_bind_group(0, group)
                compute.dispatch_workgroups(*grid)
        compute.end()
        staging = None
        if source:
            staging = self._stage(size)
            encoder.copy_buffer_to_buffer(source, offset, staging, 0, (size + 3) // 4 * 4)
        self.device.queue.submit([encoder.finish()])
        self._counts["submits"] += 1

        return self._landed(staging, size)

    @_checked
    async def profile(self, plan: int) -> list[int]:
        steps = self._plan(plan).steps
        if "timestamp-query" not in self.info["features"]:
            raise Error("bad_request", "profile: this GPU does not have the feature timestamp-query")
        usage = self.api.BufferUsage
        queries = self.device.create_query_set(type="timestamp", count=2 * len(steps))
        resolved = self.device.create_buffer(size=16 * len(steps), usage=usage.QUERY_RESOLVE | usage.COPY_SRC)
        encoder = self.device.create_command_encoder()
        for n, (pipeline, group, grid) in enumerate(steps):
            compute = encoder.begin_compute_pass(
                timestamp_writes={
                    "query_set": queries,
                    "beginning_of_pass_write_index": 2 * n,
                    "end_of_pass_write_index": 2 * n + 1,
                }
            )
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, group)
            compute.dispatch_workgroups(*grid)
            compute.end()
        encoder.resolve_query_set(queries, 0, 2 * len(steps), resolved, 0)
        self.device.queue.submit([encoder.finish()])
        times = self.device.queue.read_buffer(resolved).cast("B").cast("Q")
        return [end - start for start, end in zip(times[::2], times[1::2], strict=True)]

    def unload(self, plan: int) -> None:
        if self._destroyed:
            return
        gone = self._plan(plan)
        del self._plans[plan]
        self._counts["bindGroups"] -= len(gone.steps)
        gone.uniform.destroy()
        self._pool.release(gone.shared)

    def counters(self) -> dict[str, int]:
        return {**self._counts, "pipelines": len(self._pipelines)}

    def destroy(self) -> None:
        for buffer in list(self._buffers):
            self.destroy_buffer(buffer)
        self._plans.clear()
        self._destroyed = True
        self.device.destroy()
