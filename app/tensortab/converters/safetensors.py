"""Writes safetensors (https://github.com/huggingface/safetensors): the format that converters write."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

from ..errors import Error

SIZES = {"I64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of an element, by the format's name


class Tensor(NamedTuple):
    """`data` are the bytes of the elements in row-major order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A file of these tensors. Tensors of wider elements come first, so that each is aligned to its element."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    if clash := tensors.keys() & header.keys():
        raise Error("bad_file", f"A tensor of a safetensors file can't be called {clash.pop()}.")
    ordered = sorted(tensors.items(), key=lambda item: -SIZES[item[1].dtype])
    end = 0
    for name, (dtype, shape, data) in ordered:
        if len(data) != SIZES[dtype] * prod(shape):
            raise ValueError(f"{name}: {len(data)} bytes are no {dtype} of shape {shape}")
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(tensor.data)
