"""Model architectures: one file each, named after config.json's `model_type`. No other file knows an architecture.

A file has `class Model: __init__(self, config, weights)`, which checks the config and declares its weights. A model
that writes text token by token, alone or after an encoder, is run by decoder.py's Decoder and has:

cache         kv.CacheShape: the size of a token in the cache, and the most tokens of a text
rotary        kv.Rotary: the rotation of positions, Rotary(head_dim) if there is none
embed_tokens  nn.Embedding: its rows are the vocabulary
lm_head       nn.Linear
hidden(tokens, state, rope, kv, rows) -> Tensor [rows, C]; it may read buffers that another plan has filled
logits(hidden) -> Tensor [rows, V]
rules(logits, tokens, state) -> Tensor [1, V]: optional, the logits without the tokens that may not follow

An encoder-decoder that writes with several beams is run by beam.py's BeamGenerator and has:

source        the most tokens that it reads
cache         kv.CacheShape
lm_head       nn.Linear: its rows are the vocabulary
read(ids [1, S], length [1]) -> Tensor [1, S, C]: the encoder
encode(ids, length) -> list of Tensors that go into the buffers that `hidden` reads (Tensor.into)
hidden(beams: kv.BeamCache) -> Tensor [B, C] for the last token of each beam
logits(hidden) -> Tensor [B, V]

Its file also has

TASKS  {task: the end of the names of config.json's architectures that have the task's head, or "" for any}, those of a
       head first; no TASKS: it is for text-generation only
GGUF   formats.gguf.Names, if there are GGUF files of it

encode.py says what an encoder has, and vision.py what a vision model has.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from ..errors import Error
from ..formats.gguf import Names, names_by
from ..weights import Weights


def find(model_type: str) -> ModuleType | None:
    """Returns the module of a model type, or None if there is none."""
    name = model_type.replace("-", "_")
    if not name.isidentifier() or name.startswith("_"):
        return None
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as missing:
        if missing.name != f"{__name__}.{name}":
            raise
        return None


@names_by
def gguf_names(model_type: str) -> Names | None:
    """Returns GGUF's names for a model type, or None if there are no GGUF files of it."""
    return getattr(find(model_type), "GGUF", None)


def declare(model: Any, weights: Weights) -> Any:
    """Returns an instance of the class `model`: its config is checked and its weights are declared, but none is read.

    Raises Error("bad_file") if the files do not fit it, or have tensors that it does not know.
    """
    with fitting(str(weights.checkpoint.config.get("model_type"))):
        declared = model(weights.checkpoint.config, weights)
    weights.check_known()
    return declared


@contextmanager
def fitting(model_type: str) -> Iterator[None]:
    """A context manager that raises Error("bad_file") if a model's config and tensors turn out not to fit together."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        said = f"{type(error).__name__}: {error}"
        message = f"The files don't fit a model of type {model_type!r} ({said}): download the model again."
        raise Error("bad_file", message) from error
