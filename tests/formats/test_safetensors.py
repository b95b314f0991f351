"""The safetensors reader: real folders, parts, and files that lie."""

import asyncio
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.blocks import dequantize
from tensortab.errors import Error
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.formats.safetensors import read_safetensors

from tests.formats.memory import MemorySource, read, safetensors

GOLDEN = Path(__file__).parents[1] / "golden"
REAL = (GOLDEN / "tiny_llama3/model.safetensors").read_bytes()
A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def values(checkpoint: Checkpoint, name: str) -> np.ndarray:
    info = checkpoint.tensor(name)
    return dequantize(asyncio.run(info.source.bytes(info.offset, info.nbytes)), info.dtype).reshape(info.shape)


def test_same_weights_as_the_gguf_file() -> None:
    """q and k in GGUF are rows in another order: pairs (i, i + D/2) stand side by side."""
    folder, gguf = (asyncio.run(open_checkpoint(GOLDEN / name)) for name in ("tiny_llama3", "tiny_llama3.gguf"))
    assert folder.format == "safetensors"
    assert len(folder.tensors) == 11
    for name in folder.tensors:
        ours, theirs = values(folder, name), values(gguf, name)
        if "q_proj" in name or "k_proj" in name:
            ours = ours.reshape(-1, 2, 8, 64).swapaxes(1, 2).reshape(ours.shape)
        assert np.array_equal(ours, theirs), name


def test_folder() -> None:
    checkpoint = asyncio.run(open_checkpoint(GOLDEN / "tiny_llama"))
    assert checkpoint.config["model_type"] == "llama"
    assert checkpoint.config["rope_theta"] == 10000.0
    assert checkpoint.config["rope_scaling"] is None
    assert checkpoint.config["eos_token_id"] == [2, 0]  # config.json's, then generation_config.json's
    assert checkpoint.tokenizer is not None
    assert "chat_template" in checkpoint.tokenizer_config
    assert checkpoint.metadata == {"format": "pt"}


def test_folder_in_parts(tmp_path: Path) -> None:
    """The template may be a file of its own, the weights several."""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "tiny_llama", folder)
    whole = asyncio.run(open_checkpoint(folder))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    weight_map = {}
    for number, part in enumerate((list(whole.tensors)[:5], list(whole.tensors)[5:])):
        header, data = {}, b""
        for name in part:
            info = whole.tensors[name]
            header[name] = {"dtype": "F32", "shape": info.shape, "data_offsets": [len(data), len(data) + info.nbytes]}
            data += asyncio.run(info.source.bytes(info.offset, info.nbytes))
            weight_map[name] = f"model-{number}.safetensors"
        (folder / f"model-{number}.safetensors").write_bytes(safetensors(header) + data)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    os.remove(folder / "model.safetensors")
    parts = asyncio.run(open_checkpoint(folder))
    assert parts.tensors.keys() == whole.tensors.keys()
    assert all(np.array_equal(values(parts, name), values(whole, name)) for name in whole.tensors)
    assert parts.tokenizer_config["chat_template"] == "{{ messages }}"


