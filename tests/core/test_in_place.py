"""A node that changes a tensor in place comes after all nodes that read its old values: for each such op and for
`into`, in every order of the outputs."""

import asyncio
from itertools import permutations

import numpy as np
import pytest
import tensortab as tt
from tensortab import Tensor, debug
from tensortab.device import Device
from tensortab.dtype import u32
from tensortab.jit import Program
from tensortab.ops import OPS, Hardware
from tensortab.schedule import schedule

HW = Hardware("default", False, 1 << 27)
COVERED = {"put", "kv_update", "repack", "sample", "pixel_values"}


def values(device: Device, outputs: list[Tensor]) -> list[np.ndarray]:
    """The outputs of one plan."""

    async def run() -> list[bytes]:
        program = await Program(device, outputs).load()
        await program.replay()
        read = [await device.read(t.buffer.id, 0, t.dtype.file_size(int(np.prod(t.shape)))) for t in outputs]
        program.unload()
        return read

    read, types = asyncio.run(run()), {"f32": np.float32, "u32": np.uint32}
    return [np.frombuffer(d, types[t.dtype.name]).reshape(t.shape) for d, t in zip(read, outputs, strict=True)]


def test_every_op_that_changes_a_source_is_here():
    assert {name for name, op in OPS.items() if op.inplace is not None or op.writes} == COVERED


@pytest.mark.parametrize("swap", [False, True])
def test_put(device, rng, swap):
    """Both lookups in one expression, whichever is written first."""
    table, rows = rng.standard_normal((129, 32), np.float32), rng.standard_normal((1, 3, 32), np.float32)
    at, ids = rng.permutation(129)[:3].astype(np.uint32), rng.integers(0, 129, 127, np.uint32)
    ids[:3] = at
    t, which = Tensor(table), Tensor(ids, "u32")
    new, old = which.lookup(t.put(Tensor(at, "u32"), Tensor(rows))), which.lookup(t)
    got = (old - new if swap else new - old).numpy()
    changed = table.copy()
    changed[at] = rows[0]
    want = changed[ids] - table[ids]
    assert np.array_equal(got, -want if swap else want) and want.any()


def test_a_reader_that_would_be_fused_with_what_comes_after(device, rng):
    """The doubled old row is read by a kernel of its own, since the kernel of the sum has to wait for the change."""
    table, row = rng.standard_normal((9, 64), np.float32), rng.standard_normal((1, 1, 64), np.float32)
    t = Tensor(table)
    new = Tensor([3], "u32").lookup(t.put(Tensor([3], "u32"), Tensor(row)))
    assert np.array_equal((t[3:4] * 2 + new).numpy(), 2 * table[3:4] + row[0])


def test_a_copy_is_made_before(device, rng):
    table, row = rng.standard_normal((5, 32), np.float32), rng.standard_normal((1, 1, 32), np.float32)
    t = Tensor(table)
    changed = t.put(Tensor([4], "u32"), Tensor(row))
    with pytest.raises(ValueError, match=r"add needs .* before put changes it in place.*contiguous\(\)"):
        schedule([t + changed], HW)
    want = table.copy()
    want[4] = row
    assert np.array_equal((changed + t.contiguous()).numpy(), want + table)
    assert np.array_equal(t.put(Tensor([0], "u32"), Tensor(row)).numpy()[[0, 4]], np.repeat(row[0], 2, 0))


def test_changes_that_exclude_each_other_are_refused():
    t, rows = Tensor.of("t", (5, 32)), Tensor.of("rows", (1, 1, 32))
    first, second = (t.put(Tensor([n], "u32"), rows) for n in (0, 1))
    with pytest.raises(ValueError, match="put needs"):
        schedule([first * 1.0, second * 1.0], HW)
    assert [d.stem for d in schedule([first.put(Tensor([1], "u32"), rows)], HW)[0]] == ["put", "put"]


