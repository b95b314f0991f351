"""tt.storage natively: models are listed, deleted, exported and imported; hostile files are refused."""

import asyncio
import hashlib
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensortab as tt
from tensortab.errors import Error
from tensortab.sources import archive, manifest
from tensortab.sources.file import FileSource
from tensortab.sources.model import find

from tests.formats.memory import MemorySource
from tests.sources.conftest import tiny_files
from tests.sources.fake_hub import COMMIT, FakeHub
from tests.sources.test_file import WHOLE, shards
from tests.sources.test_hub import FILE, Q8, content, found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(manifest, "SHARD", 100_000)
    return tmp_path / "cache"


def listed() -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in asyncio.run(tt.storage.list())}


def imported(path: Path) -> str:
    return asyncio.run(tt.storage.import_(path))


def pack(tmp_path: Path, **change: Any) -> Path:
    """A model in shards as a tar, made by another program."""
    (tmp_path / "folder").mkdir(exist_ok=True)
    folder = shards(tmp_path / "folder", **change)
    with tarfile.open(tmp_path / "tiny.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("manifest.json", "0.bin", "1.bin", "2.bin"):
            tar.add(folder / name, name)
    return tmp_path / "tiny.tar"


def test_listing_and_deleting(hub: FakeHub) -> None:
    assert listed() == {}
    found("test/tiny")
    found(FILE)
    models = listed()
    assert sorted(models) == ["test/ggufs", "test/tiny"]
    assert models["test/ggufs"] | {"used": 0} == {
        "name": "test/ggufs", "kind": "hub", "source": f"{hub.url}/test/ggufs", "revision": COMMIT, "size": len(Q8),
        "stored": len(Q8), "used": 0, "task": "", "memory": 0, "license": "",
    }  # fmt: skip
    assert models["test/ggufs"]["used"] > 0
    asyncio.run(tt.storage.delete(FILE))
    assert list(listed()) == ["test/tiny"]
    for name in ("", ".", "..", "../..", "/", "../../x", "none", "a/..", "../.."):
        asyncio.run(tt.storage.delete(name))
    assert list(listed()) == ["test/tiny"]


@pytest.mark.parametrize("model", ["test/tiny", FILE, f"test/tiny@{COMMIT}"])
def test_a_model_of_the_hub_goes_to_another_machine(hub: FakeHub, tmp_path: Path, model: str) -> None:
    found(model)
    file = tmp_path / "model.tar"
    asyncio.run(tt.storage.export(model, file))
    with tarfile.open(file) as tar:  # anyone can unpack it
        assert tar.getnames()[0] == "manifest.json"
        tar.extractall(tmp_path / "unpacked", filter="data")
    unpacked = asyncio.run(find(tmp_path / "unpacked", lambda done, total: None))
    assert (unpacked.manifest["kind"], unpacked.manifest["revision"]) == ("hub", COMMIT)
    shutil.rmtree(tmp_path / "hub")
    hub.close()
    assert imported(file) == model
    opened = found(model)
    if model == FILE:
        assert content(opened) == content(unpacked.files["tiny_q8_0.gguf"]) == Q8
    else:
        assert {name: content(opened[name]) for name in tiny_files()} == tiny_files()
        assert {name: content(unpacked.files[name]) for name in tiny_files()} == tiny_files()
    asyncio.run(tt.storage.export(model, tmp_path / "again.tar"))
    assert (tmp_path / "again.tar").read_bytes() == file.read_bytes()
    assert not list(tmp_path.glob("cache/tensortab/.*"))


def test_a_model_of_a_site_goes_to_another_machine(tmp_path: Path, cache: Path) -> None:
    file = pack(tmp_path)
    assert imported(file) == "tiny"
    source = asyncio.run(find("tiny", lambda done, total: None))
    assert content(source) == WHOLE
    assert listed()["tiny"]["stored"] == len(WHOLE)
    asyncio.run(tt.storage.export("tiny", tmp_path / "again.tar"))
    assert imported(tmp_path / "again.tar") == "tiny"
    assert content(asyncio.run(find("tiny", lambda done, total: None))) == WHOLE
    asyncio.run(tt.storage.delete("tiny"))
    with pytest.raises(Error, match="no model 'tiny'"):
        found("tiny")
    with pytest.raises(Error, match="no model tiny on this machine") as caught:
        asyncio.run(tt.storage.export("tiny", tmp_path / "none.tar"))
    assert caught.value.code == "bad_request"


def hostile(change: Callable[[dict], Any]) -> Callable[[bytes], bytes]:
    """The archive with another manifest, and its entry right."""

    def made(data: bytes) -> bytes:
        size = int(data[124:135], 8)
        text = json.dumps(change(json.loads(data[512 : 512 + size]))).encode()
        rest = data[512 + size + -size % 512 :]
        return archive.header("manifest.json", len(text)) + text + archive.padding(len(text)) + rest

    return made


CASES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"\0",
    "no tar": lambda data: b"GGUF" + data[4:],
    "cut in the header": lambda data: data[:300],
    "cut in the manifest": lambda data: data[:600],
    "cut in a shard": lambda data: data[: data.index(WHOLE[200:220]) + 30],
    "a changed byte": lambda data: data.replace(WHOLE[100:110], bytes(10)),
    "a huge manifest": lambda data: archive.header("manifest.json", 1 << 32) + data[512:],
    "a size that is no number": lambda data: data[:124] + b"99999999999" + data[135:],
    "another name first": lambda data: b"../../manifest.json".ljust(100, b"\0") + data[100:],
    "no json": lambda data: data[:512] + b"[" * 400 + data[912:],
    "a shard that leads out": hostile(lambda m: m | {"shards": [s | {"path": "../../x"} for s in m["shards"]]}),
    "a name that leads out": hostile(lambda m: m | {"name": "../x"}),
    "more shards than there are": hostile(lambda m: m | {"size": 1 << 40}),
    "a wrong hash": hostile(lambda m: m | {"shards": [s | {"sha256": "0" * 64} for s in m["shards"]]}),
    "of the hub, and no id": hostile(lambda m: m | {"kind": "hub", "name": "..", "source": "", "revision": "0" * 40}),
    "of the hub, without hashes": hostile(
        lambda m: m | {"kind": "hub", "name": "test/x", "source": "", "revision": "0" * 40}
    ),
    "of the hub, a lie": hostile(
        lambda m: (
            m
            | {"kind": "hub", "name": "test/x", "source": "", "revision": "0" * 40}
            | {"files": [f | {"hash": "sha256:" + "0" * 64} for f in m["files"]]}
        )
    ),
    "of the hub, a file that leads out": hostile(
        lambda m: (
            m
            | {"kind": "hub", "name": "test/x", "source": "", "revision": "0" * 40}
            | {"files": [{"name": "../../x", "offset": 0, "size": 250, "hash": f"sha256:{WHOLE_HASH}"}]}
        )
    ),
    "of the hub, a revision that leads out": hostile(
        lambda m: (
            m
            | {"kind": "hub", "name": "test/x@../../../x", "source": "", "revision": "0" * 40}
            | {"files": [{"name": "x", "offset": 0, "size": 250, "hash": f"sha256:{WHOLE_HASH}"}]}
        )
    ),
    "of no kind": hostile(lambda m: m | {"kind": 5}),
    "of the hub, no commit": hostile(lambda m: m | {"kind": "hub", "name": "test/x", "source": "", "revision": ""}),
}
WHOLE_HASH = hashlib.sha256(WHOLE).hexdigest()


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_changes_nothing(tmp_path: Path, cache: Path, case: str) -> None:
    good = pack(tmp_path)
    imported(good)
    bad = tmp_path / "bad.tar"
    bad.write_bytes(CASES[case](good.read_bytes()))
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(Error) as caught:
        imported(bad)
    assert caught.value.code == "bad_file"
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert content(found("tiny")) == WHOLE


