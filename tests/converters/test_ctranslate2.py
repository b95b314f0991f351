"""CTranslate2's Whisper as a Hugging Face folder: names and values of a tiny one, and files that lie."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.converters import ctranslate2
from tensortab.errors import Error

WIDTH, VOCAB = 4, 9
SPECIAL = (
    "<|endoftext|> <|startoftranscript|> <|en|> <|translate|> <|transcribe|> <|startofprev|> <|notimestamps|>".split()
)
TOKENIZER = {"added_tokens": [{"content": token, "id": id} for id, token in enumerate(SPECIAL)]}
ABOUT = {"suppress_ids": [1], "suppress_ids_begin": [2], "alignment_heads": [[0, 1]], "lang_ids": [7]}
SETTINGS = {"encoder/num_heads": 2, "decoder/num_heads": 2, "decoder/activation": 3, "decoder/pre_norm": 1}


def shapes() -> dict[str, tuple[int, ...]]:
    """A Whisper of one layer: its variables and their shapes."""
    found: dict[str, tuple[int, ...]] = {
        "decoder/embeddings/weight": (VOCAB, WIDTH),
        "decoder/position_encodings/encodings": (5, WIDTH),
        "encoder/position_encodings/encodings": (100, WIDTH),
        "encoder/conv1/weight": (WIDTH, 3, 3),
        "encoder/conv2/weight": (WIDTH, WIDTH, 3),
    }
    rows = {
        "self_attention/linear_0": 3 * WIDTH,
        "self_attention/linear_1": WIDTH,
        "ffn/linear_0": 8,
        "ffn/linear_1": 8,
    }
    cross = {"attention/linear_0": WIDTH, "attention/linear_1": 2 * WIDTH, "attention/linear_2": WIDTH}
    for name, count in [
        (f"{half}/layer_0/{part}", n) for half in ("encoder", "decoder") for part, n in rows.items()
    ] + [(f"decoder/layer_0/{part}", n) for part, n in cross.items()]:
        found |= {f"{name}/weight": (count, WIDTH), f"{name}/bias": (count,)}
    return found


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    made = {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes().items()}
    made["encoder/layer_0/self_attention/linear_0/bias"][WIDTH : 2 * WIDTH] = 0  # k has none
    made["decoder/layer_0/self_attention/linear_0/bias"][WIDTH : 2 * WIDTH] = 0
    made["decoder/layer_0/attention/linear_1/bias"][:WIDTH] = 0
    return made


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def binary(
    made: dict[str, np.ndarray], settings: dict[str, int], name: str = "WhisperSpec", tail: bytes = b""
) -> bytes:
    """model.bin, as ctranslate2's specification writes it."""
    out = struct.pack("<I", 6) + text(name) + struct.pack("<II", 3, len(made) + len(settings))
    for key, array in made.items():
        kind = {"float16": 4, "float32": 0, "int8": 1}[array.dtype.name]
        out += text(key) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    for key, value in settings.items():
        out += text(key) + struct.pack("<BBIh", 0, 2, 2, value)
    return out + struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight") + tail


def convert(folder: Path, data: bytes, about: Any = ABOUT, tokenizer: Any = TOKENIZER) -> Path:
    target = folder / "made"
    target.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    ctranslate2.convert(folder, target)
    return target


