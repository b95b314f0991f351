"""Tasks, by their Hugging Face names: one file each, `text-generation` in text_generation.py, of which chat.py is a
part."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import Error

Progress = Callable[[str, int, int], None]  # stage, done, total


async def pipeline(
    task: str,
    model: Any = None,
    device: Any = None,
    context: int | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> Any:
    """A model ready for a task, as in transformers.

    model: a name of the site's own models, a path, a Hugging Face id ("org/name", "org/name:file.gguf"), a URL, a
    Source, a picked File, or a list of these if the model has several files (sources/model.py), for summarization
    also a text-generation pipeline, which is lent; by default the task's own. context: tokens, at most the model's
    own. on_progress(stage, done, total) with the stages "download" and "load" (bytes) and "compile" (plans).
    """
    files = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "chat"}
    names = [stem.replace("_", "-") for stem in files]
    if task not in names:
        raise Error("bad_request", f"There is no task {task!r}; there is: {', '.join(sorted(names))}.")
    if sys.platform == "emscripten":
        from ..browser import load

        await load()
    module = import_module("." + task.replace("-", "_"), __package__)
    return await module.create(model, device, context, on_progress)
