"""Random weights by a recipe: a tensor's name and shape say what is in it, so that golden files hold only outputs."""

import json
import struct
import zlib
from pathlib import Path

import gguf
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


def write_gguf(file: Path, config: dict, tensors: dict[str, np.ndarray]) -> Path:
    """The same model as llama.cpp's convert_hf_to_gguf.py writes it, with the names that the gguf package knows."""
    kind = {"mistral": "llama"}.get(config["model_type"], config["model_type"])
    layers = config.get("num_hidden_layers") or config["n_layer"]
    heads = config.get("num_attention_heads") or config["n_head"]
    writer = gguf.GGUFWriter(str(file), kind)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_embedding_length(config.get("hidden_size") or config["n_embd"])
    writer.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    writer.add_feed_forward_length(config.get("intermediate_size") or 4 * config["n_embd"])
    if kind == "gpt2":
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
        size = config.get("head_dim") or config["hidden_size"] // heads
        writer.add_rope_dimension_count(int(size * config["rope_parameters"].get("partial_rotary_factor", 1.0)))
    if dim := config.get("head_dim"):
        writer.add_key_length(dim)
        writer.add_value_length(dim)
    if kind == "phi3":
        writer.add_sliding_window(config["sliding_window"] or 0)
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        for length in ("long", "short"):
            if factors := config["rope_parameters"].get(f"{length}_factor"):
                writer.add_tensor(f"rope_factors_{length}.weight", np.array(factors, np.float32))
    names = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == kind), layers)
    for name, value in tensors.items():
        if kind == "llama" and name.split(".")[-2] in ("q_proj", "k_proj"):  # neighbours rotate together
            groups = heads if "q_proj" in name else config["num_key_value_heads"]
            value = value.reshape(groups, 2, len(value) // groups // 2, -1).swapaxes(1, 2).reshape(value.shape)
        if kind == "gemma" and name.endswith("norm.weight"):
            value = value.astype(np.float32) + 1
        if kind == "gpt2" and "c_" in name and value.ndim == 2:
            value = value.T
        value = np.ascontiguousarray(value, np.float16 if value.ndim > 1 else np.float32)
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
