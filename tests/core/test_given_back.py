"""Objects that are garbage-collected free their memory and plans on the device, devices are opened once, and values
that are on the device stay there. Everything is counted."""

import asyncio
import gc
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab import Tensor, debug, jit
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error
from tensortab.jit import Program
from tensortab.memory import Pool

from tests.recipe_text import GOLDEN, write

TINY = GOLDEN / "tiny_llama"


def held(device: Any) -> dict[str, int]:
    """The counters of what is on the device, after a run of the garbage collector."""
    gc.collect()
    return {name: n for name, n in device.counters().items() if name in ("buffers", "bytes", "bindGroups")}


def test_dropped_tensors_and_functions(device, rng):
    before = held(device)
    a = rng.standard_normal((127, 3)).astype(np.float32)
    for _ in range(3):
        x = Tensor(a)
        made = jit(lambda x, y: [(x * y).softmax(), x.argmax()])
        soft, best = asyncio.run(made(x, x + 1))
        del made
        assert best.numpy().tolist() == a.argmax(-1).tolist(), "a result lives longer than its function"
        del soft, best, x
        assert held(device) == before


def test_dropped_programs(device):
    """A Program frees its plan whether it was loaded or not, was unloaded before or not, and also if tracing failed."""
    before = held(device)
    x = Tensor([[1, 2, 3]])
    Program(device, [x.softmax().softmax()])
    asyncio.run(Program(device, [x.softmax().softmax()]).load())
    program = asyncio.run(Program(device, [x.softmax().softmax()]).load())
    program.unload()
    program.unload()
    del program, x
    with pytest.raises(ValueError, match="realize"):
        Program(device, [sum((Tensor.of("x", (3,)) for _ in range(9)), Tensor([0.0]))])
    assert held(device) == before


def test_dropped_pipelines(device, tmp_path):
    folder = write(tmp_path, "bert")
    before = held(device)
    for task in ("text-classification", "feature-extraction", "fill-mask"):
        pipe = asyncio.run(tt.pipeline(task, model=folder))
        asyncio.run(pipe("a [MASK]" if task == "fill-mask" else "a text"))
        assert held(device)["bytes"] > before["bytes"]
        del pipe
        assert held(device) == before, task


