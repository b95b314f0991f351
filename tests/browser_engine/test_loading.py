"""What loading may cost: Python's memory, reads in flight, and nothing left to make for the first answer."""

import json

from bench.heap import SOURCE
from tests.browser import Chromium
from tests.conftest import Site

from .engine import Engine

FIRST = """
import json
pipe = await tt.pipeline("text-generation")
from tensortab.sampling import Sampling
device = pipe.generator.device
before = device.counters()["created"], len(pipe.generator.decoder.programs)
made = []
for count in (20, pipe.generator.decoder.long):
    async for _ in pipe.generator.generate(list(range(100, 100 + count)), Sampling(), 3):
        made.append((device.counters()["created"] - before[0], len(pipe.generator.decoder.programs) - before[1]))
pipe.free()
json.dumps(made)
"""

STOPPED = """
import asyncio, json
from tensortab import device as devices
device = await devices.choose()

def held():
    return {key: device.counters()[key] for key in ("buffers", "bytes", "bindGroups")}

async def stop():
    before = held()
    loading = asyncio.ensure_future(
        tt.pipeline("text-generation", on_progress=lambda stage, *_: stage == "load" and loading.cancel())
    )
    await asyncio.gather(loading, return_exceptions=True)
    for _ in range(600):  # what was under way in JavaScript ends by itself
        if held() == before:
            break
        await asyncio.sleep(0.1)
    return json.dumps([loading.cancelled(), held() == before])

await stop()
"""


FAILED = """
import asyncio, gc, json
from tensortab import device as devices
device = await devices.choose()
told, asked = [], []
asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(str(context)))

class Broken:
    def __init__(self, real): self.real = real
    def __getattr__(self, name): return getattr(self.real, name)
    async def load(self, plan, buffers):
        asked.append(plan)
        await asyncio.sleep(0.02 * len(asked))
        raise tt.Error("bad_request", "broken")

before = {key: device.counters()[key] for key in ("buffers", "bytes", "bindGroups")}
device._js = Broken(device._js)
try:
    await tt.pipeline("text-generation")
except tt.Error as error:
    message = error.message
device._js = device._js.real
await asyncio.sleep(1)  # until the last of them has failed, too
gc.collect()
await asyncio.sleep(0.1)
after = {key: device.counters()[key] for key in before}
json.dumps([message, len(asked), told, after == before])
"""


def test_plans_that_fail_are_told_once(chromium: Chromium, site: Site) -> None:
    """The first one's error is raised; those that were under way fail later, when nobody waits for them any more."""
    chromium.open(site.url)
    message, asked, told, same = json.loads(chromium.evaluate(f"tensortab.run({json.dumps(FAILED)})", 600))
    assert message == "broken"
    assert asked > 1
    assert told == []
    assert same


def test_the_heap_does_not_grow_with_the_model(engine: Engine) -> None:
    engine.python(SOURCE)
    measured = json.loads(engine.python("await measure(1)", 600))
    assert measured["file"] > 250e6
    assert measured["heap after"] - measured["heap before"] < 8 << 20


def test_the_first_answers_make_nothing(chromium: Chromium, site: Site) -> None:
    """A short prompt, and one whose answer goes on with `decode_long`."""
    chromium.open(site.url)
    made = json.loads(chromium.evaluate(f"tensortab.run({json.dumps(FIRST)})", 600))
    assert made == [[0, 0]] * 6


def test_a_stopped_load_leaves_nothing_on_the_gpu(chromium: Chromium, site: Site) -> None:
    """While kernels compile."""
    chromium.open(site.url)
    assert json.loads(chromium.evaluate(f"tensortab.run({json.dumps(STOPPED)})", 600)) == [True, True]
