"""The catalogue and models in shards: what is packed is what the library opens, whole and under its own names."""

import asyncio
import hashlib
import json
import tomllib
import zlib
from pathlib import Path

import pytest
from tensortab import packing
from tensortab.__main__ import main
from tensortab.errors import Error
from tensortab.formats import open_checkpoint
from tensortab.sources.model import find

from building import models as building
from building.models import CATALOGUE, MODEL
from building.steps import ROOT

GOLDEN = ROOT / "tests/golden"


def test_the_catalogue_is_the_lock_and_the_site(dist: Path) -> None:
    """No package but the catalogue's is locked, and the page's list says what the catalogue says."""
    packages = {part["package"] for about in CATALOGUE.values() for part in (about, about.get("labels", about))}
    locked = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["model"]
    assert packages == {requirement.split("==")[0] for requirement in locked}
    index = json.loads((dist / "models/index.json").read_text())
    assert index["default"] == MODEL
    listed = {model["name"]: model for model in index["models"]}
    assert [name for name in listed if name in CATALOGUE] == list(CATALOGUE)
    for name, about in CATALOGUE.items():
        assert {key: about[key] for key in packing.ABOUT if key in about} | {"name": name} == listed[name]


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_of_the_site_fits_a_phone(name: str) -> None:
    """Safari on iOS ends a tab that takes about 1 GB."""
    assert CATALOGUE[name]["size"] < CATALOGUE[name]["memory"] < 1e9


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_is_whole_in_small_shards(dist: Path, name: str) -> None:
    folder = dist / "models" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    whole = b""
    for shard in manifest["shards"]:
        data = (folder / shard["path"]).read_bytes()
        assert len(data) == shard["size"] <= manifest["shard_size"] <= 16 << 20
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]
        whole += data
    assert hashlib.sha256(whole).hexdigest() == manifest["sha256"]
    assert len(whole) == manifest["size"] == CATALOGUE[name]["size"]
    source = building.model(name)
    root = source if source.is_dir() else source.parent
    for file in manifest["files"]:
        assert whole[file["offset"] : file["offset"] + file["size"]] == (root / file["name"]).read_bytes()


@pytest.mark.parametrize("name", ["whisper-tiny.en", "efficientnet-lite0"])
def test_a_converted_model_has_the_values_of_its_package(dist: Path, name: str) -> None:
    """Every byte, against torch and ctranslate2 (tests/make_golden_pack.py)."""

    async def listed() -> dict[str, list]:
        checkpoint = await open_checkpoint(await find(str(dist / "models" / name), lambda done, total: None))
        found = {}
        for info in checkpoint.tensors.values():
            data = await info.source.bytes(info.offset, info.nbytes)
            found[info.name] = [info.dtype.name.upper(), list(info.shape), zlib.crc32(data)]
        return found

    golden = json.loads((GOLDEN / "pack.json").read_text())[name]
    usable = {tensor: value for tensor, value in golden.items() if value[0] != "I64"}  # counts of training steps
    assert asyncio.run(listed()) == usable


