"""Models of the hub natively: kept in huggingface_hub's cache, resumed by byte, verified, and what goes wrong."""

import asyncio
import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensortab.errors import Error
from tensortab.sources import url
from tensortab.sources.model import find

from tests.sources.conftest import GOLDEN, tiny_files
from tests.sources.fake_hub import COMMIT, FakeHub, sibling

Q8 = (GOLDEN / "tiny_q8_0.gguf").read_bytes()
FILE = "test/ggufs:tiny_q8_0.gguf"
OTHER = COMMIT[::-1]


def found(model: str, seen: list[tuple[int, int]] | None = None) -> Any:
    return asyncio.run(find(model, lambda done, total: None if seen is None else seen.append((done, total))))


def content(source: Any) -> bytes:
    return asyncio.run(source.bytes(0, source.size))


def asked(hub: FakeHub, name: str) -> list[str]:
    """The Range headers of the requests for a file, "" for none."""
    return [span for request, span in hub.requests if request.endswith(f"/{name}")]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_model_is_kept_in_the_hub_s_layout(hub: FakeHub, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = found("test/tiny", seen)
    total = sum(source.size for source in folder.values())
    assert sorted(folder) == sorted([*tiny_files(), "1_Pooling/config.json"])  # and not README.md or onnx/
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    kept = tmp_path / "hub/models--test--tiny"
    assert (kept / "refs/main").read_text() == COMMIT
    snapshot = kept / "snapshots" / COMMIT
    for name, data in tiny_files().items():
        about = sibling(name, data)
        blob = kept / "blobs" / (about["lfs"]["sha256"] if "lfs" in about else about["blobId"])
        assert (snapshot / name).resolve() == blob.resolve()
        assert not Path(os.readlink(snapshot / name)).is_absolute()
        assert blob.read_bytes() == content(folder[name]) == data
    assert files(kept / "blobs") == sorted({(snapshot / name).resolve().name for name in folder})
    hub.requests.clear()
    found("test/tiny")
    assert [request for request, _ in hub.requests] == ["GET /api/models/test/tiny/revision/main?blobs=true"]


def test_a_kept_model_opens_whatever_the_hub_answers(hub: FakeHub, tmp_path: Path) -> None:
    for model in ("test/tiny", FILE, "test/tiny@refs/pr/1"):
        found(model)
    for status in (401, 403, 404, 429, 500, 503):
        hub.status = {"/api/": status}
        assert content(found(FILE)) == Q8
    hub.alter, hub.status = lambda listing: [], {}
    assert content(found(FILE)) == Q8
    hub.close()
    for model in ("test/tiny", f"test/tiny@{COMMIT}", "test/tiny@refs/pr/1"):
        folder = found(model)
        assert {name: content(folder[name]) for name in tiny_files()} == tiny_files()
    assert content(found(FILE)) == Q8
    for model in ("test/ggufs:q4/tiny q4.gguf", f"test/tiny@{OTHER}"):  # never downloaded
        with pytest.raises(Error) as caught:
            found(model)
        assert caught.value.code == "offline"
    shutil.rmtree(tmp_path / "hub")
    with pytest.raises(Error) as caught:
        found("test/tiny")
    assert caught.value.code == "offline"


def test_what_huggingface_hub_has_put_there_is_used(hub: FakeHub, tmp_path: Path) -> None:
    kept = tmp_path / "hub/models--test--tiny"
    snapshot = kept / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (kept / "blobs").mkdir()
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    for name, data in tiny_files().items():
        about = sibling(name, data)
        hash = about["lfs"]["sha256"] if "lfs" in about else about["blobId"]
        (kept / "blobs" / hash).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{hash}")
    folder = found("test/tiny")
    assert {name: content(folder[name]) for name in tiny_files()} == tiny_files()
    assert hub.sent == len(b"{}")  # 1_Pooling/config.json, which it had not
    hub.close()
    assert len(found("test/tiny")) == len(tiny_files()) + 1
    (snapshot / "model.safetensors").unlink()  # as after a download of the tokenizer alone
    with pytest.raises(Error) as caught:
        found("test/tiny")
    assert caught.value.code == "offline"


def test_a_connection_may_break_at_any_byte(hub: FakeHub, tmp_path: Path) -> None:
    """Each byte is sent once, however often the connection breaks."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    cuts = [len(Q8) - 1, len(Q8) // 2, *random.Random(seed).sample(range(20_000, len(Q8)), 6)]
    for cut in cuts:
        hub.cut, hub.sent = {"/cdn/": cut}, 0
        hub.requests.clear()
        assert content(found(FILE)) == Q8
        assert hub.sent == len(Q8)
        assert asked(hub, "tiny_q8_0.gguf") == ["", *(f"bytes={start}-" for start in range(cut, len(Q8), cut))]
        shutil.rmtree(tmp_path / "hub")


def test_a_download_goes_on_in_the_next_run(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "RETRY_SECONDS", ())
    for start in (0, 1, 2):
        hub.cut = {"/cdn/": 1}
        with pytest.raises(Error, match="the connection broke") as caught:
            found(FILE)
        assert caught.value.code == "offline"
        assert hub.requests[-1][1] == (f"bytes={start}-" if start else "")
    hub.cut = {}
    assert content(found(FILE)) == Q8
    assert hub.requests[-1][1] == "bytes=3-"
    assert hub.sent == len(Q8)


def test_a_host_that_ignores_range_sends_the_file_again(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "RETRY_SECONDS", ())
    hub.cut = {"/cdn/": 1000}
    with pytest.raises(Error):
        found(FILE)
    hub.cut, hub.ranges = {}, False
    assert content(found(FILE)) == Q8
    assert hub.sent == 1000 + len(Q8)


def test_a_new_commit_fetches_what_it_changes(hub: FakeHub, tmp_path: Path) -> None:
    found("test/tiny")
    config = json.dumps(json.loads(tiny_files()["config.json"]) | {"_name_or_path": "two"}).encode()
    hub.models["test/tiny"]["config.json"], hub.commit = config, OTHER
    hub.requests.clear()
    folder = found("test/tiny")
    assert content(folder["config.json"]) == config
    assert [request for request, _ in hub.requests if "/resolve/" in request] == [
        f"GET /test/tiny/resolve/{OTHER}/config.json"
    ]
    kept = tmp_path / "hub/models--test--tiny"
    assert (kept / "refs/main").read_text() == OTHER
    assert content(found(f"test/tiny@{COMMIT}")["config.json"]) == tiny_files()["config.json"]  # the old one stays


def test_a_new_commit_that_cannot_be_had_leaves_the_old_one(hub: FakeHub) -> None:
    found(FILE)
    hub.models["test/ggufs"]["tiny_q8_0.gguf"], hub.commit = Q8[::-1], OTHER
    hub.status = {"/cdn/": 503}
    assert content(found(FILE)) == Q8
    hub.status = {}
    assert content(found(FILE)) == Q8[::-1]


def test_a_file_that_changes_in_the_middle(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half is another file's: the hash tells, and the file is downloaded again from the start."""
    hub.cut = {"/cdn/": len(Q8) // 2 + 1}
    with monkeypatch.context() as patch:
        patch.setattr(url, "RETRY_SECONDS", ())
        with pytest.raises(Error):
            found(FILE)
    hub.cut, times = {}, []

    def send(path: str, data: bytes) -> bytes:
        times.append(path)
        return data[::-1] if len(times) == 1 else data

    hub.send = send
    assert content(found(FILE)) == Q8
    assert asked(hub, "tiny_q8_0.gguf")[-2:] == [f"bytes={len(Q8) // 2 + 1}-", ""]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_wrong_hash(hub: FakeHub, tmp_path: Path, name: str) -> None:
    hub.send = lambda path, data: data[:-1] + bytes([data[-1] ^ 1]) if path.endswith(name) else data
    with pytest.raises(Error, match=f"{name} is not what the hub says") as caught:
        found("test/tiny")
    assert caught.value.code == "bad_shard"
    about = sibling(name, tiny_files()[name])
    hash = about["lfs"]["sha256"] if "lfs" in about else about["blobId"]
    assert not [file for file in files(tmp_path / "hub/models--test--tiny/blobs") if hash in file]
    hub.send = lambda path, data: data
    assert content(found("test/tiny")[name]) == tiny_files()[name]


def test_no_room(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=len(Q8) - 1))
        with pytest.raises(Error, match="There is no room for") as caught:
            found(FILE)
    assert caught.value.code == "quota"
    assert hub.sent == 0

    async def fill_up(url: str, path: Path, size: int, on_progress: Any) -> None:
        path.write_bytes(Q8[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tensortab.sources.cache.save", fill_up)
        with pytest.raises(Error, match="There is no room for") as caught:
            found(FILE)
    assert caught.value.code == "quota"
    assert content(found(FILE)) == Q8
    assert hub.requests[-1][1] == "bytes=1000-"


def test_two_processes_download_once(hub: FakeHub) -> None:
    hub.cut = {"/cdn/": 30_000}
    script = (
        "import asyncio; from tensortab.sources import url; from tensortab.sources.model import find;"
        f"s = asyncio.run(find({FILE!r}, lambda done, total: None)); d = asyncio.run(s.bytes(0, s.size));"
        "import hashlib; print(hashlib.sha256(d).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "app")}
    both = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [hashlib.sha256(Q8).hexdigest()] * 2
    assert hub.sent == len(Q8)


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    with pytest.raises(Error, match="status 401"):
        found(FILE)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.tokens.clear()
    assert content(found(FILE)) == Q8
    assert {host for host, token in hub.tokens if token} == {"127.0.0.1"}
    assert {token for host, token in hub.tokens if host == "localhost"} == {""}  # where the hub's files are
    hub.tokens.clear()
    asyncio.run(find([f"http://localhost:{hub.server_address[1]}/cdn/test%2Fggufs/tiny_q8_0.gguf"], lambda *_: None))
    assert hub.tokens == [("localhost", "")]


def test_a_download_can_be_cancelled(hub: FakeHub) -> None:
    async def run() -> None:
        def progress(done: int, total: int) -> None:
            if done:
                task.cancel()

        task = asyncio.ensure_future(find(FILE, progress))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert content_of(await find(FILE, lambda done, total: None))  # its lock is free again

    def content_of(source: Any) -> bool:
        return source.size == len(Q8)

    asyncio.run(run())
    assert content(found(FILE)) == Q8


def test_which_files_are_a_model_s(hub: FakeHub) -> None:
    index = json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}).encode()
    extra = {"model.safetensors.index.json": index, "a.safetensors": b"a", "b.safetensors": b"b"}
    hub.models["test/parts"] = {**extra, "consolidated.safetensors": b"c", "pytorch_model.bin": b"d", "vocab.txt": b"e"}
    assert sorted(found("test/parts")) == sorted([*extra, "vocab.txt"])
    hub.models["test/one"] = {"a.gguf": b"a", "config.json": b"{}"}
    assert list(found("test/one")) == ["a.gguf"]
    hub.models["test/two"] = {"a.gguf": b"a", "b.gguf": b"b"}
    for model, message in (("test/two", "2 .gguf files: choose one of a.gguf, b.gguf, as in test/two:a.gguf"),):
        with pytest.raises(Error, match=message):
            found(model)
    hub.models["test/none"] = {"pytorch_model.bin": random.Random(1).randbytes(3)}
    with pytest.raises(Error, match=r"no model\.safetensors and no \.gguf file"):
        found("test/none")
