"""The array API's operators, methods and functions against NumPy in float64, on every device."""

import asyncio
import inspect
import operator

import numpy as np
import pytest
import tensortab as tt
from tensortab import Tensor
from tensortab.ops import ShapeError

SIZES = [0, 1, 3, 127, 129]
U = 2.0**-24  # the unit roundoff of f32


def got(tensor: Tensor) -> np.ndarray:
    return np.array(asyncio.run(tensor.tolist())).reshape(tensor.shape)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(device, rng, name):
    """A comparison is 1 where it holds, else 0; with numbers on either side, infinity, NaN and broadcasting."""
    compare = getattr(operator, name)
    for n in SIZES:
        a, b = rng.integers(-2, 3, (2, 3, n)).astype(np.float32)
        a[0, :1], b[1, 1:2] = np.nan, -np.inf
        x, y = Tensor(a), Tensor(b)
        for made, want in (
            (compare(x, y), compare(a, b)), (compare(x, y[0]), compare(a, b[0])), (compare(x, 1), compare(a, 1)),
            (compare(1, x), compare(1, a)), (compare(x, -np.inf), compare(a, -np.inf)),
        ):  # fmt: skip
            assert np.array_equal(got(made), want.astype(np.float64)), (n, made)


def test_a_tensor_is_no_truth():
    x = Tensor([1, 2])
    with pytest.raises(TypeError, match=r"neither true nor false.*tolist\(\).*where\(\)"):
        bool(x == 1)
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    assert len({x: 1, Tensor([1, 2]): 2}) == 2, "told apart by identity"


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (1, 2), (2, 1, 0)])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reductions(device, rng, name, axis):
    for shape in ((1, 1, 1), (3, 127, 5), (2, 3, 129), (129, 4, 1)):
        a = (rng.standard_normal(shape) * 7e4).astype(np.float32)
        for keepdims in (False, True):
            made = getattr(Tensor(a), name)(axis, keepdims=keepdims)
            want = getattr(a.astype(np.float64), name)(axis=axis, keepdims=keepdims)
            assert made.shape == want.shape
            if name in ("max", "min"):
                assert np.array_equal(got(made), want)
            else:  # a sum of n numbers errs by n u of their sizes at most, and much less in parts
                size = getattr(np.abs(a.astype(np.float64)), name)(axis=axis, keepdims=keepdims)
                assert (np.abs(got(made) - want) <= 32 * U * size).all(), shape


def test_reductions_of_nothing(device):
    x = Tensor(np.zeros((3, 0)))
    assert got(x.sum(1)).tolist() == [0, 0, 0] and got(x.sum(0)).shape == (0,)
    assert asyncio.run(x.sum().tolist()) == 0
    for name in ("max", "min", "mean"):
        with pytest.raises(ShapeError, match=f"{name} of no elements"):
            getattr(x, name)(1)


def test_long_rows(device, rng):
    """The axis is longer than one workgroup reduces, and than an invocation of a software adapter may loop."""
    for n in (1 << 16, (1 << 18) + 3):
        a = rng.standard_normal(n).astype(np.float32)
        a[n - 1] = 100
        x = Tensor(a)
        assert asyncio.run(x.max().tolist()) == 100 and asyncio.run((-x).min().tolist()) == -100
        assert abs(asyncio.run(x.sum().tolist()) - a.sum(dtype=np.float64)) <= 64 * U * np.abs(a).sum(dtype=np.float64)
        columns = Tensor(a).reshape(-1, 1).mean(-2)
        assert abs(got(columns)[0] - a.mean(dtype=np.float64)) <= 64 * U * np.abs(a).mean(dtype=np.float64)


def test_axes_that_are_not_there():
    for axis in (2, -3, (0, 0), (1, -1)):
        with pytest.raises(ShapeError, match="sum"):
            Tensor(np.zeros((2, 3))).sum(axis)


def test_powers(device, rng):
    """Powers with whole exponents are products, with 2 log2(b) roundings; others have the error of log2, b log2(a) u,
    times ln 2."""
    for n in SIZES:
        a = rng.uniform(0.1, 8, (2, n)).astype(np.float32)
        signed, x = a * rng.choice([-1, 1], a.shape), Tensor(a)
        for b in (0, 1, 2, 3, -1, -3, 7):
            made, want = got(Tensor(signed) ** b), signed.astype(np.float64) ** b
            assert (np.abs(made - want) <= 16 * U * np.abs(want)).all(), b
        for b in (0.5, -1.5, 2.3):
            made, want = got(x**b), a.astype(np.float64) ** b
            # WGSL's log2 errs by 2^-21 between 0.5 and 2 and by 3 ulp elsewhere, exp2 by 3 + 2 |x| ulp
            bound = abs(b) * (2**-21 + 6 * U * np.abs(np.log2(a))) + (6 + 4 * np.abs(b * np.log2(a))) * U
            assert (np.abs(made - want) <= bound * want).all(), b
        assert (np.abs(got(2**x) - 2.0**a) <= (2**-21 * 8 + 64 * U) * 2.0**a).all()
        assert (np.abs(got(x**x) - a.astype(np.float64) ** a) <= 1e-4 * a.astype(np.float64) ** a).all()
    edges = Tensor([0, 0, 0, -2, -2, np.inf, 7e4, -7e4]) ** Tensor([0, 2, -1, 0.5, 3, 2, 7, 9])
    want = [1, 0, np.inf, np.nan, -8, np.inf, 7e4**7, -np.inf]
    np.testing.assert_allclose(got(edges), np.float32(want), 16 * U)


