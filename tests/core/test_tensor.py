"""Tensors against NumPy, on every device."""

import asyncio
import math

import numpy as np
import pytest
from tensortab import Tensor, debug, jit
from tensortab.ops import ShapeError

SIZES = [(1, 1), (3, 127), (129, 5)]


def close(got: Tensor, want: np.ndarray, relative: float = 1e-5) -> None:
    values = got.numpy()
    assert values.shape == want.shape
    np.testing.assert_allclose(values, want, rtol=relative, atol=relative * max(1e-6, np.abs(want).max()))


@pytest.mark.parametrize("shape", SIZES)
def test_elementwise_chain(device, rng, shape):
    a, b = rng.standard_normal((2, *shape), np.float32)
    x, y = Tensor(a), Tensor(b)
    close(
        ((x * 2 + y).silu() / (y * y + 1) - 3 * x).maximum(-1),
        np.maximum((2 * a + b) / (1 + np.exp(-2 * a - b)) / (b * b + 1) - 3 * a, -1),
    )


@pytest.mark.parametrize("name", ["exp", "tanh", "relu", "sigmoid", "silu", "gelu", "gelu_new", "quick_gelu"])
def test_unary(device, rng, name):
    a = rng.uniform(-30, 30, (7, 33)).astype(np.float32)
    want = {
        "exp": np.exp,
        "tanh": np.tanh,
        "relu": lambda v: np.maximum(v, 0),
        "sigmoid": lambda v: 1 / (1 + np.exp(-v.astype(np.float64))),
        "silu": lambda v: v / (1 + np.exp(-v.astype(np.float64))),
        "gelu": np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2)))),
        "gelu_new": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v.astype(np.float64) ** 3))),
        "quick_gelu": lambda v: v / (1 + np.exp(-1.702 * v.astype(np.float64))),
    }[name](a)
    close(getattr(Tensor(a), name)(), want.astype(np.float32), 1e-4)


def test_group_norm(device, rng):
    """Against PyTorch, whose channels are the second axis; an epilogue runs in the store."""
    a, (g, b) = rng.standard_normal((2, 3, 5, 6), np.float32) + 2, rng.standard_normal((2, 6), np.float32)
    first = np.moveaxis(a.astype(np.float64), -1, 1).reshape(2, 2, -1)
    first = (first - first.mean(-1, keepdims=True)) / np.sqrt(first.var(-1, keepdims=True) + 1e-5)
    want = np.moveaxis(first.reshape(2, 6, 3, 5), 1, -1) * g + b
    close(Tensor(a).group_norm(Tensor(g), Tensor(b), 2, 1e-5).relu(), np.maximum(want, 0), 1e-4)
    with pytest.raises(ShapeError, match="group_norm"):
        Tensor(a).group_norm(Tensor(g), Tensor(b), 4, 1e-5)


def test_swapped_scalars(device, rng):
    a = rng.uniform(1, 2, (5,)).astype(np.float32)
    close(1 / Tensor(a) + (2 - Tensor(a)) * -1.5, 1 / a - 1.5 * (2 - a))


@pytest.mark.parametrize(("left", "right"), [((3, 1), (1, 5)), ((4, 3, 5), (5,)), ((2, 1, 5), (3, 1)), ((), (3,))])
def test_broadcasting(device, rng, left, right):
    a, b = rng.standard_normal(left, np.float32), rng.standard_normal(right, np.float32)
    close(Tensor(a) * Tensor(b) + Tensor(b), a * b + b)


def test_views(device, rng):
    a = rng.standard_normal((4, 6, 10), np.float32)
    x = Tensor(a)
    close(x.permute(2, 0, 1)[3:7, 1] * 2, a.transpose(2, 0, 1)[3:7, 1] * 2)
    close(x.transpose().reshape(8, -1) + 1, a.swapaxes(1, 2).reshape(8, -1) + 1)
    close(x[1:3, -1, 2:9].contiguous(), a[1:3, -1, 2:9])
    close(x[0, 0].expand(3, 10) - x[1, :3], np.broadcast_to(a[0, 0], (3, 10)) - a[1, :3])


