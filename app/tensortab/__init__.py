"""TensorTab: AI in a browser tab, written in Python."""

from . import models, storage  # noqa: F401  (models: it tells formats/ how GGUF names what a model has)
from .array_api import arange, concat, full, ones, where, zeros
from .debug import debug
from .dtype import DTYPES, DType
from .errors import Error
from .image import Image
from .jit import jit
from .site import site
from .tasks import pipeline
from .tensor import Tensor

__version__ = "0.1.0"
__all__ = [
    "DTYPES", "DType", "Error", "Image", "Tensor", "arange", "concat", "debug", "full", "jit", "ones", "pipeline",
    "site", "storage", "where", "zeros",
]  # fmt: skip
