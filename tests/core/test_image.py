"""Images of every kind, and what a model reads of them, against the image processors of transformers."""

import asyncio
import binascii
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab.device import Device
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error
from tensortab.image import PREVIEW, SIZES, Image, ImageProcessor

from tests.kernels.conftest import device as native

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vision_images.npz")
CASES = [int(name[6:]) for name in GOLDEN.files if name.startswith("config")]


@pytest.fixture(params=["cpu", "dawn", "wgpu"])
def device(request: pytest.FixtureRequest) -> Device:
    return CPUDevice() if request.param == "cpu" else native(request.param)


def processed(device: Device, config: dict[str, Any], image: Any) -> np.ndarray:
    async def run() -> bytes:
        processor = ImageProcessor(config, device)
        try:
            for _ in range(2):  # the second time with the same plan
                await (await processor.prepare(await Image.of(image))).replay()
            shape = processor.pixel_values.shape
            assert processor.pixel_values.buffer is not None
            data = await device.read(processor.pixel_values.buffer.id, 0, 4 * int(np.prod(shape)))
            return np.frombuffer(data, np.float32).reshape(shape)
        finally:
            processor.free()

    return asyncio.run(run())


@pytest.mark.parametrize("case", CASES)
def test_processors(device: Device, case: int) -> None:
    config, want = json.loads(str(GOLDEN[f"config{case}"])), GOLDEN[f"values{case}"]
    before = device.counters()
    have = processed(device, config, GOLDEN["in0"])
    after = device.counters()
    assert [after[key] for key in ("buffers", "bytes")] == [before[key] for key in ("buffers", "bytes")]
    assert have.shape == want.shape
    assert np.abs(have - want).max() <= 1e-5


def decoded(png: bytes) -> np.ndarray:
    """[H, W, 4] of a PNG file without filters, whose chunks must be whole."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size)[0] == binascii.crc32(kind + data)
        chunks[kind], at = data, at + 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, color, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, color, rest) == (8, 6, [0, 0, 0])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 4)


@pytest.mark.parametrize(("height", "width", "step"), [(1, 1, 1), (3, 127, 1), (5, 1025, 2), (PREVIEW * 2 + 1, 7, 3)])
def test_what_a_notebook_shows(rng: np.random.Generator, height: int, width: int, step: int) -> None:
    pixels = rng.integers(0, 256, (height, width, 4), np.uint8)
    image = Image(width, height, bytearray(pixels.tobytes()))
    assert (decoded(image._repr_png_()) == pixels[::step, ::step]).all()
    assert repr(image) == f"<Image {width} x {height}>"


def test_older_files_have_numbers() -> None:
    """CLIP's own file: size is that of the shortest edge, as it is cropped afterwards; ViT's is a square."""
    device = CPUDevice()
    new, old = json.loads(str(GOLDEN["config0"])), json.loads(str(GOLDEN["config0"]))
    old |= {"size": 24, "crop_size": 24, "feature_extractor_type": "CLIPFeatureExtractor"}
    for key in ("image_processor_type", "do_rescale", "rescale_factor"):
        del old[key]
    assert (processed(device, old, GOLDEN["in0"]) == processed(device, new, GOLDEN["in0"])).all()
    vit = processed(device, {"do_normalize": True, "do_resize": True, "size": 20}, GOLDEN["in0"])
    assert vit.shape == (1, 20, 20, 3) and -1 <= vit.min() < 0 < vit.max() <= 1


def test_kinds_of_images() -> None:
    rgb = GOLDEN["in0"]
    rgba = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], -1)

    class Pillow:
        size = (rgb.shape[1], rgb.shape[0])

        def convert(self, mode: str) -> np.ndarray:
            assert mode == "RGBA"
            return rgba

    made = [asyncio.run(Image.of(source)) for source in (rgb, rgba, rgb[:, ::-1][:, ::-1], Pillow())]
    made.append(Image(rgb.shape[1], rgb.shape[0], rgba))
    for image in made:
        assert (image.width, image.height) == Pillow.size and bytes(memoryview(image.data).cast("B")) == rgba.tobytes()


@pytest.mark.parametrize(
    "source", ["photo.png", 3, np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((2, 2, 1), np.uint8)]
)
def test_what_is_no_image(source: Any) -> None:
    with pytest.raises(Error, match="image") as caught:
        asyncio.run(Image.of(source))
    assert caught.value.code == "bad_request"


def test_sizes_that_do_not_fit() -> None:
    for width, height, size in ((2, 2, 15), (0, 2, 0), (2, -2, 16)):
        with pytest.raises(Error, match="RGBA"):
            Image(width, height, bytes(size))
    with pytest.raises(Error, match="too long"):
        processed(CPUDevice(), {"size": 224, "do_center_crop": True, "crop_size": 224}, np.zeros((1, 200, 3), np.uint8))


@pytest.mark.parametrize(
    "config",
    [
        {"size": "big"}, {"size": {"height": 3}}, {"size": {"shortest_edge": 3}}, {"resample": 1}, {"resample": []},
        {"size": -1}, {"size": 1 << 20}, {"do_resize": False}, {"image_mean": [0, 0]}, {"image_std": [0, 1, 1]},
        {"image_mean": ["a", "b", "c"]}, {"rescale_factor": None}, {"rescale_factor": 1e400}, {"image_std": 0.5},
    ],
)  # fmt: skip
def test_a_damaged_file(config: dict[str, Any]) -> None:
    with pytest.raises(Error, match="preprocessor_config") as caught:
        ImageProcessor(config, CPUDevice())
    assert caught.value.code == "bad_file"


def test_plans_of_few_sizes_are_kept() -> None:
    device = native("wgpu")

    async def run() -> list[int]:
        processor = ImageProcessor({"size": 8}, device)
        live = []
        for n in [*range(1, SIZES + 4), SIZES]:
            await (await processor.prepare(Image(n, 2, bytes(8 * n)))).replay()
            live.append(device.counters()["buffers"])
        processor.free()
        return [*live, device.counters()["buffers"]]

    before = device.counters()["buffers"]
    live = asyncio.run(run())
    assert live[-1] == before and max(live) == live[SIZES - 1] == live[-2]
