"""Loads that fail or are cancelled, for every task at every stage: the original error is raised, nothing is left on the
device, and the event loop reports nothing else."""

import asyncio
import gc
import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab import tasks
from tensortab.device.cpu import CPUDevice
from tensortab.sources.file import FileSource

from tests import tiny_whisper
from tests.kernels.conftest import device as native
from tests.models import seq
from tests.models.test_vision import MODELS, tensors
from tests.recipe import write_folder
from tests.recipe_text import write
from tests.tasks.conftest import TINY


def chat(folder: Path) -> Path:
    return TINY


def bart(folder: Path) -> Path:
    path = seq.folder("bart", folder, is_encoder_decoder=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, path)
    return path


def bert(folder: Path) -> Path:
    return write(folder, "bert")


def seeing(name: str) -> Callable[[Path], Path]:
    def written(folder: Path) -> Path:
        path = write_folder(folder / name, MODELS[name]["config"], tensors(name))
        (path / "preprocessor_config.json").write_text(json.dumps(MODELS[name]["processor"]))
        if "tokenizer" in MODELS[name]:
            (path / "tokenizer.json").write_text(json.dumps(MODELS[name]["tokenizer"]))
        return path

    return written


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "text-generation": ("text-generation", chat),
    "summarization": ("summarization", bart),
    "summarization by a chat model": ("summarization", chat),
    "feature-extraction": ("feature-extraction", bert),
    "fill-mask": ("fill-mask", bert),
    "text-classification": ("text-classification", bert),
    "automatic-speech-recognition": ("automatic-speech-recognition", tiny_whisper.write),
    "image-classification": ("image-classification", seeing("vit")),
    "zero-shot-image-classification": ("zero-shot-image-classification", seeing("clip")),
    "image-feature-extraction": ("image-feature-extraction", seeing("clip")),
}
# the methods that a load calls, in the order of their first calls
STAGES = ("bytes", "create_buffer", "write", "load", "chunk", "replay")
ON_THE_GPU = ("text-generation", "automatic-speech-recognition", "image-classification")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[devices.Device]:
    chosen = CPUDevice() if request.param == "cpu" else native(request.param)
    devices.use(chosen)
    yield chosen
    devices.use(None)


class Calls:
    """Counts the calls of one method, and does something at one of them."""

    def __init__(self, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.act = 0, 0, lambda: None
        real = getattr(owner, name)

        def noted() -> None:
            self.count += 1
            if self.count == self.at:
                self.act()

        async def later(*args: Any) -> Any:
            noted()
            await asyncio.sleep(0)
            return await real(*args)

        def now(*args: Any) -> Any:
            noted()
            return real(*args)

        monkeypatch.setattr(owner, name, later if inspect.iscoroutinefunction(real) else now)


def held(device: devices.Device) -> dict[str, int]:
    counters = {name: count for name, count in device.counters().items() if name in ("buffers", "bytes", "bindGroups")}
    return counters | {"plans": len(device._plans)}


def attempt(task: str, folder: Path, calls: Calls | None, at: int, stop: bool, error: Exception) -> tuple[Any, list]:
    """Returns the pipeline, or the error of a load that fails or is cancelled at a call, and the event loop's
    reports."""
    told: list[dict] = []

    async def load() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        loading = asyncio.ensure_future(tt.pipeline(task, model=folder, context=128))

        def fail() -> None:
            if stop:
                loading.cancel()
            else:
                raise error

        if calls:
            calls.count, calls.at, calls.act = 0, at, fail
        (result,) = await asyncio.gather(loading, return_exceptions=True)
        for _ in range(5):
            gc.collect()
            await asyncio.sleep(0)
        return result

    try:
        return asyncio.run(load()), told
    finally:
        if calls:
            calls.at, calls.act = 0, lambda: None  # a task keeps its error's traceback, too


@pytest.mark.parametrize("stop", [False, True], ids=["fails", "stopped"])
@pytest.mark.parametrize(
    ("device", "case"),
    [*(("cpu", case) for case in CASES), *(("wgpu", case) for case in ON_THE_GPU)],
    indirect=["device"],
)
def test_a_load_that_ends_early_leaves_nothing(
    device: devices.Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, stop: bool
) -> None:
    task, written = CASES[case]
    folder, before = written(tmp_path), held(device)
    stages = {s: Calls(FileSource if s in ("bytes", "chunk") else device, s, monkeypatch) for s in STAGES}
    error = tt.Error("bad_file", "the original error")
    pipe, _ = attempt(task, folder, None, 0, stop, error)
    counts = {stage: calls.count for stage, calls in stages.items()}
    pipe.free()
    assert held(device) == before and all(counts.values())
    for stage, calls in stages.items():
        for at in {1, counts[stage]} if not stop else {1 + counts[stage] // 2, counts[stage]}:
            raised, told = attempt(task, folder, calls, at, stop, error)
            assert isinstance(raised, asyncio.CancelledError) if stop else raised is error, (stage, at)
            assert held(device)["bytes"] < before["bytes"] + 1024, f"{stage} {at}: constants that a traceback keeps"
            raised.__traceback__ = None
            gc.collect()
            assert held(device) == before, (stage, at)
            assert not told, (stage, at)


def test_every_task_is_tried() -> None:
    files = {path.stem for path in Path(tasks.__file__).parent.glob("*.py")} - {"__init__", "chat"}
    assert {task for task, _ in CASES.values()} == {name.replace("_", "-") for name in files}
