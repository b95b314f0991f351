"""Images in the tab: the browser decodes a picked file, our kernels make of it what Pillow and transformers do."""

import base64
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.browser import PageError

from .engine import Engine

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "vision_images.npz")


def png(rgb: np.ndarray) -> bytes:
    """[H, W, 3] u8 as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


BLOB = """
import base64, js
from pyodide.ffi import to_js
def blob(text):
    return js.Blob.new(to_js([to_js(base64.b64decode(text))]))
"""
PREPARED = """
from tensortab.device import choose
from tensortab.image import ImageProcessor
async def prepared(text, config):
    device = await choose()
    processor = ImageProcessor(config, device)
    image = await tt.Image.of(blob(text))
    await (await processor.prepare(image)).replay()
    values = await processor.pixel_values.tolist()
    processor.free()
    return [image.width, image.height, values]
"""


def test_a_picked_file(engine: Engine) -> None:
    text, config = base64.b64encode(png(GOLDEN["in0"])).decode(), json.loads(str(GOLDEN["config0"]))
    engine.python(BLOB + PREPARED)
    width, height, values = json.loads(engine.python(f"import json\njson.dumps(await prepared({text!r}, {config!r}))"))
    assert (height, width) == GOLDEN["in0"].shape[:2]
    assert np.abs(np.array(values) - GOLDEN["values0"]).max() <= 1e-5


# 16 x 8: the upper left quarter is green, the lower left one red, the right half blue; EXIF orientation 6
TURNED = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAg"
    "UEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
    "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABwj/xAAYEAACAwAAAA"
    "AAAAAAAAAAAAAAGGal4//EABcBAAMBAAAAAAAAAAAAAAAAAAUHCAn/xAAcEQABAwUAAAAAAAAAAAAAAAAAFhljZqKk4uT/2gAMAwEAAhEDEQA/"
    "ACVsoDa5Eqo6e3YONyVRhdZDpv8ACrP/2Q=="
)
SEEN = """
async def seen(source):
    image = await tt.Image.of(source)
    data = bytes(image.data.to_py() if hasattr(image.data, "to_py") else image.data)
    return [image.width, image.height, *(list(data[4 * (8 * y + x) :][:4]) for y, x in ((2, 2), (2, 6), (12, 4)))]
"""


def test_a_picture_is_turned_as_its_orientation_says(engine: Engine) -> None:
    """A Blob, as the page gives it, and its bytes: turned clockwise, red is left, green right and blue below."""
    engine.python(BLOB + SEEN)
    for source in (f"blob({TURNED!r})", f"base64.b64decode({TURNED!r})"):
        width, height, left, right, below = json.loads(engine.python(f"import json\njson.dumps(await seen({source}))"))
        assert (width, height) == (8, 16)
        for have, want in ((left, (200, 30, 30)), (right, (30, 200, 30)), (below, (30, 30, 200))):
            assert np.abs(np.array(have) - (*want, 255)).max() <= 8, "JPEG's quality 95, 8 x 8 blocks of one edge"


def test_lists_without_numpy(engine: Engine) -> None:
    code = "image = await tt.Image.of([[0.0, 0.5], [1.0, 0.2]])\n(image.width, image.height, list(image.data)[::4])"
    assert engine.python(code) == "(2, 2, [0, 128, 255, 51])"
    for source, message in (("None", "Expected an image, got NoneType"), ("[[2, 300]]", "from 0 to 255")):
        with pytest.raises(PageError, match=message):
            engine.python(f"await tt.Image.of({source})")


def test_what_is_no_image(engine: Engine) -> None:
    engine.python(BLOB)
    with pytest.raises(PageError, match="as an image"):
        engine.python(f"await tt.Image.of(blob({base64.b64encode(b'GIF?').decode()!r}))")
