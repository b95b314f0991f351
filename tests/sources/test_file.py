"""Files on disk and models in shards: ranges, and clear messages if something is missing, too short or false."""

import asyncio
import contextlib
import copy
import hashlib
import json
import math
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.errors import Error
from tensortab.sources import Source, checked, model_name
from tensortab.sources.file import FileSource, ShardSource, open_folder
from tensortab.sources.model import catalogue


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
        ({"size": 251}, "not the manifest"),
        ({"shard_size": 0}, "not the manifest"),
        ({"shards": []}, "not the manifest"),
        ({"shards": [{"path": "../x", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "not the manifest"),
        ({"shards": [{"path": "x", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "No such file"),
        ({"shards": [{"path": "0.bin", "size": 250, "sha256": "0" * 64}], "shard_size": 250}, "0.bin of tiny was cut"),
        ({"name": "a/b"}, "not the manifest"),
        ({"files": [{"name": "a", "offset": 0, "size": 251}]}, "not the manifest"),
        ({"files": [{"name": "a", "offset": -1, "size": 1}]}, "not the manifest"),
        ({"files": [{"name": 1, "offset": 0, "size": 1}]}, "not the manifest"),
        ({"files": [{}]}, "not the manifest"),
        ({"files": [{"name": "a", "offset": 0, "size": 1.0}]}, "not the manifest"),
        ({"files": [{"name": "a", "offset": 2, "size": -1}]}, "not the manifest"),
        ({"size": 250.0}, "not the manifest"),
        ({"size": -250}, "not the manifest"),
        ({"size": 0, "shards": []}, "not the manifest"),
        ({"shard_size": 100.0}, "not the manifest"),
        ({"shard_size": -100}, "not the manifest"),
        ({"shard_size": True, "size": 1, "shards": [{"path": "x", "size": 1, "sha256": "0" * 64}]}, "not the manifest"),
        ({"size": 1, "shards": [{"path": "x", "size": True, "sha256": "0" * 64}], "files": []}, "not the manifest"),
        ({"size": 1, "shards": [{"path": "x", "size": 1, "sha256": "z" * 64}], "files": []}, "not the manifest"),
        ({"size": 1, "shards": [{"path": "http:x", "size": 1, "sha256": "0" * 64}], "files": []}, "not the manifest"),
        ({"name": ".."}, "not the manifest"),
        ({"name": "a:b"}, "not the manifest"),
        ({"name": 1}, "not the manifest"),
    ],
)
def test_a_manifest_that_lies(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        ShardSource(shards(tmp_path, **change))
    assert caught.value.code == "bad_file"


def test_a_manifest_costs_no_more_than_its_own_size() -> None:
    """These manifests ask for lists of 10^12 and of 10^300 sizes."""
    sha = "0" * 64
    for size, shard_size in ((10**12, 1), (1e12, 1), (10**300, 1), (10**300, 10**299 + 1), (1e308, 1e-308)):
        shards = [{"path": "0.bin", "size": shard_size, "sha256": sha}]
        tracemalloc.start()
        with pytest.raises(Error) as caught:
            checked({"name": "bomb", "size": size, "shard_size": shard_size, "shards": shards, "files": []}, "it")
        assert caught.value.code == "bad_file"
        assert tracemalloc.get_traced_memory()[1] < 1e5
        tracemalloc.stop()


GOOD = {
    "name": "tiny", "size": 5, "shard_size": 2, "files": [{"name": "a", "offset": 1, "size": 4}],
    "shards": [{"path": f"{n}.bin", "size": size, "sha256": "0f" * 32} for n, size in enumerate((2, 2, 1))],
}  # fmt: skip
PLACES: list[tuple[Any, ...]] = [
    (), *((key,) for key in GOOD), *(("shards", n) for n in range(3)), ("files", 0),
    *(("shards", n, key) for n in range(3) for key in ("path", "size", "sha256")),
    *(("files", 0, key) for key in ("name", "offset", "size")),
]  # fmt: skip
ODD = [None, True, False, -1, 0, 1, 2, 5, 6, 1.0, 2.0, 5.0, 1e300, math.nan, math.inf, 2**70, "", "..", "x", [], {}]


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=3))
@settings(max_examples=2000, deadline=None)
def test_a_manifest_with_any_values_is_whole_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    manifest = {"": copy.deepcopy(GOOD)}
    for place, value in changes:
        where, (*path, last) = manifest, ("", *place)
        with contextlib.suppress(TypeError, LookupError):  # an earlier change took the place away
            for key in path:
                where = where[key]
            where[last] = value
    try:
        good = checked(manifest[""], "it")
    except Error as error:
        assert error.code == "bad_file"
        return
    sizes = [shard["size"] for shard in good["shards"]]
    assert all(type(size) is int and size > 0 for size in sizes)
    assert sum(sizes) == good["size"]
    assert all(size == good["shard_size"] for size in sizes[:-1])
    for file in good.get("files", []):
        assert type(file["offset"]) is type(file["size"]) is int
        assert 0 <= file["offset"] <= file["offset"] + file["size"] <= good["size"]


def test_names_of_models() -> None:
    for name in ("a", "SmolLM2-135M-Instruct", "whisper-tiny.en", "v1.0_x-", "9" * 96, *catalogue()):
        assert model_name(name) == name
    hostile = ("", ".", "..", "../..", "/", "a/b", "a\\b", ".git", "a.", "a b", "C:", "a\0", "a\n", "é", "-a", "%2e")
    for name in (*hostile, "9" * 97, None, 1, b"a"):
        with pytest.raises(Error, match="cannot be a model's name") as caught:
            model_name(name)  # type: ignore[arg-type]
        assert caught.value.code == "bad_request"


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(Error, match=r"manifest\.json") as caught:
        ShardSource(tmp_path)
    assert caught.value.code == "bad_file"
