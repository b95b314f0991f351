"""PyTorch checkpoints without PyTorch: the values of every layout, and files that lie or run code."""

import contextlib
import io
import json
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.converters import pytorch
from tensortab.errors import Error

GOLDEN = Path(__file__).parents[1] / "golden"
REAL = (GOLDEN / "tiny.pth").read_bytes()
ABOUT = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


def read(folder: Path, data: bytes) -> dict[str, Any]:
    path = folder / "x.pth"
    path.write_bytes(data)
    return pytorch.read(path)


def test_the_values_are_those_of_torch(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "pack.json").read_text())["tiny"]
    tensors = read(tmp_path, REAL)
    assert {name: [t.dtype, list(t.shape), zlib.crc32(t.data)] for name, t in tensors.items()} == golden


class Attack:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("attacked"),)


def checkpoint(state: Any, about: Any = ABOUT, keys: Any = ()) -> bytes:
    parts = [0x1950A86A20F9469CFC6C, 1001, about, state, list(keys)]
    return b"".join(pickle.dumps(part, 2) for part in parts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is cut short"),
        (b"PK\3\4" + bytes(100), "can't be read as a PyTorch checkpoint"),
        (pickle.dumps(1, 2) * 5, "does not begin as torch.save's files"),
        (checkpoint({}, about={"little_endian": False}), "not of a little-endian machine"),
        (checkpoint({"a": 1}), "has more than tensors"),
        (checkpoint([1]), "has more than tensors"),
        (checkpoint({1: 2}), "dictionary of another kind"),
        (checkpoint({"a": Attack()}), "asks for __builtin__.getattr.*don't trust it"),
        (checkpoint({"a": 1.5}), "uses the opcode 'G'"),
        (REAL.replace(b"FloatStorage", b"HalfyStorage"), "HalfyStorage, which is not supported"),
        (REAL.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9"), "asks for torch._utils._rebuild_tensor_v9"),
        (REAL[:-1], "the file is damaged"),
    ],
)
def test_a_file_that_lies_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error, match=message):
        read(tmp_path, data)
    assert not (tmp_path / "attacked").exists()


def start(state: bytes, keys: bytes = b"\x80\x02].") -> bytes:
    """A checkpoint whose state dict is what this pickle makes."""
    return b"".join(pickle.dumps(part, 2) for part in (pytorch.MAGIC, pytorch.VERSION, ABOUT)) + state + keys