def test_a_tensor_in_two_shards_is_the_one_that_the_index_names(tmp_path: Path) -> None:
    """Some writers leave what is tied, or a copy, in several files."""
    a = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    for name, number in (("x.safetensors", 1.0), ("y.safetensors", 2.0)):
        data = struct.pack("<6f", *[number] * 6)
        header = {"a": a, f"only in {name}": a | {"data_offsets": [24, 48]}}
        (tmp_path / name).write_bytes(safetensors(header) + 2 * data)
    (tmp_path / "config.json").write_text("{}")
    for named, number in (("x.safetensors", 1.0), ("y.safetensors", 2.0)):
        places = {"a": named, "b": "x.safetensors", "c": "y.safetensors"}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        checkpoint = asyncio.run(open_checkpoint(tmp_path))
        assert checkpoint.tensors.keys() == {"a", "only in x.safetensors", "only in y.safetensors"}
        assert values(checkpoint, "a").tolist() == [number] * 6
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places | {"a": "z"}}))
    with pytest.raises(Error, match="has no z"):
        asyncio.run(open_checkpoint(tmp_path))
    del places["a"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(Error, match="the tensor a twice"):
        asyncio.run(open_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": None}, "no config.json"),
        ({"model.safetensors": None}, "no model.safetensors"),
        ({"config.json": "{"}, "config.json can't be read"),
        ({"config.json": "[]"}, "config.json is not a JSON object"),
        ({"generation_config.json": '{"eos_token_id": "x"}'}, "eos_token_id must be token ids, got 'x'"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "../b"}}'}, "is not a file beside it"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "gone.safetensors"}}'}, "has no gone.safetensors"),
        ({"model.safetensors.index.json": "{}"}, "no weight_map"),
    ],
)
def test_a_folder_that_is_incomplete_is_refused(tmp_path: Path, change: dict[str, str | None], message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "tiny_llama", folder)
    for name, text in change.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    with pytest.raises(Error, match=message):
        asyncio.run(open_checkpoint(folder))


def test_config_of_older_and_newer_writers() -> None:
    def config(**keys: Any) -> dict[str, Any]:
        return asyncio.run(read_safetensors([MemorySource(safetensors({}))], keys)).config

    older = config(hidden_size=64, num_attention_heads=4, rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2})
    assert older["head_dim"] == 16
    assert older["num_key_value_heads"] == 4
    assert older["tie_word_embeddings"] is True
    assert older["rope_scaling"] == {"type": "linear", "factor": 2}
    newer = config(rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 8}, eos_token_id=[1, 2, 1])
    assert newer["rope_theta"] == 5e5
    assert newer["rope_scaling"]["factor"] == 8
    assert newer["eos_token_id"] == [1, 2]


def test_types_we_cannot_read_are_refused_when_used() -> None:
    checkpoint = read(safetensors({"a": A, "b": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [24, 28]}}, 28))
    assert checkpoint.tensor("a").shape == (2, 3)
    with pytest.raises(Error, match=r"b is stored as F8_E4M3.* use a file with F32, F16 or BF16"):
        checkpoint.tensor("b")
    empty = read(safetensors({"a": A, "b": {"dtype": "F32", "shape": [0, 4], "data_offsets": [24, 24]}}, 24))
    with pytest.raises(Error, match="b is stored as nothing"):
        empty.tensor("b")
    with pytest.raises(Error, match="no tensor c"):
        checkpoint.tensor("c")


def test_no_metadata_and_no_ids_are_as_none() -> None:
    """Writers in other languages put null, and -1 for the ids that a model does not have."""
    checkpoint = read(safetensors({"__metadata__": None, "a": A}, 24))
    assert checkpoint.metadata == {}
    config = {"eos_token_id": [2, -1], "bos_token_id": -1, "pad_token_id": -1}
    assert asyncio.run(read_safetensors([MemorySource(safetensors({}))], config)).config["eos_token_id"] == [2]


