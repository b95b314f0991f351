"""Models in the formats of other libraries, written anew as folders like those of Hugging Face: one file a converter.

Each has `convert(*inputs, target)`, which writes into the folder `target` and raises Error("bad_file") for inputs that
are damaged or of another model. The tab never loads any of them.
"""

from importlib import import_module
from pathlib import Path


def converter(path: Path) -> str | None:
    """The name of the converter that a user's folder needs, None if it is a model's as it is."""
    return "ctranslate2" if (path / "model.bin").is_file() else None


def convert(name: str, *inputs: Path, target: Path) -> Path:
    """The folder `target`, into which the converter `name` wrote what it made of its inputs."""
    target.mkdir(parents=True, exist_ok=True)
    import_module(f".{name}", __name__).convert(*inputs, target)
    return target