def test_whisper_says_what_its_tokens_are(dist: Path) -> None:
    """As in openai/whisper-tiny.en, where the package's own lang_ids are off by one."""
    folder = building.model("whisper-tiny.en")
    config, generation, preprocessor = (
        json.loads((folder / f"{name}.json").read_text())
        for name in ("config", "generation_config", "preprocessor_config")
    )
    assert config["model_type"] == "whisper"
    sizes = {"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6}
    sizes |= {"decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "num_mel_bins": 80}
    sizes |= {"max_source_positions": 1500, "max_target_positions": 448, "vocab_size": 51864}
    assert {key: config[key] for key in sizes} == sizes
    tokens = {"decoder_start_token_id": 50257, "eos_token_id": 50256, "no_timestamps_token_id": 50362}
    tokens |= {"prev_sot_token_id": 50360, "is_multilingual": False, "begin_suppress_tokens": [220, 50256]}
    assert {key: generation[key] for key in tokens} == tokens
    assert len(generation["suppress_tokens"]) == 90
    assert generation["alignment_heads"][0] == [1, 0]
    assert (preprocessor["n_samples"], preprocessor["chunk_length"], preprocessor["feature_size"]) == (480_000, 30, 80)


def test_efficientnet_names_its_classes(dist: Path) -> None:
    config = json.loads((building.model("efficientnet-lite0") / "config.json").read_text())
    assert config["model_type"] == "efficientnet_lite"
    assert len(config["id2label"]) == 1000
    assert config["id2label"]["0"] == "tench, Tinca tinca"
    assert config["id2label"]["999"].startswith("toilet tissue")


def test_the_sentence_model_keeps_its_pooling(dist: Path) -> None:
    source = asyncio.run(find(str(dist / "models/all-MiniLM-L6-v2"), lambda done, total: None))
    pooling = source.files["1_Pooling/config.json"]
    assert json.loads(asyncio.run(pooling.bytes(0, pooling.size)))["pooling_mode_mean_tokens"] is True
    assert source.files["config.json"].size > pooling.size


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty site's folder of models, in small shards."""
    for name in ("DIST", "CACHE"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(building, name, tmp_path / name)
    monkeypatch.setattr(packing, "SHARD", 1000)
    return tmp_path / "DIST/models"


def test_pack_a_folder(tmp_path: Path, site: Path) -> None:
    source = tmp_path / "tiny"
    (source / "1_Pooling").mkdir(parents=True)
    (source / "onnx").mkdir()
    parts = {"1_Pooling/config.json": b"[1]", "config.json": b"{}", "model.safetensors": bytes(range(256)) * 10}
    others = {"README.md": b"no", "onnx/config.json": b"no", "onnx/model.safetensors": b"no"}
    for name, data in (parts | others).items():
        (source / name).write_bytes(data)
    about = {"task": "fill-mask", "license": "MIT", "source": "a test"}
    building.pack(source, "tiny", about)
    manifest = json.loads((site / "tiny/manifest.json").read_text())
    stream = b"".join((site / "tiny" / shard["path"]).read_bytes() for shard in manifest["shards"])
    assert [shard["size"] for shard in manifest["shards"]] == [1000, 1000, 565]
    assert manifest["file"] == "model.safetensors"
    assert {f["name"]: stream[f["offset"] : f["offset"] + f["size"]] for f in manifest["files"]} == parts
    listed = json.loads((site / "index.json").read_text())["models"]
    assert listed == [{"name": "tiny", "size": 2565, "memory": 2565, **about}]


def test_pack_refuses_what_has_no_weights(tmp_path: Path, site: Path) -> None:
    (tmp_path / "readme.gguf.txt").write_text("none")
    for source in (tmp_path / "DIST", tmp_path / "readme.gguf.txt"):
        with pytest.raises(Error, match=r"no \.gguf or \.safetensors"):
            building.pack(source, "empty", {})


HOSTILE = ("", ".", "..", "../..", "../../precious", "a/b", "/tmp/x", "a\\b", "a\0", ".git", "a b", "-r", "C:", "x.")


def state(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_touches_nothing(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither the packed models nor what lies above them: names are checked before anything is written or deleted."""
    source = tmp_path / "model.gguf"
    source.write_bytes(b"GGUF" + bytes(1000))
    (tmp_path / "precious").write_text("the checkout")
    building.pack(source, "kept", {"task": "text-generation"})
    monkeypatch.chdir(site)
    before = state(tmp_path)
    with pytest.raises(Error, match="cannot be a model's name"):
        building.pack(source, name, {})
    with pytest.raises(Error, match="cannot be a model's name"):
        building.converted(name, "ctranslate2", source)
    with pytest.raises(Error, match="cannot be a model's name"):
        building.pack_command(str(source), name or ".", "MIT", "text-generation")
    assert main(["pack", str(source), "--output", str(site), f"--name={name or '.'}"]) == 1
    assert state(tmp_path) == before


def test_pack_of_a_folder_of_packed_models(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pack .` among the packed models once deleted them all."""
    source = tmp_path / "model.gguf"
    source.write_bytes(b"GGUF" + bytes(1000))
    building.pack(source, "kept", {"task": "text-generation"})
    before = state(site)
    for folder in (site, site / "kept"):
        monkeypatch.chdir(folder)
        with pytest.raises(Error, match=r"no \.gguf or \.safetensors file"):
            building.pack_command(".", None, "MIT", "text-generation")
        assert main(["pack", "."]) == 1
        assert state(site) == before


def test_only_a_packed_model_is_replaced(tmp_path: Path, site: Path) -> None:
    source = tmp_path / "precious"
    source.mkdir()
    (source / "model.safetensors").write_bytes(bytes(5000))
    (source / "manifest.json").write_text("{}")  # it looks like a packed model, and is the source
    (site / "notes").mkdir(parents=True)
    (site / "notes/text").write_text("mine")
    (site / "link").symlink_to(source)
    before = state(tmp_path)
    for folder, message in ((site / "notes", "is not a packed model"), (source, "cannot be packed into")):
        with pytest.raises(Error, match=message):
            packing.pack(source, folder, {})
    with pytest.raises(Error, match="cannot be packed into"):
        packing.pack(source, site / "link", {})
    assert state(tmp_path) == before
    packing.pack(source, site / "new", {})
    (source / "model.safetensors").write_bytes(bytes(100))
    assert packing.pack(source, site / "new", {})["size"] == 102
    assert {file.name for file in (site / "new").iterdir()} == {"0000.bin", "manifest.json"}


def test_a_pack_that_fails_leaves_the_packed_model(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"GGUF" + bytes(5000))
    packing.pack(source, site / "tiny", {})
    before = state(site)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing.json, "dumps", full)  # of the manifest, after the shards
    with pytest.raises(OSError, match="No space left"):
        packing.pack(source, site / "tiny", {})
    assert state(site) == before
    assert [path.name for path in site.iterdir()] == ["tiny"]
