"""Dispatches -> a Plan: plain data (JSON) that every device replays without knowing an operation's name.

{"version": 1,
 "buffers": [{"name": str | None, "size": bytes}],          named ones are passed to load(); the others are transient
 "kernels": [{"label", "code": WGSL, "bindings": [buffer binding type, ...]}],
 "params":  base64 of the uniform buffer,
 "steps":   [{"kernel", "bind": [[buffer, offset, size], ...], "params": offset, "grid": [x, y, z],
              "flops", "bytes", "per_position": [bytes, flops] that each position in the cache adds}]}

With a graph, which only the CPU device and CHECK=1 need, each step also has {"nodes": [index in graph, ...], "result":
bind of the last node}, and the plan has "graph": [{"op", "src", "arg", "shape", "dtype", "bind"}].
"""

import base64
import math
from typing import Any

from .buffer import Buffer
from .debug import level
from .errors import Error
from .kernels import Kernel, kernel
from .memory import Lifetime, assign
from .ops import OPS, Dispatch, Hardware
from .schedule import home
from .tensor import Tensor

VERSION = 1
ALIGN = 256  # minUniformBufferOffsetAlignment and minStorageBufferOffsetAlignment at their default


def build(
    dispatches: list[Dispatch], outputs: list[Tensor], hw: Hardware, graph: bool = False
) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """A plan and its named buffers. Outputs that have no storage yet get buffers of their own (`output.buffer`).

    graph: add the graph, from which each step can be computed in NumPy.
    """
    share = not (level("CHECK") or level("POISON")) and level("ARENA") > 0
    for output in outputs:
        target, _ = home(output)
        if target.buffer is None:
            target.buffer = Buffer("output", target.dtype.gpu_size(math.prod(target.shape)))
    lives: dict[int, Lifetime] = {}
    stored: dict[int, Tensor] = {}
    for when, d in enumerate(dispatches):
        for operand in (*d.bind, *d.extra):
            target, _ = home(operand)
            stored[id(target)] = target
            if target.buffer is None:
                nbytes = max(16, target.dtype.gpu_size(math.prod(target.shape)))
                lives.setdefault(id(target), Lifetime(id(target), nbytes, when, when)).last = when
    place, sizes = assign(list(lives.values()), share)
    named: dict[str, Buffer] = {}
    buffers: list[dict[str, Any]] = []
    numbers: dict[Buffer, int] = {}
    index: dict[int, int] = {}
    if not share:  # for debugging, every tensor has a named buffer that can be read
        scratch = [
            Buffer(f"temp{n}", size, b"\xff" * size if level("POISON") else None) for n, size in enumerate(sizes)
        ]
        for key, slot in place.items():
            stored[key].buffer = scratch[slot]
    for key, target in stored.items():
        if target.buffer is not None:
            if target.buffer not in numbers:
                name = target.buffer.name if target.buffer.name not in named else f"{target.buffer.name}.{len(named)}"
                named[name] = target.buffer
                numbers[target.buffer] = len(buffers)
                buffers.append({"name": name, "size": target.buffer.nbytes})
            index[key] = numbers[target.buffer]
    first = len(buffers)
    buffers += [{"name": None, "size": size} for size in sizes] if share else []
    index |= {key: first + slot for key, slot in place.items()} if share else {}

    def bound(operand: Tensor) -> list[int]:
        target, offset = home(operand)
        return [index[id(target)], offset, max(16, target.dtype.gpu_size(math.prod(operand.shape)))]

    kernels: dict[str, tuple[int, Kernel]] = {}
    slots: dict[bytes, int] = {}  # equal parameters share a slot of the uniform buffer
    steps = []
    for d in dispatches:
        made = kernel(d.stem, d.epilogue, len(d.extra), tuple(d.params.items()) if d.bake else (), **d.spec)
        number = kernels.setdefault(made.label, (len(kernels), made))[0]
        offset = ALIGN * slots.setdefault(made.pack(d.params).ljust(ALIGN, b"\0"), len(slots))
        bind = [bound(t) for t in (*d.bind, *d.extra)]
        flops = sum(OPS[n.op].flops(n) for n in d.nodes)
        steps.append({"kernel": number, "bind": bind, "params": offset, "grid": list(d.grid), "flops": flops})
        ranges = {(buffer, at): d.touched.get(n, size) for n, (buffer, at, size) in enumerate(bind)}
        steps[-1] |= {"bytes": sum(ranges.values()), "per_position": list(d.per_position)}
    plan: dict[str, Any] = {
        "version": VERSION,
        "buffers": buffers,
        "kernels": [{"label": k.label, "code": k.code, "bindings": list(k.bindings)} for _, k in kernels.values()],
        "params": base64.b64encode(b"".join(slots)).decode(),
        "steps": steps,
    }
    if graph:
        plan["graph"] = _graph(dispatches, steps, bound)
    verify(plan, hw)
    return plan, named


def _graph(dispatches: list[Dispatch], steps: list[dict], bound: Any) -> list[dict]:
    """The plan's "graph". Adds to each step the nodes that it computes, of which the last is its result."""
    graph: list[dict] = []
    number: dict[int, int] = {}

    def add(node: Tensor) -> int:
        if id(node) not in number:
            entry: dict[str, Any] = {"shape": list(node.shape), "dtype": node.dtype.name}
            if id(node) in computed or node.op == "view":
                entry |= {"op": node.op, "src": [add(s) for s in node.src], "arg": node.arg}
            else:
                entry |= {"op": "buffer", "bind": bound(node)}
            number[id(node)] = len(graph)
            graph.append(entry)
        return number[id(node)]

    for d, step in zip(dispatches, steps, strict=True):
        computed = {id(n) for n in d.nodes}
        number.clear()
        step["nodes"] = [add(n) for n in d.nodes]
        if d.nodes:
            step["result"] = bound(d.nodes[-1])
    return graph


def verify(plan: dict[str, Any], hw: Hardware) -> None:
    """Raises Error("internal") for a plan that no device can run, and ("out_of_memory") for one that is too large."""
    for buffer in plan["buffers"]:
        if buffer["size"] > hw.max_binding:
            raise Error(
                "out_of_memory",
                f"A tensor of {buffer['size']:,} bytes exceeds this GPU's limit of {hw.max_binding:,} bytes a binding: "
                "use a smaller model or a shorter context.",
            )
    for step in plan["steps"]:
        made = plan["kernels"][step["kernel"]]
        where = f"plan: {made['label']}"
        storage = [m for m in made["bindings"] if m != "uniform"]
        if len(storage) != len(step["bind"]):
            raise Error("internal", f"{where} has {len(storage)} storage bindings, but {len(step['bind'])} operands")
        written = set()
        for mode, (buffer, offset, size) in zip(storage, step["bind"], strict=True):
            if offset % ALIGN or offset + size > max(16, (plan["buffers"][buffer]["size"] + 15) // 16 * 16):
                raise Error("internal", f"{where} binds the range {offset}+{size}, which does not fit buffer {buffer}")
            if mode == "storage":
                written.add(buffer)
        reads = [b for m, (b, _, _) in zip(storage, step["bind"], strict=True) if m != "storage"]
        if written & set(reads):
            raise Error("internal", f"{where} reads and writes the same buffer")
        if not all(1 <= n <= hw.workgroups for n in step["grid"]):
            raise Error("internal", f"{where} has the grid {step['grid']}: each size must be 1 to {hw.workgroups}")
