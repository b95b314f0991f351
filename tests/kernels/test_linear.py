"""The matrix kernels against NumPy in float64 with the dequantised weights."""

import numpy as np
import pytest
from tensortab.device import lanes
from tensortab.device.native import NativeDevice
from tensortab.dtype import DTYPES
from tensortab.kernels import source

from tests.kernels.harness import emulates, planes, run, supports
from tests.kernels.test_formats import FORMATS, dequantized
from tests.kernels.tolerances import F32, assert_close, assert_within, of_product

# outputs and rows a workgroup, with the kernels' default specs
TILES = {
    "matvec_serial": (64, 1), "matvec": (8, 1), "matvec_subgroup": (8, 1), "matvec_int8": (0, 1), "matmul": (64, 64),
    "matmul_half": (64, 64), "matmul_serial": (64, 4), "matmul_matrix": (128, 128), "matmul_matrix_small": (32, 32),
}  # fmt: skip
MATVECS = [stem for stem in TILES if stem.startswith("matvec")]
HALVES = ["matmul_half", "matmul_matrix", "matmul_matrix_small"]
EPS = 0.01  # large enough to matter in the result


def weight(rng: np.random.Generator, format: str, rows: int, k: int) -> np.ndarray:
    """[blocks, nbytes] u8 of a weight with values of about 0.05, as in a model; its row 0 is all zero."""
    dtype = DTYPES[format]
    if dtype.block == 1:
        values = rng.normal(0, 0.05, (rows, k)).astype(np.float32)
        values[0] = 0
        if format == "bf16":
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1, 2)
        return values.astype({"f32": np.float32, "f16": np.float16}[format]).view(np.uint8).reshape(-1, dtype.nbytes)
    blocks = rng.integers(0, 256, (rows * k // dtype.block, dtype.nbytes), dtype=np.uint8)
    scales = {"q4_1": (0, 2), "q5_1": (0, 2), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,)}.get(format, (0,))
    for offset in scales:
        d = rng.normal(0, 1e-4 if dtype.block == 256 else 3e-3, len(blocks)).astype(np.float16)
        blocks[:, offset : offset + 2] = d.view(np.uint8).reshape(-1, 2)
    blocks[: k // dtype.block] = 0
    return blocks


GATES = {
    "silu": lambda x: x / (1 + np.exp(np.minimum(-x, 700))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


def check(
    backend: NativeDevice, rng: np.random.Generator, stem: str, format: str, rows: int, n: int, k: int,
    y_offset: int = 0, residual: bool = False, **spec: str | int | bool,
) -> None:  # fmt: skip
    """One case of a kernel of `linear`. The output has y_offset + n + 5 columns: those outside must not change."""
    if not supports(backend, spec, source(stem)):
        pytest.skip("needs a feature that this backend lacks")
    norm, layer, gated = (bool(spec.get(name)) for name in ("NORM", "LAYER", "GATED"))
    if stem == "matvec_int8":
        spec = {"K": k, "LANES": min(32, lanes(backend.info)), "WG": 64} | spec
    used = n * (2 if gated else 1)
    blocks = weight(rng, format, used + 2, k)
    w = dequantized(format, blocks).reshape(-1, k)[:used].astype(np.float64)
    x = rng.standard_normal((rows, k)).astype(np.float32)
    x[0] = x[0] * 100 + 30
    g, b = (rng.normal(mean, 0.2, k).astype(np.float32) for mean in (1, 0))
    stride = y_offset + n + 5
    before = rng.standard_normal((rows, stride)).astype(np.float32)
    e0 = rng.standard_normal((rows, stride)).astype(np.float32)

    x64 = x.astype(np.float64)
    if norm:
        x64 = x64 * g / np.sqrt((x64**2).mean(-1, keepdims=True) + EPS)
    if layer:
        x64 = (x64 - x64.mean(-1, keepdims=True)) * g / np.sqrt(x64.var(-1, keepdims=True) + EPS) + b
    value, bound = x64 @ w.T, of_product(stem, x64, w)
    if gated:
        gate, up = value[:, :n], value[:, n:]
        activated = GATES[str(spec.get("GATE", "silu"))](gate)
        # what errors of gate and up make of activated(gate) * up: no slope is above 1.13, exp and tanh round four times
        bound = bound[:, :n] * np.abs(up) * 1.13 + np.abs(activated) * (bound[:, n:] + 4 * F32 * np.abs(up)) + 1e-30
        value = activated * up
    expected = before.astype(np.float64)
    expected[:, y_offset : y_offset + n] = value
    bounds = np.zeros_like(expected)
    bounds[:, y_offset : y_offset + n] = bound
    if residual:
        expected[:, y_offset : y_offset + n] += 2 * e0[:, y_offset : y_offset + n].astype(np.float64)
        bounds[:, y_offset : y_offset + n] += 2 * F32 * np.abs(expected[:, y_offset : y_offset + n])

    params = {"rows": rows, "n": n, "k": k, "blocks": len(blocks), "y_stride": stride, "y_offset": y_offset}
    params["eps"] = EPS
    inputs = {"x": x, "w": planes(format, blocks)} | ({"g": g} if stem in MATVECS else {})
    inputs |= {"b": b} if stem == "matvec_subgroup" else {}
    tile, tile_rows = TILES[stem]
    if stem == "matvec_int8":
        outputs = int(spec.get("OUTPUTS", 1)) * int(spec["WG"]) // int(spec["LANES"])
        tile = 2 * outputs if gated else outputs
    groups = -(-n // (tile // 2 if gated else tile))
    grid = (-(-groups // 2), 2, -(-rows // tile_rows))  # folded
    epilogue, extra = ("return v + 2.0 * e0[i];", [e0]) if residual else ("", [])
    y = run(backend, stem, spec | {"FORMAT": format}, inputs, {"y": before}, params, grid, epilogue, extra)
    assert_within(y, expected, bounds)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stem", TILES)
def test_formats(backend: NativeDevice, rng: np.random.Generator, stem: str, format: str) -> None:
    slow = (stem == "matmul" and backend.info["architecture"] == "swiftshader") or emulates(backend, source(stem))
    if slow and format not in ("f32", "q4_1", "q6_k"):
        pytest.skip("it takes seconds to compile this kernel; its formats are tested with the others")
    if stem == "matvec_int8" and not DTYPES[format].quantised:
        pytest.skip("takes block formats")
    rows = 2 if stem in MATVECS else 7
    k = 512 if DTYPES[format].block == 256 else 160
    check(backend, rng, stem, format, rows, n=19, k=k, y_offset=2)


@pytest.mark.parametrize(("n", "k"), [(1, 32), (3, 64), (127, 576), (129, 32), (960, 64), (65, 1536)])
@pytest.mark.parametrize("stem", TILES)
def test_shapes(backend: NativeDevice, rng: np.random.Generator, stem: str, n: int, k: int) -> None:
    for rows in [1, 3, 4] if stem in MATVECS else [1, 3, 65] if n < 100 else [6]:
        check(backend, rng, stem, "q4_1", rows, n, k)


@pytest.mark.parametrize("rows", [127, 129])
@pytest.mark.parametrize("stem", ["matmul", "matmul_serial", *HALVES])
def test_many_rows(backend: NativeDevice, rng: np.random.Generator, stem: str, rows: int) -> None:
    check(backend, rng, stem, "q8_0", rows, n=67, k=64, y_offset=1, residual=True)


@pytest.mark.parametrize(("norm", "gated"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("stem", MATVECS + HALVES)
def test_norm_and_gate(backend: NativeDevice, rng: np.random.Generator, stem: str, norm: bool, gated: bool) -> None:
    if norm and stem not in MATVECS:
        pytest.skip("only a matvec takes a norm in")
    with_norm = {"NORM": norm} if stem in MATVECS else {}
    cases = [("q4_1", 133, 608), ("q6_k", 64, 256), ("q8_0" if stem == "matvec_int8" else "f32", 1, 32)]
    for format, n, k in cases[:1] if emulates(backend, source(stem)) else cases:
        check(backend, rng, stem, format, 3, n, k, GATED=gated, **with_norm)


@pytest.mark.parametrize(("format", "n", "k"), [("f16", 133, 384), ("f32", 1, 32), ("q4_1", 9, 608)])
def test_layer_norm(backend: NativeDevice, rng: np.random.Generator, format: str, n: int, k: int) -> None:
    check(backend, rng, "matvec_subgroup", format, 3, n, k, LAYER=True, residual=True)


@pytest.mark.parametrize("stem", MATVECS + HALVES)
def test_other_gates(backend: NativeDevice, rng: np.random.Generator, stem: str) -> None:
    check(backend, rng, stem, "q4_1", 3, n=37, k=96, GATED=True, GATE="gelu_new")


@pytest.mark.parametrize("stem", TILES)
def test_epilogue(backend: NativeDevice, rng: np.random.Generator, stem: str) -> None:
    spec = {"NORM": True} if stem in MATVECS else {}
    spec |= {"GATED": True} if stem in MATVECS + HALVES else {}
    check(backend, rng, stem, "q4_0", 3, n=21, k=96, y_offset=7, residual=True, **spec)


@pytest.mark.parametrize(("stem", "spec"), [
    ("matvec", {"WG": 128, "LANES": 16}), ("matvec", {"WG": 64, "LANES": 64}), ("matvec_serial", {"WG": 4}),
    ("matvec_subgroup", {"WG": 32}), ("matvec_subgroup", {"WG": 128}), ("matmul_serial", {"WG": 4}),
])  # fmt: skip
def test_workgroup_sizes(
    backend: NativeDevice, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, stem: str, spec: dict[str, int]
) -> None:
    tile = {"matvec": 4 * spec["WG"] // spec.get("LANES", 1), "matvec_subgroup": 8}.get(stem, 8 * spec["WG"])
    monkeypatch.setitem(TILES, stem, (tile, TILES[stem][1]))
    check(backend, rng, stem, "q4_1", 2, n=70, k=608, **spec)


@pytest.mark.parametrize(
    "spec", [{"OUTPUTS": 2}, {"OUTPUTS": 2, "GATED": True, "NORM": True}, {"TILE": 7}, {"WG": 256}]
)
def test_matvec_int8_specs(backend: NativeDevice, rng: np.random.Generator, spec: dict[str, int]) -> None:
    """Teams with several outputs, an x of several tiles, and large workgroups."""
    for n, k in ((1, 64), (37, 608), (66, 1536)):
        check(backend, rng, "matvec_int8", "q4_1", 2, n, k, y_offset=1, residual=True, **spec)


@pytest.mark.parametrize("value", [0.0, 1e-24, 1e30])
def test_matvec_int8_of_extreme_numbers(backend: NativeDevice, rng: np.random.Generator, value: float) -> None:
    """x has zeros, or numbers so small or so large that f32 can just represent the results."""
    if not supports(backend, {}, source("matvec_int8")):
        pytest.skip("needs a feature that this backend lacks")
    blocks = weight(rng, "q8_0", 3, 64)
    x = (np.full((1, 64), value) * rng.choice([-1, 1], (1, 64))).astype(np.float32)
    params = {"rows": 1, "n": 3, "k": 64, "blocks": len(blocks), "y_stride": 3, "y_offset": 0, "eps": 0.0}
    inputs = {"x": x, "g": x, "w": planes("q8_0", blocks)}
    spec = {"FORMAT": "q8_0", "K": 64, "LANES": min(32, lanes(backend.info))}
    y = run(backend, "matvec_int8", spec, inputs, {"y": (1, 3)}, params, (1, 1, 1))
    w = dequantized("q8_0", blocks).reshape(3, 64)
    assert_within(y, x.astype(np.float64) @ w.astype(np.float64).T, of_product("matvec_int8", x, w))


# magnitudes of x, of one outlier a row of x, and of W: beyond f16, sums beyond f16, nearly beyond f32
LARGE = [
    (7e4, 7e4, 0.01), (1, 7e4, 0.05), (300, 300, 300), (1e9, 1e9, 1), (1, 1e5, 1e5), (1e-3, 1, 3e5), (1e20, 1e30, 1e-3),
]  # fmt: skip


@pytest.mark.parametrize("magnitudes", LARGE)
@pytest.mark.parametrize("stem", TILES)
def test_large_numbers(
    backend: NativeDevice, rng: np.random.Generator, stem: str, magnitudes: tuple[float, float, float]
) -> None:
    """Numbers beyond f16 are computed as exactly as others."""
    if not supports(backend, {}, source(stem)):
        pytest.skip("needs a feature that this backend lacks")
    if stem == "matvec_int8":
        pytest.skip("takes block formats")
    most, outlier, size = magnitudes
    rows, n, k = (2 if stem in MATVECS else 5), 19, 96
    x, w = rng.uniform(-most, most, (rows, k)).astype(np.float32), rng.uniform(-size, size, (n, k)).astype(np.float32)
    x[:, rng.integers(k)] = outlier
    params = {"rows": rows, "n": n, "k": k, "blocks": n * k, "y_stride": n, "y_offset": 0, "eps": 0.0}
    inputs = {"x": x, "w": planes("f32", w.view(np.uint8).reshape(-1, 4))} | ({"g": x} if stem in MATVECS else {})
    inputs |= {"b": x} if stem == "matvec_subgroup" else {}
    tile, tile_rows = TILES[stem]
    grid = (-(-n // tile), 1, -(-rows // tile_rows))
    y = run(backend, stem, {"FORMAT": "f32"}, inputs, {"y": (rows, n)}, params, grid)
    assert_within(y, x.astype(np.float64) @ w.astype(np.float64).T, of_product(stem, x, w))


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 3, 127, 129), (3, 129, 3, 33), (1, 64, 96, 16), (2, 1, 129, 127)])
@pytest.mark.parametrize("shared", ["", "a", "b"])
@pytest.mark.parametrize("stem", ["matmul_batched", "matmul_batched_serial"])
def test_matmul_batched(
    backend: NativeDevice, rng: np.random.Generator, stem: str, size: tuple[int, ...], shared: str
) -> None:
    """[batch, m, k] @ [batch, k, n], also where one of the two is shared by the whole batch."""
    batch, m, n, k = size
    a = rng.standard_normal((1 if shared == "a" else batch, m, k)).astype(np.float32)
    b = rng.standard_normal((1 if shared == "b" else batch, k, n)).astype(np.float32)
    e0 = rng.standard_normal((batch, m, n)).astype(np.float32)
    params = {"batch": batch, "m": m, "n": n, "k": k}
    params |= {"a_batch": 0 if shared == "a" else m * k, "b_batch": 0 if shared == "b" else k * n}
    grid = (-(-n // 32), -(-m // 32), batch)
    if stem == "matmul_batched_serial":
        grid = (-(-batch * -(-m // 4) * -(-n // 8) // 8), 1, 1)
    y = run(backend, stem, {}, {"a": a, "b": b}, {"y": e0.shape}, params, grid, "return v * e0[i];", [e0])
    a, b = a.astype(np.float64), b.astype(np.float64)
    assert_close(y, a @ b * e0, np.abs(a) @ np.abs(b) * np.abs(e0))
