"""Small copies of pictures, which are kept."""

import js
from studio.shell.elements import attempt

SHORT_SIDE = 448  # pixels: twice what CLIP sees


async def preview(file):
    """A small JPEG of a photo. Raises JsException where the browser cannot read it."""
    bitmap = await attempt(js.self, "createImageBitmap", file)
    scale = min(1.0, SHORT_SIDE / min(bitmap.width, bitmap.height))
    width, height = max(1, round(bitmap.width * scale)), max(1, round(bitmap.height * scale))
    canvas = js.OffscreenCanvas.new(width, height)
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height)
    bitmap.close()
    return await canvas.convertToBlob(js.JSON.parse('{"type": "image/jpeg", "quality": 0.85}'))