LYING = [
    ("length beyond the file", safetensors({"a": A}, 24, length=1 << 20), "cut short"),
    ("length beyond reason", safetensors(b'{"a":' + b" " * 20, length=1 << 60), "have 1152921504606846976 bytes"),
    ("not JSON", safetensors(b"{nonsense}"), "isn't valid JSON"),
    ("not UTF-8", safetensors(b'{"\xff": 1}'), "isn't valid JSON"),
    ("too deep", safetensors(b'{"a":' + b"[" * 100_000), "isn't valid JSON"),
    ("huge number", safetensors(b'{"a":' + b"9" * 100_000 + b"}"), "isn't valid JSON"),
    ("key twice", safetensors(b'{"a": 1, "a": 2}'), "it has a key twice"),
    ("metadata not text", safetensors({"__metadata__": {"a": 1}}), "__metadata__"),
    ("entry not an object", safetensors({"a": []}), "entry of the tensor a"),
    ("entry incomplete", safetensors({"a": {"dtype": "F32"}}), "entry of the tensor a"),
    ("entry with more", safetensors({"a": A | {"x": 1}}, 24), "entry of the tensor a"),
    ("shape negative", safetensors({"a": A | {"shape": [-2, -3]}}, 24), "wrong type"),
    ("shape true", safetensors({"a": A | {"shape": [True]}}, 24), "wrong type"),
    ("shape a fraction", safetensors({"a": A | {"shape": [6.0]}}, 24), "wrong type"),
    ("offsets one", safetensors({"a": A | {"data_offsets": [0]}}, 24), "wrong type"),
    ("offsets backwards", safetensors({"a": A | {"data_offsets": [24, 0]}}, 24), "impossible"),
    ("many dimensions", safetensors({"a": A | {"shape": [1] * 99}}, 24), "impossible"),
    ("shape vast", safetensors({"a": A | {"shape": [1 << 62] * 16}}, 24), "can't have 24 bytes"),
    ("size wrong", safetensors({"a": A | {"shape": [2, 4]}}, 24), "can't have 24 bytes"),
    ("hole at the start", safetensors({"a": A | {"data_offsets": [4, 28]}}, 28), "begins at byte 4,"),
    ("hole", safetensors({"a": A, "b": A | {"data_offsets": [28, 52]}}, 52), "begins at byte 28,"),
    ("overlap", safetensors({"a": A, "b": A | {"data_offsets": [20, 44]}}, 44), "begins at byte 20,"),
    ("one place", safetensors({"a": A, "b": A}, 24), "begins at byte 0,"),
    ("cut short", safetensors({"a": A}, 23), "its tensors end at byte"),
    ("more than its tensors", safetensors({"a": A}, 25), "its tensors end at byte"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in LYING], ids=[case[0] for case in LYING])
def test_a_file_that_lies_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        read(data)
    assert caught.value.code == "bad_file"


def test_the_same_tensor_in_two_parts_is_refused() -> None:
    with pytest.raises(Error, match="the tensor a twice"):
        asyncio.run(read_safetensors([MemorySource(safetensors({"a": A}, 24)) for _ in range(2)], {}))


def test_every_prefix_is_refused() -> None:
    data = safetensors({"a": A, "__metadata__": {"k": "v"}}, 24)
    read(data)
    for end in range(len(data)):
        with pytest.raises(Error):
            read(data[:end])


def only_bad_file(data: bytes) -> None:
    """A file may be read or refused as bad, nothing else; and what is read lies within it."""
    try:
        checkpoint = read(data)
    except Error as error:
        if error.code != "bad_file":
            raise
    else:
        assert all(0 <= t.offset <= t.offset + t.nbytes <= len(data) for t in checkpoint.tensors.values())


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=300), st.integers(0, 320))
def test_random_bytes(data: bytes, length: int) -> None:
    only_bad_file(data)
    only_bad_file(struct.pack("<Q", length) + data)
    only_bad_file(struct.pack("<Q", length) + b"{" + data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["F32", "BF16", "I64"]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "BF16", "I64", "X"]) | json_values},
    optional={
        "shape": st.lists(st.integers(0, 8)) | json_values,
        "data_offsets": st.lists(st.integers(0, 64)) | json_values,
    },
)


@settings(max_examples=300, deadline=2000)
@given(
    st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), entries | json_values, max_size=4),
    st.integers(0, 99),
)
def test_headers_that_are_json(header: dict[str, Any], data: int) -> None:
    only_bad_file(safetensors(header, data))


@settings(max_examples=100, deadline=5000)
@given(st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3))
def test_a_real_header_with_some_bytes_changed(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(REAL)
    for at, new in changes:
        data[at : at + len(new)] = new
    only_bad_file(bytes(data))
