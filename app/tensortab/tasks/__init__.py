"""Tasks, by their Hugging Face names: one file each, `text-generation` in text_generation.py, of which chat.py is a
part.

A task's file has `async def declare(files, context)`, which makes a pipeline from a model's files (loading.Files)
without reading a weight or putting anything on the device. A pipeline has `async load(on_progress)`, which does both,
and `free()`, which frees the device's memory at any stage. A file may have DEFAULT_OF, the task whose default model it
uses, and lent(model), which wraps another task's pipeline, or returns None if `model` is not one.
"""

import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from .. import models
from ..errors import Error
from ..formats import Checkpoint
from ..loading import Progress, open_files

if TYPE_CHECKING:  # a task's file is imported when it is asked for
    from .automatic_speech_recognition import SpeechRecognition
    from .feature_extraction import FeatureExtraction
    from .fill_mask import FillMask
    from .image_classification import ImageClassification
    from .image_feature_extraction import ImageFeatureExtraction
    from .summarization import Summarization
    from .text_classification import TextClassification
    from .text_generation import TextGeneration
    from .zero_shot_image_classification import ZeroShotImageClassification


class Options(TypedDict, total=False):
    """The arguments of pipeline() besides the task and the model."""

    device: Any
    context: int | None
    on_progress: Progress


@overload
async def pipeline(
    task: Literal["automatic-speech-recognition"], model: Any = None, **options: Unpack[Options]
) -> "SpeechRecognition": ...
@overload
async def pipeline(
    task: Literal["feature-extraction"], model: Any = None, **options: Unpack[Options]
) -> "FeatureExtraction": ...
@overload
async def pipeline(task: Literal["fill-mask"], model: Any = None, **options: Unpack[Options]) -> "FillMask": ...
@overload
async def pipeline(
    task: Literal["image-classification"], model: Any = None, **options: Unpack[Options]
) -> "ImageClassification": ...
@overload
async def pipeline(
    task: Literal["image-feature-extraction"], model: Any = None, **options: Unpack[Options]
) -> "ImageFeatureExtraction": ...
@overload
async def pipeline(
    task: Literal["summarization"], model: Any = None, **options: Unpack[Options]
) -> "Summarization": ...
@overload
async def pipeline(
    task: Literal["text-classification"], model: Any = None, **options: Unpack[Options]
) -> "TextClassification": ...
@overload
async def pipeline(
    task: Literal["text-generation"], model: Any = None, **options: Unpack[Options]
) -> "TextGeneration": ...
@overload
async def pipeline(
    task: Literal["zero-shot-image-classification"], model: Any = None, **options: Unpack[Options]
) -> "ZeroShotImageClassification": ...
async def pipeline(
    task: str,
    model: Any = None,
    device: Any = None,
    context: int | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> Any:
    """Loads a model for a task and returns its pipeline, which is called as in transformers.

        pipe = await tt.pipeline("feature-extraction")
        vectors = await pipe(["A man is eating food.", "A man is eating pasta."])

    task: a Hugging Face name, such as "text-generation"; help(pipe) describes its inputs and outputs.
    model: by default the task's own. The name of one of the site's models (tt.site), a path, a Hugging Face id
        ("org/name", "org/name:file.gguf"), a URL, a Source, a File that the user picked, or a list of these if the
        model has several files (sources/model.py); for summarization also a text-generation pipeline, which is lent.
    device: a Device (device/__init__.py); by default the one of this process, which pipelines share.
    context: the most tokens that a text may have; the model's own limit still applies.
    on_progress(stage, done, total): called with the stages "download" and "load" (bytes) and "compile" (plans).

    Raises Error with the code "bad_request" (no such task or default model), "bad_file", "bad_shard", "offline",
    "quota", "out_of_memory", "no_webgpu" or "no_adapter".
    """
    stems = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "chat"}
    names = [stem.replace("_", "-") for stem in stems]
    if task not in names:
        raise Error("bad_request", f"There is no task {task!r}. The tasks are: {', '.join(sorted(names))}.")
    if sys.platform == "emscripten":
        from ..browser import load

        await load()
    module = import_module("." + task.replace("-", "_"), __package__)
    if hasattr(module, "lent") and (lent := module.lent(model)):
        return lent
    files = await open_files(getattr(module, "DEFAULT_OF", task), model, device, on_progress)
    pipe = await module.declare(files, context)
    try:
        await pipe.load(on_progress)
        await asyncio.sleep(0)  # a cancellation during the last step is raised here, so that the pipeline is freed
    except BaseException:  # includes a cancellation by the user
        pipe.free()
        raise
    return pipe


def tasks_of(checkpoint: Checkpoint) -> list[str]:
    """The tasks that a model is for, the one of its head first. Raises Error("bad_file") if it is of no supported
    type."""
    kind = str(checkpoint.config.get("model_type"))
    module = models.find(kind)
    if module is None:
        raise Error("bad_file", f"Models of type {kind!r} are not supported yet: use another model.")
    tasks: dict[str, str] = getattr(module, "TASKS", {"text-generation": ""})
    made = [name for name in checkpoint.config.get("architectures") or [""] if isinstance(name, str)]
    return [task for task, head in tasks.items() if any(name.endswith(head) for name in made)]