def stored(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert start % 8 == 0
    return {
        name: np.frombuffer(
            data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], np.float16
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_names_and_values(tmp_path: Path) -> None:
    made = tensors()
    found = stored(convert(tmp_path, binary(made, SETTINGS)) / "model.safetensors")
    expected = {
        "model.encoder.conv1.weight": made["encoder/conv1/weight"],
        "model.decoder.embed_tokens.weight": made["decoder/embeddings/weight"],
        "model.decoder.embed_positions.weight": made["decoder/position_encodings/encodings"],
    }
    for half in ("encoder", "decoder"):
        for name, part in {
            "fc1": "ffn/linear_0",
            "fc2": "ffn/linear_1",
            "self_attn.out_proj": "self_attention/linear_1",
        }.items():
            for kind in ("weight", "bias"):
                expected[f"model.{half}.layers.0.{name}.{kind}"] = made[f"{half}/layer_0/{part}/{kind}"]
        for index, name in enumerate("qkv"):
            rows = slice(index * WIDTH, (index + 1) * WIDTH)
            for kind in ("weight", "bias"):
                whole = made[f"{half}/layer_0/self_attention/linear_0/{kind}"]
                expected[f"model.{half}.layers.0.self_attn.{name}_proj.{kind}"] = whole[rows]
    for kind in ("weight", "bias"):
        expected[f"model.decoder.layers.0.encoder_attn.q_proj.{kind}"] = made[
            f"decoder/layer_0/attention/linear_0/{kind}"
        ]
        expected[f"model.decoder.layers.0.encoder_attn.out_proj.{kind}"] = made[
            f"decoder/layer_0/attention/linear_2/{kind}"
        ]
        for index, name in enumerate("kv"):
            whole = made[f"decoder/layer_0/attention/linear_1/{kind}"]
            expected[f"model.decoder.layers.0.encoder_attn.{name}_proj.{kind}"] = whole[index * WIDTH :][:WIDTH]
    expected = {name: array for name, array in expected.items() if not name.endswith("k_proj.bias")}
    assert found.keys() - expected.keys() == {"model.encoder.conv2.weight", "model.encoder.embed_positions.weight"}
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


def test_a_multilingual_model_lists_its_languages(tmp_path: Path) -> None:
    made = tensors() | {"decoder/embeddings/weight": np.zeros((51_865, WIDTH), np.float16)}
    folder = convert(tmp_path, binary(made, SETTINGS))
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["is_multilingual"] is True
    assert generation["lang_to_id"] == {"<|en|>": 2}
    assert generation["task_to_id"] == {"transcribe": 4, "translate": 3}
    assert (generation["decoder_start_token_id"], generation["no_timestamps_token_id"]) == (1, 6)


def changed(**change: np.ndarray) -> dict[str, np.ndarray]:
    return tensors() | {name.replace("__", "/"): array for name, array in change.items()}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (binary(tensors(), SETTINGS, name="TransformerSpec"), "not a Whisper model of CTranslate2"),
        (binary(tensors(), SETTINGS, tail=b"!"), "not a Whisper model: its variables are followed by"),
        (binary(tensors(), SETTINGS | {"decoder/alibi": 1}), "its settings are {'decoder/alibi': 1}"),
        (binary(tensors(), SETTINGS | {"decoder/what": 0}), "its settings are {'decoder/what': 0}"),
        (binary(tensors(), {}), "its settings are {}"),
        (binary(changed(encoder__what=np.zeros(3, np.float16)), SETTINGS), "it has encoder/what"),
        (binary(changed(encoder__conv1__weight=np.zeros((4, 3, 3), np.int8)), SETTINGS), "the quantization float16"),
        (binary(changed(encoder__conv1__weight=np.zeros((4, 9), np.float16)), SETTINGS), "of 3 dimensions"),
        (
            binary(changed(decoder__layer_0__self_attention__linear_0__bias=np.ones(12, np.float16)), SETTINGS),
            "has a bias for k",
        ),
        (
            binary(changed(decoder__layer_0__self_attention__linear_0__bias=np.ones(11, np.float16)), SETTINGS),
            r"linear_0/bias of the shape \(11,\)",
        ),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(Error, match=message):
        convert(tmp_path, data)


@pytest.mark.parametrize(
    ("about", "tokenizer"),
    [
        ([], TOKENIZER),
        ({}, TOKENIZER),
        (ABOUT, []),
        (ABOUT, {"added_tokens": 1}),
        (ABOUT, {"added_tokens": [{"content": "x"}]}),
        (ABOUT, {"added_tokens": TOKENIZER["added_tokens"][:-1]}),
    ],
)
def test_a_folder_without_its_configuration_is_refused(tmp_path: Path, about: Any, tokenizer: Any) -> None:
    with pytest.raises(Error, match="json"):
        convert(tmp_path, binary(tensors(), SETTINGS), about, tokenizer)


REAL = binary(tensors(), SETTINGS)


@given(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        found = stored(
            convert(folder, REAL[:at] + data + (b"" if cut else REAL[at + len(data) :])) / "model.safetensors"
        )
    except Error:
        return
    assert sum(array.nbytes for array in found.values()) <= len(REAL) + 4
