"""Converts CTranslate2's Whisper (model.bin, config.json, tokenizer.json) to a Hugging Face folder.

model.bin, version 6, little-endian; a text is its u16 length, its UTF-8, and a zero, which the length includes:

    u32 version, text name, u32 revision
    u32 count, then each variable: text name, u8 rank, u32 shape[rank], u8 type, u32 bytes, data
    u32 count, then each alias: text name, text variable
"""

import json
import re
import shutil
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from ..errors import Error
from .safetensors import SIZES, Tensor, write

TYPES = {0: "F32", 4: "F16", 5: "BF16"}  # of tensors; quantized ones are not supported
NUMBERS = {1: "<b", 2: "<h", 3: "<i"}  # of settings

# The parts of a layer -> Hugging Face's; if there are several, each has an equal share of the matrix's rows.
PARTS = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "ffn/layer_norm": ("final_layer_norm",),
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "layer_norm": ("layer_norm",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
}
KINDS = {"weight": "weight", "gamma": "weight", "encodings": "weight", "bias": "bias", "beta": "bias"}
NAME = re.compile(r"(encoder|decoder)/(?:layer_([0-9]{1,3})/)?(.+)/(\w+)")

# The settings that every Whisper model has; other values belong to another model.
SETTINGS = {
    "decoder/activation": 3,  # GELU
    "decoder/alibi": 0,
    "decoder/alibi_use_positive_positions": 0,
    "decoder/scale_alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
HEADS = ("encoder/num_heads", "decoder/num_heads")
UNUSED = ("decoder/alignment_heads", "decoder/alignment_layer")
TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}
SAMPLING_RATE, N_FFT, HOP_LENGTH = 16_000, 400, 160  # of Whisper's spectrogram; its first layers halve the rate


class Reader:
    """Reads numbers and texts one after the other; raises Error("bad_file") if the file ends before."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name, self._at = memoryview(data), name, 0

    def bytes(self, size: int) -> memoryview:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise Error(
                "bad_file", f"{self._name} was cut short: {self._at} bytes are needed, but it has {len(self._data)}."
            )
        return self._data[start : self._at]

    def number(self, code: str) -> int:
        return struct.unpack("<" + code, self.bytes(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        raw = bytes(self.bytes(self.number("H")))
        try:
            return raw.removesuffix(b"\0").decode()
        except UnicodeDecodeError as error:
            raise Error("bad_file", f"{self._name} is damaged: a name is not UTF-8 ({error}).") from None

    @property
    def over(self) -> bool:
        return self._at == len(self._data)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The tensors and the settings of a Whisper model.bin. Raises Error("bad_file")."""
    file = Reader(path.read_bytes(), str(path))
    head = (file.number("I"), file.text(), file.number("I"))
    if head != (6, "WhisperSpec", 3):
        raise Error("bad_file", f"{path} is not a Whisper model of CTranslate2's version 6: it begins with {head}.")
    tensors: dict[str, Tensor] = {}
    settings: dict[str, int] = {}
    for _ in range(file.number("I")):
        name = file.text()
        shape = tuple(file.number("I") for _ in range(file.number("B")))
        kind, data = file.number("B"), file.bytes(file.number("I"))
        if name in tensors or name in settings:
            raise Error("bad_file", f"{path} is damaged: it has {name} twice.")
        if shape and kind in TYPES and len(data) == SIZES[TYPES[kind]] * prod(shape):
            tensors[name] = Tensor(TYPES[kind], shape, data)
        elif not shape and kind in NUMBERS and len(data) == struct.calcsize(NUMBERS[kind]):
            settings[name] = struct.unpack(NUMBERS[kind], data)[0]
        else:
            raise Error(
                "bad_file",
                f"{path}: {name} of type {kind}, shape {shape} and {len(data)} bytes can't be read: "
                "convert the model with the quantization float16 or float32.",
            )
    aliases = {file.text(): file.text() for _ in range(file.number("I"))}
    if aliases != TIED or not file.over:
        raise Error(
            "bad_file",
            f"{path} is not a Whisper model: its variables are followed by the aliases {aliases} or by other data.",
        )
    return tensors, settings