def test_any_bytes_are_a_model_or_refused(tmp_path: Path) -> None:
    good = pack(tmp_path).read_bytes()
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(200):
        data = bytearray(good)
        for _ in range(chance.choice([1, 3, 30])):
            data[chance.randrange(min(len(data), 2000))] = chance.randrange(256)
        (tmp_path / "bad.tar").write_bytes(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        try:
            asyncio.run(archive.read_archive(FileSource(tmp_path / "bad.tar")))
        except Error as error:
            assert error.code == "bad_file"


def test_whole_files_are_hashed_where_a_reader_finds_them() -> None:
    """Files that overlap, leave gaps or share shards: what is hashed is what a source of the file reads."""
    data = random.Random(3).randbytes(1000)
    spans = {"a": (0, 300), "b": (250, 450), "c": (700, 0), "d": (990, 10), "e": (100, 101)}
    for shard_size in (1, 99, 100, 250, 1000):
        digests = {n: hashlib.sha256(data[at : at + size]).hexdigest() for n, (at, size) in spans.items()}
        files = [
            {"name": n, "offset": at, "size": size, "hash": f"sha256:{digests[n]}"} for n, (at, size) in spans.items()
        ]
        cut = [data[start : start + shard_size] for start in range(0, 1000, shard_size)]
        described = {"shard_size": shard_size, "files": files, "shards": [{"size": len(part)} for part in cut]}

        def wrong(parts: list[bytes], described: dict = described) -> str:
            async def run() -> str:
                hashes = manifest.Hashes(described)
                for n, part in enumerate(parts):
                    await hashes.add(n, MemorySource(part))
                return hashes.wrong()

            return asyncio.run(run())

        assert wrong(cut) == ""
        for name, (at, size) in spans.items():
            if size:
                changed = bytearray(data)
                changed[at + size - 1] ^= 1
                touched = [n for n, (first, count) in spans.items() if first <= at + size - 1 < first + count]
                parts = [bytes(changed[start : start + shard_size]) for start in range(0, 1000, shard_size)]
                assert wrong(parts) in touched
                assert name in touched
