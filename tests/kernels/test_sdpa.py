"""Attention without a cache against numpy in float64: the kernels, and the op with views on every device."""

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
    (1, 2, 255, 1, 24), (1, 3, 1500, 1, 64),
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
    for n, t, s, heads, dim in SHAPES:
        if kernel == "sdpa" and 128 * dim + 6800 > backend.info["limits"]["maxComputeWorkgroupStorageSize"]:
            continue
        width = heads * dim
        q = rng.standard_normal((n, t, width)).astype(np.float32)
        kv = rng.standard_normal((n, s, 2 * width + 4)).astype(np.float32)  # columns of one matrix
        lengths = rng.integers(0, s + 1, n).astype(np.uint32) if more else np.full(n, s, np.uint32)
        for b, end in enumerate(lengths):
            kv[b, end:] = np.nan if end else 0  # with no key at all a row of them is read, and does not count
        bias = rng.standard_normal((heads, t, s)).astype(np.float32) if more else np.zeros((heads, t, s), np.float32)
        params = {
            "t": t,
            "s": s,
            "heads": heads,
            "scale": dim**-0.5,
            "q_start": 0,
            "q_row": width,
            "q_batch": t * width,
        }
        params |= {"k_start": 0, "v_start": width + 4}
        params |= {
            f"{x}_{name}": by for x in "kv" for name, by in (("row", 2 * width + 4), ("batch", s * (2 * width + 4)))
        }
        grid = (-(-t // 32), heads, n)
        if kernel == "sdpa_serial":
            params["n"], grid = n, (-(-n * -(-t // 4) * heads // 16), 1, 1)
        if kernel == "sdpa_row":
            grid = (t, heads, n)
        inputs = {"q": q, "k": kv, "v": kv, "lengths": lengths, "bias": bias}
        spec = {"HEAD_DIM": f"{dim}u", "CAUSAL": causal, "LENGTHS": more, "BIAS": more}
        spec |= {"KEYS": f"{-(-s // 256) * 256}u"} if kernel == "sdpa_row" else {}
        y = run(backend, kernel, spec, inputs, {"y": (n, t, width)}, params, grid)
        keys, values = kv[..., :width].reshape(n, s, heads, dim), kv[..., width + 4 :].reshape(n, s, heads, dim)
        q4 = q.reshape(n, t, heads, dim).astype(np.float64)
        expected = reference(q4, keys.astype(np.float64), values.astype(np.float64), causal, lengths, bias)
        assert_close(y, expected.reshape(n, t, width), np.nanmax(np.abs(kv)) * 4)


@pytest.mark.parametrize("heads", [1, 3])
def test_columns_of_a_matrix(device, rng: np.random.Generator, heads: int) -> None:  # noqa: F811
    """q, k and v are read where a linear put them; an epilogue runs in the store."""
    n, t, width = 2, 37, heads * 16
    x = rng.standard_normal((n, t, 3 * width)).astype(np.float32)
    lengths = np.array([t, 20], np.uint32)
    qkv = Tensor(x) * 1
    q, k, v = (qkv[:, :, i * width : (i + 1) * width] for i in range(3))
    y = (q.sdpa(k, v, heads, lengths=Tensor(lengths, "u32")) + 1).numpy()
    parts = x.reshape(n, t, 3, heads, 16).astype(np.float64)
    expected = reference(*(parts[:, :, i] for i in range(3)), False, lengths, np.zeros((heads, t, t))) + 1
    assert_close(y, expected.reshape(n, t, width), np.abs(x).max() * 4)
