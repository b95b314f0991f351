"""Measures, with our own kernels, what a GPU can do and how near a model comes to that: its times beside their floor.

The floor of a kernel is the time that its bytes need at the measured bandwidth, or its FLOPs at the rate of our matmul
(or of the model's own products, if these are quicker), whichever is longer. The floor of a token is the time to read
its weights at that bandwidth. What is read from a cache may be quicker than its floor.
"""

import asyncio
import math
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from .debug import debug
from .device import Device, f16, tier
from .errors import Error
from .generate import Generator
from .jit import Program, hardware
from .ops import HALVES, Hardware
from .sampling import Sampling
from .tensor import Tensor

SUBMIT_SECONDS = 0.03  # of work per timed submission: browsers' clocks have steps of up to 1 ms
PATIENCE = 0.3  # seconds of one measurement: sizes grow until it takes so long
READ_COLUMNS = 16384  # a workgroup of `sum` reads 64 KiB
MATMUL = 4096
CHAIN = 256  # dependent dispatches in one plan
PROMPT, SOFTWARE_PROMPT = 128, 16  # tokens before the timed ones
TOKENS, TOKEN_SECONDS, REPLAYS = 128, 4.0, 64  # the most seconds of decoding, and of timing kernels

Report = Callable[[str, float, int], None]


async def measure(
    device: Device, generator: Generator | None = None, on_progress: Report = lambda stage, done, total: None
) -> dict[str, Any]:
    """Returns everything that the Lab shows, as JSON: the GPU's figures and, with a generator, those of its model.

    adapter {vendor, architecture, device, description, fallback}, tier, features, limits; read_gb_s (10^9 bytes a
    second, `sum` over read_bytes), tflops {"f32", "f16" where inner products are computed in it} (`linear` of
    matmul_n^3), dispatch_us (of a chain of dependent ones, wall clock).

    tokens_per_second (greedy), floor_tokens_per_second, weight_bytes_a_token; with the feature timestamp-query also
    kernels [{kernel, part, count, us, bytes, flops, floor_us, share}], of which `us` to `floor_us` are per dispatch,
    position (of the token in the text), us_a_token, floor_us_a_token, clock_us (the step to which GPU times are
    rounded; 0: none).

    Stages: "read", "multiply", "dispatch", "tokens", "kernels"; `done` of `total` stages. It may be cancelled. Nothing
    else may use the model meanwhile.
    """
    stages = ["read", "multiply", "dispatch", *(["tokens", "kernels"] if generator else [])]

    async def report(stage: str, share: float = 0) -> None:
        on_progress(stage, stages.index(stage) + share, len(stages))
        await asyncio.sleep(0)  # natively nothing else awaits: here other asyncio tasks run, and a cancellation arrives

    info = device.info
    names = ("vendor", "architecture", "device", "description", "fallback")
    result: dict[str, Any] = {"adapter": {name: info[name] for name in names}, "tier": tier(info)}
    result |= {"features": info["features"], "limits": info["limits"]}
    await report("read")
    result["read_bytes"], result["read_gb_s"] = await _bandwidth(device)
    await report("multiply")
    result["tflops"] = {}
    for name in ("f32", "f16") if f16(info) else ("f32",):
        hw = hardware(info)
        if name == "f32":
            hw = replace(hw, f16=False, matrix=False)
        result["matmul_n"], result["tflops"][name] = await _tflops(device, hw)
    await report("dispatch")
    result["dispatch_us"] = 1e6 * await _dispatch_seconds(device)
    if generator is not None:
        await report("tokens")
        result |= await _tokens(generator, lambda share: report("tokens", share))
        result["floor_tokens_per_second"] = 1e9 * result["read_gb_s"] / result["weight_bytes_a_token"]
        await report("kernels")
        if "timestamp-query" in info["features"]:
            result |= await _kernels(generator, result)
    on_progress(stages[-1], len(stages), len(stages))
    return _rounded(result)


