"""concat and astype: words are copied, and numbers are converted to another dtype."""

import numpy as np
import pytest
from tensortab.device.native import NativeDevice

from tests.kernels.harness import run


@pytest.mark.parametrize(("lead", "part", "whole", "start"), [(1, 1, 1, 0), (3, 127, 129, 2), (129, 3, 7, 4)])
def test_concat(
    backend: NativeDevice, rng: np.random.Generator, lead: int, part: int, whole: int, start: int
) -> None:
    """Words are copied bit by bit, NaN included, and the words around them do not change."""
    x, before = (rng.integers(0, 1 << 32, (lead, n), np.uint32) for n in (part, whole))
    params = {"count": x.size, "part": part, "whole": whole, "start": start}
    y = run(backend, "concat", {}, {"x": x}, {"y": before}, params, (-(-x.size // 64), 1, 1))
    want = before.copy()
    want[:, start : start + part] = x
    assert (y == want).all()


TYPES = [np.float32, np.uint32, np.int32]


@pytest.mark.parametrize("to", range(3))
@pytest.mark.parametrize("of", range(3))
@pytest.mark.parametrize("count", [1, 3, 127, 129])
def test_astype(backend: NativeDevice, rng: np.random.Generator, of: int, to: int, count: int) -> None:
    x = rng.uniform(-7e4, 7e4, count).astype(np.float32)
    if of:
        x = rng.integers(0, 1 << 24, count, np.uint32).view(TYPES[of])
    x[::3] = 0
    spec = {"FROM": f"{of}u", "TO": f"{to}u"}
    y = run(backend, "astype", spec, {"x": x}, {"y": ((count,), TYPES[to])}, {"count": count}, (-(-count // 64), 1, 1))
    want = np.maximum(x, 0) if (of, to) == (0, 1) else x
    assert (y == want.astype(TYPES[to])).all()
