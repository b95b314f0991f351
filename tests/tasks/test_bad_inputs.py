"""Inputs by mistake: every public method returns the right value, or raises Error("bad_request") with a sentence that
says what is wrong, and never another exception."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab.device.cpu import CPUDevice
from tensortab.tasks import automatic_speech_recognition

from tests import recipe_text, tiny_whisper
from tests.models.test_vision import MODELS, tensors
from tests.recipe import write_folder

WRONG: dict[str, Any] = {
    "None": None, "5": 5, "0": 0, "-1": -1, "True": True, "nan": float("nan"), "[]": [], "()": (), "empty text": "",
    "text": "a cat", "{}": {}, "dict": {"a": 1}, "set": {1}, "bytes": b"", "more bytes": b"\xff\xd8\xff",
    "[None]": [None], "[5]": [5], "[[]]": [[]], "[()]": [()], "[{}]": [{}], "list of texts": ["a", None],
    "ragged": [[1, 2], [3]], "object": object(), "type": int, "function": len, "no axis": np.zeros(()),
    "NaN": np.full((4, 4, 3), np.nan), "NaN samples": np.full(16000, np.nan, np.float32), "infinite": [float("inf")],
    "four axes": np.zeros((2, 2, 2, 2)), "no pixels": np.zeros((0, 4, 3)), "complex": np.zeros((4, 4), complex),
    "objects": np.array([None, "a"]), "texts": np.array(["a"]),
}  # fmt: skip
RIGHT: dict[str, Any] = {
    "feature-extraction": "a text", "fill-mask": "a [MASK]", "text-classification": "a text",
    "image-classification": np.zeros((4, 4, 3), np.uint8), "zero-shot-image-classification": np.zeros((4, 4), np.uint8),
    "image-feature-extraction": np.zeros((4, 4, 3), np.uint8),
    "automatic-speech-recognition": tiny_whisper.noise(0.3, 2),
}  # fmt: skip
# task, method, argument; the first input is an argument, too
CASES = [
    ("feature-extraction", "", "inputs"), ("feature-extraction", "", "pooling"), ("fill-mask", "", "inputs"),
    ("feature-extraction", "", "normalize"), ("fill-mask", "", "top_k"), ("text-classification", "", "inputs"),
    ("text-classification", "", "top_k"), ("image-classification", "", "inputs"), ("image-classification", "", "top_k"),
    ("zero-shot-image-classification", "", "inputs"), ("zero-shot-image-classification", "", "candidate_labels"),
    ("zero-shot-image-classification", "", "hypothesis_template"), ("image-feature-extraction", "", "inputs"),
    ("image-feature-extraction", "text", "inputs"), ("automatic-speech-recognition", "", "inputs"),
    ("automatic-speech-recognition", "", "language"), ("automatic-speech-recognition", "", "task"),
    ("automatic-speech-recognition", "", "return_timestamps"), ("automatic-speech-recognition", "stream", "inputs"),
    ("automatic-speech-recognition", "stream", "language"), ("automatic-speech-recognition", "stream", "task"),
    ("automatic-speech-recognition", "stream", "return_timestamps"),
]  # fmt: skip


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A small model for a task, in numpy."""
    made: dict[str, Any] = {}

    def folder(task: str) -> Path:
        root = tmp_path_factory.mktemp(task)
        if task == "automatic-speech-recognition":
            return tiny_whisper.write(root)
        if "image" not in task:
            return recipe_text.write(root, "bert")
        name = "vit" if task == "image-classification" else "clip"
        written = write_folder(root / name, MODELS[name]["config"], tensors(name))
        (written / "preprocessor_config.json").write_text(json.dumps(MODELS[name]["processor"]))
        (written / "tokenizer.json").write_text(json.dumps(MODELS["clip"]["tokenizer"]))
        return written

    def pipe(task: str) -> Any:
        if task not in made:
            made[task] = asyncio.run(tt.pipeline(task, model=folder(task), device=CPUDevice()))
        return made[task]

    return pipe


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("task", "method", "argument"), CASES, ids=lambda part: part or "call")
def test_what_is_given_by_mistake(
    pipes: Any, monkeypatch: pytest.MonkeyPatch, task: str, method: str, argument: str, wrong: str
) -> None:
    monkeypatch.setattr(automatic_speech_recognition, "TEMPERATURES", (0.0,))
    pipe = pipes(task)
    call = getattr(pipe, method) if method else pipe
    options = {} if argument == "inputs" else {argument: WRONG[wrong]}
    if task.startswith("zero-shot"):
        options = {"candidate_labels": ["a cat", "a dog"]} | options
    given = WRONG[wrong] if argument == "inputs" else ["a"] if method == "text" else RIGHT[task]

    async def answer() -> Any:
        if method == "stream":
            return [part async for part in call(given, **options)][-1]
        return await call(given, **options)

    try:
        result = asyncio.run(answer())
    except tt.Error as error:
        assert error.code == "bad_request"
        assert re.match(r"[A-Z'\w].{20,}\.$", error.message, re.S), error.message
        assert "Traceback" not in error.message and "object has no attribute" not in error.message
    else:
        assert isinstance(result, list | dict), "a value that is right: what it is the tests of the task say"


@pytest.mark.parametrize(
    ("task", "method", "given", "want"),
    [
        ("feature-extraction", "", [], []), ("fill-mask", "", [], []), ("text-classification", "", [], []),
        ("image-classification", "", [], []), ("zero-shot-image-classification", "", [], []),
        ("image-feature-extraction", "", [], []), ("image-feature-extraction", "text", [], []),
        ("automatic-speech-recognition", "", [], []),
        ("automatic-speech-recognition", "", np.zeros(0), {"text": "", "chunks": [], "language": "en"}),
    ],
)  # fmt: skip
def test_nothing_gives_nothing(pipes: Any, task: str, method: str, given: Any, want: Any) -> None:
    pipe = pipes(task)
    more = [["a cat"]] if task.startswith("zero-shot") else []
    assert asyncio.run((getattr(pipe, method) if method else pipe)(given, *more)) == want


def test_an_empty_text_is_a_text(pipes: Any) -> None:
    """As transformers: its vectors are those of the special tokens."""
    (vectors,) = asyncio.run(pipes("feature-extraction")(""))
    assert len(vectors) == 2
    assert len(asyncio.run(pipes("text-classification")("", top_k=None))) == 3
    assert len(asyncio.run(pipes("image-feature-extraction").text(""))) == 1
