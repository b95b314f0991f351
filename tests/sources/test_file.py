"""FileSource: ranges of a file, and clear words when it isn't there or too short."""

import asyncio
from pathlib import Path

import pytest
from tensortab.errors import Error
from tensortab.sources import Source
from tensortab.sources.file import FileSource


def test_ranges(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(range(256)) * 100)
    source = FileSource(path)
    assert isinstance(source, Source)
    assert (source.name, source.size) == ("weights.bin", 25600)
    assert asyncio.run(source.bytes(0, 25600)) == bytes(range(256)) * 100
    assert asyncio.run(source.bytes(255, 3)) == b"\xff\0\1"
    assert asyncio.run(source.bytes(25600, 0)) == b""
    view = asyncio.run(source.chunk(100, 1000))
    assert isinstance(view, memoryview)
    assert view.nbytes == 1000
    assert view[0] == 100


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (10, 1), (11, 0), (-1, 2), (2, -1), (1 << 62, 1 << 62)])
def test_a_range_outside_is_refused(tmp_path: Path, offset: int, size: int) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(bytes(10))
    source = FileSource(path)
    for read in (source.bytes, source.chunk):
        with pytest.raises(Error, match=r"short.bin: bytes .* but it has 10") as caught:
            asyncio.run(read(offset, size))
        assert caught.value.code == "bad_file"


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, message in (("gone", "No such file"), ("empty", "is empty"), ("", "can't be opened")):
        with pytest.raises(Error, match=message) as caught:
            FileSource(tmp_path / name)
        assert caught.value.code == "bad_file"
