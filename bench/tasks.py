"""TensorTab's side of the other tasks; runs inside the tab, like engine.py.

Each function gives JSON: load() what is loaded, measure() the milliseconds of each call and what the last one gave,
profile() the GPU time of a call by kernel where the adapter has timestamps.
"""

import asyncio
import gc
import json
import time

import js
import tensortab as tt
from tensortab import device as devices
from tensortab.jit import Program
from tensortab.tasks.automatic_speech_recognition import SpeechRecognition
from tensortab.tasks.image_classification import ImageClassification


async def load(task, model):
    """model: a name of the site's own models, or the files of one (addresses)."""
    global pipe, device
    device = await devices.choose()
    pipe = await tt.pipeline(task, model=model if isinstance(model, str) else [await file(url) for url in model])
    return json.dumps({"device": "webgpu", "tier": devices.tier(device.info), "file": pipe.name})


async def file(url):
    """As if the user had picked it."""
    blob = await (await js.fetch(url)).blob()
    return js.File.new([blob], url.rpartition("/")[2])


async def prepare(inputs, site):
    """What the pipeline is called with, in memory: texts, samples or images."""
    global ready

    async def numbers(path):
        return await (await js.fetch(site + path)).arrayBuffer()

    if "audio" in inputs:
        ready = js.Float32Array.new(await numbers(inputs["audio"]))
    elif "images" in inputs:
        ready = [
            tt.Image(i["width"], i["height"], js.Uint8Array.new(await numbers(i["path"]))) for i in inputs["images"]
        ]
    else:
        ready = inputs["texts"]


async def call():
    """The result as JSON has it: vectors, text, or the best label of each image."""
    if isinstance(pipe, SpeechRecognition):
        return (await pipe(ready))["text"].strip()
    if isinstance(pipe, ImageClassification):
        return [found[0]["label"] for found in await asyncio.gather(*map(pipe, ready))]
    return await pipe(ready)


async def measure(inputs, site, warm, enough):
    """Calls until `warm` ms have passed, then timed ones for `enough` ms, at least one of each."""
    await prepare(inputs, site)
    begun = time.perf_counter()
    await call()
    while 1000 * (time.perf_counter() - begun) < warm:
        await call()
    ms, result = [], None
    while sum(ms) < enough:
        started = time.perf_counter()
        result = await call()
        ms.append(1000 * (time.perf_counter() - started))
    return json.dumps({"ms": ms, "result": result})


async def profile():
    """Of one more call, after the GPU's clock has risen. A timestamped kernel runs in a pass of its own, so the sum is
    more than the call's time; `queued_us` is a replay's of each plan when many are queued."""
    if "timestamp-query" not in device.info["features"]:
        return "null"
    programs = [one for one in gc.get_objects() if isinstance(one, Program) and one.handle]
    queued = {}
    for program in programs:
        ms, begun = 0.0, time.perf_counter()
        while time.perf_counter() - begun < 0.3:
            started = time.perf_counter()
            await program.replay(50)
            ms = 1000 * (time.perf_counter() - started)
        queued[f"{len(program.times)} dispatches"] = round(1000 * ms / 50, 1)
    for program in programs:
        program._timed, program.replays, program.times = True, 0, [0] * len(program.times)
    await call()
    kernels, dispatches = {}, 0
    for program in programs:
        program._timed = False
        dispatches += program.replays * len(program.times)
        for row in program.profile():
            name = row["kernel"].split("+")[0]
            kernels[name] = kernels.get(name, 0) + row["ns"] * program.replays / 1000
    us = {name: round(us, 1) for name, us in sorted(kernels.items(), key=lambda pair: -pair[1]) if us}
    total = round(sum(kernels.values()), 1)
    return json.dumps({"dispatches": dispatches, "queued_us": queued, "gpu_us": us, "gpu_us_sum": total})
