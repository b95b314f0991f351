"""Random weights by a recipe: a tensor's name and shape say what is in it, so that golden files hold only outputs."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np


def weight(name: str, shape: tuple[int, ...] | list[int]) -> np.ndarray:
    """f16 numbers that keep activations near 1, so that each of them matters: matrices, gains (0.5 to 1.5), biases."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = random.normal(0, shape[-1] ** -0.5, shape)
    elif name.endswith(".bias"):
        value = random.normal(0, 0.1, shape)
    else:
        value = random.uniform(0.5, 1.5, shape)
    return value.astype(np.float16)


def write_folder(folder: Path, config: dict, tensors: dict[str, np.ndarray]) -> Path:
    """A model's folder as the Hugging Face hub has it, without a tokenizer; tensors in f16 or f32."""
    folder.mkdir()
    header, data = {}, b""
    for name, value in tensors.items():
        raw = value.tobytes()
        kind = {"float16": "F16", "float32": "F32"}[value.dtype.name]
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
