"""Images of every kind, and the pixel values that a model reads, against the image processors of transformers."""

import asyncio
import binascii
import io
import json
import math
import struct
import sys
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
    """The pixels [H, W, 4] of a PNG file without filters; asserts that its chunks are whole."""
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
    """In CLIP's own file, size is the shortest edge, since the image is cropped afterwards; in ViT's it is a square."""
    device = CPUDevice()
    new, old = json.loads(str(GOLDEN["config0"])), json.loads(str(GOLDEN["config0"]))
    old |= {"size": 24, "crop_size": 24, "feature_extractor_type": "CLIPFeatureExtractor"}
    for key in ("image_processor_type", "do_rescale", "rescale_factor"):
        del old[key]
    assert (processed(device, old, GOLDEN["in0"]) == processed(device, new, GOLDEN["in0"])).all()
    vit = processed(device, {"do_normalize": True, "do_resize": True, "size": 20}, GOLDEN["in0"])
    assert vit.shape == (1, 20, 20, 3) and -1 <= vit.min() < 0 < vit.max() <= 1


def pixels(source: Any) -> np.ndarray:
    """The pixels of Image.of(source): [H, W, 4] u8."""
    image = asyncio.run(Image.of(source))
    return np.frombuffer(memoryview(image.data).cast("B"), np.uint8).reshape(image.height, image.width, 4)


def opaque(levels: np.ndarray) -> np.ndarray:
    """u8 [H, W] or [H, W, 1 or 3] -> [H, W, 4]."""
    levels = levels.reshape(*levels.shape[:2], -1)
    return np.dstack([np.broadcast_to(levels, (*levels.shape[:2], 3)), np.full(levels.shape[:2], 255, np.uint8)])


def arrays(rng: np.random.Generator) -> dict[str, tuple[Any, np.ndarray]]:
    """Pairs of a source and the pixels that it must become."""
    grey, rgb = (rng.integers(0, 256, shape, np.uint8) for shape in ((5, 7), (5, 7, 3)))
    rgba = np.dstack([rgb, rng.integers(0, 256, (5, 7), np.uint8)])
    unit = rng.random((5, 7, 3))
    wide = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    return {
        "rgb": (rgb, opaque(rgb)), "rgba": (rgba, rgba), "strided": (rgb[::-2, 1::3], opaque(rgb[::-2, 1::3])),
        "grey": (grey, opaque(grey)), "one channel": (grey[..., None], opaque(grey)),
        "f64": (unit, opaque(np.floor(unit * 255 + 0.5).astype(np.uint8))),
        "f32": (rgb.astype(np.float32) / 255, opaque(rgb)), "f16": ((grey / 255).astype(np.float16), opaque(grey)),
        "bool": (grey > 99, opaque((grey > 99) * np.uint8(255))), "i64": (rgb.astype(np.int64), opaque(rgb)),
        "u16": (wide, opaque(np.floor(wide / 257 + 0.5).astype(np.uint8))),
        "list": (rgb.tolist(), opaque(rgb)), "list of grey": (tuple(grey.tolist()), opaque(grey)),
        "list of floats": (unit.tolist(), opaque(np.floor(unit * 255 + 0.5).astype(np.uint8))),
        "list of bool": ((grey > 99).tolist(), opaque((grey > 99) * np.uint8(255))),
        "Image": (Image(7, 5, rgba), rgba),
    }  # fmt: skip


@pytest.mark.parametrize("kind", arrays(np.random.default_rng(0)))
def test_arrays_and_lists(rng: np.random.Generator, kind: str) -> None:
    given, want = arrays(rng)[kind]
    have = pixels(given)
    assert have.shape == want.shape
    assert (have == want).all()


@pytest.fixture
def pillow() -> Any:
    return pytest.importorskip("PIL.Image")


