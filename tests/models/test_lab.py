"""The Lab's figures are plausible and consistent with their plan, and measuring leaves nothing behind."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from tensortab import lab
from tensortab.decoder import LONG
from tensortab.device import Device, f16
from tensortab.errors import Error
from tensortab.generate import Generator

from tests.kernels.conftest import device as native
from tests.models.test_llama import greedy, opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SUBMIT_SECONDS": 0.002, "PATIENCE": 0.01, "CHAIN": 16, "TOKENS": 12, "REPLAYS": 3}.items():
        monkeypatch.setattr(lab, name, value)


@pytest.fixture(params=["cpu", "dawn-software", "wgpu-default"])
def adapter(adapter: Device) -> Device:
    return adapter


def measured(device: Device, generator: Generator | None = None) -> tuple[dict[str, Any], list[tuple]]:
    said: list[tuple] = []
    result = asyncio.run(lab.measure(device, generator, lambda *step: said.append(step)))
    assert json.loads(json.dumps(result)) == result
    return result, said


def test_without_a_model(adapter: Device) -> None:
    before = adapter.counters()
    result, said = measured(adapter)
    assert result["adapter"]["vendor"] == adapter.info["vendor"] and result["limits"] == adapter.info["limits"]
    assert 0.01 < result["read_gb_s"] < 10_000 and result["read_bytes"] >= 1 << 23
    assert set(result["tflops"]) == {"f32"} | ({"f16"} if f16(adapter.info) else set())
    assert all(1e-6 < rate < 2000 for rate in result["tflops"].values())
    assert result["matmul_n"] in (256, 1024, 4096)
    assert 0.01 < result["dispatch_us"] < 100_000
    assert [stage for stage, _, _ in said] == ["read", "multiply", "dispatch", "dispatch"]
    assert said[-1] == ("dispatch", 3, 3)
    assert not {"kernels", "tokens_per_second"} & set(result)
    after = adapter.counters()
    assert [after.get(key) for key in ("buffers", "bytes", "bindGroups")] == [
        before.get(key) for key in ("buffers", "bytes", "bindGroups")
    ]


def test_with_a_model(adapter: Device) -> None:
    generator = opened("tiny_q4_0.gguf", adapter)
    prompt = [3, 14, 15, 92, 65]
    before = greedy(generator, prompt, 8)
    result, said = measured(adapter, generator)
    assert result["tokens_per_second"] > 0
    weights = result["weight_bytes_a_token"]
    assert result["floor_tokens_per_second"] == pytest.approx(1e9 * result["read_gb_s"] / weights, rel=2e-3)
    program = asyncio.run(generator.decoder.step(result["position"]))
    kernels = result["kernels"]
    assert sum(kernel["count"] for kernel in kernels) == len(program.plan["steps"])
    assert program.replays == 3
    for key in ("us", "floor_us"):
        total = sum(kernel["count"] * kernel[key] for kernel in kernels)
        assert result[f"{key}_a_token"] == pytest.approx(total, rel=1e-2)
    for kernel in kernels:
        assert kernel["bytes"] > 0 and kernel["us"] > 0
        assert kernel["share"] == pytest.approx(kernel["floor_us"] / kernel["us"], rel=2e-3)
        assert kernel["floor_us"] >= 0.99 * kernel["bytes"] / result["read_gb_s"] / 1e3
    parts = {kernel["part"] for kernel in kernels}
    assert {"self_attn.q_proj", "mlp.gate_proj", "mlp.down_proj", "kv_update"} <= parts
    stages = list(dict.fromkeys(stage for stage, _, _ in said))
    assert stages == ["read", "multiply", "dispatch", "tokens", "kernels"]
    assert all(a[1] <= b[1] for a, b in pairwise(said)), "progress never goes back"
    assert greedy(generator, prompt, 8) == before, "a chat afterwards writes the same"
    generator.free()


def token_bytes(device: Device, context: int, position: int) -> int:
    generator = opened("tiny_q4_0.gguf", device, context)

    async def rows() -> list[dict]:
        return (await generator.decoder.step(position)).profile(position)

    total = sum(row["bytes"] for row in asyncio.run(rows()))
    generator.free()
    return total


@pytest.mark.parametrize("position", [40, LONG["default"] + 10])
def test_bytes_are_those_of_the_token_and_not_of_the_buffers(position: int) -> None:
    """The cache counts up to the position however long the context is, and the embedding counts with one row."""
    device = native("wgpu")
    one, twice = token_bytes(device, 256, position), token_bytes(device, 512, position)
    assert one == twice, "a longer context is not read"
    generator = opened("tiny_q4_0.gguf", device)
    shape = generator.decoder.model.cache
    each = 4 * shape.layers * shape.kv_heads * shape.head_dim
    assert token_bytes(device, 256, position + 7) - one == 7 * each, "keys and values, two bytes a number"
    weights, table = generator.decoder.weights.nbytes, generator.decoder.model.embed_tokens.weights
    unread = 0 if table is generator.decoder.model.lm_head.weights else sum(w.buffer.nbytes for w in table if w.buffer)
    assert weights - unread <= one - position * each <= 2 * (weights - unread) + 200_000
    generator.free()


def test_an_adapter_without_timestamps_has_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    device = native("wgpu")
    monkeypatch.setitem(device.info, "features", [f for f in device.info["features"] if f != "timestamp-query"])
    generator = opened("tiny_q4_0.gguf", device)
    result, _ = measured(device, generator)
    assert "kernels" not in result and result["tokens_per_second"] > 0
    generator.free()


def test_a_full_gpu_is_measured_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "PATIENCE", 10)
    small = lab._random

    async def full(device: Device, rows: int, columns: int) -> Any:
        if 4 * rows * columns > 1 << 23:
            raise Error("out_of_memory", "The GPU has no memory left.")
        return await small(device, rows, columns)

    monkeypatch.setattr(lab, "_random", full)
    monkeypatch.setattr(lab, "_timed", lambda *_: asyncio.sleep(0, 0.001))
    size, rate = asyncio.run(lab._bandwidth(native("wgpu")))
    assert size == 1 << 23 and rate == pytest.approx((1 << 23) / 1e6)


@pytest.mark.parametrize("stage", ["read", "multiply", "dispatch", "tokens", "kernels"])
def test_cancelled_anywhere_it_leaves_nothing(stage: str) -> None:
    device = native("wgpu")
    generator = opened("tiny_q4_0.gguf", device)
    greedy(generator, [1, 2, 3], 2)

    async def run() -> None:
        def stop(now: str, done: float, total: int) -> None:
            if now == stage:
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.ensure_future(lab.measure(device, generator, stop))
        with pytest.raises(asyncio.CancelledError):
            await task

    expected = device.counters()["buffers"], device.counters()["bytes"]
    asyncio.run(run())
    if stage in ("read", "multiply", "dispatch"):  # later ones compile plans that the model keeps
        assert (device.counters()["buffers"], device.counters()["bytes"]) == expected
    assert greedy(generator, [1, 2, 3], 4) == greedy(generator, [1, 2, 3], 4)
    generator.free()
