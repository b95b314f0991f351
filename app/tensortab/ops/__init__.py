"""THE table of operations: name -> shape rule, NumPy definition, choice of kernels, flops. Each file has one family.

The NumPy definition says what an operation means: the CPU device runs it, and tests compare the kernels with it. The
choice of kernels returns Dispatches. A new operation is one row in a family, one kernel file and one row in a test.
"""

from . import attention, conv, elementwise, image, layout, sample, sdpa, timestamps, weights  # noqa: F401  (they fill the table)
from .base import OPS, Dispatch, Hardware, ShapeError, broadcast, rows
from .linear import HALVES, linear_stem

__all__ = ["HALVES", "OPS", "Dispatch", "Hardware", "ShapeError", "broadcast", "linear_stem", "rows"]