def test_a_dropped_conversation(device):
    """Also if its stream was abandoned before its end."""
    before = held(device)

    async def talk() -> None:
        pipe = await tt.pipeline("text-generation", model=TINY, context=128)
        request = {"messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 40}
        async for _ in await pipe.chat.completions.create(**request):
            break
        assert held(device)["bytes"] > before["bytes"]

    asyncio.run(talk())
    assert held(device) == before


def test_what_outlives_its_device():
    device = CPUDevice()
    double = jit(lambda x: x * 2, device)
    y = asyncio.run(double(Tensor([1, 2])))
    device.destroy()
    del double, y
    gc.collect()


def test_a_pool_is_given_buffers_back_while_it_is_asked():
    """The garbage collector may unload a plan at any moment, even while a buffer for another one is being made."""
    dropped = []

    def make(size: int) -> int:
        pool.release(old)
        return size

    pool = Pool(lambda size: size, dropped.append)
    old = pool.acquire([3])
    pool._make = make
    assert sorted(pool.acquire([2, 5])) == [3, 5]
    assert dropped == [] and sorted(pool.acquire([1, 4])) == [3, 5]


def test_chained_functions_stay_on_the_device(device, rng, monkeypatch):
    """Nothing is read back, and only the first argument is written, since it is not on the device."""
    a = rng.standard_normal((129, 127)).astype(np.float32)
    double, plus, best = jit(lambda x: x * 2), jit(lambda x, y: x + y.astype("f32")), jit(lambda x: x.argmax())
    x, moved = Tensor(a), []

    async def chain() -> Tensor:
        twice = await double(await double(x))
        return await plus(twice[1:5].T, await best(twice[1:5]))

    read, write = device.read, device.write
    monkeypatch.setattr(device, "read", lambda buffer, at, size: (moved.append(size), read(buffer, at, size))[1])
    monkeypatch.setattr(device, "write", lambda buffer, at, data: (moved.append(len(data)), write(buffer, at, data))[1])
    made = asyncio.run(chain())
    assert moved == [a.nbytes]
    np.testing.assert_allclose(made.numpy(), 4 * a[1:5].T + a[1:5].argmax(-1), 1e-6)


@pytest.mark.parametrize("place", [lambda x: x.T, lambda x: x[1:3], lambda x: x[:, 2:4], lambda x: x[2, 1:]])
@pytest.mark.parametrize("dtype", ["f32", "u32"])
def test_views_as_arguments(device, rng, place, dtype):
    a = rng.integers(0, 1 << 20, (5, 7)).astype(np.uint32)
    x, same = Tensor(a, dtype), jit(lambda x: x.astype("f32") + 0)
    assert np.array_equal(asyncio.run(same(place(x))).numpy(), place(a))
    assert np.array_equal(asyncio.run(same(place(x))).numpy(), place(a)), "on the device by now"
    assert asyncio.run(same(x[5:])).numpy().shape == (0, 7)


def test_functions_that_give_views_and_changed_arguments(device, rng):
    a = rng.standard_normal((4, 6)).astype(np.float32)
    functions = (lambda x: (x * 2).T, lambda x: x.exp().reshape(3, 8))
    turned, shaped = (asyncio.run(jit(function)(Tensor(a))).numpy() for function in functions)
    assert np.array_equal(turned, 2 * a.T) and np.allclose(shaped, np.exp(a).reshape(3, 8), 1e-6)
    put = jit(lambda table, row: table.put(Tensor([2], "u32"), row.reshape(1, 1, 6)))
    once = asyncio.run(put(Tensor(a), Tensor(a[:1])))
    again = asyncio.run(put(once, Tensor(a[1:2])))
    want = a.copy()
    want[2] = a[1]
    assert np.array_equal(again.numpy(), want)


class Opening:
    """A replacement of _open() that needs a while, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.opened = failures, 0

    async def __call__(self, name: str) -> CPUDevice:
        await asyncio.sleep(0.01)
        self.opened += 1
        if self.opened <= self.failures:
            raise Error("no_adapter", "There is no GPU.")
        return CPUDevice()


@pytest.fixture
def opening(monkeypatch):
    made = Opening()
    monkeypatch.setattr(devices, "_open", made)
    devices.use(None)
    yield made
    devices.use(None)


def test_who_asks_at_once_gets_one_device(opening):
    async def ask() -> list:
        return await asyncio.gather(*(devices.choose() for _ in range(3)))

    first = asyncio.run(ask())
    assert len(set(map(id, [*first, asyncio.run(devices.choose())]))) == 1 and opening.opened == 1


def test_a_failure_is_everybodys_and_the_next_tries_again(opening):
    opening.failures = 1

    async def ask() -> list:
        return await asyncio.gather(*(devices.choose() for _ in range(3)), return_exceptions=True)

    assert [e.code for e in asyncio.run(ask())] == ["no_adapter"] * 3 and opening.opened == 1
    assert isinstance(asyncio.run(devices.choose()), CPUDevice) and opening.opened == 2


@pytest.mark.parametrize("others", [0, 2])
def test_whoever_is_cancelled_leaves_it_to_the_others(opening, others):
    async def ask() -> list:
        tasks = [asyncio.ensure_future(devices.choose()) for _ in range(1 + others)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
        return [await devices.choose(), *(t.result() for t in tasks[1:])]

    assert len(set(map(id, asyncio.run(ask())))) == 1 and opening.opened == 1


def test_a_loop_that_ends_meanwhile(opening):
    """asyncio.run() cancels the asyncio tasks that have not ended."""

    async def leave() -> None:
        task = asyncio.ensure_future(devices.choose())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert isinstance(asyncio.run(devices.choose()), CPUDevice) and opening.opened == 1


def test_a_device_that_was_given_meanwhile(opening):
    async def ask() -> tuple:
        task = asyncio.ensure_future(devices.choose())
        await asyncio.sleep(0)
        devices.use(mine)
        return await task, await devices.choose()

    mine = CPUDevice()
    assert all(device is mine for device in asyncio.run(ask()))


def test_a_device_that_there_is_not():
    devices.use(None)
    with debug(DEVICE="foo"), pytest.raises(Error, match=r"no DEVICE=foo: .* cpu, gpu, dawn, wgpu"):
        asyncio.run(devices.choose())
