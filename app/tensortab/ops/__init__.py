"""THE table of operations: name -> shape rule, numpy definition, kernels, flops and bytes. One family a file.

The numpy definition is what an operation means: the CPU device runs it and tests compare kernels with it.
A kernel choice returns Dispatches; adding an operation is one row in a family, one kernel file and one row in a test.
"""

from . import attention, conv, elementwise, image, layout, sample, sdpa, timestamps, weights  # noqa: F401  (they fill the table)
from .base import OPS, Dispatch, Hardware, ShapeError, broadcast, rows
from .linear import HALVES, linear_stem

__all__ = ["HALVES", "OPS", "Dispatch", "Hardware", "ShapeError", "broadcast", "linear_stem", "rows"]
