"""Model architectures: one file each, named after config.json's `model_type`, and nothing else that knows it.

A file has `class Model: __init__(self, config, weights)`, which checks the config and declares its weights. A model
that writes text token by token, alone or after an encoder, is run by decoder.py's Decoder and has:

cache         kv.CacheShape: what it keeps of each token, and how many tokens a text may have
rotary        kv.Rotary: the rotation of positions, Rotary(head_dim) where there is none
embed_tokens  nn.Embedding: its rows are the vocabulary
lm_head       nn.Linear
hidden(tokens, state, rope, kv, rows) -> Tensor [rows, C]; it may read buffers that another plan filled before
logits(hidden) -> Tensor [rows, V]
rules(logits, tokens, state) -> Tensor [1, V]: optional, logits without what may not follow

One that writes with several beams what it has read is run by beam.py's BeamGenerator and has:

source        how many tokens it reads
cache         kv.CacheShape
lm_head       nn.Linear: its rows are the vocabulary
read(ids [1, S], length [1]) -> Tensor [1, S, C]: the encoder
encode(ids, length) -> list of Tensors that go to what `hidden` reads (Tensor.into)
hidden(beams: kv.BeamCache) -> Tensor [B, C] for the last token of each beam
logits(hidden) -> Tensor [B, V]

And, where GGUF files of it exist, `GGUF`, a formats.gguf.Names. What a model that reads whole texts has, says
encode.py; one that sees, vision.py.
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
    """The file of a model type, None if there is none."""
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
    """How GGUF calls what a model type has, None where there are no GGUF files of it."""
    return getattr(find(model_type), "GGUF", None)


def declare(model: Any, weights: Weights) -> Any:
    """A `model` (the class) of the files of `weights`: its config checked, its weights declared, nothing read.

    Raises Error("bad_file") for files that do not fit it, or have tensors that it does not know.
    """
    with fitting(str(weights.checkpoint.config.get("model_type"))):
        declared = model(weights.checkpoint.config, weights)
    weights.check_known()
    return declared


@contextmanager
def fitting(model_type: str) -> Iterator[None]:
    """Around what is made of a model's files: what the config says and the tensors must fit together, or it is an
    Error("bad_file")."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        said = f"{type(error).__name__}: {error}"
        message = f"The files don't fit a model of type {model_type!r} ({said}): download the model again."
        raise Error("bad_file", message) from error
