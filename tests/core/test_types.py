"""The types that a user's type checker and editor see: mypy on snippets that use the library."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensortab as tt

from building.steps import ROOT

TASKS = {  # the pipeline's class, a call, what it gives
    "automatic-speech-recognition": ("SpeechRecognition", 'pipe("talk.wav")', "AutomaticSpeechRecognitionOutput"),
    "feature-extraction": ("FeatureExtraction", 'pipe("a")', "list[list[Any]]"),
    "fill-mask": ("FillMask", 'pipe("a [MASK]")', "list[FillMaskOutput]"),
    "image-classification": ("ImageClassification", "pipe(image)", "list[ClassificationOutput]"),
    "image-feature-extraction": ("ImageFeatureExtraction", "pipe([image])", "list[list[float]]"),
    "summarization": ("Summarization", 'pipe("a")', "list[SummarizationOutput]"),
    "text-classification": ("TextClassification", 'pipe("a")', "list[ClassificationOutput]"),
    "text-generation": ("TextGeneration", 'pipe("a")', "list[TextGenerationOutput]"),
    "zero-shot-image-classification": (
        "ZeroShotImageClassification", 'pipe(image, candidate_labels=["a"])', "list[ClassificationOutput]",
    ),
}  # fmt: skip
COMPLETIONS = {  # the fields of a request: what it gives
    "messages=[]": "ChatCompletion",
    "messages=[], stream=False": "ChatCompletion",
    "messages=[], stream=True": "Stream[ChatCompletionChunk]",
}
RIGHT = """
import tensortab as tt
image: tt.Image
async def use() -> None:
"""
WRONG = {
    'await tt.pipeline("sumarization")': "No overload",
    'await tt.pipeline("fill-mask", contxt=512)': "No overload",
    'await tt.pipeline("fill-mask", context="512")': "No overload",
    '(await (await tt.pipeline("fill-mask"))("a"))[0]["tokn"]': "has no key",
    'await (await tt.pipeline("text-generation"))("a", max_tokens=3)': "Unexpected keyword",
    '(await tt.pipeline("feature-extraction")).chat': "has no attribute",
    'tt.pipeline("fill-mask").free()': "has no attribute",
    "tt.site(5)": "incompatible type",
}

FIRST_WRONG = len(RIGHT.splitlines()) + 2 * len(TASKS) + 1 + len(COMPLETIONS) + 1  # its line


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """mypy's messages for a file that uses every task rightly, then every wrong use, one a line."""
    text = RIGHT
    for number, (task, (_, call, _)) in enumerate(TASKS.items()):
        call = call.replace("pipe", f"pipe{number}")
        text += f'    pipe{number} = await tt.pipeline("{task}")\n'
        text += f"    reveal_type(pipe{number}); reveal_type(await {call})\n"
    text += '    chat = (await tt.pipeline("text-generation", context=512)).chat\n'
    text += "".join(f"    reveal_type(await chat.completions.create({fields}))\n" for fields in COMPLETIONS)
    text += "".join(f"    {line}\n" for line in WRONG)
    file = tmp_path_factory.mktemp("types") / "use.py"
    file.write_text(text)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--strict", file]
    environment = {"MYPYPATH": str(ROOT / "app"), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache/types")}
    command.append("--config-file=")  # a user has none of ours
    done = subprocess.run(command, env=environment, cwd=file.parent, text=True, capture_output=True)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("use.py")]


def test_every_task_has_a_pipeline_and_a_result_of_its_own_type(told: list[str]) -> None:
    revealed = re.findall(r'Revealed type is "(.*)"', "\n".join(told))
    want = [name for pipe, _, gives in TASKS.values() for name in (pipe, gives)]
    assert [short(text) for text in revealed] == [*want, *COMPLETIONS.values()]


def short(text: str) -> str:
    """A type without its modules, and a TypedDict without its keys."""
    text = re.sub(r"\b(?:\w+\.)+", "", text)
    while (named := re.sub(r"TypedDict\((\w+), \{[^{}]*\}\)", r"\1", text)) != text:
        text = named
    return text


def test_wrong_use_is_an_error(told: list[str]) -> None:
    for number, (line, message) in enumerate(WRONG.items(), FIRST_WRONG):
        assert any(text.startswith(f"use.py:{number}: error") and message in text for text in told), (line, told)


def test_right_use_is_none(told: list[str]) -> None:
    assert not [text for text in told if ": error" in text and int(text.split(":")[1]) < FIRST_WRONG]


def test_every_task_is_listed_here() -> None:
    files = {path.stem for path in (ROOT / "app/tensortab/tasks").glob("*.py")} - {"__init__", "chat"}
    assert {name.replace("-", "_") for name in TASKS} == files


def test_every_method_of_a_pipeline_says_what_it_does() -> None:
    from importlib import import_module

    silent = []
    for task, (name, *_) in TASKS.items():
        pipe = getattr(import_module("tensortab.tasks." + task.replace("-", "_")), name)
        public = {n: m for n, m in vars(pipe).items() if inspect.isfunction(m) and (n == "__call__" or n[0] != "_")}
        assert "__call__" in public and "free" in public
        silent += [f"{name}.{n}" for n, m in [("", pipe), *public.items()] if not inspect.getdoc(m)]
    silent += [name for name in ("pipeline", "site", "debug", "jit") if not inspect.getdoc(getattr(tt, name))]
    assert not silent


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(tt.__file__).parent / "py.typed").is_file()
