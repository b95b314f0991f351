"""Images, and their preprocessing for vision models: kernels resize, crop and normalise them as
preprocessor_config.json says (with Hugging Face's keys)."""

import io
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from functools import lru_cache
from numbers import Real
from typing import Any

from .device import Device
from .dtype import f32, i32, u32
from .errors import Error
from .inputs import depth, file_bytes
from .jit import Program
from .ops.image import BITS
from .tensor import Tensor

SIZES = 4  # how many image sizes have their plans kept, each with a buffer for its pixels
PREVIEW = 1024  # the longest side of an image in a notebook, in pixels
NESTED = 3  # how deep lists are nested that are one image: rows, pixels and channels
FILTERS = (0, 2, 3)  # Pillow's numbers, and Hugging Face's: nearest, bilinear, bicubic


class Image:
    """`width` x `height` pixels of RGBA, 8 bits each, row-major; `data` is bytes-like, in the tab also a JavaScript
    array."""

    def __init__(self, width: int, height: int, data: Any) -> None:
        size = data.byteLength if hasattr(data, "byteLength") else memoryview(data).nbytes
        if width < 1 or height < 1 or size != 4 * width * height:
            raise Error(
                "bad_request",
                f"An image of {width} x {height} pixels needs {4 * width * height} bytes of RGBA, got {size}.",
            )
        self.width, self.height, self.data = width, height, data

    def __repr__(self) -> str:
        return f"<Image {self.width} x {self.height}>"

    def _repr_png_(self) -> bytes:
        """The PNG that a notebook shows. Of an image longer than PREVIEW pixels it has only every second pixel, or
        every third, and so on."""
        step = -(-max(self.width, self.height) // PREVIEW)
        data = self.data.to_bytes() if hasattr(self.data, "to_bytes") else bytes(self.data)
        pixels = memoryview(data).cast("I")
        rows = [pixels[y * self.width : (y + 1) * self.width : step].tobytes() for y in range(0, self.height, step)]
        header = struct.pack(">IIBBBBB", len(rows[0]) // 4, len(rows), 8, 6, 0, 0, 0)  # 8 bits of RGBA
        lines = zlib.compress(b"".join(b"\0" + row for row in rows))
        return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", lines) + _chunk(b"IEND", b"")

    @staticmethod
    async def of(source: Any) -> "Image":
        """Returns the Image that `source` shows: an Image; a file by its path or its bytes, or a Pillow image (natively
        Pillow reads files); an array or nested lists [H, W] or [H, W, 1, 3 or 4] of u8, of u16 (white is 65,535), of
        floats from 0 to 1 or of bool; in the tab also a Blob, which the browser decodes, or an ImageBitmap. A file's
        image is rotated as its EXIF orientation says. Raises Error("bad_request")."""
        if isinstance(source, Image):
            return source
        data = file_bytes(source)
        if sys.platform == "emscripten":
            from .device import browser

            if data is not None or browser.is_js(source):
                return Image(*await browser.pixels(source if data is None else browser.blob(data)))
        if data is not None:
            return _of_file(data)
        if "PIL.Image" in sys.modules and isinstance(source, sys.modules["PIL.Image"].Image):
            return _of_pillow(source)
        if hasattr(source, "__array__"):
            return _of_array(source)
        if depth(source):
            return _of_list(source)
        raise Error(
            "bad_request",
            f"Expected an image, got {type(source).__name__}: use the path or the bytes of a file, an array, "
            "a Pillow image or a tensortab.Image.",
        )


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _of_file(data: Any) -> Image:
    try:
        from PIL import Image as pillow
    except ImportError:
        raise Error(
            "bad_request", "Pillow is needed to read image files: install it (pip install pillow), or use an array."
        ) from None
    try:
        picture = pillow.open(io.BytesIO(data))
    except Exception as error:  # for a hostile file Pillow raises OSError, SyntaxError, ValueError and its own errors
        raise Error(
            "bad_request", f"Pillow cannot read this as an image ({error}): use a PNG or a JPEG file."
        ) from None
    return _of_pillow(picture)


def _of_pillow(picture: Any) -> Image:
    from PIL import ImageOps

    mode, of_16_bits = picture.mode, picture.mode.startswith("I;16")
    if mode == "I" and picture.format in ("PNG", "PPM"):  # older versions of Pillow read 16 bits as this
        of_16_bits = True
    elif mode in ("I", "F"):
        raise Error(
            "bad_request",
            f"Pillow's mode {mode} does not define which number is white: scale the image to 0..255 and convert it to "
            "mode L.",
        )
    try:
        picture = ImageOps.exif_transpose(picture)
        if of_16_bits:  # convert("L") would turn everything above 255 into white
            picture = picture.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")
        data = picture.convert("RGBA").tobytes()
    except Exception as error:  # as above: this is where Pillow reads the file's pixels
        raise Error(
            "bad_request", f"Pillow cannot decode this image of mode {mode} ({error}): use a PNG or a JPEG file."
        ) from None
    return Image(picture.width, picture.height, data)


def _of_array(source: Any) -> Image:
    import numpy as np  # it is installed: whoever has an array has NumPy

    try:
        array = np.asarray(source)
    except Exception as error:  # another library's tensor, on a GPU or with gradients
        raise Error("bad_request", f"{type(source).__name__} can't be converted to a NumPy array ({error}).") from None
    kind, most = array.dtype.kind, 1
    _check_shape(array.shape)
    if array.dtype == np.uint16:
        most = 65535
    elif kind in "iu":
        most = 255
    elif kind not in "fb":
        raise Error("bad_request", f"Expected an image of numbers, got an array of {array.dtype}.")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= most):  # also true of NaN
        raise _out_of_range(low, high, most)
    if kind == "f" or most != 255:
        array = np.floor(array * np.float32(255 / most) + 0.5)
    return _of_levels(array.shape, array.astype(np.uint8).tobytes())


def _of_list(source: Any) -> Image:
    """The same for nested lists: there may be no NumPy."""
    shape, values = [], source
    while depth(values):
        shape.append(len(values))
        values = values[0]
    _check_shape(shape)
    flat = source
    for count in shape[1:]:
        if not all(isinstance(part, list | tuple) and len(part) == count for part in flat):
            raise Error(
                "bad_request",
                "The rows of this image have different lengths: the shape must be [height, width, channels].",
            )
        flat = [value for part in flat for value in part]
    if not all(isinstance(value, Real) for value in flat):
        raise Error("bad_request", "This image has values that are not numbers: use numbers from 0 to 255.")
    most = 255 if all(isinstance(value, int) and not isinstance(value, bool) for value in flat) else 1
    if not all(0 <= value <= most for value in flat):
        raise _out_of_range(min(flat), max(flat), most)
    return _of_levels(shape, bytes([math.floor(value * (255 / most) + 0.5) for value in flat]))


def _check_shape(shape: Sequence[int]) -> None:
    if not (len(shape) in (2, 3) and min(shape) > 0 and (len(shape) == 2 or shape[2] in (1, 3, 4))):
        raise Error(
            "bad_request",
            f"An array of shape {list(shape)} is not an image: the shape must be [height, width] or, channels last, "
            "[height, width, 1, 3 or 4].",
        )


def _out_of_range(low: Any, high: Any, most: int) -> Error:
    kind = "whole numbers" if most == 255 else "floats" if most == 1 else "u16"
    return Error(
        "bad_request",
        f"An image of {kind} has values from 0 to {most}, but this one has {low} to {high}: scale it first.",
    )


def _of_levels(shape: Sequence[int], data: bytes) -> Image:
    """u8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]."""
    height, width, channels = (*shape, 1)[:3]
    if channels < 4:
        rgba = bytearray(b"\xff") * (4 * height * width)
        for channel in range(3):
            rgba[channel::4] = data[channel % channels :: channels]
        data = bytes(rgba)
    return Image(width, height, data)


class ImageProcessor:
    """Writes images into `pixel_values`, f32 [1, H, W, 3], as a folder's preprocessor_config.json says."""

    def __init__(self, config: dict[str, Any], device: Device) -> None:
        self.device = device
        square = not config.get("do_center_crop")
        self.size = _size(config.get("size", 224), square) if config.get("do_resize", True) else {}
        self.resample = config.get("resample", 2)
        self.crop = None if square else _size(config.get("crop_size", 224), True)
        if not isinstance(self.resample, int) or self.resample not in FILTERS:
            raise Error("bad_file", f"preprocessor_config.json: resample {self.resample!r} is not one of {FILTERS}.")
        if self.crop is None and "height" not in self.size:
            raise Error(
                "bad_file",
                "preprocessor_config.json has no size that all images get (size or crop_size): use another model.",
            )
        self.scale, self.offset = _affine(config)
        out = self.crop or self.size
        self.pixel_values = Tensor.of("pixel_values", (1, out["height"], out["width"], 3), f32)
        # by height and width, the latest last: the image, the tables for resizing it, and the plan
        self._plans: dict[tuple[int, int], tuple[list[Tensor], Program]] = {}

    async def prepare(self, image: Image) -> Program:
        """Returns the plan whose replay writes `image` into pixel_values for the next submission."""
        (place, *_), program = await self._plan(image.height, image.width)
        place.write(self.device, image.data)
        return program

    async def _plan(self, height: int, width: int) -> tuple[list[Tensor], Program]:
        key = (height, width)
        if key in self._plans:
            self._plans[key] = self._plans.pop(key)
        else:
            while len(self._plans) >= SIZES:
                self._drop(next(iter(self._plans)))
            stored = [Tensor.of("image", key, u32)]
            self._plans[key] = (stored, Program(self.device, [self._graph(stored)]))
        program = self._plans[key][1]
        if not program.handle:  # it is kept before it is loaded, so that free() finds its buffers if that fails
            await program.load()
        return self._plans[key]

    def _graph(self, stored: list[Tensor]) -> Tensor:
        """The graph of the image stored[0]. The other buffers that it needs are appended to `stored`."""
        (image,) = stored
        height, width = image.shape
        if "shortest_edge" in self.size:
            short = min(height, width)
            height, width = (int(self.size["shortest_edge"] * side / short) for side in (height, width))
        elif self.size:
            height, width = self.size["height"], self.size["width"]
        if max(image.shape + (height, width)) >= 1 << 15:
            raise Error(
                "bad_request",
                f"An image of {image.shape[1]} x {image.shape[0]} pixels is too long and narrow: crop it first.",
            )
        for axis, side in ((1, width), (0, height)):  # in the same order as Pillow before version 13
            if side != image.shape[axis]:
                taps = weights(image.shape[axis], side, self.resample)
                stored.append(Tensor.of("weights", (side, len(taps) // side), i32, taps))
                image = image.resize(stored[-1], axis)
        _, rows, columns, _ = self.pixel_values.shape
        return Tensor.apply(
            "pixel_values", image, self.pixel_values,
            index=0, top=(height - rows) // 2, left=(width - columns) // 2, scale=self.scale, offset=self.offset,
        )  # fmt: skip

    def _drop(self, key: tuple[int, int]) -> None:
        stored, program = self._plans.pop(key)
        program.unload()
        for tensor in stored:
            tensor.free()

    def free(self) -> None:
        """Frees the GPU's memory."""
        for key in list(self._plans):
            self._drop(key)
        self.pixel_values.free()


@lru_cache(4 * SIZES)
def weights(size: int, out_size: int, resample: int) -> array:
    """The weights with which Pillow resizes `size` pixels to `out_size`: for each new pixel the first old one that
    counts, and the weights from there on, as i32 whose last BITS bits are the fraction. All have equally many weights;
    the last ones may be 0."""
    scale = size / out_size
    if resample == 0:
        return array("i", [n for o in range(out_size) for n in (int((o + 0.5) * scale), 1 << BITS)])
    filter, support = {2: (_bilinear, 1.0), 3: (_bicubic, 2.0)}[resample]
    stretch = max(1.0, scale)
    taps = math.ceil(support * stretch) * 2 + 1
    table = array("i")
    for o in range(out_size):
        center, reach = (o + 0.5) * scale, support * stretch
        first, last = max(0, int(center - reach + 0.5)), min(size, int(center + reach + 0.5))
        values = [filter(abs((s - center + 0.5) * (1 / stretch))) for s in range(first, last)]
        total = sum(values)
        exact = [v / total * (1 << BITS) for v in values]
        table.append(first)
        table.extend([int(v + 0.5) if v > 0 else int(v - 0.5) for v in exact])
        table.extend([0] * (taps - len(exact)))
    return table


def _bilinear(x: float) -> float:
    return max(0.0, 1 - x)


def _bicubic(x: float) -> float:
    """Keys 1981, a = -1/2."""
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _size(size: Any, square: bool) -> dict[str, int]:
    """Reads {"height", "width"} or {"shortest_edge"}; older files have a number."""
    if isinstance(size, int):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    given: dict[str, Any] = size if isinstance(size, dict) else {}
    found = {
        name: given.get(name) for name in (("shortest_edge",) if "shortest_edge" in given else ("height", "width"))
    }
    sides = {name: side for name, side in found.items() if isinstance(side, int) and 0 < side < 1 << 15}
    if sides.keys() != found.keys():
        raise Error("bad_file", f"preprocessor_config.json: {size!r} is not a size: download the file again.")
    return sides


def _affine(config: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The scale and the offset of each of three channels: a pixel's value is byte * scale + offset."""
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    means, stds = (config.get(f"image_{name}", [0.5] * 3) for name in ("mean", "std"))
    if not config.get("do_normalize", True):
        means, stds = [0.0] * 3, [1.0] * 3
    numbers = [factor, *means, *stds] if isinstance(means, list) and isinstance(stds, list) else []
    if len(numbers) != 7 or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or 0 in stds:
        raise Error(
            "bad_file",
            "preprocessor_config.json: rescale_factor, image_mean and image_std must be numbers: download the file "
            "again.",
        )
    shift = 1.0 if config.get("rescale_offset") else 0.0
    twice = "EfficientNet" in str(config.get("image_processor_type")) and config.get("include_top", True)
    again = stds if twice else [1.0] * 3  # that processor divides once more
    scale = tuple(factor / std / more for std, more in zip(stds, again, strict=True))
    offset = tuple(-(mean + shift) / std / more for mean, std, more in zip(means, stds, again, strict=True))
    return scale, offset
