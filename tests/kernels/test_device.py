"""device/native.py under both compilers: the call that an error belongs to raises it, with executor.js's codes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tensortab.device.native import NativeDevice
from tensortab.errors import Error

from tests.browser_engine.test_executor import plan


@pytest.fixture
def ids(backend: NativeDevice) -> Any:
    made = {name: backend.create_buffer(size, name) for name, size in (("in", 4000), ("out", 4000), ("state", 16))}
    yield made
    for buffer in made.values():
        if buffer in backend._buffers:
            backend.destroy_buffer(buffer)


def code(call: Callable[[], Any]) -> str | None:
    """The code of the error that a call raises, or None if it raises none."""

    async def awaited() -> None:
        result = call()
        if hasattr(result, "__await__"):
            await result

    try:
        asyncio.run(awaited())
    except Error as error:
        return error.code
    return None


def test_bad_calls_are_refused(backend: NativeDevice, ids: dict[str, int]) -> None:
    """Each of these calls is a fault of ours; some would end the process if they reached wgpu-native."""
    loaded = asyncio.run(backend.load(plan(), ids))
    calls: list[Callable[[], Any]] = [
        lambda: backend.write(99999, 0, bytes(4)),
        lambda: backend.write(ids["state"], 2, bytes(4)),
        lambda: backend.write(ids["state"], 12, bytes(8)),
        lambda: backend.read(ids["state"], 0, 20),
        lambda: backend.replay(99999),
        lambda: backend.replay(loaded, 1, ids["state"], 16, 4),
        lambda: backend.destroy_buffer(99999),
        lambda: backend.unload(99999),
    ]
    assert [code(call) for call in calls] == ["internal"] * len(calls)
    assert code(lambda: backend.replay(loaded, 1, ids["out"], 0, 4)) is None
    backend.unload(loaded)


@pytest.mark.parametrize("spoil", ["kernel", "binding", "buffer"])
def test_a_load_that_fails_leaves_nothing(backend: NativeDevice, ids: dict[str, int], spoil: str) -> None:
    bad, given = plan(), dict(ids)
    if spoil == "kernel":
        bad["kernels"][1]["code"] = "fn main( {"
    elif spoil == "binding":
        bad["steps"][1]["bind"][1] = [2, 0, 1 << 20]
    else:
        del given["state"]
    before = backend.counters()
    with pytest.raises(Error) as caught:
        asyncio.run(backend.load(bad, given))
    assert caught.value.code == "internal"
    if spoil == "kernel":
        assert "kernel count does not compile" in caught.value.message
    after = backend.counters()
    assert [after[name] for name in ("buffers", "bytes", "bindGroups")] == [
        before[name] for name in ("buffers", "bytes", "bindGroups")
    ]


def test_a_plan_whose_buffer_was_destroyed_fails_and_no_other(backend: NativeDevice, ids: dict[str, int]) -> None:
    other = backend.create_buffer(4000, "other")
    one = asyncio.run(backend.load(plan(), ids))
    two = asyncio.run(backend.load(plan(), ids | {"in": other}))
    backend.destroy_buffer(ids["in"])
    calls = [lambda: backend.replay(one), lambda: backend.replay(two), lambda: backend.read(other, 0, 4)]
    assert [code(call) for call in calls] == ["internal", None, None]
    for loaded in (one, two):
        backend.unload(loaded)
    backend.destroy_buffer(other)


def test_more_than_the_device_allows(backend: NativeDevice) -> None:
    assert code(lambda: backend.create_buffer(1 << 50, "huge")) == "out_of_memory"
