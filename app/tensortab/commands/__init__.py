"""The commands of `python -m tensortab`, for CPython: one file each, with `options(parser)` and `run(args)`.

A file's docstring is the command's help text. The tab never loads any of them.
"""

from importlib import import_module
from types import ModuleType

NAMES = ("info", "chat", "pack")


def shown(text: str) -> str:
    """A text from a file or a model, without characters that would move the terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def load(name: str) -> ModuleType:
    return import_module(f".{name}", __name__)
