"""PyTorch checkpoints without PyTorch: the values of every layout, and files that lie or run code."""

import contextlib
import io
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from building import pytorch
from building.steps import ROOT, BuildError

REAL = (ROOT / "tests/golden/tiny.pth").read_bytes()
ABOUT = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


def read(folder: Path, data: bytes) -> dict[str, Any]:
    path = folder / "x.pth"
    path.write_bytes(data)
    return pytorch.read(path)


def test_the_values_are_those_of_torch(tmp_path: Path) -> None:
    golden = json.loads((ROOT / "tests/golden/pack.json").read_text())["tiny"]
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
        (b"", "pickle exhausted"),
        (b"PK\3\4" + bytes(100), "can't be read as a PyTorch checkpoint"),
        (pickle.dumps(1, 2) * 5, "does not begin as torch.save's files"),
        (checkpoint({}, about={"little_endian": False}), "not of a little-endian machine"),
        (checkpoint({"a": 1}), "has more than tensors"),
        (checkpoint([1]), "has more than tensors"),
        (checkpoint({1: 2}), "dictionary of another kind"),
        (checkpoint({"a": Attack()}), "calls '.*'.*don't trust it"),
        (checkpoint({"a": 1.5}), "uses BINFLOAT"),
        (REAL.replace(b"FloatStorage", b"HalfyStorage"), "HalfyStorage', which isn't read"),
        (REAL.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9"), "calls 'torch._utils _rebuild_tensor_v9'"),
        (REAL[:-1], "the file is damaged"),
    ],
)
def test_a_file_that_lies_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BuildError, match=message):
        read(tmp_path, data)
    assert not (tmp_path / "attacked").exists()


@given(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        tensors = read(folder, REAL[:at] + data + (b"" if cut else REAL[at + len(data) :]))
    except BuildError:
        return
    assert sum(len(tensor.data) for tensor in tensors.values()) <= len(REAL) + 4


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_pickle_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError, LookupError, TypeError):  # what read() says as a BuildError
        pytorch._pickle(io.BytesIO(data))
