"""Checkpoints: what a model file holds, under one set of names (Hugging Face's) whatever the file's format.

Only headers are read here; tensors stay in their Source until something asks for their bytes.
"""

import json
import os
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..dtype import DType
from ..errors import Error
from ..sources import Source


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies.

    `shape` is row-major as in PyTorch, (out, in) for a weight; `offset` counts from the source's start.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    source: Source

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass
class Checkpoint:
    """Tensors by their Hugging Face name, and the configuration under Hugging Face's keys.

    metadata          what the file says about itself, as it says it
    config            config.json's keys (model_type, hidden_size ...); eos_token_id is always a list of ids
    rope_interleaved  True: q and k rows are ordered so that pairs (2i, 2i+1) rotate (GGUF's llama); False: (i, i + D/2)
    tokenizer         tokenizer.json, None in a GGUF file (its tokenizer is in the metadata)
    unusable          tensors of a type we can't read: name -> that type
    """

    format: str
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    config: dict[str, Any] = field(default_factory=dict)
    rope_interleaved: bool = False
    tokenizer: dict[str, Any] | None = None
    tokenizer_config: dict[str, Any] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)

    def tensor(self, name: str) -> TensorInfo:
        """The tensor called `name`; Error("bad_file") if it isn't there or is of a type we can't read."""
        if name in self.unusable:
            raise Error(
                "bad_file",
                f"tensor {name} is stored as {self.unusable[name]}, which TensorTab can't read: "
                "use a file with F32, F16 or BF16 weights",
            )
        if name not in self.tensors:
            raise Error(
                "bad_file", f"the model file has no tensor {name}: it isn't a complete model of this architecture"
            )
        return self.tensors[name]


async def open_checkpoint(model: Source | str | os.PathLike[str] | list[Source]) -> Checkpoint:
    """Reads the header of a model: a Source, a list of safetensors Sources, a path to a file or a Hugging Face folder.

    Raises Error("bad_file"), saying what is wrong with it and what to do.
    """
    from .gguf import read_gguf
    from .safetensors import read_safetensors

    if isinstance(model, str | os.PathLike):
        if os.path.isdir(model):
            return await _open_folder(os.fspath(model))
        from ..sources.file import FileSource

        return await open_checkpoint(FileSource(model))
    if isinstance(model, list):
        return await read_safetensors(model, {})
    magic = await model.bytes(0, min(9, model.size))
    if magic[:4] == b"GGUF":
        return await read_gguf(model)
    if magic[8:9] == b"{":
        return await read_safetensors([model], {})
    raise Error(
        "bad_file",
        f"{model.name} is neither a GGUF nor a safetensors file (it begins with {bytes(magic[:4])!r}): "
        "pick a file ending in .gguf or .safetensors",
    )


async def _open_folder(folder: str) -> Checkpoint:
    """A folder as the Hugging Face hub lays it out, or one that holds a single GGUF file."""
    from ..sources.file import FileSource
    from .safetensors import read_safetensors, shard_names

    files = sorted(os.listdir(folder))
    if "model.safetensors.index.json" in files:
        names = shard_names(_read_json(folder, "model.safetensors.index.json"))
    else:
        names = [name for name in files if name == "model.safetensors"]
    if not names:
        ggufs = [name for name in files if name.endswith(".gguf")]
        if len(ggufs) == 1:
            return await open_checkpoint(os.path.join(folder, ggufs[0]))
        raise Error(
            "bad_file", f"{folder} has no model.safetensors (nor one .gguf file): point to a model's folder or file"
        )
    if "config.json" not in files:
        raise Error("bad_file", f"{folder} has no config.json: download the model's folder with all its files")
    config = _read_json(folder, "config.json")
    if "generation_config.json" in files:
        # a chat model's turn ends with tokens that often stand only here
        config["eos_token_id"] = token_ids(config) + token_ids(_read_json(folder, "generation_config.json"))
    checkpoint = await read_safetensors([FileSource(os.path.join(folder, name)) for name in names], config)
    if "tokenizer.json" in files:
        checkpoint.tokenizer = _read_json(folder, "tokenizer.json")
    if "tokenizer_config.json" in files:
        checkpoint.tokenizer_config = _read_json(folder, "tokenizer_config.json")
    if "chat_template.jinja" in files:
        with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as file:
            checkpoint.tokenizer_config["chat_template"] = file.read()
    return checkpoint


def _read_json(folder: str, name: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise Error("bad_file", f"{name} can't be read ({error}): get it again") from error
    if not isinstance(value, dict):
        raise Error("bad_file", f"{name} isn't a JSON object: get it again")
    return value


def token_ids(config: dict[str, Any], key: str = "eos_token_id") -> list[int]:
    """config[key] as a list: it may be missing, null, an id or a list of ids."""
    value = config.get(key)
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise Error("bad_file", f"config.json: {key} is {value!r}, not token ids: get the file again")
    return ids
