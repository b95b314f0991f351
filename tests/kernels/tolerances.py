"""How large the errors of our arithmetic may be: derived here, and used by every test that compares numbers.

A number that is rounded to a type with unit roundoff u errs by at most u of itself: u = 2^-24 for f32, 2^-11 for f16.
Roundings err independently, each with a deviation of at most u / sqrt(3); sums of such errors stay below 6 deviations
except once in 10^8 (Higham and Mary 2019, doi 10.1137/18M1226312, of which this is the plain case).

A product of matrices sums n products p = w x. Its error is measured against |p|_1, the sum of their magnitudes, which
does not grow with cancellation, or |p|_2, the root of the sum of their squares; both in float64.

f32      Kernels sum in blocks and trees, so that a number passes through s <= 100 additions: its deviation is sqrt(s) u
         of |p|_1, and 3 sqrt(s) u are 2e-6.
int16    x has 16 bits and shares a scale among 32 (kernels/matvec_int8.wgsl): half a unit of the largest is 2^-16 of
         it, 1.5e-5, and three times that where the largest meets the smallest weights.
matrix   x and W are rounded to f16, two roundings a product; sums are f32 (kernels/matmul_matrix*.wgsl).
half     And eight products at a time are summed in f16 (kernels/matmul_half.wgsl): a product passes through up to 8
         more roundings, each of the partial sum; if all have one sign, their squares add up to
         (1 + 4 + ... + 64) / 8 = 25.5 times |p|_2^2.

So a product errs by at most 2 u |p|_1 (matrix) or 10 u |p|_1 (half), and hardly ever by 6 sqrt(2 / 3) u |p|_2 or
6 sqrt(27.5 / 3) u |p|_2, which for many products is less. Below 2^-14 the numbers of f16 lie 2^-24 apart: each number
errs by up to 2^-25 as well, and by more where it was scaled down to the ROOM of the kernel with larger ones.

A model rounds again and again: relative to its size a vector that went through m products, with a norm or an
activation after each, has an error of sqrt(m) times one product's. There, signs are mixed, so that the squares of
partial sums add up to (1 + 2 + ... + 8) / 8 = 4.5 |p|_2^2: one product errs by sqrt(2 / 3) u (matrix), sqrt(6.5 / 3) u
(half), and in f32, where the reference errs as well, by sqrt(2 (k / 6 + 9)) u for rows of k numbers (9: the norm or
activation). A cache adds sqrt(2 / 3) of f16's u a layer (keys and values), a reference that is kept in f16 u / sqrt(3)
once. Three times the root of the sum of squares is allowed, since softmax multiplies an error of its scores by their
size, which is a few units.
"""

import math
from collections.abc import Sequence

import numpy as np
from tensortab.device import Device
from tensortab.jit import Program, hardware
from tensortab.ops import linear_stem

F32, F16 = 2.0**-24, 2.0**-11  # unit roundoff
TOLERANCES = {"f32": 2e-6, "int16": 5e-5, "f16": 2 * F16}  # of |p|_1; f16: the kernels of attention, as matrix
SUMS = {"matmul_half": 8, "matmul_matrix": 0, "matmul_matrix_small": 0}  # additions in f16 that a product goes through
ROOM = {"matmul_half": (1000, 8), "matmul_matrix": (32768, 32768), "matmul_matrix_small": (32768, 32768)}  # x and W
INT16 = ("matvec_int8",)


def assert_within(y: np.ndarray, expected: np.ndarray, bound: np.ndarray | float) -> None:
    """|y - expected| <= bound everywhere, where not even NaN is forgiven."""
    error = np.abs(y.astype(np.float64) - expected) / np.maximum(bound, 1e-36)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= 1, f"at {worst}: {y[worst]} instead of {expected[worst]}, {error[worst]:.3g} of the bound"


def assert_close(y: np.ndarray, expected: np.ndarray, scale: np.ndarray | float = 1.0, dtype: str = "f32") -> None:
    """|y - expected| <= tolerance * scale."""
    assert_within(y, expected, TOLERANCES[dtype] * np.maximum(scale, 1e-30))


def of_sums(stem: str, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The error that a kernel may make of sums of products: one is |p|_1, two |p|_2."""
    if stem not in SUMS:
        return TOLERANCES["int16" if stem in INT16 else "f32"] * one
    sums = SUMS[stem]
    squares = 2 + (sums + 1) * (2 * sums + 1) / 6 if sums else 2
    return F16 * np.minimum((2 + sums) * one, 6 * math.sqrt(squares / 3) * two) * 1.01 + TOLERANCES["f32"] * one


def of_product(stem: str, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The error that a kernel of `linear` may make of x [M, K] and w [N, K]: [M, N], float64."""
    x, w = np.abs(x.astype(np.float64)), np.abs(w.astype(np.float64)).T
    bound = of_sums(stem, x @ w, np.sqrt(x**2 @ w**2))
    if stem in SUMS:
        x_least, w_least = (2.0**-25 * max(1, 64 * v.max() / room) for v, room in zip((x, w), ROOM[stem], strict=True))
        bound += x_least * w.sum(0) + w_least * x.sum(1, keepdims=True)
    return bound


def stems(program: Program) -> list[str]:
    """The kernels of a plan's steps, by their files."""
    kernels = program.plan["kernels"]
    return [kernels[step["kernel"]]["label"].split(".")[0].split("+")[0] for step in program.plan["steps"]]


def of_model(
    device: Device, products: int, rows: int, cached: int = 0, stored_f16: bool = False, columns: int = 64
) -> float:
    """What |got - want| / |want| may be after `products` of `rows` rows and `columns` columns one after the other, and
    `cached` layers with keys and values in f16; stored_f16: `want` is kept in f16."""
    stem = linear_stem(hardware(device.info), rows)
    one = 2 * (columns / 6 + 9) * F32**2
    if stem in SUMS:
        one += (2 + (SUMS[stem] + 1) / 2) / 3 * F16**2 if SUMS[stem] else 2 / 3 * F16**2
    elif stem in INT16:
        one += TOLERANCES["int16"] ** 2 / 3
    return 3 * math.sqrt(products * one + (2 * cached + stored_f16) / 3 * F16**2)


def of_scores(allowed: float, scores: Sequence[float]) -> float:
    """How far from 1 the ratio of a softmax's score to the right one may be, where its logits may err by `allowed` of
    their size (that of the differences of the scores' logarithms), and the worst of a few by four deviations."""
    logits = np.log(np.asarray(scores, np.float64))
    return 4 * allowed * max(1, float(np.ptp(logits)))
