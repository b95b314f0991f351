"""A small random Whisper of the exact architecture: its configuration, tokenizer, weights and some noise to hear, the
same on every machine (whole numbers of a seeded generator). Windows are 2 s long."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from tensortab.tokenizer.decode import BYTES

SIZE, LAYERS, POSITIONS, END = 64, 2, 100, 256
SPECIAL = (
    "endoftext", "startoftranscript", "en", "zh", "de", "fr", "translate", "transcribe", "startoflm", "startofprev",
    "nospeech", "notimestamps",
)  # fmt: skip
ID = {name: END + n for n, name in enumerate(SPECIAL)}
STAMPS = POSITIONS + 1
VOCABULARY = END + len(SPECIAL) + STAMPS
WINDOW = 2 * 160 * POSITIONS  # samples

CONFIG: dict[str, Any] = {
    "model_type": "whisper", "d_model": SIZE, "vocab_size": VOCABULARY, "num_mel_bins": 80,
    "activation_function": "gelu", "max_source_positions": POSITIONS, "max_target_positions": 64,
    "scale_embedding": False, "tie_word_embeddings": True,
    "encoder_layers": LAYERS, "encoder_attention_heads": 2, "encoder_ffn_dim": 2 * SIZE,
    "decoder_layers": LAYERS, "decoder_attention_heads": 2, "decoder_ffn_dim": 2 * SIZE,
    "decoder_start_token_id": ID["startoftranscript"], "bos_token_id": END, "eos_token_id": END, "pad_token_id": END,
}  # fmt: skip
GENERATION: dict[str, Any] = {
    "is_multilingual": True, "no_timestamps_token_id": ID["notimestamps"], "max_initial_timestamp_index": 20,
    "lang_to_id": {f"<|{name}|>": ID[name] for name in ("en", "zh", "de", "fr")},
    "task_to_id": {name: ID[name] for name in ("translate", "transcribe")}, "prev_sot_token_id": ID["startofprev"],
    "suppress_tokens": [3, 50, *range(ID["startoftranscript"], ID["notimestamps"])], "begin_suppress_tokens": [32, END],
    "decoder_start_token_id": ID["startoftranscript"], "bos_token_id": END, "eos_token_id": END, "pad_token_id": END,
    "max_length": 64,
}  # fmt: skip


def tokenizer() -> dict[str, Any]:
    """Bytes and special tokens; timestamps are tokens, too."""
    names = [f"<|{name}|>" for name in SPECIAL] + [f"<|{n * 0.02:.2f}|>" for n in range(STAMPS)]
    added = [
        {"id": END + n, "content": name, "special": n < len(SPECIAL), "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for n, name in enumerate(names)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": dict(BYTES), "merges": []}
    model |= {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False}
    return {"version": "1.0", "added_tokens": added, "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor's name and shape."""
    named: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (SIZE, 80, 3), "encoder.conv1.bias": (SIZE,),
        "encoder.conv2.weight": (SIZE, SIZE, 3), "encoder.conv2.bias": (SIZE,),
        "encoder.embed_positions.weight": (POSITIONS, SIZE),
        "decoder.embed_tokens.weight": (VOCABULARY, SIZE), "decoder.embed_positions.weight": (64, SIZE),
    }  # fmt: skip
    for part in ("encoder", "decoder"):
        norms = [f"{part}.layer_norm"]
        for name in (f"{part}.layers.{n}" for n in range(LAYERS)):
            for attention in ("self_attn", "encoder_attn")[: 1 + (part == "decoder")]:
                named |= {f"{name}.{attention}.{p}_proj.weight": (SIZE, SIZE) for p in ("q", "k", "v", "out")}
                named |= {f"{name}.{attention}.{p}_proj.bias": (SIZE,) for p in ("q", "v", "out")}
                norms.append(f"{name}.{attention}_layer_norm")
            named |= {f"{name}.fc1.weight": (2 * SIZE, SIZE), f"{name}.fc1.bias": (2 * SIZE,)}
            named |= {f"{name}.fc2.weight": (SIZE, 2 * SIZE), f"{name}.fc2.bias": (SIZE,)}
            norms.append(f"{name}.final_layer_norm")
        named |= {f"{norm}.{kind}": (SIZE,) for norm in norms for kind in ("weight", "bias")}
    return {f"model.{name}": shape for name, shape in named.items()}


def weights() -> dict[str, np.ndarray]:
    """f16."""
    rng = np.random.default_rng(7)
    made = {}
    for name, shape in shapes().items():
        numbers = rng.integers(-128, 129, shape) / 1024
        if "embed" in name:
            numbers = numbers * (12 if "decoder.embed_positions" in name else 6)
        elif len(shape) == 2:
            numbers = numbers * 3
        elif "layer_norm.weight" in name:
            numbers = numbers + 1
        made[name] = numbers.astype(np.float16)
    return made


def noise(seconds: float, seed: int) -> np.ndarray:
    """f32 samples at 16 kHz: bursts of noise, louder and softer, coarser and finer, with silence between them."""
    rng = np.random.default_rng(seed)
    parts, count = [], int(16000 * seconds)
    while sum(map(len, parts)) < count:
        size, coarse, loud = (
            int(rng.integers(800, 6400)),
            int(rng.choice([1, 2, 5, 20])),
            int(rng.choice([0, 30, 3000])),
        )
        parts.append(np.repeat(rng.integers(-loud, loud + 1, size // coarse + 1), coarse)[:size])
    return (np.concatenate(parts)[:count] / 32768).astype(np.float32)


def write(folder: Path) -> Path:
    """The model as a Hugging Face folder."""
    files = {"config.json": CONFIG, "generation_config.json": GENERATION, "tokenizer.json": tokenizer()}
    files["tokenizer_config.json"] = {"eos_token": "<|endoftext|>"}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    header, data = {}, b""
    for name, weight in weights().items():
        span = [len(data), len(data) + weight.nbytes]
        header[name] = {"dtype": "F16", "shape": list(weight.shape), "data_offsets": span}
        data += weight.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder
