"""The weights on the GPU equal those in the file, whatever the chunks, merges and splits."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensortab import weights
from tensortab.blocks import dequantize
from tensortab.errors import Error
from tensortab.formats import open_checkpoint
from tensortab.weights import Weights

GOLDEN = Path(__file__).parents[1] / "golden"
GGUFS = sorted(path.name for path in GOLDEN.glob("tiny_[!s]*.gguf"))


def expected(checkpoint, name: str) -> np.ndarray:
    info = checkpoint.tensor(name)
    raw = asyncio.run(info.source.bytes(info.offset, info.nbytes))
    return dequantize(raw, info.dtype).reshape(info.shape)


@pytest.mark.parametrize("file", GGUFS)
@pytest.mark.parametrize("chunk", [1 << 14, 8 << 20])
def test_merged_rows_arrive_as_they_are(device, monkeypatch, file, chunk):
    monkeypatch.setattr(weights, "CHUNK", chunk)
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / file))
    names = [n for n in checkpoint.tensors if n.endswith((".q_proj.weight", ".k_proj.weight", ".v_proj.weight"))][:3]
    made = Weights(checkpoint, 1 << 27)
    parts = made.matrix(*names)
    asyncio.run(made.load(device))
    got = np.concatenate([part.dequantize().numpy() for part in parts])
    assert np.array_equal(got, np.concatenate([expected(checkpoint, name) for name in names]))
    made.free()


@pytest.mark.parametrize("file", ["tiny_llama", "tiny_llama3"])  # f32, bf16
def test_a_vector_with_zeros_in_it(device, file):
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / file))
    made = Weights(checkpoint, 1 << 27)
    name = "model.norm.weight"
    vector = made.vector(name, 5, name)
    asyncio.run(made.load(device))
    values = expected(checkpoint, name)
    assert np.array_equal(vector.numpy(), np.concatenate([values, np.zeros(5, np.float32), values]))
    made.free()


@pytest.mark.parametrize("file", GGUFS)
def test_a_tensor_beyond_a_binding_is_split(device, file):
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / file))
    name = "model.embed_tokens.weight"
    info = checkpoint.tensor(name)
    made = Weights(checkpoint, info.dtype.gpu_size(info.size) // 3)
    parts = made.matrix(name)
    assert len(parts) > 2
    assert all(part.buffer.nbytes <= made.max_binding for part in parts)
    asyncio.run(made.load(device))
    assert np.array_equal(np.concatenate([p.dequantize().numpy() for p in parts]), expected(checkpoint, name))
    made.free()


def test_weights_may_be_bound_before_they_are_loaded(device):
    """Plans compile while the weights stream, as in Generator.load."""
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / "tiny_llama"))
    made = Weights(checkpoint, 1 << 27)
    name = "model.norm.weight"
    vector, (matrix,) = made.vector(name), made.matrix("lm_head.weight")
    for tensor in (vector, matrix):
        tensor.buffer.on(device)
    asyncio.run(made.load(device))
    assert np.array_equal(vector.numpy(), expected(checkpoint, name))
    assert np.array_equal(matrix.numpy(), expected(checkpoint, "lm_head.weight"))
    made.free()


@pytest.mark.parametrize("file", ["tiny_llama", "tiny_llama3", "tiny_f16.gguf", "tiny_q8_0.gguf"])
def test_what_is_computed_once(device, file):
    """They are f32 from any format, and the weights that they are computed from are freed."""
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / file))
    before = device.counters()["buffers"]
    made = Weights(checkpoint, 1 << 27)
    name, norm = "model.layers.0.mlp.down_proj.weight", "model.norm.weight"
    plain = made.tensor(name)
    turned = made.once(lambda w: w.transpose().contiguous(), name)
    scaled = made.once(lambda g, w: (g + 1).reshape(-1, 1) * w, norm, name)
    for tensor in (plain, turned, scaled):
        tensor.buffer.on(device)  # as a plan that is made before
    asyncio.run(made.load(device))
    w, g = expected(checkpoint, name), expected(checkpoint, norm)
    assert np.array_equal(plain.numpy(), w)
    assert np.array_equal(turned.numpy(), w.T)
    np.testing.assert_allclose(scaled.numpy(), (g[:, None] + 1) * w, 1e-6)
    assert device.counters()["buffers"] == before + 3
    assert made.nbytes == 3 * 4 * w.size
    made.free()
    assert device.counters()["buffers"] == before


def test_progress_reaches_the_end(device):
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / GGUFS[0]))
    made, seen = Weights(checkpoint, 1 << 27), []
    made.matrix("model.embed_tokens.weight")
    asyncio.run(made.load(device, lambda done, total: seen.append((done, total))))
    assert seen[-1][0] == seen[-1][1] > 0
    made.free()


class Slow:
    """A Source whose reads need an iteration of the event loop; it counts the reads under way, and may fail at one."""

    def __init__(self, source, fails=0):
        self.source, self.name, self.size, self.fails = source, source.name, source.size, fails
        self.reads = self.flying = self.most = 0

    async def chunk(self, offset, size):
        self.reads += 1
        if self.reads == self.fails:
            raise Error("bad_file", "cut short")
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0)
        self.flying -= 1
        return await self.source.chunk(offset, size)


def slow(fails=0, file="tiny_llama"):
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / file))
    source = Slow(checkpoint.tensor("model.norm.weight").source, fails)
    for name, info in checkpoint.tensors.items():
        checkpoint.tensors[name] = replace(info, source=source)
    made = Weights(checkpoint, 1 << 27)
    for name, info in checkpoint.tensors.items():
        made.matrix(name) if len(info.shape) == 2 else made.vector(name)
    return made, source


def test_few_chunks_are_read_ahead_and_no_plan_stays(device, monkeypatch):
    monkeypatch.setattr(weights, "CHUNK", 1 << 14)
    monkeypatch.setattr(weights, "GAP", 0)
    made, source = slow()
    before = device.counters()
    asyncio.run(made.load(device))
    assert source.reads > 10
    assert 1 < source.most <= weights.AHEAD
    after = device.counters()
    assert after["submits"] - before["submits"] == source.reads
    assert after.get("bindGroups", 0) == before.get("bindGroups", 0)
    made.free()
    assert device.counters().get("buffers", 0) == before.get("buffers", 0)


@pytest.mark.parametrize("file", ["tiny_llama", "tiny_llama3"])  # f32, bf16
def test_vectors_are_read_with_what_lies_beside_them(device, file):
    """In the file the norms lie between matrices, and the whole file is smaller than a chunk."""
    made, source = slow(file=file)
    asyncio.run(made.load(device))
    assert source.reads == 1
    name = "model.layers.0.input_layernorm.weight"
    (vector,) = (t for t in made._vectors if t.buffer.name == name)
    assert np.array_equal(vector.numpy(), expected(asyncio.run(open_checkpoint(GOLDEN / file)), name))
    made.free()


def test_a_read_that_fails_ends_the_load_and_leaves_nothing(device, monkeypatch):
    monkeypatch.setattr(weights, "CHUNK", 1 << 14)
    made, source = slow(fails=6)
    before = device.counters()
    with pytest.raises(Error, match="cut short"):
        asyncio.run(made.load(device))
    assert source.reads <= 6 + weights.AHEAD
    made.free()
    after = device.counters()
    assert {k: after.get(k) for k in ("buffers", "bindGroups")} == {k: before.get(k) for k in ("buffers", "bindGroups")}


def test_a_missing_tensor_says_so():
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / GGUFS[0]))
    with pytest.raises(Error, match=r"model\.layers\.77"):
        Weights(checkpoint, 1 << 27).matrix("model.layers.77.mlp.up_proj.weight")
