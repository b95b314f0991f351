"""Measures the engine; runs inside the tab (its source is given to `tensortab.run`) and gives JSON.

SmolLM2-135M, greedy, a prompt of 128 tokens: prompt ms, decoding tokens/s, dispatches and bytes a token, GPU time by
kernel where the adapter has timestamps, and the floor (bytes of weights a token).
"""

import json
import statistics
import time

import tensortab as tt
from tensortab import device as devices
from tensortab.generate import Sampling

PROMPT = 128


async def decode(pipe, prompt, count, top=-1):
    """(seconds to the first token, seconds for the others)"""
    started = time.perf_counter()
    first = 0.0
    async for _ in pipe.generator.generate(prompt, Sampling(), count, top):
        first = first or time.perf_counter()
    return first - started, time.perf_counter() - first


async def measure(runs, count):
    device = await devices.choose()
    started = time.perf_counter()
    seconds = {}

    def stage(name, done, total):
        if done == total:
            seconds[name] = round(time.perf_counter() - started, 3)

    pipe = await tt.pipeline("text-generation", on_progress=stage)
    text = "The quick brown fox jumps over the lazy dog and runs into the deep green forest by the river. "
    prompt = pipe.prompt(text * 10)[:PROMPT]
    generator = pipe.generator
    await decode(pipe, prompt, 4)  # warm up
    prompts, speeds = [], []
    for _ in range(runs):
        generator.cached.clear()
        first, rest = await decode(pipe, prompt, count)
        prompts.append(1000 * first)
        speeds.append((count - 1) / rest)
    short, program = generator._programs["decode"], generator._programs["decode_long"]
    result = {
        "adapter": device.info | {"limits": None},
        "tier": devices.tier(device.info),
        "tokens_per_second": [round(s, 2) for s in speeds],
        "tokens_per_second_median": round(statistics.median(speeds), 2),
        "prompt_ms": [round(p, 1) for p in prompts],
        "loaded_after_seconds": seconds,
        "dispatches_a_token": [len(short.plan["steps"]), len(program.plan["steps"])],
        "weight_bytes_a_token": generator.weights.nbytes,
        "counters": device.counters(),
    }
    if "timestamp-query" in device.info["features"]:
        program._timed = True
        await decode(pipe, prompt, 4)
        program._timed = False
        kernels = {}
        for row in program.profile():
            name = row["kernel"].split("+")[0]
            kernels[name] = kernels.get(name, 0) + row["ns"] / 1000
        result["gpu_us_a_token"] = {name: round(us, 1) for name, us in kernels.items()}
        result["gpu_us_a_token_sum"] = round(sum(kernels.values()), 1)
    pipe.free()
    return json.dumps(result)


await measure(RUNS, COUNT)  # noqa: F704, F821