def test_a_view_that_would_be_copied_is_not_changed():
    rows = Tensor.of("rows", (1, 1, 32))
    with pytest.raises(ValueError, match="put cannot change a view"):
        schedule([Tensor.of("t", (5, 32))[1:].put(Tensor([0], "u32"), rows)], HW)


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_kv_update(device, rng, order):
    """At position 0 the result of attention is the only value in the cache: the old one or the new one."""
    heads, dim = 2, 64
    qkv = rng.standard_normal((1, 3 * heads * dim), np.float32)
    before = rng.standard_normal((heads, 64, dim), np.float32).astype(np.float16)
    state, rope = Tensor(np.zeros(8, np.uint32), "u32"), Tensor(np.tile(np.float32([1, 0]), (65, dim // 2, 1)))
    keys, cached = (Tensor(before.view(np.uint32), "u32") for _ in range(2))
    x, arg = Tensor(qkv), {"heads": heads, "interleaved": True}
    update = Tensor.apply("kv_update", x, state, rope, keys, cached, **arg)
    outputs = [
        Tensor.apply("attention", x, state, rope, update, cached, **arg, long=False),
        Tensor.apply("attention", x, state, rope, keys, cached, **arg, long=False),
    ]
    got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    assert np.array_equal(got[0].reshape(-1), qkv[0, 2 * heads * dim :].astype(np.float16).astype(np.float32))
    assert np.array_equal(got[1].reshape(heads, dim), before[:, 0].astype(np.float32))


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_sample(device, rng, order):
    """The tokens, the penalties and the state before the step, and the step."""
    vocab, token = 32, 7
    logits = np.zeros((1, vocab), np.float32)
    logits[0, token] = 1
    table = rng.standard_normal((vocab, 32)).astype(np.float32)
    settings = np.zeros(24, np.uint32)
    settings[[1, 5]], settings[6] = np.array([1, 2], np.float32).view(np.uint32), 1 << 30
    penalties, tokens, state = Tensor(np.ones(vocab)), Tensor([3, 0], "u32"), Tensor(np.zeros(8, np.uint32), "u32")
    outputs = [
        Tensor.apply("sample", Tensor(logits), penalties, tokens, state, Tensor(settings, "u32")),
        Tensor.apply("embedding", tokens, Tensor(np.zeros(8, np.uint32), "u32"), Tensor(table), rows=2),
        penalties * 3,
        Tensor.apply("embedding", state, state, Tensor(table), rows=1, first=5),
    ]
    got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    assert np.array_equal(got[0], [3, token])
    assert np.array_equal(got[1], table[[3, 0]])
    assert np.array_equal(got[2], np.full(vocab, 3))
    assert np.array_equal(got[3], table[5:6])
    assert asyncio.run(state.tolist())[0] == 1 and asyncio.run(penalties.tolist())[token] == 2


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_sample_with_logprobs(device, rng, order):
    """The old rows are copied elsewhere first; CHECK=1 compares everything that a step changes."""
    vocab, old = 129, rng.integers(0, 1 << 20, (3, 21, 2), np.uint32)
    logits, settings = rng.standard_normal((1, vocab)).astype(np.float32), np.zeros(24, np.uint32)
    settings[[1, 5]], settings[6] = np.array([1, 2], np.float32).view(np.uint32), 1 << 30
    logprobs, tokens, state = Tensor(old, "u32"), Tensor([3, 0, 0], "u32"), Tensor(np.zeros(8, np.uint32), "u32")
    elsewhere = Tensor.of("elsewhere", (old.size,), u32)
    outputs = [
        Tensor.apply("sample", Tensor(logits), tt.ones(vocab), tokens, state, Tensor(settings, "u32"), logprobs),
        Tensor.apply("repack", logprobs, elsewhere, block=4, offset=0, size=4, count=old.size, start=0),
    ]
    with debug(CHECK=1):
        got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    best = int(logits.argmax())
    assert got[0].tolist() == [3, best, 0] and np.array_equal(got[1], old.reshape(-1))
    made = np.array(asyncio.run(logprobs.tolist()), np.uint32)
    want = logits[0, best] - np.log(np.exp(logits.astype(np.float64)).sum())
    assert made[1, 0, 0] == made[1, 1, 0] == best and abs(made[1, 0, 1].view(np.float32) - want) < 1e-5


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_repack(device, rng, order):
    """Each block has one word, and the old values of the target are copied elsewhere first. Two nodes may each change a
    part of one target."""
    old, new = rng.integers(0, 1 << 32, (2, 64), np.uint32)
    target, elsewhere = Tensor(old, "u32"), Tensor.of("elsewhere", (64,), u32)
    arg = {"block": 4, "offset": 0, "size": 4}
    first = Tensor.apply("repack", Tensor(new, "u32"), target, count=64, start=0, **arg)
    outputs = [first, Tensor.apply("repack", target, elsewhere, count=64, start=0, **arg)]
    got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    assert np.array_equal(got[0], new) and np.array_equal(got[1], old)
    halves = [Tensor.apply("repack", Tensor(new, "u32"), target, count=32, start=n, **arg) for n in (0, 128)]
    assert [d.stem for d in schedule(halves, HW)[0]] == ["repack", "repack"]


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_pixel_values(device, rng, order):
    image, old = np.full((3, 5), 0xFF0000FF, np.uint32), rng.standard_normal((1, 3, 5, 3)).astype(np.float32)
    target = Tensor(old)
    arg = {"index": 0, "top": 0, "left": 0, "scale": (1.0,) * 3, "offset": (0.0,) * 3}
    outputs = [Tensor.apply("pixel_values", Tensor(image, "u32"), target, **arg), target * 2]
    got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    assert np.array_equal(got[0], np.broadcast_to(np.float32([255, 0, 0]), old.shape))
    assert np.array_equal(got[1], 2 * old)


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_into(device, rng, order):
    """A result that goes into a place is written after all reads of the old values, and users of the result read it
    there."""
    old, x = rng.standard_normal((2, 3, 127)).astype(np.float32)
    place = Tensor(old)
    new = Tensor(x).relu().contiguous().max(-1).reshape(3, 1).expand(3, 127).contiguous().into(place)
    outputs = [new, place + 1]
    got = dict(zip(order, values(device, [outputs[n] for n in order]), strict=True))
    assert np.array_equal(got[0], np.broadcast_to(np.maximum(x, 0).max(-1, keepdims=True), old.shape))
    assert np.array_equal(got[1], old + 1)
    with pytest.raises(ValueError, match="add needs"):
        schedule([new + place], HW)
    with pytest.raises(ValueError, match="put is a change in place"):
        place.put(Tensor([0], "u32"), Tensor(x[:1]).reshape(1, 1, 127)).into(Tensor.of("other", (3, 127)))