def _rounded(value: Any) -> Any:
    """Rounds every float to four digits: more are not meaningful."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


# The GPU


async def _seconds(program: Program, output: Tensor) -> float:
    """The wall time of one replay: the best of several submissions, each with enough replays for the clock."""

    async def submission(steps: int) -> float:
        started = time.perf_counter()
        await program.replay(steps, output, 0, 4)
        return time.perf_counter() - started

    await submission(1)  # warms up
    steps, took = 1, await submission(1)
    while took < SUBMIT_SECONDS:
        steps = math.ceil(steps * min(16, 1.5 * SUBMIT_SECONDS / max(took, 1e-4)))
        took = await submission(steps)
    times = [took]
    while sum(times) < PATIENCE:
        times.append(await submission(steps))
    return min(times) / steps


async def _random(device: Device, rows: int, columns: int) -> Tensor:
    """Random numbers [rows, columns] on the device: some hardware multiplies zeros faster."""
    row = Tensor([[random.random() - 0.5 for _ in range(columns)]])
    made = row + Tensor([[random.random() - 0.5] for _ in range(rows)])
    program = await Program(device, [made]).load()
    try:
        await program.replay()
    finally:
        program.unload()
    filled = Tensor.node("buffer", shape=made.shape)
    filled.buffer = made.buffer
    return filled


async def _timed(device: Device, output: Tensor, hw: Hardware | None = None) -> float:
    program = await Program(device, [output], hw).load()
    try:
        return await _seconds(program, output)
    finally:
        program.unload()


async def _bandwidth(device: Device) -> tuple[int, float]:
    """Returns (the bytes of the largest buffer that is read in time, GB/s): small ones would be read from a cache."""
    limits, row = device.info["limits"], 4 * READ_COLUMNS
    most = min(limits["maxBufferSize"], limits["maxStorageBufferBindingSize"]) // row * row
    most = min(most, 1 << 26 if device.info["fallback"] else 1 << 29)
    size, measured = min(most, 1 << 23), (0, 0.0)
    while True:
        try:
            x = await _random(device, size // row, READ_COLUMNS)
            took = await _timed(device, Tensor.apply("sum", x))
        except Error as error:
            if error.code != "out_of_memory" or not measured[0]:
                raise
            return measured  # a model may occupy the rest of the memory
        measured = (size, size / took / 1e9)
        if size == most or 8 * took > PATIENCE:
            return measured
        size = min(most, 8 * size)


async def _tflops(device: Device, hw: Hardware) -> tuple[int, float]:
    """Returns (N, TFLOP/s of [N, N] @ [N, N]^T) for the largest N up to MATMUL that is computed in time."""
    n = MATMUL // 16
    while True:
        product = (await _random(device, n, n)).linear(await _random(device, n, n))
        took = await _timed(device, product, hw)
        if n == MATMUL or 64 * took > PATIENCE:
            return n, 2 * n**3 / took / 1e12
        n *= 4


async def _dispatch_seconds(device: Device) -> float:
    """The seconds of one of many tiny dispatches, each of which reads what the one before wrote."""
    x = Tensor.of("chain", (64,))
    for _ in range(CHAIN):
        x = x + 1.0
    with debug(FUSE=0):
        program = Program(device, [x])
    await program.load()
    try:
        return await _seconds(program, x) / CHAIN
    finally:
        program.unload()


# The model


async def _tokens(generator: Generator, report: Callable[[float], Awaitable[None]]) -> dict[str, Any]:
    """Greedy tokens after a fixed prompt. They replace the cache's content, so a chat's prompt is read again
    afterwards."""
    prompt = _prompt(generator)

    async def decode(count: int, start: float, span: float) -> float:
        """The seconds of a token after the first; `start` and `span`: this measurement's part of the progress."""
        made, first = 0, 0.0
        tokens = generator.generate(prompt, Sampling(), count)
        try:
            async for _ in tokens:
                first, made = first or time.perf_counter(), made + 1
                await report(start + span * made / count)
            return (time.perf_counter() - first) / (made - 1)
        finally:
            await tokens.aclose()

    slow = await decode(4, 0, 0.2)  # compiles and warms up
    count = min(TOKENS, generator.context // 2, max(8, int(TOKEN_SECONDS / slow)))
    seconds = await decode(count, 0.2, 0.8)
    return {"tokens_per_second": 1 / seconds, "weight_bytes_a_token": generator.decoder.step_bytes}


def _prompt(generator: Generator) -> list[int]:
    length = SOFTWARE_PROMPT if tier(generator.device.info) == "software" else PROMPT
    return [n % generator.vocabulary for n in range(1, 1 + min(length, generator.context // 4))]


async def _kernels(generator: Generator, result: dict[str, Any]) -> dict[str, Any]:
    """The dispatches of one token, equal ones together, at the GPU's current position."""
    tokens = generator.generate(_prompt(generator), Sampling())
    await anext(tokens)
    await tokens.aclose()
    position = await generator.decoder.position()
    program = await generator.decoder.step(position)
    quick = int(TOKEN_SECONDS / 2 * result["tokens_per_second"])
    replays = max(1, min(REPLAYS, quick, generator.context - position))
    rows = await program.measure(replays, position + replays // 2)
    kernels: dict[tuple, dict[str, Any]] = {}
    for step, row in zip(program.plan["steps"], rows, strict=True):
        label = row["kernel"].split("+")[0]
        stem = label.split(".")[0]
        part = stem if stem.startswith("attention") else _part(program.plan, step) or stem
        work = {"bytes": row["bytes"], "flops": row["flops"]}
        made = {"kernel": label, "part": part, "count": 0, "us": 0.0, **work}
        made = kernels.setdefault((label, part, *work.values()), made)
        made["count"] += 1
        made["us"] += max(0, row["ns"]) / 1000  # a GPU's clock may go backwards
    ordered = sorted(kernels.values(), key=lambda made: -made["us"])
    total = sum(k["us"] for k in ordered)
    for made in ordered:
        made["us"] /= made["count"]
    own = [k["flops"] / k["us"] / 1e6 for k in ordered if k["count"] * k["us"] > total / 50]  # the others are noise
    for made in ordered:
        peak = max(result["tflops"]["f16" if made["kernel"].partition(".")[0] in HALVES else "f32"], *own)
        made["floor_us"] = max(made["bytes"] / result["read_gb_s"] / 1e3, made["flops"] / peak / 1e6)
        made["share"] = made["floor_us"] / made["us"] if made["us"] else 0.0
    clock = math.gcd(*program.times) / 1000
    return {
        "position": position,
        "kernels": ordered,
        "us_a_token": total,
        "floor_us_a_token": sum(k["count"] * k["floor_us"] for k in ordered),
        "clock_us": clock if clock >= 10 else 0.0,
    }


def _part(plan: dict[str, Any], step: dict[str, Any]) -> str:
    """The name, without its layer, of the weight that a step reads: "mlp.down_proj"."""
    bound = [(size, plan["buffers"][buffer]["name"] or "") for buffer, _, size in step["bind"]]
    for _, name in sorted(bound, reverse=True):
        if found := re.match(r"(?:.*\.\d+\.|model\.)?(.+)\.weight", name):
            return found[1]
    return ""
