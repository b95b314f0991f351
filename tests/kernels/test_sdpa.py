"""Attention without a cache against NumPy in float64: the kernels, and the op with views on every device."""

import math

import numpy as np
import pytest
from tensortab import Tensor
from tensortab.device.native import NativeDevice

from tests.core.conftest import device  # noqa: F401
from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close

SHAPES = [  # batch, rows, keys, heads, head_dim
    (1, 1, 1, 1, 8), (2, 3, 3, 2, 32), (1, 127, 129, 1, 64), (3, 33, 65, 2, 16), (1, 40, 97, 1, 128), (1, 5, 70, 3, 80),
    (1, 2, 255, 1, 24), (1, 3, 1500, 1, 64), (2, 8, 128, 2, 20),
]  # fmt: skip


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool, lengths: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """q [N, T, H, D], k and v [N, S, H, D] -> [N, T, H, D]; rows without a key are 0."""
    y = np.zeros(q.shape)
    for n, t, h in np.ndindex(q.shape[:3]):
        end = min(int(lengths[n]), t + 1 + k.shape[1] - q.shape[1] if causal else k.shape[1])
        if end > 0:
            scores = k[n, :end, h] @ q[n, t, h] / math.sqrt(q.shape[-1]) + bias[h, t, :end]
            weights = np.exp(scores - scores.max())
            y[n, t, h] = weights / weights.sum() @ v[n, :end, h]
    return y


@pytest.mark.parametrize("kernel", ["sdpa", "sdpa_row", "sdpa_serial"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_sdpa(backend: NativeDevice, rng: np.random.Generator, kernel: str, causal: bool, more: bool) -> None:
    slow = kernel == "sdpa" and backend.info["architecture"] == "swiftshader"  # to compile
    for n, t, s, heads, dim in SHAPES[3:6:2] if slow else SHAPES:
        if kernel == "sdpa" and 256 * dim + 6400 > backend.info["limits"]["maxComputeWorkgroupStorageSize"]:
            continue
        width = heads * dim
        q = rng.standard_normal((n, t, width)).astype(np.float32)
        kv = rng.standard_normal((n, s, 2 * width + 4)).astype(np.float32)  # columns of one matrix
        lengths = rng.integers(0, s + 1, n).astype(np.uint32) if more else np.full(n, s, np.uint32)
        for b, end in enumerate(lengths):
            kv[b, end:] = np.nan if end else 0  # without any key one row is read all the same, and ignored
        bias = rng.standard_normal((heads, t, s)).astype(np.float32) if more else np.zeros((heads, t, s), np.float32)
        each = 1 if kernel == "sdpa_serial" else 4  # numbers of a vector
        params = {"t": t, "s": s, "heads": heads, "scale": dim**-0.5, "q_start": 0, "q_row": width // each}
        params |= {"q_batch": t * width // each, "k_start": 0, "v_start": (width + 4) // each}
        row = (2 * width + 4) // each
        params |= {"k_row": row, "v_row": row, "k_batch": s * row, "v_batch": s * row}
        slices = -(-s // 128)
        grid = {
            "sdpa": (-(-t // 32), heads, n), "sdpa_row": (t * slices, heads, n),
            "sdpa_serial": (-(-n * -(-t // 4) * heads // 16), 1, 1),
        }[kernel]  # fmt: skip
        if kernel == "sdpa_serial":
            params["n"] = n
        inputs = {"q": q, "k": kv, "v": kv, "lengths": lengths, "bias": bias}
        spec = {"HEAD_DIM": f"{dim}u", "CAUSAL": causal, "LENGTHS": more, "BIAS": more}
        if kernel == "sdpa_row" and slices > 1:
            sizes = {"y": (n * t, heads, slices, dim + 2)}
            parts = run(backend, kernel, spec | {"SPLIT": True}, inputs, sizes, params, grid)
            merge = {"rows": n * t, "heads": heads, "head_dim": dim, "splits": slices}
            grid = (-(-dim // 64), heads, n * t)
            y = run(backend, "attention_merge", {}, {"parts": parts}, {"y": (n, t, width)}, merge, grid)
        else:
            y = run(backend, kernel, spec, inputs, {"y": (n, t, width)}, params, grid)
        keys, values = kv[..., :width].reshape(n, s, heads, dim), kv[..., width + 4 :].reshape(n, s, heads, dim)
        q4 = q.reshape(n, t, heads, dim).astype(np.float64)
        expected = reference(q4, keys.astype(np.float64), values.astype(np.float64), causal, lengths, bias)
        assert_close(y, expected.reshape(n, t, width), np.nanmax(np.abs(kv)) * 4)


@pytest.mark.parametrize("heads", [1, 3])
def test_columns_of_a_matrix(device, rng: np.random.Generator, heads: int) -> None:  # noqa: F811
    """q, k and v are read from the output of a linear without a copy; an epilogue runs in the store."""
    n, t, width = 2, 37, heads * 16
    x = rng.standard_normal((n, t, 3 * width)).astype(np.float32)
    lengths = np.array([t, 20], np.uint32)
    qkv = Tensor(x) * 1
    q, k, v = (qkv[:, :, i * width : (i + 1) * width] for i in range(3))
    y = (q.sdpa(k, v, heads, lengths=Tensor(lengths, "u32")) + 1).numpy()
    parts = x.reshape(n, t, 3, heads, 16).astype(np.float64)
    expected = reference(*(parts[:, :, i] for i in range(3)), False, lengths, np.zeros((heads, t, t))) + 1
    assert_close(y, expected.reshape(n, t, width), np.abs(x).max() * 4)