def test_a_value_used_twice_is_computed_once(device, rng):
    a = rng.standard_normal((3, 9), np.float32)
    shared = Tensor(a).exp()
    close(shared + shared.transpose().transpose() * shared, np.exp(a) + np.exp(a) ** 2)


def test_empty_fusion_gives_the_same(device, rng):
    a = rng.standard_normal((5, 7), np.float32)
    with debug(FUSE=0):
        close((Tensor(a) * 2).exp() + 1, np.exp(a * 2) + 1, 1e-5)


def test_jit_replays_with_new_values(device, rng):
    double = jit(lambda x, y: (x * 2 + y).tanh())
    for shape in ((3, 5), (3, 5), (2, 2)):
        a, b = rng.standard_normal((2, *shape), np.float32)
        close(asyncio.run(double(Tensor(a), Tensor(b))), np.tanh(2 * a + b))


def test_jit_of_several_results_gives_back_everything(device, rng):
    """Plans share transient buffers: the second shape needs no more of them than the first."""
    before = device.counters()["buffers"]
    both = jit(lambda x: [(x.softmax() * 2).softmax(), x.argmax()], device)

    async def calls() -> list:
        counts = []
        for n in (9, 5):
            a = rng.standard_normal((n, 7), np.float32)
            soft, best = await both(Tensor(a))
            e = np.exp(a - a.max(-1, keepdims=True))
            e = np.exp(2 * e / e.sum(-1, keepdims=True))
            np.testing.assert_allclose(np.array(await soft.tolist()), e / e.sum(-1, keepdims=True), 1e-5)
            assert await best.tolist() == a.argmax(-1).tolist()
            counts.append(device.counters()["buffers"] - before)
        return counts

    first, second = asyncio.run(calls())
    assert first in (3, 4)  # an input, two results and a transient buffer, unless the pool has one that fits
    assert second == first + 3
    both.free()
    assert device.counters()["buffers"] == before


def test_lookup(device, rng):
    table, ids = rng.standard_normal((50, 64), np.float32), rng.integers(0, 50, (3, 5), np.uint32)
    close(Tensor(ids, "u32").lookup(Tensor(table)), table[ids])


def test_numbers_of_other_types(device):
    assert asyncio.run(Tensor([[1, 2], [3, 4]], "u32").tolist()) == [[1, 2], [3, 4]]


def test_shapes_are_checked_where_the_graph_is_built():
    x = Tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"add: shapes \[\[2, 3\], \[2, 2\]\]"):
        x + Tensor(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="matmul"):
        x @ x
    with pytest.raises(ShapeError, match="reshape"):
        x.reshape(4, 2)
    for shape in ((-1, -1), (-1, 4), (-2, -3)):
        with pytest.raises(ShapeError, match="reshape"):
            x.reshape(*shape)
    with pytest.raises(ShapeError, match="2 equal parts"):
        x.split(2)
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2"):
        x[2]
    with pytest.raises(ShapeError, match="permute"):
        x.permute(0, 0)
    with pytest.raises(ShapeError, match="nested sequences differ in length"):
        Tensor([[1, 2], [3]])


def test_buffers_are_given_back(device, rng):
    before = device.counters()["buffers"]
    for _ in range(5):
        (Tensor(rng.standard_normal((4, 4), np.float32)) + 1).numpy()
    assert device.counters()["buffers"] == before


def test_a_view_that_is_realised_stays_what_it_was(device, rng):
    a = rng.standard_normal((4, 6), np.float32)
    row = Tensor(a).transpose()[2]
    asyncio.run(row.realize())
    close(row + 1, a.T[2] + 1)


def test_views_of_whole_numbers(device, rng):
    a = rng.integers(0, 1 << 32, (3, 4), np.uint32)
    x = Tensor(a, "u32")
    assert asyncio.run(x.transpose()[1:3].tolist()) == a.T[1:3].tolist()
    assert asyncio.run(Tensor(a.astype(np.float32)).argmax()[1].tolist()) == a.astype(np.float32).argmax(-1)[1]


def test_too_many_indices_are_refused():
    with pytest.raises(ShapeError, match="3 indices"):
        Tensor([[1, 2], [3, 4]])[0, 1, 0]
