"""The key/value cache and every kernel of attention against NumPy in float64.

Cache positions from pos + rows on hold NaN: one read of them into a result shows.
"""

import math
from typing import Any

import numpy as np
import pytest
from tensortab.device import lanes
from tensortab.device.native import NativeDevice
from tensortab.kernels import source

from tests.kernels import harness
from tests.kernels.harness import planes, supports
from tests.kernels.test_formats import dequantized
from tests.kernels.test_linear import weight
from tests.kernels.tolerances import assert_close

THETA = 10000.0
SHAPES = [  # rows, heads, kv_heads, head_dim, context, pos
    (1, 9, 3, 64, 320, 0),
    (1, 9, 3, 64, 320, 300),
    (3, 4, 4, 80, 160, 127),
    (2, 6, 2, 96, 130, 128),
    (5, 3, 1, 128, 64, 1),
    (2, 2, 2, 256, 150, 140),
    (130, 2, 1, 8, 130, 0),
]


def rotary(head_dim: int) -> int:
    """The number of elements of a head that are rotated: for some sizes only a part."""
    return {6: 2, 80: 24, 96: 72}.get(head_dim, head_dim)


def run(backend: NativeDevice, kernel: str, spec: dict, inputs: dict, *more: Any) -> Any:
    size = {"ROTARY": f"{2 * inputs['rope_table'].shape[1]}u"} if "rope_table" in inputs else {}
    return harness.run(backend, kernel, spec | size, inputs, *more)


