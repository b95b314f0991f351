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


def test_what_is_no_image(engine: Engine) -> None:
    engine.python(BLOB)
    with pytest.raises(PageError, match="as an image"):
        engine.python(f"await tt.Image.of(blob({base64.b64encode(b'GIF?').decode()!r}))")