# what is shown of stored pixels [H, W, C]
ORIENTATIONS = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1], 8: lambda a: a.swapaxes(0, 1)[::-1],
}  # fmt: skip


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_picture_is_turned_as_its_orientation_says(
    rng: np.random.Generator, pillow: Any, tmp_path: Path, orientation: int
) -> None:
    stored = rng.integers(0, 256, (6, 9, 3), np.uint8)
    exif = pillow.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    pillow.fromarray(stored).save(file, "PNG", exif=exif)
    (tmp_path / "photo.png").write_bytes(file.getvalue())
    want = opaque(ORIENTATIONS[orientation](stored))
    data = file.getvalue()
    opened = pillow.open(file)
    for given in (data, bytearray(data), memoryview(data), tmp_path / "photo.png", str(tmp_path / "photo.png"), opened):
        have = pixels(given)
        assert have.shape == want.shape
        assert (have == want).all()
    assert opened.getexif()[0x112] == orientation, "the picture that was given stays as it is"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "RGBa"])
def test_modes_of_pillow(rng: np.random.Generator, pillow: Any, mode: str) -> None:
    picture = pillow.fromarray(rng.integers(0, 256, (6, 9, 4), np.uint8)).convert("RGB").convert(mode)
    assert (pixels(picture) == np.asarray(picture.convert("RGBA"))).all()


def test_a_palette_with_a_transparent_colour(pillow: Any) -> None:
    picture = pillow.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=1)
    assert pixels(file.getvalue()).tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "PNG", "I"])
def test_16_bits_of_grey_are_the_same_picture_in_8(pillow: Any, mode: str) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    if mode == "I":  # as a PNG was read by older versions
        picture = pillow.fromarray(levels.astype(np.int32) * 257)
        picture.format = "PNG"
    else:
        picture = pillow.fromarray(levels.astype(">u2" if mode == "I;16B" else "<u2") * np.uint16(257))
    if mode == "PNG":
        file = io.BytesIO()
        picture.save(file, "PNG")
        picture = pillow.open(file)
    assert (pixels(picture) == opaque(levels.astype(np.uint8))).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_that_do_not_say_what_is_white_are_refused(pillow: Any, mode: str) -> None:
    with pytest.raises(Error, match=f"mode {mode} does not define") as caught:
        asyncio.run(Image.of(pillow.new(mode, (2, 2))))
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("data", [b"", b"GIF?", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff\xd8\xff\xe0" + bytes(40)])
def test_bytes_that_are_no_image(pillow: Any, data: bytes) -> None:
    with pytest.raises(Error, match="Pillow cannot") as caught:
        asyncio.run(Image.of(data))
    assert caught.value.code == "bad_request"


def test_a_file_that_is_cut_short(rng: np.random.Generator, pillow: Any) -> None:
    file = io.BytesIO()
    pillow.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(file, "PNG")
    with pytest.raises(Error, match="Pillow cannot decode"):
        asyncio.run(Image.of(file.getvalue()[:3000]))


def test_files_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(Error, match="pip install pillow"):
        asyncio.run(Image.of(b"GIF89a"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("photo.png", "'photo.png' cannot be read: No such file"), ("a\0b", "cannot be read"), (".", "Is a directory"),
        (None, "Expected an image, got NoneType"), (3, "got int"), ({}, "got dict"), ([], "got list"),
        ([[]], "got list"), (["a"], "got list"), (np.zeros(4), r"shape \[4\]"), (np.zeros((2, 2, 2)), "channels last"),
        (np.zeros((3, 8, 9)), r"shape \[3, 8, 9\]"), (np.zeros((0, 4)), r"shape \[0, 4\]"),
        (np.full((4, 4), np.nan), "floats has values from 0 to 1, but this one has nan to nan"),
        (np.full((4, 4, 3), 255.0), "0 to 1, but this one has 255.0 to 255.0"), (np.full((4, 4), -1), "has -1 to -1"),
        (np.full((4, 4), 256, np.int32), "whole numbers has values from 0 to 255"),
        (np.zeros((4, 4), complex), "complex128"), (np.full((4, 4), None), "object"),
        ([[1, 2], [3]], "different lengths"), ([[1, 2], 3], "different lengths"), ([[1, "a"]], "not numbers"),
        ([[1, 256]], "0 to 255"), ([[0.5, 2]], "0 to 1"), ([[0.5, math.nan]], "0 to 1"), ([1, 2, 3], r"shape \[3\]"),
        ([[[[1]]]], r"shape \[1, 1, 1, 1\]"), ([[[1, 2]]], r"shape \[1, 1, 2\]"),
    ],
)  # fmt: skip
def test_what_is_no_image(source: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
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
