"""Models in shards: a folder of files of 16 MiB and a manifest.json, which a site serves and a pipeline opens."""

import hashlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .errors import Error
from .sources import WEIGHTS, model_name
from .sources.file import open_folder

SHARD = 16 << 20  # bytes
ABOUT = (  # what a manifest says of a model, as catalogue.json does
    "name", "title", "task", "languages", "context", "size", "parameters", "quantisation", "memory", "license",
    "source", "about",
)  # fmt: skip


def packable(source: Path) -> dict[str, Path]:
    """Returns {name: path} of the files to pack of a model, which is a file or a folder. Raises Error("bad_file")."""
    files = {name: source / name for name in open_folder(source)} if source.is_dir() else {source.name: source}
    if not any(name.endswith(WEIGHTS) for name in files):
        raise Error("bad_file", f"{source} has no .gguf or .safetensors file: use a model's file or its folder.")
    return files


def default_name(source: Path) -> str:
    """A model's name unless the user names it: that of its file or folder."""
    return source.stem if source.is_file() else source.resolve().name


def free_place(folder: Path, source: Path) -> Path:
    """Returns `folder` if a model can be packed there: its name must be valid for a model, and it may replace only a
    packed model. Otherwise it raises Error("bad_request"), so that nothing else is ever deleted.
    """
    model_name(folder.name)
    place = folder.resolve()
    if place.name != folder.name or source.resolve().is_relative_to(place):
        raise Error("bad_request", f"{source} cannot be packed into {folder}: choose another name.")
    if place.exists() and not (place / "manifest.json").is_file():
        raise Error(
            "bad_request", f"{folder} exists already and is not a packed model: choose another name, or delete it."
        )
    return folder


def pack(source: Path, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Writes a model file, or a folder's model files one after the other, as shards and manifest.json into `folder`.

    The name of `folder` is the model's. A packed model in it is replaced once the new one is complete.
    about: task, license, source and memory (bytes on the GPU; by default the size of the files). Returns the
    manifest. Raises Error("bad_file") for the source and Error("bad_request") for the folder.
    """
    named = packable(source)
    free_place(folder, source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=folder.parent) as work:  # no model's name begins with a dot
        part = Path(work) / folder.name
        part.mkdir()
        manifest = _write(named, part, about)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    return manifest


def _write(named: dict[str, Path], folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    files: list[dict[str, Any]] = []
    shards: list[dict[str, Any]] = []
    whole, shard = hashlib.sha256(), bytearray()

    def flush() -> None:
        path = f"{len(shards):04}.bin"
        (folder / path).write_bytes(shard)
        shards.append({"path": path, "size": len(shard), "sha256": hashlib.sha256(shard).hexdigest()})
        shard.clear()

    size = 0
    for name, path in named.items():
        files.append({"name": name, "offset": size, "size": path.stat().st_size})
        size += files[-1]["size"]
        with path.open("rb") as stream:
            while piece := stream.read(SHARD - len(shard)):
                whole.update(piece)
                shard += piece
                if len(shard) == SHARD:
                    flush()
    if shard:
        flush()
    weights = next(name for name in named if name.endswith(WEIGHTS))
    known = {key: about[key] for key in ABOUT if key in about}
    manifest = {"memory": size} | known | {"name": folder.name, "size": size}
    manifest |= {"file": weights, "sha256": whole.hexdigest(), "shard_size": SHARD}
    manifest |= {"files": files, "shards": shards}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return manifest
