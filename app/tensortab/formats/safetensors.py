"""Safetensors (https://github.com/huggingface/safetensors): length, JSON header, tensors without a gap.

The header is checked as the format demands: a damaged or hostile file raises Error("bad_file") and nothing else.
"""

import json
from math import prod
from typing import Any

from ..dtype import DTYPES
from ..errors import Error
from ..sources import Source
from . import Checkpoint, TensorInfo, token_ids

MAX_HEADER = 1 << 24  # bytes; the format allows 100 MB, real ones have 1, and parsed JSON needs 20 times its text
MAX_SIZE = 1 << 63

SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
USABLE = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
# the names in checkpoints as old as BERT's own
RENAMED = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}


async def read_safetensors(
    sources: list[Source], config: dict[str, Any], places: dict[str, Source] | None = None
) -> Checkpoint:
    """Reads the headers of a model's safetensors files (all its parts) as one Checkpoint, but no tensor.

    `config` is config.json ({} if there is none). `places` (weight_map) says which file's tensor counts if several
    files have it. Raises Error("bad_file").
    """
    tensors: dict[str, TensorInfo] = {}
    unusable: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    for source in sources:
        header, start = await _read_header(source)
        metadata |= _metadata(source, header.pop("__metadata__", {}))
        end = 0
        entries = [_entry(source, *entry) for entry in header.items()]
        for known, kind, shape, begin, stop in sorted(entries, key=lambda entry: entry[3:]):
            name = _renamed(known)
            if begin != end:
                raise _bad(source, f"the tensor {name} begins at byte {begin}, but the tensor before it ends at {end}")
            if stop - begin != prod(shape) * SIZES.get(kind, 0) and kind in SIZES:
                raise _bad(source, f"the tensor {name} of {kind} and shape {shape} can't have {stop - begin} bytes")
            end = stop
            if (places or {}).get(known, source) is not source:
                continue
            if name in tensors or name in unusable:
                raise _bad(source, f"it has the tensor {name} twice", "Use the files of one model")
            if kind in USABLE and prod(shape) > 0:
                tensors[name] = TensorInfo(name, DTYPES[USABLE[kind]], shape, start + begin, stop - begin, source)
            else:
                unusable[name] = kind if prod(shape) > 0 else "nothing"
        if start + end != source.size:
            raise _bad(source, f"its tensors end at byte {start + end}, but it has {source.size} bytes")
    return Checkpoint("safetensors", metadata, tensors, _complete(config, tensors), unusable=unusable)


def weight_map(index: dict[str, Any]) -> dict[str, str]:
    """{tensor: file} of a model.safetensors.index.json; all files are in the index's own folder."""
    weights = index.get("weight_map")
    if not isinstance(weights, dict) or not weights or not all(isinstance(name, str) for name in weights.values()):
        raise Error("bad_file", "model.safetensors.index.json has no weight_map: download it again.")
    for name in set(weights.values()):
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise Error(
                "bad_file",
                f"model.safetensors.index.json names {name!r}, which is not a file beside it: don't trust this model.",
            )
    return weights


def _bad(source: Source, problem: str, advice: str = "The file is damaged: download it again") -> Error:
    return Error("bad_file", f"{source.name} can't be read: {problem}. {advice}.")


async def _read_header(source: Source) -> tuple[dict[str, Any], int]:
    """The JSON header and where the tensors begin."""
    if source.size < 8:
        raise _bad(source, f"a safetensors file has at least 8 bytes, this one has {source.size}")
    size = int.from_bytes(await source.bytes(0, 8), "little")
    if size > MAX_HEADER:
        raise _bad(source, f"its header claims to have {size} bytes, but at most {MAX_HEADER} are allowed")
    if 8 + size > source.size:
        raise _bad(
            source,
            f"its header claims {size} bytes, but the file has {source.size}",
            "It was cut short: download it again",
        )
    text = await source.bytes(8, size)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _bad(source, f"its header isn't valid JSON ({error})") from error
    if not isinstance(header, dict) or text[:1] != b"{":
        raise _bad(source, "its header isn't a JSON object")
    return header, 8 + size


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("it has a key twice")
    return result


def _metadata(source: Source, metadata: Any) -> dict[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(source, "its __metadata__ isn't a map of strings")
    return metadata


def _entry(source: Source, name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    """A header entry as (name, dtype, shape, begin, end)."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(source, f"the entry of the tensor {name} must have dtype, shape and data_offsets, and nothing else")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise _bad(source, f"the entry of the tensor {name} has a dtype, shape or data_offsets of the wrong type")
    if len(shape) > 16 or offsets[1] < offsets[0]:
        raise _bad(source, f"the entry of the tensor {name} has an impossible shape {shape} or data_offsets {offsets}")
    return name, kind, tuple(shape), offsets[0], offsets[1]


def _renamed(name: str) -> str:
    for old, new in RENAMED.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _sizes(value: Any) -> bool:
    """Is it a list of numbers of bytes or elements?"""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < MAX_SIZE for item in value)


def _complete(config: dict[str, Any], tensors: dict[str, TensorInfo]) -> dict[str, Any]:
    """Returns config.json with the keys that its writer leaves out or writes in a newer way."""
    config = dict(config)
    rope = config.get("rope_parameters")  # transformers 5 has rope_theta and rope_scaling in here
    if isinstance(rope, dict):
        config.setdefault("rope_theta", rope.get("rope_theta"))
        config.setdefault("partial_rotary_factor", rope.get("partial_rotary_factor"))
        if rope.get("rope_type", "default") != "default":
            config.setdefault("rope_scaling", rope)
    config.setdefault("rope_scaling", None)
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    if isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        config["head_dim"] = config.get("head_dim") or hidden // heads
        config["num_key_value_heads"] = config.get("num_key_value_heads") or heads
    config.setdefault("tie_word_embeddings", "lm_head.weight" not in tensors)
    config["eos_token_id"] = list(dict.fromkeys(token_ids(config)))
    return config