DEEP = b"\x80\x02)" + b"\x85" * 1_000_000  # a tuple of a tuple of a tuple ...
BOMBS = {
    "a deep key": (start(DEEP + b"}" + b"(" + DEEP[2:] + b"Nu."), "dictionary of another kind"),
    "a deep key alone": (start(b"\x80\x02}" + DEEP[2:] + b"Ns."), "dictionary of another kind"),
    "a deep key of a storage": (start(b"\x80\x02}.", b"\x80\x02]" + DEEP[2:] + b"a."), "list of storages is none"),
    "a list of itself": (start(b"\x80\x02}.", b"\x80\x02]q\x00h\x00a."), "list of storages is none"),
    "an index of the memo": (start(b"\x80\x02}r\xff\xff\xff\x7f(" + b"Nu."), "items|argument|kind"),
    "a long text": (start(b"\x80\x02X\xff\xff\xff\x7fa"), "codec can't decode"),
    "a long integer": (start(b"\x80\x02\x8b\xff\xff\xff\x7f"), "opcode"),
    "five gigabytes of frames": (start(b"\x80\x04\x95" + b"\xff" * 8), "opcode"),
    "an extension": (start(b"\x80\x02\x82\x01."), "opcode"),
    "an instance": (start(b"\x80\x02(ios\nsystem\n."), "opcode 'i'"),
    "a new object": (start(b"\x80\x02ccollections\nOrderedDict\n)\x81."), "opcode"),
    "a global by stack": (start(b"\x80\x04\x8c\x02os\x8c\x06system\x93."), "opcode"),
    "builtins": (start(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R."), "asks for builtins.eval"),
    "a name with dots": (start(b"\x80\x02ccollections\nOrderedDict.__init__\n)R."), "asks for collections.Ord"),
    "a call of a text": (start(b"\x80\x02X\x01\x00\x00\x001)R."), "not callable"),
    "a call with too much": (start(b"\x80\x02ccollections\nOrderedDict\nN\x85R."), "argument"),
    "a changed function": (
        start(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x0c\x00\x00\x00__defaults__N\x85sb)R."), "argument"
    ),
    "a vast empty tensor": (
        start(
            b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
            b"ctorch\nFloatStorage\nX\x01\x00\x00\x00sX\x03\x00\x00\x00cpuK\x00NtQK\x00\x8a\x08"
            + bytes(7) + b"\x10K\x00\x86K\x00K\x00\x86tRs.",
            b"\x80\x02](X\x01\x00\x00\x00se." + bytes(8),
        ),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BOMBS.values(), ids=BOMBS)
def test_a_pickle_that_would_do_harm(tmp_path: Path, data: bytes, message: str | None) -> None:
    tracemalloc.start()
    try:
        if message is None:
            assert [(t.shape, t.data) for t in read(tmp_path, data).values()] == [((1 << 60, 0), b"")]
        else:
            with pytest.raises(Error, match=message):
                read(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    assert pytorch._view.__defaults__ is None


def test_every_layout_is_read_in_row_major_order(tmp_path: Path) -> None:
    """Views of one storage by any strides, those of 0 (torch's expand) among them, as numpy reads them."""
    values = np.arange(60, dtype=np.float32)
    layouts = [((3, 4), (4, 1), 5), ((4, 3), (1, 4), 5), ((2, 3, 4), (0, 4, 1), 0), ((5, 1, 2), (2, 7, 0), 9)]
    layouts += [((0, 3), (3, 1), 0), ((), (), 59), ((1, 1), (9, 9), 59), ((60,), (1,), 0)]
    state = b"}"
    for n, (shape, stride, offset) in enumerate(layouts):
        id = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0sX\3\0\0\0cpuK\x3cNtQ"
        sizes = pickle.dumps(shape, 2)[2:-1] + pickle.dumps(stride, 2)[2:-1]
        state += b"X\1\0\0\0" + str(n).encode() + b"ctorch._utils\n_rebuild_tensor_v2\n("
        state += id + b"K" + bytes([offset]) + sizes + b"\x89ccollections\nOrderedDict\n)RtRs"
    keys = b"\x80\x02](X\1\0\0\0se." + struct.pack("<q", 60) + values.tobytes()
    tensors = read(tmp_path, start(b"\x80\x02" + state + b".", keys))
    for tensor, (shape, stride, offset) in zip(tensors.values(), layouts, strict=True):
        expected = np.lib.stride_tricks.as_strided(values[offset:], shape, [4 * step for step in stride])
        assert tensor.shape == shape
        assert tensor.data == np.ascontiguousarray(expected).tobytes()


@given(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        tensors = read(folder, REAL[:at] + data + (b"" if cut else REAL[at + len(data) :]))
    except Error:
        return
    assert sum(len(tensor.data) for tensor in tensors.values()) <= len(REAL) + 4


PIECES = [bytes([code]) for code in pytorch.OPCODES if bytes([code]) not in b"cX"] + [
    b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n",
    b"X\1\0\0\0a", b"X\7\0\0\0storage", b"q\0", b"h\0", b"K\2", b"J\xff\xff\xff\xff", b"\x8a\1\xff", b"N)\x85",
    b"(u", b"(e",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40))
@settings(max_examples=2000, deadline=None)
def test_any_program_of_its_opcodes_makes_data_or_is_refused(pieces: list[bytes]) -> None:
    with contextlib.suppress(*pytorch.PROBLEMS):
        made = pytorch._Unpickler(io.BytesIO(b"".join(pieces) + b"."), fix_imports=False).load()
        kinds = (dict, list, tuple, str, int, bool, type(None), pytorch.Kind, pytorch.Storage, pytorch.View)
        assert isinstance(made, kinds) or made in pytorch.NAMES.values()
    assert pytorch._view.__defaults__ is None and not vars(pytorch._view)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_pickle_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(*pytorch.PROBLEMS):  # what read() tells as an Error
        pytorch._Unpickler(io.BytesIO(data), fix_imports=False).load()
