"""Checkpoints: the content of model files, with Hugging Face's names whatever the file's format.

Only headers are read here; tensors stay in their Source until something asks for their bytes.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..dtype import DType
from ..errors import Error
from ..sources import MAX_TEXT, Source

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is stored.

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

    metadata          the file's own metadata, unchanged
    config            config.json's keys (model_type, hidden_size ...); eos_token_id is always a list of ids
    rope_interleaved  True: q and k rows are ordered so that pairs (2i, 2i+1) rotate (GGUF's llama); False: (i, i + D/2)
    tokenizer         tokenizer.json, None in a GGUF file (its tokenizer is in the metadata)
    vocab             the text of vocab.txt, where a folder has no tokenizer.json
    files             the folder's files, for those that only one task reads (`json`)
    unusable          tensors that can't be read: name -> type ("nothing": without elements)
    """

    format: str
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    config: dict[str, Any] = field(default_factory=dict)
    rope_interleaved: bool = False
    tokenizer: dict[str, Any] | None = None
    tokenizer_config: dict[str, Any] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    vocab: str | None = None
    files: Mapping[str, Source] = field(default_factory=dict)

    async def json(self, name: str, kind: type = dict) -> Any:
        """The object (or list) in a JSON file of the model's folder; an empty one if it has no such file."""
        return await _read_json(self.files[name], kind) if name in self.files else kind()

    def tensor(self, name: str) -> TensorInfo:
        """Returns the tensor called `name`. Raises Error("bad_file") if it is missing or of an unsupported type."""
        if name in self.unusable:
            good = "quantised to Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K or Q8_0"
            if self.format == "safetensors":
                good = "with F32, F16 or BF16 weights"
            stored = f"The tensor {name} is stored as {self.unusable[name]}, which TensorTab can't read"
            raise Error("bad_file", f"{stored}: use a file {good}.")
        if name not in self.tensors:
            raise Error(
                "bad_file", f"The model's file has no tensor {name}: use a complete model of this architecture."
            )
        return self.tensors[name]


async def open_checkpoint(model: Source | Mapping[str, Source] | str | os.PathLike[str]) -> Checkpoint:
    """Reads the header of a model: a file (a Source or its path), or a folder ({file name: Source} or its path).

    A folder is as the Hugging Face hub lays it out, or holds a single GGUF file. A Source of several files (a packed
    folder) has them as `.files`. Raises Error("bad_file").
    """
    from .gguf import read_gguf
    from .safetensors import read_safetensors

    if isinstance(model, str | os.PathLike):
        from ..sources.file import FileSource, open_folder

        model = open_folder(model) if os.path.isdir(model) else FileSource(model)
    if isinstance(model, Mapping):
        return await _open_folder(model)
    if files := getattr(model, "files", None):
        return await _open_folder(files)
    magic = await model.bytes(0, min(9, model.size))
    if magic[:4] == b"GGUF":
        return await read_gguf(model)
    if magic[8:9] == b"{":
        return await read_safetensors([model], {})
    if bytes(magic).lstrip()[:1] == b"<":
        raise Error("bad_file", f"{model.name} is a web page and no model: download the file itself, not its page.")
    raise Error(
        "bad_file",
        f"{model.name} is neither a GGUF nor a safetensors file: choose a file that ends in .gguf or .safetensors.",
    )


async def _open_folder(files: Mapping[str, Source]) -> Checkpoint:
    from .safetensors import read_safetensors, weight_map

    folder = getattr(files, "name", "the folder")
    places: dict[str, str] = {}
    if INDEX in files:
        places = weight_map(await _read_json(files[INDEX]))
        names = sorted(set(places.values()))
    else:
        names = [name for name in files if name == "model.safetensors"]
    if not names:
        ggufs = [name for name in files if name.endswith(".gguf")]
        if len(ggufs) == 1:
            return await open_checkpoint(files[ggufs[0]])
        problem = f"has {len(ggufs)} .gguf files" if ggufs else "has no model.safetensors and no .gguf file"
        advice = f"choose one of {', '.join(ggufs)}" if ggufs else "use a model's folder with all its files"
        raise Error("bad_file", f"{folder} {problem}: {advice}.")
    for name in ["config.json", *names]:
        if name not in files:
            raise Error("bad_file", f"{folder} has no {name}: use the model's folder with all its files.")
    config = await _read_json(files["config.json"])
    if "generation_config.json" in files:
        # the tokens that end a chat model's turn are often named here only
        config["eos_token_id"] = token_ids(config) + token_ids(await _read_json(files["generation_config.json"]))
    checkpoint = await read_safetensors(
        [files[name] for name in names], config, {tensor: files[name] for tensor, name in places.items()}
    )
    checkpoint.files = files
    if "tokenizer.json" in files:
        checkpoint.tokenizer = await _read_json(files["tokenizer.json"])
    elif "vocab.txt" in files:
        checkpoint.vocab = await _read_text(files["vocab.txt"])
    if "tokenizer_config.json" in files:
        checkpoint.tokenizer_config = await _read_json(files["tokenizer_config.json"])
    if "chat_template.jinja" in files:
        checkpoint.tokenizer_config["chat_template"] = await _read_text(files["chat_template.jinja"])
    return checkpoint


async def _read_text(source: Source) -> str:
    if source.size > MAX_TEXT:
        raise Error(
            "bad_file",
            f"{source.name} has {source.size} bytes, more than the {MAX_TEXT} of any model's: use another file.",
        )
    try:
        return (await source.bytes(0, source.size)).decode()
    except UnicodeDecodeError as error:
        raise Error("bad_file", f"{source.name} can't be read ({error}): download it again.") from error


async def _read_json(source: Source, kind: type = dict) -> Any:
    try:
        value = json.loads(await _read_text(source))
    except (ValueError, RecursionError) as error:
        raise Error("bad_file", f"{source.name} can't be read ({error}): download it again.") from error
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else "list"
        raise Error("bad_file", f"{source.name} is not a JSON {wanted}: download it again.")
    return value


def token_ids(config: dict[str, Any], key: str = "eos_token_id") -> list[int]:
    """Returns config[key], which may be missing, null, an id or a list of ids, as a list. Negative ids, with which some
    writers say "none", are dropped. Raises Error("bad_file")."""
    value = config.get(key)
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise Error("bad_file", f"config.json: {key} must be token ids, got {value!r}: download the file again.")
    return [i for i in ids if i >= 0]


def check_config(config: dict[str, Any], *needed: str, **only: Any) -> None:
    """Raises Error("bad_file") unless config has positive numbers under the keys `needed`, which must be whole except
    epsilons and factors, and under the keys of `only` either nothing or these values."""
    for key in needed:
        value = config.get(key)
        if value is None:
            raise Error("bad_file", f"config.json has no {key}: use the model's folder with all its files.")
        numbers = (int, float) if "eps" in key or key.endswith("factor") else (int,)
        if type(value) not in numbers or not value > 0:
            raise Error("bad_file", f"config.json: {key} is {value!r}, which is impossible: download the file again.")
    for key, value in only.items():
        if config.get(key, value) != value:
            raise Error("bad_file", f"{key} {config[key]!r} is not supported yet: use a model with {value!r}.")
