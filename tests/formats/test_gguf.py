"""The GGUF reader: against the gguf package on whole files, and against files that lie."""

import asyncio
import random
import struct
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.errors import Error
from tensortab.formats import gguf as reader
from tensortab.formats import open_checkpoint
from tensortab.models.llama import GGUF

from tests.formats.memory import LLAMA, MemorySource, gguf, read, string

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("tiny_*.gguf"))
REAL = (GOLDEN / "tiny_q4_1.gguf").read_bytes()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_as_the_gguf_package(path: Path) -> None:
    checkpoint = asyncio.run(open_checkpoint(path))
    expected = GGUFReader(path)
    for name, value in checkpoint.metadata.items():
        assert value == expected.fields[name].contents(), name
    assert len(checkpoint.metadata) == len([name for name in expected.fields if not name.startswith("GGUF.")])
    assert len(checkpoint.tensors) == len(expected.tensors)
    for tensor in expected.tensors:
        info = checkpoint.tensor(GGUF.hugging_face(tensor.name))
        assert info.shape == tuple(reversed(tensor.shape.tolist()))
        assert info.dtype.name == tensor.tensor_type.name.lower()
        assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert asyncio.run(info.source.bytes(info.offset, info.nbytes)) == np.ascontiguousarray(tensor.data).tobytes()


def test_config_is_the_folders() -> None:
    """tiny_llama3.gguf and the folder tiny_llama3 are one model."""
    ours = asyncio.run(open_checkpoint(GOLDEN / "tiny_llama3.gguf"))
    folder = asyncio.run(open_checkpoint(GOLDEN / "tiny_llama3"))
    assert ours.rope_interleaved
    assert not folder.rope_interleaved
    assert ours.tensors.keys() == folder.tensors.keys() | {"rope_freqs.weight"}
    for name in ours.tensors.keys() & folder.tensors.keys():
        assert ours.tensor(name).shape == folder.tensor(name).shape
    for key in ours.config.keys() - {"rope_scaling", "eos_token_id", "rms_norm_eps", "rotary_dim"}:
        assert ours.config[key] == folder.config[key], key
    assert ours.config["rms_norm_eps"] == pytest.approx(folder.config["rms_norm_eps"])
    assert ours.config["rope_scaling"] is None  # it is in rope_freqs.weight
    assert folder.config["rope_scaling"]["factor"] == 8.0


def test_names() -> None:
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output.weight": "lm_head.weight",
        "output_norm.weight": "model.norm.weight",
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.12.attn_k.bias": "model.layers.12.self_attn.k_proj.bias",
        "blk.3.ffn_norm.weight": "model.layers.3.post_attention_layernorm.weight",
        "rope_freqs.weight": "rope_freqs.weight",
        "blk.1.something.weight": "blk.1.something.weight",
        "blk.weight": "blk.weight",
        "blk..": "blk..",
        "": "",
    }
    assert {name: GGUF.hugging_face(name) for name in names} == names


def test_every_metadata_type() -> None:
    values: dict[str, tuple[str, Any]] = {
        "a": ("u8", 255), "b": ("i8", -128), "c": ("u16", 65535), "d": ("i16", -32768), "e": ("u32", 4294967295),
        "f": ("i32", -2147483648), "g": ("f32", 0.5), "h": ("bool", True), "i": ("str", "é日\n"),
        "j": ("u64", 2**64 - 1), "k": ("i64", -(2**63)), "l": ("f64", 0.1), "m": ("[str", ["", "a", "🦙"]),
        "n": ("[i32", [1, -1]), "o": ("[bool", [True, False]), "p": ("[[u8", [[1, 2], [], [3]]),
        "q": ("[f32", []), "r": ("[[str", [["x"]]),
    }  # fmt: skip
    for version in (2, 3):
        metadata = read(gguf(LLAMA | values, version=version)).metadata
        assert {key: metadata[key] for key in values} == {key: value for key, (_, value) in values.items()}


