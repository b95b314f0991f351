"""The models that are kept on this device: list them, delete one, or carry one to another device as a file.

    for model in await tt.storage.list():
        print(model["name"], model["kind"], model["stored"])
    await tt.storage.delete("org/name")

In the tab they are in the browser's storage. Natively they are those of the hub, in huggingface_hub's own cache, and
those that were imported, in a folder of TensorTab's.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

if sys.platform == "emscripten":
    from .sources.browser import library
else:
    from .sources import library

Progress = Callable[[int, int], None]  # the bytes done, and all bytes


async def list() -> Sequence[dict[str, Any]]:
    """Returns a dict for each model: name, kind ("site", "hub" or "file"), source (where it comes from), revision (the
    commit of a model of the hub), size and stored (all its bytes, and those that are here), used (when it was last
    opened, in seconds since 1970; 0: never), and the site's description: task, memory (bytes on the GPU), license."""
    return await library.models()


async def delete(name: str) -> None:
    """Deletes a model. The user's own files stay; only copies of them are deleted."""
    await library.delete(name)


async def export(name: str, path: Any = None) -> Any:
    """Exports the model as one file: a tar of manifest.json and its shards.

    In the tab it returns a Blob, which uses no memory: it reads the storage when it is saved. Natively it writes the
    file `path`, and the name may be any that pipeline() accepts. Raises Error("bad_request") if there is no such model.
    """
    return await library.export(name, path)


async def import_(file: Any, on_progress: Progress = lambda done, total: None) -> str:
    """Imports an exported model, from a File or Blob in the tab, natively from a path. Returns the name to open it by.

    Every byte is verified before anything is replaced. Raises Error("bad_file"), or Error("quota") if there is no room.
    """
    return await library.import_(file, on_progress)


async def keep(files: Any, name: str, on_progress: Progress = lambda done, total: None) -> None:
    """Keeps the user's own files (a list) in the tab, under a name to open them by.

    FileSystemFileHandles are remembered and the files stay where they are; Files are copied into storage. Raises
    Error("bad_request") if another model has the name, or Error("quota").
    """
    await library.keep([*files], name, on_progress)
