"""Convolutions as layers: weights in the kernels' order, a folded batch normalisation, and TensorFlow's padding."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from tensortab.device.cpu import CPUDevice
from tensortab.formats import open_checkpoint
from tensortab.jit import jit
from tensortab.nn import Conv
from tensortab.tensor import Tensor
from tensortab.weights import Weights

from tests.kernels.conftest import device as native
from tests.kernels.test_conv import expected
from tests.kernels.tolerances import assert_within, of_sums, stems
from tests.recipe import write_folder

EPS = 1e-3
# x, weight, stride, groups
SHAPES = [
    ((2, 9, 6, 8), (12, 8, 3, 4), 2, 1),  # unfold and linear
    ((1, 7, 5, 32), (6, 32, 1, 1), 1, 1),  # linear
    ((2, 5, 8, 6), (6, 1, 5, 5), 2, 6),
    ((2, 8, 5, 8), (8, 1, 3, 3), 1, 8),  # depthwise
    ((3, 11, 5), (7, 5, 3), 2, 1),  # along one axis
]


@pytest.mark.parametrize("name", ["cpu", "wgpu"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "filters", "stride", "groups"), SHAPES)
def test_conv(
    rng: np.random.Generator, tmp_path: Path, name: str, norm: bool, bias: bool, shape: tuple, filters: tuple,
    stride: int, groups: int,
) -> None:  # fmt: skip
    outputs = filters[0]
    tensors = {"c.weight": rng.standard_normal(filters).astype(rng.choice(["float16", "float32"]))}
    parts = {
        part: rng.uniform(0.5, 1.5, outputs).astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    tensors |= {"c.bias": rng.standard_normal(outputs).astype(np.float16)} if bias else {}
    tensors |= {f"n.{part}": value for part, value in parts.items()} if norm else {}
    x = rng.standard_normal(shape).astype(np.float32)
    device = CPUDevice() if name == "cpu" else native(name)

    async def run() -> tuple[np.ndarray, str]:
        checkpoint = await open_checkpoint(write_folder(tmp_path / "model", {"model_type": "none"}, tensors))
        weights = Weights(checkpoint, 1 << 27)
        layer = Conv(weights, "c", stride, groups=groups, norm="n" if norm else "", eps=EPS)
        await weights.load(device)
        traced = jit(layer, device)
        y = await traced(Tensor(x))
        values = np.frombuffer(await y.tobytes(), np.float32).reshape(y.shape)
        ((_, _, program),) = traced.traced.values()
        traced.free()
        weights.free()
        return values, stems(program)[-1]

    have, stem = asyncio.run(run())
    size = filters[2:]
    missing = [max(0, (-(-n // stride) - 1) * stride + k - n) for n, k in zip(shape[1:-1], size, strict=True)]
    before, after = [n // 2 for n in missing], [n - n // 2 for n in missing]
    weight = tensors["c.weight"].astype(np.float64)
    if len(shape) == 3:
        x, weight, before, after = x[:, None], weight[:, :, None], [0, *before], [0, *after]
    steps = (stride, stride) if len(size) == 2 else (1, stride)
    want = expected(x, weight, steps, (*before, *after), groups) + (tensors["c.bias"] if bias else 0)
    if norm:
        scale = parts["weight"] / np.sqrt(parts["running_var"].astype(np.float64) + EPS)
        want = (want - parts["running_mean"]) * scale + parts["bias"]
    want = want[:, 0] if len(shape) == 3 else want
    assert have.shape == want.shape == (shape[0], *(-(-n // stride) for n in shape[1:-1]), outputs)
    one, two = (expected(f(x), f(weight), steps, (*before, *after), groups) for f in (np.abs, np.square))
    bound = of_sums(stem, one, np.sqrt(two)).reshape(want.shape)
    assert_within(have, want, bound * (np.abs(scale) if norm else 1) + 1e-5 * np.abs(want).max())  # and of the bias
