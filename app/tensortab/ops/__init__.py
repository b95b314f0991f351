"""THE table of operations: name -> shape rule, numpy definition, kernels, flops and bytes. One family a file.

The numpy definition is what an operation means: the CPU device runs it and tests compare kernels with it.
A kernel choice returns Dispatches; adding an operation is one row in a family, one kernel file and one row in a test.
"""

from . import conv, elementwise, image, sample, sdpa, timestamps, weights  # noqa: F401  (they fill the table)
from .attention import attention_step, takes_linear, takes_update
from .base import OPS, Dispatch, Hardware, ShapeError, broadcast, rows
from .linear import GATES, HALVES, linear, linear_stem, takes_norm

__all__ = [
    "GATES", "HALVES", "OPS", "Dispatch", "Hardware", "ShapeError", "attention_step", "broadcast", "linear",
    "linear_stem", "rows", "takes_linear", "takes_norm", "takes_update",
]  # fmt: skip
