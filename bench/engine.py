"""TensorTab's side of the benchmark; runs inside the tab, where its source is given to `tensortab.run`.

Each function gives JSON: load() what is loaded, generate() tokens and their times, profile() the GPU time by kernel
where the adapter has timestamps, and the floor (bytes of weights a token).
"""

import json
import time

import tensortab as tt
from tensortab import device as devices
from tensortab.sampling import Sampling


async def load():
    global pipe
    started = time.perf_counter()
    seconds = {}

    def stage(name, done, total):
        if done == total:
            seconds[name] = round(time.perf_counter() - started, 3)

    device = await devices.choose()
    pipe = await tt.pipeline("text-generation", device=device, on_progress=stage)
    return json.dumps({"device": "webgpu", "tier": devices.tier(device.info), "stage_ends_s": seconds})


async def generate(prompt, count):
    generator = pipe.generator
    generator.forget()
    started = time.perf_counter()
    ids, first = [], 0.0
    async for token in generator.generate(prompt, Sampling(), count):
        first = first or time.perf_counter()
        ids.append(token.id)
    return json.dumps({"ids": ids, "first": 1000 * (first - started), "last": 1000 * (time.perf_counter() - started)})


async def profile(prompt):
    """After generate(prompt, ...). A timestamped kernel runs in a pass of its own, so the sum is more than a token."""
    decoder = pipe.generator.decoder
    device = decoder.device
    programs = {name: program for name, program in decoder.programs.items() if name.startswith("decode")}
    result = {
        "dispatches_a_token": {name: len(program.plan["steps"]) for name, program in programs.items()},
        "weight_bytes_a_token": decoder.weights.nbytes,
        "counters": device.counters(),
    }
    if "timestamp-query" in device.info["features"]:
        for program in programs.values():
            program._timed = True
        await generate(prompt, 4)
        kernels = {}
        for row in max(programs.values(), key=lambda program: program.replays).profile():
            name = row["kernel"].split("+")[0]
            kernels[name] = kernels.get(name, 0) + row["ns"] / 1000
        result["gpu_us_a_token"] = {name: round(us, 1) for name, us in kernels.items()}
        result["gpu_us_a_token_sum"] = round(sum(kernels.values()), 1)
    return json.dumps(result)
