"""Converters from the formats of other libraries to folders like those of Hugging Face: one file each.

Each has `convert(*inputs, target)`, which writes into the folder `target` and raises Error("bad_file") if its inputs
are damaged or belong to another model. The tab never loads any of them.
"""

from importlib import import_module
from pathlib import Path


def converter(path: Path) -> str | None:
    """The name of the converter that a user's folder needs, or None if it needs none."""
    return "ctranslate2" if (path / "model.bin").is_file() else None


def convert(name: str, *inputs: Path, target: Path) -> Path:
    """Converts the inputs with the converter `name` into the folder `target`, which it returns."""
    target.mkdir(parents=True, exist_ok=True)
    import_module(f".{name}", __name__).convert(*inputs, target)
    return target