def test_config_of_other_architectures_and_defaults() -> None:
    config = read(gguf()).config
    assert (config["num_key_value_heads"], config["head_dim"], config["rope_theta"]) == (4, 16, 10000.0)
    assert config["tie_word_embeddings"] is True
    assert config["eos_token_id"] == []
    same_for_each_layer = LLAMA | {"llama.attention.head_count_kv": ("[u32", [2, 2, 2])}
    assert read(gguf(same_for_each_layer)).config["num_key_value_heads"] == 2
    linear = LLAMA | {"llama.rope.scaling.type": ("str", "linear"), "llama.rope.scaling.factor": ("f32", 4.0)}
    assert read(gguf(linear)).config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    qwen = {key.replace("llama.", "qwen2."): value for key, value in LLAMA.items()}
    qwen["general.architecture"] = ("str", "qwen2")
    checkpoint = read(gguf(qwen))
    assert checkpoint.config["model_type"] == "qwen2"
    assert not checkpoint.rope_interleaved
    unknown = read(gguf({"general.architecture": ("str", "mamba")}))
    assert unknown.config == {"model_type": "mamba"}


@pytest.mark.parametrize("first", [24, 64, 1000])
def test_reads_the_header_in_growing_pieces(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    whole = read(REAL)
    monkeypatch.setattr(reader, "FIRST_READ", first)
    source = MemorySource(REAL)
    pieces = asyncio.run(open_checkpoint(source))
    assert pieces.metadata == whole.metadata
    assert [(t.name, t.offset) for t in pieces.tensors.values()] == [(t.name, t.offset) for t in whole.tensors.values()]
    header = min(tensor.offset for tensor in whole.tensors.values())
    assert sum(size for _, size in source.reads) <= 2 * header + first
    reads = source.reads[1:]
    assert all(b[0] == a[0] + a[1] for a, b in pairwise(reads)), "a byte was read twice"


F32_ROW = ("a", (64,), 0, 0)
LYING = [
    ("magic", b"GGML" + bytes(100), "neither a GGUF nor a safetensors"),
    ("a web page", b"\n<html><body>Not found" + bytes(100), "is a web page and no model"),
    ("no bytes after the magic", b"GGUF", "ends within its header"),
    ("version 1", gguf(version=1), "GGUF version 1"),
    ("version 4", gguf(version=4), "GGUF version 4"),
    ("big endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ("tensor count", gguf(counts=(2**63, 0)), "claims to have 9223372036854775808 tensors"),
    ("entry count", gguf(counts=(0, 2**64 - 1)), "metadata entries"),
    ("more entries than there are", gguf(counts=(0, 50)), "type|beyond|ends within|key"),
    ("key length", gguf({}, counts=(0, 1)) + struct.pack("<Q", 2**62), "have 0 characters|beyond the end"),
    ("array length", gguf({"a": ("[u8", [])})[:-8].rstrip(b"\0") + struct.pack("<IQ", 0, 2**61), "array|beyond|type"),
    ("key twice", gguf(LLAMA) [:8] + struct.pack("<QQ", 0, 2) + (string("k") + struct.pack("<IB", 0, 1)) * 2, "twice"),
    ("no architecture", gguf({"a": ("u8", 1)}), "general.architecture is missing"),
    ("architecture a number", gguf({"general.architecture": ("u8", 1)}), "general.architecture is missing"),
    ("no layers", gguf({k: v for k, v in LLAMA.items() if "block_count" not in k}), "llama.block_count is missing"),
    ("zero heads", gguf(LLAMA | {"llama.attention.head_count": ("u32", 0)}), "head_count is 0"),
    ("text for a number", gguf(LLAMA | {"llama.embedding_length": ("str", "x")}), "embedding_length is 'x'"),
    ("a fraction", gguf(LLAMA | {"llama.embedding_length": ("f32", 64.5)}), "embedding_length is 64.5"),
    ("infinite", gguf(LLAMA | {"llama.rope.freq_base": ("f32", float("inf"))}), "freq_base is inf"),
    ("not a number", gguf(LLAMA | {"llama.rope.freq_base": ("f32", float("nan"))}), "freq_base is nan"),
    ("different layers", gguf(LLAMA | {"llama.attention.head_count": ("[u32", [1, 2])}), r"head_count is \[1, 2\]"),
    ("architecture not UTF-8", gguf({"general.architecture": ("str", b"llama\xff")}), "isn't UTF-8"),
    ("template not UTF-8", gguf(LLAMA | {"tokenizer.chat_template": ("str", b"\xff")}), "isn't UTF-8"),
    ("token not UTF-8", gguf(LLAMA | {"tokenizer.ggml.tokens": ("[str", [b"ok", b"\xc3"])}), "isn't UTF-8"),
    ("key not UTF-8", gguf(LLAMA | {b"general.\xff": ("u8", 1)}), "isn't UTF-8"),  # type: ignore[dict-item]
    ("tensor name not UTF-8", gguf(tensors=((b"\xff", (64,), 0, 0),), data=256), "isn't UTF-8"),  # type: ignore[arg-type]
    ("boolean 2", gguf(LLAMA | {"a": ("bool", True)}, alignment=1)[:-1] + b"\2", "neither 0 nor 1"),
    ("nested", gguf(LLAMA | {"a": ("[[[[[u8", [[[[[1]]]]])}), "nested"),
    ("alignment 3", gguf(LLAMA | {"general.alignment": ("u32", 3)}), "general.alignment is 3"),
    ("alignment 0", gguf(LLAMA | {"general.alignment": ("u32", 0)}), "general.alignment is 0"),
    ("split", gguf(LLAMA | {"split.count": ("u16", 3)}), "one part of a split model"),
    ("five dimensions", gguf(tensors=(("a", (1, 1, 1, 1, 1), 0, 0),), data=64), "5 dimensions"),
    ("half a block", gguf(tensors=(("a", (48,), 2, 0),), data=64), r"the shape \(48,\)"),
    ("vast dimension", gguf(tensors=(("a", (2**63, 2**63), 0, 0),), data=64), "ends at byte"),
    ("unreadable twice", gguf(tensors=(("a", (64,), 99, 0), ("a", (0,), 0, 0)), data=256), "the tensor a twice"),
    ("tensor cut short", gguf(tensors=(F32_ROW,), data=255), "cut short"),
    ("tensor far away", gguf(tensors=(("a", (64,), 0, 2**63),), data=256), "cut short"),
    ("not aligned", gguf(tensors=(("a", (64,), 0, 8),), data=512), "not a multiple of 32"),
    ("tensor twice", gguf(tensors=(F32_ROW, ("a", (64,), 0, 256)), data=512), "the tensor a twice"),
    ("overlap", gguf(tensors=(F32_ROW, ("b", (64,), 0, 128)), data=512), "a and b overlap"),
    ("one place", gguf(tensors=(F32_ROW, ("b", (64,), 0, 0)), data=512), "overlap"),
    ("two names", gguf(tensors=(("output.weight", (64,), 0, 0), ("lm_head.weight", (64,), 0, 256)), data=512), "twice"),
    ("name empty", gguf(tensors=(("", (64,), 0, 0),), data=512), "can't have 0 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in LYING], ids=[case[0] for case in LYING])
def test_a_file_that_lies_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        read(data)
    assert caught.value.code == "bad_file"


def test_a_tensor_that_cannot_be_read_matters_to_whoever_asks() -> None:
    """A file with tensors of other types, or of no elements, is read; a model that needs one is told its type."""
    others = (("a", (64,), 99, 0), ("b", (256,), 10, 0), ("c", (8,), 24, 0), ("d", (0, 7), 0, 0), ("e", (8,), 26, 0))
    checkpoint = read(gguf(tensors=(*others, ("f", (64,), 0, 0)), data=256))
    assert list(checkpoint.tensors) == ["f"]
    stored = {"a": "type 99", "b": "q2_k", "c": "i8", "d": "nothing", "e": "i32"}
    assert checkpoint.unusable == stored
    for name, kind in stored.items():
        with pytest.raises(Error, match=f"tensor {name} is stored as {kind}, which .* use a file quantised to Q4_0"):
            checkpoint.tensor(name)


def test_a_text_that_is_only_shown_may_be_damaged() -> None:
    """Of the years before GGUF's writers agreed on UTF-8."""
    entries = LLAMA | {"general.name": ("str", b"caf\xe9"), "general.tags": ("[str", [b"\xff", b"ok"])}
    metadata = read(gguf(entries)).metadata
    assert (metadata["general.name"], metadata["general.tags"]) == ("caf\ufffd", ["\ufffd", "ok"])


def test_the_scale_of_files_of_2023() -> None:
    """rope.scale_linear, and a factor without a type: linear, as llama.cpp takes them."""
    for entries, scaling in (
        ({"scale_linear": ("f32", 4.0)}, {"rope_type": "linear", "factor": 4.0}),
        ({"scaling.factor": ("f32", 2.0)}, {"rope_type": "linear", "factor": 2.0}),
        ({"scaling.factor": ("f32", 2.0), "scale_linear": ("f32", 4.0)}, {"rope_type": "linear", "factor": 2.0}),
        ({"scaling.type": ("str", "none"), "scaling.factor": ("f32", 2.0)}, None),
        ({"scale_linear": ("f32", 0.0)}, None),
        ({"scale_linear": ("f32", 1.0)}, None),
        ({"scaling.type": ("str", "yarn"), "scaling.factor": ("f32", 2.0)}, {"rope_type": "yarn", "factor": 2.0}),
    ):
        config = read(gguf(LLAMA | {f"llama.rope.{key}": value for key, value in entries.items()})).config
        assert config["rope_scaling"] == scaling


def test_what_a_header_may_allocate_is_bounded() -> None:
    """Each of these asks for gigabytes; none gets 100 MB, or keeps us busy."""
    start = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + string("k") + struct.pack("<I", 9)
    empty_arrays = struct.pack("<IQ", 0, 0) * 500_000
    for bomb in (
        start + struct.pack("<IQ", 10, 1 << 40) + bytes(1000),
        start + struct.pack("<IQ", 8, 1 << 61) + bytes(1 << 20),
        start + struct.pack("<IQ", 8, (1 << 22) + 1) + bytes(1 << 20),
        start + struct.pack("<IQ", 9, 1 << 22) + empty_arrays,
        start + (struct.pack("<IQ", 9, 1)) * 50_000,
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 1 << 40),
        struct.pack("<4sIQQ", b"GGUF", 3, 1 << 16, 0) + bytes(1 << 20),
    ):
        calls = 0

        def called(*_: Any) -> None:
            nonlocal calls
            calls += 1

        tracemalloc.start()
        sys.setprofile(called)
        try:
            with pytest.raises(Error):
                read(bomb)
        finally:
            sys.setprofile(None)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 100e6
        assert calls < 20_000


def only_bad_file(data: bytes) -> None:
    """A file may be read or refused as bad, nothing else; and what is read lies within it."""
    try:
        checkpoint = read(data)
    except Error as error:
        if error.code != "bad_file":
            raise
    else:
        assert all(0 <= t.offset <= t.offset + t.nbytes <= len(data) for t in checkpoint.tensors.values())


def test_every_prefix_of_a_header_is_refused() -> None:
    data = gguf(LLAMA | {"tokens": ("[str", ["a", "bc"]), "n": ("[i32", [1, 2])}, tensors=(F32_ROW,), data=256)
    for end in range(len(data)):
        with pytest.raises(Error) as caught:
            read(data[:end])
        assert caught.value.code == "bad_file"
    read(data)
    positions = random.Random(0).sample(range(len(REAL)), 100)
    for end in positions:
        with pytest.raises(Error):
            read(REAL[:end])


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    only_bad_file(data)
    only_bad_file(b"GGUF" + data)
    only_bad_file(b"GGUF\3\0\0\0" + data)
    only_bad_file(struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + data)


@settings(max_examples=300, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_a_small_header_with_some_bytes_changed(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(
        gguf(
            LLAMA | {"tokens": ("[str", ["a", "bc"]), "n": ("[i32", [1, 2])},
            tensors=(F32_ROW, ("b", (32, 2), 3, 256)),
            data=512,
        )
    )
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new[: len(data) - at]
    only_bad_file(bytes(data))


@settings(max_examples=100, deadline=5000)
@given(st.integers(0, 16_000), st.sampled_from([0, 1, 2, 127, 255]), st.integers(0, 16_000), st.binary(max_size=8))
def test_a_real_header_with_some_bytes_changed(at: int, byte: int, other: int, new: bytes) -> None:
    data = bytearray(REAL)
    data[at] = byte
    data[other : other + len(new)] = new
    only_bad_file(bytes(data))