def rope_table(context: int, head_dim: int) -> np.ndarray:
    """(cos, sin) of angle pos * THETA^(-2i / R): rows 0..63 for positions 0..63, row 64 + n for position 64 n."""
    positions = np.concatenate([np.arange(64), 64 * np.arange(-(-context // 64))])
    size = rotary(head_dim)
    angle = positions[:, None] * THETA ** (-2 * np.arange(size // 2) / size)
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def rope(x: np.ndarray, positions: np.ndarray, interleaved: bool) -> np.ndarray:
    """x [T, heads, D] rotated by its positions [T], in float64 (Su et al. 2021)."""
    y = x.astype(np.float64)
    size = rotary(x.shape[-1])
    angle = positions[:, None, None] * THETA ** (-2 * np.arange(size // 2) / size)
    c, s = np.cos(angle), np.sin(angle)
    low, high = (slice(0, size, 2), slice(1, size, 2)) if interleaved else (slice(size // 2), slice(size // 2, size))
    x = y.copy()
    y[..., low], y[..., high] = x[..., low] * c - x[..., high] * s, x[..., high] * c + x[..., low] * s
    return y


def reference(q: np.ndarray, k: np.ndarray, v: np.ndarray, pos: int) -> np.ndarray:
    """Rotated q [T, H, D], k and v [G, C, D] -> [T, H * D]; row t sees the positions 0 .. pos + t."""
    rows, heads, head_dim = q.shape
    y = np.empty((rows, heads, head_dim))
    for t in range(rows):
        for h in range(heads):
            g = h // (heads // len(k))
            scores = k[g, : pos + t + 1] @ q[t, h] / np.sqrt(head_dim)
            w = np.exp(scores - scores.max())
            y[t, h] = w / w.sum() @ v[g, : pos + t + 1]
    return y.reshape(rows, -1)


def case(rng: np.random.Generator, rows: int, heads: int, kv_heads: int, head_dim: int, context: int, pos: int) -> Any:
    """The inputs, the params and the caches as float64; positions after that of the last row are NaN."""
    qkv = (rng.standard_normal((rows, (heads + 2 * kv_heads) * head_dim)) * 3).astype(np.float32)
    caches = rng.standard_normal((2, kv_heads, context, head_dim)).astype(np.float16)
    caches[:, :, pos + rows :] = np.nan
    inputs = {"qkv": qkv, "state": np.array([pos, *[0] * 7], np.uint32), "rope_table": rope_table(context, head_dim)}
    inputs |= {"kcache": caches[0].view(np.uint32), "vcache": caches[1].view(np.uint32)}
    params = {"rows": rows, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "context": context}
    return inputs, params, caches.astype(np.float64)


def attention(
    backend: NativeDevice, kernel: str, inputs: dict, params: dict, spec: dict, splits: int = 5
) -> np.ndarray:
    rows, heads, head_dim = params["rows"], params["heads"], params["head_dim"]
    params = params | {"scale": head_dim**-0.5}
    shape = (rows, heads * head_dim)
    if kernel == "attention":
        return run(backend, kernel, spec, inputs, {"y": shape}, params, (heads, rows, 1))
    if kernel == "attention_serial":
        return run(backend, kernel, spec, inputs, {"y": shape}, params, (-(-rows * heads // 4), 1, 1))
    if kernel == "attention_matrix":
        spec = {"HEAD_DIM": f"{head_dim}u", "SUBGROUPS": "2u", **spec}
        grid = (heads, -(-rows // (16 * int(spec["SUBGROUPS"].strip("u")))), 1)
        return run(backend, kernel, spec, inputs, {"y": shape}, params, grid)
    parts = {"parts": (rows, heads, splits, head_dim + 2)}
    grid = (splits, heads, rows)
    slices = run(backend, kernel, spec, inputs, parts, params | {"splits": splits}, grid)
    merge = {"rows": rows, "heads": heads, "head_dim": head_dim, "splits": splits}
    grid = (-(-head_dim // 64), heads, rows)
    return run(backend, "attention_merge", {}, {"parts": slices}, {"y": shape}, merge, grid)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("kernel", ["attention", "attention_serial", "attention_split"])
def test_attention(backend: NativeDevice, rng: np.random.Generator, kernel: str, interleaved: bool) -> None:
    for shape in SHAPES:
        rows, heads, _, head_dim, _, pos = shape
        inputs, params, (k, v) = case(rng, *shape)
        q = inputs["qkv"][:, : heads * head_dim].reshape(rows, heads, head_dim)
        expected = reference(rope(q, pos + np.arange(rows), interleaved), k, v, pos)
        spec = {"INTERLEAVED": interleaved} | ({"AT_LEAST": "16u"} if kernel == "attention_split" else {})
        if kernel != "attention_serial":
            spec["WG"] = "32u"  # quicker to compile in software than the default, which the tests below take
        y = attention(backend, kernel, inputs, params, spec)
        # the angle's rounding grows with the position: cos and sin of 300 rad err by 300 * 2^-24 in any f32 product
        assert_close(y, expected, np.abs(v[:, : pos + rows]).max() * 4)


MATRIX = [
    ((70, 3, 1, 64, 320, 61), True, "4u"), ((34, 2, 1, 64, 320, 250), False, "2u"),
    ((1, 2, 2, 96, 130, 0), False, "2u"), ((33, 2, 1, 96, 200, 127), False, "2u"),
    ((40, 2, 2, 128, 64, 24), True, "4u"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "interleaved", "subgroups"), MATRIX)
def test_attention_matrix(
    backend: NativeDevice, rng: np.random.Generator, shape: tuple, interleaved: bool, subgroups: str
) -> None:
    if not supports(backend, {}, source("attention_matrix")):
        pytest.skip("needs subgroup matrices, and emulating them takes too long here")
    rows, heads, _, head_dim, context, pos = shape
    for growth in (1.0, 8.0):  # keys that grow along the context move the maxima, and the sums with them
        inputs, params, (k, v) = case(rng, *shape)
        k *= np.linspace(1.0, growth, context)[None, :, None]
        k = k.astype(np.float16)
        inputs["kcache"] = k.view(np.uint32)
        q = inputs["qkv"][:, : heads * head_dim].reshape(rows, heads, head_dim)
        q = rope(q, pos + np.arange(rows), interleaved)
        # the kernel multiplies q in f16, scaled: large scores would pass its rounding on to y many times over
        q = (q / math.sqrt(head_dim)).astype(np.float16).astype(np.float64) * math.sqrt(head_dim)
        expected = reference(q, k.astype(np.float64), v, pos)
        spec = {"INTERLEAVED": interleaved, "SUBGROUPS": subgroups}
        y = attention(backend, "attention_matrix", inputs, params, spec)
        assert_close(y, expected, np.abs(v[:, : pos + rows]).max() * 4, "f16")


STEPS = [(9, 3, 64, 320, 0), (9, 3, 64, 320, 300), (4, 4, 80, 160, 127), (6, 2, 96, 130, 128), (3, 1, 128, 64, 1),
         (2, 2, 256, 150, 140), (2, 1, 8, 130, 63)]  # fmt: skip


@pytest.mark.parametrize("splits", [1, 5])
@pytest.mark.parametrize("interleaved", [True, False])
def test_attention_step(backend: NativeDevice, rng: np.random.Generator, interleaved: bool, splits: int) -> None:
    """The attention of a new token; its key and value are written to the cache, and nothing else there changes."""
    if not supports(backend, {}, source("attention_step")):
        pytest.skip("needs subgroups, which this backend lacks")
    for heads, kv_heads, head_dim, context, pos in STEPS:
        inputs, params, (k, v) = case(rng, 1, heads, kv_heads, head_dim, context, pos)
        before = {name: inputs.pop(name) for name in ("kcache", "vcache")}
        for name in before:  # the place of the new key and value is still empty
            before[name][:, pos] = 0x7E007E00
        qkv = inputs["qkv"].reshape(1, -1, head_dim)
        key, value = rope(qkv[:, heads : heads + kv_heads], np.array([pos]), interleaved), qkv[:, heads + kv_heads :]
        span = min(32, lanes(backend.info))
        spec = {
            "INTERLEAVED": interleaved,
            "HEAD_DIM": head_dim,
            "ABREAST": math.gcd(head_dim // 8, 16, span),
            "LANES": span,
        }
        spec |= {"WG": 64, "SPLIT": splits > 1, "AT_LEAST": "16u"}
        params = {name: params[name] for name in ("heads", "kv_heads", "context")}
        params |= {"splits": splits, "scale": head_dim**-0.5}
        shape = (1, heads, splits, head_dim + 2) if splits > 1 else (1, heads * head_dim)
        done = run(backend, "attention_step", spec, inputs, before | {"y": shape}, params, (splits, heads, 1))
        y = done["y"]
        if splits > 1:
            merge = {"rows": 1, "heads": heads, "head_dim": head_dim, "splits": splits}
            y = run(backend, "attention_merge", {}, {"parts": y}, {"y": (1, heads * head_dim)}, merge, (4, heads, 1))
        k[:, pos], v[:, pos] = key[0].astype(np.float16), value[0].astype(np.float16)
        q = rope(qkv[:, :heads], np.array([pos]), interleaved)
        assert_close(y, reference(q, k, v, pos), np.abs(v[:, : pos + 1]).max() * 4)
        for name, new in (("kcache", key[0]), ("vcache", value[0])):
            got = done[name].view(np.float16).astype(np.float64)[:, pos]
            assert (np.abs(got - new) <= np.abs(new) * 2**-11 + 3e-5).all(), name
            others = np.arange(context) != pos
            assert (done[name][:, others] == before[name][:, others]).all(), name


@pytest.mark.parametrize("format", ["q4_1", "q4_k"])
@pytest.mark.parametrize(("head_dim", "k", "wg"), [(64, 256, 64), (16, 512, 32)])
def test_attention_step_linear(
    backend: NativeDevice, rng: np.random.Generator, format: str, head_dim: int, k: int, wg: int
) -> None:
    """It computes the same as rms_norm, linear and attention_step one after the other."""
    if not supports(backend, {}, source("attention_step_linear")):
        pytest.skip("needs subgroups, which this backend lacks")
    heads, kv_heads, context, pos = 4, 2, 130, 100
    inputs, params, _ = case(rng, 1, heads, kv_heads, head_dim, context, pos)
    del inputs["qkv"]
    before = {name: inputs.pop(name) for name in ("kcache", "vcache")}
    blocks = weight(rng, format, (heads + 2 * kv_heads) * head_dim, k)
    x, g = rng.standard_normal((1, k)).astype(np.float32), rng.normal(1, 0.2, k).astype(np.float32)
    w = dequantized(format, blocks).reshape(-1, k).astype(np.float64)
    qkv = x.astype(np.float64) * g / np.sqrt((x.astype(np.float64) ** 2).mean() + 0.01) @ w.T
    span = min(32, lanes(backend.info))
    spec = {"HEAD_DIM": head_dim, "ABREAST": math.gcd(head_dim // 8, 16, span), "LANES": span, "WG": wg}
    params = {name: params[name] for name in ("heads", "kv_heads", "context")} | {"splits": 1, "scale": head_dim**-0.5}
    shape, grid = (1, heads * head_dim), (1, heads, 1)
    apart = run(
        backend, "attention_step", spec, inputs | {"qkv": qkv.astype(np.float32)}, before | {"y": shape}, params, grid
    )
    inputs |= {"x": x, "g": g, "w": planes(format, blocks)}
    params |= {"blocks": len(blocks), "eps": 0.01}
    spec |= {"K": k, "FORMAT": format}
    done = run(backend, "attention_step_linear", spec, inputs, before | {"y": shape}, params, grid)
    assert_close(done["y"], apart["y"].astype(np.float64), np.abs(apart["y"]).max() * 10, "int16")
    for name in before:
        new, want = (d[name].view(np.float16).astype(np.float64)[:, pos] for d in (done, apart))
        assert np.abs(new - want).max() <= np.abs(want).max() * 2**-9, name


@pytest.mark.parametrize("kernel", ["attention", "attention_split"])
@pytest.mark.parametrize(("wg", "head_dim"), [(8, 64), (16, 80), (64, 256)])
def test_workgroup_sizes(backend: NativeDevice, rng: np.random.Generator, kernel: str, wg: int, head_dim: int) -> None:
    inputs, params, (k, v) = case(rng, 2, 2, 1, head_dim, 700, 600)
    q = inputs["qkv"][:, : 2 * head_dim].reshape(2, 2, head_dim)
    expected = reference(rope(q, 600 + np.arange(2), True), k, v, 600)
    y = attention(backend, kernel, inputs, params, {"WG": f"{wg}u"})
    assert_close(y, expected, np.abs(v[:, :602]).max() * 4)


@pytest.mark.parametrize("kernel", ["attention", "attention_serial", "attention_split"])
def test_large_scores_do_not_overflow(backend: NativeDevice, rng: np.random.Generator, kernel: str) -> None:
    inputs, params, (k, v) = case(rng, 2, 2, 1, 64, 300, 290)
    inputs["qkv"] *= 300
    q = inputs["qkv"][:, :128].reshape(2, 2, 64)
    turned = rope(q, 290 + np.arange(2), True)
    assert np.abs(np.einsum("thd,gsd->thgs", turned, k[:, :290])).max() > 2000
    y = attention(backend, kernel, inputs, params, {})
    assert_close(y, reference(turned, k, v, 290), 300.0)


def test_serial_with_a_head_of_two(backend: NativeDevice, rng: np.random.Generator) -> None:
    inputs, params, (k, v) = case(rng, 3, 2, 2, 2, 9, 4)
    expected = reference(rope(inputs["qkv"][:, :4].reshape(3, 2, 2), 4 + np.arange(3), True), k, v, 4)
    assert_close(attention(backend, "attention_serial", inputs, params, {}), expected, 4.0)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 9, 3, 64, 320, 300), (3, 2, 1, 80, 200, 127), (5, 2, 2, 6, 9, 6), (1, 1, 1, 2, 1, 0)]
)
def test_kv_update(backend: NativeDevice, rng: np.random.Generator, shape: tuple, interleaved: bool) -> None:
    rows, heads, kv_heads, head_dim, context, pos = shape
    inputs, params, _ = case(rng, *shape)
    kcache, vcache = inputs.pop("kcache"), inputs.pop("vcache")
    grid = (-(-rows * kv_heads * head_dim // 2 // 64), 1, 1)
    done = run(
        backend, "kv_update", {"INTERLEAVED": interleaved}, inputs, {"kcache": kcache, "vcache": vcache}, params, grid
    )
    k, v = inputs["qkv"].reshape(rows, -1, head_dim)[:, heads:].reshape(rows, 2, kv_heads, head_dim).swapaxes(0, 1)
    k = rope(k, pos + np.arange(rows), interleaved)
    stored = min(rows, context - pos)  # rows beyond the context are dropped
    for name, before, new in (("kcache", kcache, k), ("vcache", vcache, v)):
        after = done[name].view(np.float16)
        got = after[:, pos : pos + stored].swapaxes(0, 1).astype(np.float64)
        assert (np.abs(got - new[:stored]) <= np.abs(new[:stored]) * 2**-11 + 3e-5).all(), name
        untouched = np.ones(context, bool)
        untouched[pos : pos + stored] = False
        assert (done[name][:, untouched] == before[:, untouched]).all(), name


def test_kv_update_clamps_to_f16(backend: NativeDevice) -> None:
    qkv = np.array([[0, 0, 1e30, -1e30, 7e4, -65504]], np.float32)
    inputs = {"qkv": qkv, "state": np.zeros(8, np.uint32), "rope_table": rope_table(4, 2)}
    params = {"rows": 1, "heads": 1, "kv_heads": 1, "head_dim": 2, "context": 4}
    empty = np.zeros((1, 4, 1), np.uint32)
    done = run(backend, "kv_update", {}, inputs, {"kcache": empty, "vcache": empty}, params, (1, 1, 1))
    assert done["kcache"].view(np.float16)[0, 0].tolist() == [65504, -65504]
    assert done["vcache"].view(np.float16)[0, 0].tolist() == [65504, -65504]