def _renamed(path: Path, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yields (Hugging Face's name, tensor), with q, k and v apart. Whisper's k has no bias: CTranslate2 writes
    zeros."""
    for name, (dtype, shape, data) in tensors.items():
        match = NAME.fullmatch(name)
        parts = PARTS.get(match[3]) if match else None
        if match is None or parts is None or match[4] not in KINDS or shape[0] % len(parts):
            raise Error("bad_file", f"{path} is not a Whisper model: it has {name} of the shape {shape}.")
        layer = f"layers.{int(match[2])}." if match[2] else ""
        size = len(data) // len(parts)
        for index, part in enumerate(parts):
            piece = Tensor(dtype, (shape[0] // len(parts), *shape[1:]), data[index * size : (index + 1) * size])
            if part.endswith("k_proj") and KINDS[match[4]] == "bias":
                if any(piece.data):
                    raise Error("bad_file", f"{path} is not a Whisper model: its {name} has a bias for k.")
                continue
            yield f"model.{match[1]}.{layer}{part}.{KINDS[match[4]]}", piece


def convert(source: Path, target: Path) -> None:
    """Converts the folder `source` (as CTranslate2's converter writes it, with its tokenizer.json).

    Everything in model.bin must be known and have a fitting shape. Raises Error("bad_file").
    """
    path = source / "model.bin"
    raw, settings = read(path)
    tensors = dict(_renamed(path, raw))
    odd = {name: value for name, value in settings.items() if SETTINGS.get(name, value) != value}
    odd |= {name: settings[name] for name in settings.keys() - SETTINGS.keys() - {*HEADS, *UNUSED}}
    if odd or not settings.keys() >= {*HEADS}:
        raise Error("bad_file", f"{path} is not a Whisper model: its settings are {odd or settings}.")

    def shape(name: str, rank: int) -> tuple[int, ...]:
        if name not in tensors or len(tensors[name].shape) != rank:
            raise Error("bad_file", f"{path} is not a Whisper model: it has no {name} of {rank} dimensions.")
        return tensors[name].shape

    vocab, width = shape("model.decoder.embed_tokens.weight", 2)
    config: dict[str, Any] = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "activation_function": "gelu",
        "d_model": width,
        "vocab_size": vocab,
        "num_mel_bins": shape("model.encoder.conv1.weight", 3)[1],
        "max_source_positions": shape("model.encoder.embed_positions.weight", 2)[0],
        "max_target_positions": shape("model.decoder.embed_positions.weight", 2)[0],
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[tensors["model.encoder.conv1.weight"].dtype],
    }
    for half, heads in zip(("encoder", "decoder"), HEADS, strict=True):
        config[f"{half}_layers"] = len({n.split(".")[3] for n in tensors if n.startswith(f"model.{half}.layers.")})
        config[f"{half}_attention_heads"] = settings[heads]
        config[f"{half}_ffn_dim"] = shape(f"model.{half}.layers.0.fc1.weight", 2)[0]
    generation = _generation(source, vocab) | {"max_length": config["max_target_positions"]}
    config |= {key: generation[key] for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    hops = 2 * config["max_source_positions"]
    preprocessor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": config["num_mel_bins"],
        "sampling_rate": SAMPLING_RATE,
        "n_fft": N_FFT,
        "hop_length": HOP_LENGTH,
        "chunk_length": hops * HOP_LENGTH // SAMPLING_RATE,
        "n_samples": hops * HOP_LENGTH,
        "nb_max_frames": hops,
        "padding_value": 0.0,
    }
    end = "<|endoftext|>"
    tokenizer = {"tokenizer_class": "WhisperTokenizer", "eos_token": end, "pad_token": end, "unk_token": end}
    write(target / "model.safetensors", tensors)
    shutil.copy(source / "tokenizer.json", target)
    for name, value in {
        "config.json": config,
        "generation_config.json": generation,
        "preprocessor_config.json": preprocessor,
        "tokenizer_config.json": tokenizer,
    }.items():
        (target / name).write_text(json.dumps(value, indent=1))


def _generation(source: Path, vocab: int) -> dict[str, Any]:
    """Returns generation_config.json. The token ids are the tokenizer's: config.json's lang_ids are wrong in English
    models."""
    about, tokenizer = _json(source / "config.json"), _json(source / "tokenizer.json")
    try:
        tokens = {entry["content"]: int(entry["id"]) for entry in tokenizer["added_tokens"]}
        first, last = tokens["<|startoftranscript|>"], tokens["<|translate|>"]
        generation: dict[str, Any] = {
            "decoder_start_token_id": first,
            "eos_token_id": tokens["<|endoftext|>"],
            "pad_token_id": tokens["<|endoftext|>"],
            "prev_sot_token_id": tokens["<|startofprev|>"],
            "no_timestamps_token_id": tokens["<|notimestamps|>"],
            "max_initial_timestamp_index": 50,
            "suppress_tokens": about["suppress_ids"],
            "begin_suppress_tokens": about["suppress_ids_begin"],
            "alignment_heads": about["alignment_heads"],
            "is_multilingual": vocab > 51_864,  # the English vocabulary has one token less
        }
        if generation["is_multilingual"]:
            languages = sorted((id, token) for token, id in tokens.items() if first < id < last)
            generation["lang_to_id"] = {token: id for id, token in languages}
            generation["task_to_id"] = {task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate")}
    except (KeyError, TypeError, ValueError) as error:
        raise Error(
            "bad_file", f"{source}: config.json or tokenizer.json is not a Whisper model's ({error!r})."
        ) from None
    return generation


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Error("bad_file", f"{path} can't be read ({error}): convert the model again.") from None
    if not isinstance(value, dict):
        raise Error("bad_file", f"{path} is not a JSON object: convert the model again.")
    return value