def test_where(device, rng):
    for n in SIZES:
        a, b = rng.standard_normal((2, 3, n), np.float32)
        x, y = Tensor(a), Tensor(b)
        assert np.array_equal(got(tt.where(x > 0, x, y)), np.where(a > 0, a, b))
        assert np.array_equal(got(tt.where(x > 0, 1, -np.inf)), np.where(a > 0, 1, -np.inf))
        assert np.array_equal(got(tt.where(x[0] > y, x, 7e4)), np.where(a[0] > b, a, np.float32(7e4)))


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize(("dtype", "numpy"), [("f32", np.float32), ("u32", np.uint32), ("i32", np.int32)])
def test_concat(device, rng, axis, dtype, numpy):
    for sizes in ([3], [1, 127, 0, 2], [129, 3]):
        shapes = [(4, n) if axis in (1, -1) else (n, 4) for n in sizes]
        arrays = [rng.integers(0, 1 << 31, shape).astype(numpy) for shape in shapes]
        made = tt.concat([Tensor(a, dtype) for a in arrays], axis)
        assert np.array_equal(got(made), np.concatenate(arrays, axis)), sizes


def test_concat_of_what_was_computed(device, rng):
    """concat with NaN, with views, and with a kernel after it."""
    a = rng.standard_normal((3, 6), np.float32)
    a[1, 1] = np.nan
    joined = tt.concat([Tensor(a).T * 2, Tensor(a).reshape(6, 3)], axis=1)
    want = np.concatenate([a.T * 2, a.reshape(6, 3)], 1)
    assert np.array_equal(got(joined), want, equal_nan=True)
    assert np.array_equal(got(joined.maximum(-9) + 1)[0], want[0] + 1)
    with pytest.raises(ShapeError, match="differ in more than axis 0"):
        tt.concat([Tensor(a), Tensor(a).T])
    with pytest.raises(ShapeError, match="concat"):
        tt.concat([Tensor(a), Tensor([[1] * 6], "u32")])


def test_creation(device):
    assert got(tt.zeros((2, 3))).tolist() == [[0] * 3] * 2
    assert got(tt.ones(3, "u32")).tolist() == [1, 1, 1] and tt.ones(3, "u32").dtype.name == "u32"
    assert got(tt.full((2, 0), 5)).shape == (2, 0) and got(tt.full((), -np.inf)).tolist() == -np.inf
    for given in ((5,), (1, 4), (0, 1, 0.25), (3, -4, -3), (4, 1)):
        assert got(tt.arange(*given)).tolist() == np.arange(*given).tolist()
    assert got(tt.arange(-1, 2, dtype="i32")).tolist() == [-1, 0, 1]


def test_small_ones(device, rng):
    for n in SIZES:
        a = rng.standard_normal((3, n), np.float32)
        x = Tensor(a)
        assert np.array_equal(got(x.T), a.T) and np.array_equal(got(abs(x)), abs(a))
        assert np.array_equal(got(x.clip(-0.5, 0.5)), a.clip(-0.5, 0.5))
        assert np.array_equal(got(x.clip(max=Tensor(a[0]))), np.minimum(a, a[0]))
        assert np.array_equal(got(x[..., 1:]), a[..., 1:])
        assert len(x) == 3 and [row.shape for row in x] == [(n,)] * 3
    with pytest.raises(ShapeError, match="transpose"):
        _ = Tensor([1.0]).T
    with pytest.raises(TypeError, match="without axes"):
        len(Tensor(1))


def test_astype(device, rng):
    for n in SIZES:
        a = np.concatenate([rng.uniform(-1e6, 1e6, n), [2.9, -2.9, 3e38, -3e38, 7e4]]).astype(np.float32)
        x = Tensor(a)
        wide = a.astype(np.float64)
        assert np.array_equal(got(x.astype("i32")), np.clip(wide, -(2.0**31), 2.0**31 - 128).astype(np.int64))
        assert np.array_equal(got(x.astype("u32")), np.clip(wide, 0, 2.0**32 - 256).astype(np.int64))
        whole = rng.integers(0, 1 << 32, n + 1, np.uint32)
        for numbers, dtype in ((whole, "u32"), (whole.view(np.int32), "i32")):  # WGSL gives one of the two neighbours
            made = got(Tensor(numbers, dtype).astype("f32"))
            assert (np.abs(made - numbers.astype(np.float64)) < np.spacing(np.abs(numbers).astype(np.float32))).all()
        assert np.array_equal(got(Tensor(whole, "u32").astype("i32")), whole.view(np.int32))
        assert x.astype("f32") is x
    assert np.array_equal(got(Tensor([5, 1 << 20], "u32").astype("f32") + 0.5), [5.5, (1 << 20) + 0.5])


@pytest.mark.parametrize("name", ["sigmoid", "silu", "gelu", "gelu_new", "quick_gelu", "tanh", "relu"])
def test_limits(device, name):
    """Activations are right where exp would overflow, and never NaN."""
    a = np.array([7e4, 3e38, np.inf, -7e4, -3e38, -np.inf, 100, -100, 88.5, -88.5, 0], np.float32)
    low, high = {"sigmoid": (0, 1), "tanh": (-1, 1)}.get(name, (0, None))
    want = [v if high is None else high for v in a[[0, 1, 2]]] + [low] * 3
    made = got(getattr(Tensor(a), name)())
    assert made[:6].tolist() == want
    assert abs(made[6] - (100 if high is None else high)) <= 1e-5 and abs(made[7] - low) <= 1e-30
    assert np.isfinite(made[6:]).all()


@pytest.mark.parametrize("activation", ["silu", "gelu_new"])
def test_limits_of_a_gate_within_a_linear(device, activation):
    """x picks one column of W, so that each output is activation(gate) * 1."""
    a = np.array([7e4, 3e37, -7e4, -3e37], np.float32)
    weight = np.zeros((8, 32), np.float32)
    weight[:4, 0], weight[4:, 0] = a, 1
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = 1
    made = got(Tensor(x).linear(Tensor(weight)).gate(activation))[0]
    np.testing.assert_allclose(made, [7e4, 3e37, 0, 0], 1e-3, 1e-30)


def test_what_tensor_refuses_or_takes(device):
    assert got(Tensor(range(3))).tolist() == [0, 1, 2]
    assert got(Tensor([])).tolist() == [] and got(Tensor([[], []])).shape == (2, 0)
    assert got(Tensor((range(2), [True, 2.5]))).tolist() == [[0, 1], [1, 2.5]]
    assert got(Tensor(np.float64(3))).tolist() == 3
    assert got(Tensor([1e39, -1e39])).tolist() == [np.inf, -np.inf]
    assert got(Tensor([]) * 2 + 1).tolist() == []


@pytest.mark.parametrize(
    ("values", "dtype", "error", "says"),
    [
        ([[1, 2], [3]], "f32", ShapeError, "differ in length"),
        ([[], [1]], "f32", ShapeError, "differ in length"),
        ([[1], 2], "f32", ShapeError, "differ in length"),
        ("123", "f32", TypeError, "not str"),
        ([None], "f32", TypeError, "not NoneType"),
        ((n for n in range(3)), "f32", TypeError, "not generator"),
        ([1j], "f32", TypeError, "stored as f32"),
        ([-1], "u32", OverflowError, "stored as u32"),
        ([1.5], "u32", TypeError, "stored as u32"),
        ([1], "float32", ValueError, "'float32' is not a dtype of numbers: use one of 'f32', 'u32', 'i32'"),
        ([1], "q4_0", ValueError, "'q4_0' is not"),
    ],
)
def test_what_tensor_refuses(values, dtype, error, says):
    with pytest.raises(error, match=says):
        Tensor(values, dtype)


def test_operands_that_are_no_numbers():
    x = Tensor([1.0])
    for other in ("a", None, [1], np.ones(1)):
        with pytest.raises(TypeError):
            x + other
        with pytest.raises(TypeError):
            other * x
        with pytest.raises(TypeError, match="maximum"):
            x.maximum(other)
    with pytest.raises(TypeError, match="lookup"):
        x[x]


def test_public_methods_say_what_they_do():
    for name, member in inspect.getmembers(Tensor):
        if not name.startswith("_") and name not in Tensor.__slots__:
            assert inspect.getdoc(member), name
    for name in tt.__all__:
        assert inspect.getdoc(getattr(tt, name)), name


def test_repr(device):
    x = Tensor([[1, 2]])
    assert repr(x) == "<Tensor f32[1, 2], not on a device yet>"
    assert repr(x + 1) == "<Tensor f32[1, 2], not computed yet (add)>"
    assert repr((x + 1).T) == "<Tensor f32[2, 1], not computed yet (add)>"
    asyncio.run(x.tolist())
    assert repr(x).startswith("<Tensor f32[1, 2], on ") and repr(x)[:-1].split("on ", 1)[1] in x._repr_html_()
