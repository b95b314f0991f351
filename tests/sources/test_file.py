"""Files on disk and models in shards: ranges, and clear words when something isn't there, too short or a lie."""

import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tensortab.errors import Error
from tensortab.sources import Source
from tensortab.sources.file import FileSource, ShardSource, open_folder


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


def test_a_folder_has_the_parts_of_sentence_models(tmp_path: Path) -> None:
    for name in ("config.json", "1_Pooling/config.json", "1_Pooling/x.json", "onnx/config.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    folder = open_folder(tmp_path)
    assert list(folder) == ["1_Pooling/config.json", "config.json"]
    assert asyncio.run(folder["1_Pooling/config.json"].bytes(0, 9)) == b"1_Pooling"


WHOLE = random.Random(1).randbytes(250)


def shards(folder: Path, **change: Any) -> Path:
    """WHOLE in shards of 100 bytes: two files."""
    listed = []
    for index in range(3):
        data = WHOLE[index * 100 :][:100]
        (folder / f"{index}.bin").write_bytes(data)
        listed.append({"path": f"{index}.bin", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    files = [{"name": "a", "offset": 0, "size": 70}, {"name": "b/c", "offset": 70, "size": 180}]
    manifest = {"name": "tiny", "size": 250, "shard_size": 100, "shards": listed, "files": files} | change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_ranges_of_a_model_in_shards(tmp_path: Path) -> None:
    source = ShardSource(shards(tmp_path))
    assert isinstance(source, Source)
    assert (source.name, source.size, list(source.files)) == ("tiny", 250, ["a", "b/c"])
    # inside a shard, at a border, across one, across two, none, the end
    for offset, size in [(5, 10), (100, 5), (95, 10), (50, 190), (100, 0), (250, 0), (249, 1), (0, 250)]:
        assert asyncio.run(source.bytes(offset, size)) == WHOLE[offset : offset + size]
        view = asyncio.run(source.chunk(offset, size))
        assert isinstance(view, memoryview)
        assert bytes(view) == WHOLE[offset : offset + size]
    assert asyncio.run(source.files["b/c"].bytes(20, 100)) == WHOLE[90:190]
    for part, offset, size in ((source, 200, 51), (source.files["a"], 60, 11), (source.files["b/c"], -1, 2)):
        with pytest.raises(Error, match="it was cut short") as caught:
            asyncio.run(part.bytes(offset, size))
        assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 251}, "not a manifest"),
        ({"shard_size": 0}, "not a manifest"),
        ({"shards": []}, "not a manifest"),
        ({"shards": [{"path": "../x", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "not a manifest"),
        ({"shards": [{"path": "x", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "No such file"),
        ({"shards": [{"path": "0.bin", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "0.bin of tiny was cut"),
        ({"name": "a/b"}, "not a manifest"),
        ({"files": [{"name": "a", "offset": 0, "size": 251}]}, "not a manifest"),
        ({"files": [{"name": "a", "offset": -1, "size": 1}]}, "not a manifest"),
        ({"files": [{"name": 1, "offset": 0, "size": 1}]}, "not a manifest"),
        ({"files": [{}]}, "not a manifest"),
    ],
)
def test_a_manifest_that_lies(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        ShardSource(shards(tmp_path, **change))
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(Error, match=r"manifest\.json") as caught:
        ShardSource(tmp_path)
    assert caught.value.code == "bad_file"
