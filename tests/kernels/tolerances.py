"""The one table of tolerances of the kernel tests, by arithmetic type.

The error of y is measured against |w| @ |x| (the size of what is summed, in float64), which does not grow with
cancellation: a sum of n products in a type with unit roundoff u errs by about u * sqrt(n) of it.
int16: numbers of 16 bits that share a scale among 32 (kernels/matvec_int8.wgsl), so the unit is that of the largest.
"""

import numpy as np

TOLERANCES = {
    "f32": 2e-6,
    "f16": 1e-3,
    "int16": 5e-5,
}


def assert_close(y: np.ndarray, expected: np.ndarray, scale: np.ndarray | float = 1.0, dtype: str = "f32") -> None:
    """|y - expected| <= tolerance * scale everywhere, where not even NaN is forgiven."""
    error = np.abs(y.astype(np.float64) - expected) / np.maximum(scale, 1e-30)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= TOLERANCES[dtype], (
        f"at {worst}: {y[worst]} instead of {expected[worst]}, error {error[worst]:.2e} > {TOLERANCES[dtype]:.0e}"
    )
