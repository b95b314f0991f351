"""Tasks, by their Hugging Face names: one file each, `text-generation` in text_generation.py, of which chat.py is a
part.

A task's file has `async def declare(files, context)`, which makes a pipeline of a model's files (loading.Files) without
reading a weight or putting anything on the device. A pipeline has `async load(on_progress)`, which does both, and
`free()`, which gives the device's memory back at any stage. A file may have DEFAULT_OF, the task whose default model it
uses, and lent(model), which makes a pipeline of another one or returns None.
"""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import Error
from ..loading import Progress, open_files


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
    stems = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "chat"}
    names = [stem.replace("_", "-") for stem in stems]
    if task not in names:
        raise Error("bad_request", f"There is no task {task!r}; there is: {', '.join(sorted(names))}.")
    module = import_module("." + task.replace("-", "_"), __package__)
    if hasattr(module, "lent") and (lent := module.lent(model)):
        return lent
    files = await open_files(getattr(module, "DEFAULT_OF", task), model, device, on_progress)
    pipe = await module.declare(files, context)
    try:
        await pipe.load(on_progress)
        await asyncio.sleep(0)  # a stop during the last step arrives here, and not when the pipeline is lost to it
    except BaseException:  # stopped by the user, too
        pipe.free()
        raise
    return pipe
