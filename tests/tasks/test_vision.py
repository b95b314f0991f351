"""The image tasks, from an image and a folder to labels and vectors, against transformers; they leave nothing
behind."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error

from tests.kernels.conftest import device as native
from tests.kernels.tolerances import of_model, of_scores
from tests.models.test_llama import relative
from tests.models.test_vision import ARRAYS, GOLDEN, MODELS, products, tensors
from tests.recipe import write_folder

PHOTO = np.load(GOLDEN / "vision_images.npz")["in0"]
TASKS = {
    "vit": ["image-classification", "image-feature-extraction"],
    "clip": ["zero-shot-image-classification", "image-feature-extraction"],
}


@pytest.fixture(params=["cpu", "wgpu"])
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    chosen = CPUDevice() if request.param == "cpu" else native("wgpu")
    devices.use(chosen)
    yield chosen
    devices.use(None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, made = tmp_path_factory.mktemp("tasks"), {}
    for name in TASKS:
        made[name] = write_folder(root / name, MODELS[name]["config"], tensors(name))
        (made[name] / "preprocessor_config.json").write_text(json.dumps(MODELS[name]["processor"]))
    (made["clip"] / "tokenizer.json").write_text(json.dumps(MODELS["clip"]["tokenizer"]))
    return made


async def with_pipe(task: str, folder: Path, device: Any, use: Any) -> Any:
    """use(pipe); afterwards nothing is left on the device."""
    before, stages = device.counters(), []
    pipe = await tt.pipeline(
        task, model=folder, on_progress=lambda stage, done, total: stages.append((stage, done, total))
    )
    try:
        result = await use(pipe)
    finally:
        pipe.free()
    after = device.counters()
    assert [after[key] for key in ("buffers", "bytes")] == [before[key] for key in ("buffers", "bytes")]
    ends = [(stage, done) for stage, done, total in stages if done == total]
    assert [stage for stage, _ in ends] == ["load", "compile"] and all(done > 0 for _, done in ends)
    assert pipe.name
    return result


def allowed(device: Any, name: str) -> float:
    """What |got - want| / |want| may be of vectors and logits."""
    return of_model(device, products(name), 128)


def near(scores: Any, ratio: float) -> Any:
    return pytest.approx(sorted(scores, reverse=True), rel=ratio)


def test_image_classification(device: Any, folders: dict[str, Path]) -> None:
    async def use(pipe: Any) -> Any:
        whole = await pipe(PHOTO)
        assert await pipe(PHOTO, top_k=2) == whole[:2]
        assert await pipe(PHOTO, top_k=None) == await pipe(PHOTO, top_k=99) == whole
        assert await pipe([PHOTO, PHOTO[::-1]], top_k=2) == [whole[:2], (await pipe(PHOTO[::-1]))[:2]]
        assert await pipe(PHOTO.tolist()) == whole and await pipe([PHOTO.tolist()]) == [whole] and await pipe([]) == []
        flipped, again = await asyncio.gather(pipe(PHOTO[::-1]), pipe(PHOTO))
        assert again == whole != flipped, "calls that overlap keep apart"
        return whole

    result = asyncio.run(with_pipe("image-classification", folders["vit"], device, use))
    want = ARRAYS["vit.scores"]
    assert [entry["label"] for entry in result] == [f"LABEL_{n}" for n in np.argsort(-want)]
    assert [entry["score"] for entry in result] == near(want, of_scores(allowed(device, "vit"), want))


def test_zero_shot_image_classification(device: Any, folders: dict[str, Path]) -> None:
    texts = MODELS["clip"]["texts"]

    async def use(pipe: Any) -> Any:
        result = await pipe(PHOTO, candidate_labels=texts, hypothesis_template="{}")
        assert await pipe(PHOTO, texts, "{}") == result, "the labels are not read again"
        (one,) = await pipe(PHOTO, texts[:1])
        assert one == {"label": texts[0], "score": 1.0}
        again = [await pipe(image, texts) for image in (PHOTO, PHOTO[::-1])]
        assert await pipe([PHOTO, PHOTO[::-1].tolist()], texts) == again, "a list of images gives a list of results"
        assert await pipe([], texts) == []
        return result

    result = asyncio.run(with_pipe("zero-shot-image-classification", folders["clip"], device, use))
    scale = math.exp(float(np.squeeze(tensors("clip")["logit_scale"])))  # of the cosines of vectors of length 1
    want = dict(zip(texts, ARRAYS["clip.scores"], strict=True))
    assert [entry["label"] for entry in result] == sorted(texts, key=lambda text: -want[text])
    assert [entry["score"] for entry in result] == near(
        want.values(), 4 * allowed(device, "clip") * scale / math.sqrt(len(ARRAYS["clip.vector"]))
    )


def test_image_feature_extraction(device: Any, folders: dict[str, Path]) -> None:
    texts = MODELS["clip"]["texts"]

    async def use(pipe: Any) -> Any:
        one, two = await pipe([PHOTO, PHOTO[::-1]])
        assert await pipe(PHOTO) == await pipe(PHOTO.tolist()) == [one] and one != two and await pipe([]) == []
        assert await pipe.text(texts[0]) == await pipe.text(texts[:1])
        return one, await pipe.text(texts), await pipe.text(texts * 6), await pipe.text([])

    image, read, many, none = asyncio.run(with_pipe("image-feature-extraction", folders["clip"], device, use))
    most = allowed(device, "clip")
    assert relative(np.array(image), ARRAYS["clip.vector"]) < most
    assert relative(np.array(read), ARRAYS["clip.embed_text"]) < most
    assert relative(np.array(many), np.tile(ARRAYS["clip.embed_text"], (6, 1))) < most and none == []


def test_a_model_without_texts(device: Any, folders: dict[str, Path]) -> None:
    async def use(pipe: Any) -> None:
        ((vector),) = await pipe(tt.Image(1, 1, b"\x10\x20\x30\xff"))
        assert sum(x * x for x in vector) == pytest.approx(1)
        with pytest.raises(Error, match="CLIP"):
            await pipe.text(["a cat"])

    asyncio.run(with_pipe("image-feature-extraction", folders["vit"], device, use))


def test_a_model_of_another_kind(folders: dict[str, Path], tmp_path: Path) -> None:
    device = CPUDevice()
    for task, name in (("image-classification", "clip"), ("zero-shot-image-classification", "vit")):
        with pytest.raises(Error) as caught:
            asyncio.run(tt.pipeline(task, model=folders[name], device=device))
        assert caught.value.code == "bad_file"
    config = MODELS["vit"]["config"]
    for change in (
        {"model_type": "fish"},
        {"model_type": "../vit"},
        {"hidden_act": "fish"},
        {"num_hidden_layers": "two"},
    ):
        folder = write_folder(tmp_path / str(len(list(tmp_path.iterdir()))), config | change, tensors("vit"))
        with pytest.raises(Error) as caught:
            asyncio.run(tt.pipeline("image-classification", model=folder, device=device))
        assert caught.value.code == "bad_file"
    assert device.counters()["buffers"] == 0
