"""Images, and their way to what a vision model reads: resized, cut out and normalised by kernels, as
preprocessor_config.json says (Hugging Face's keys)."""

import math
import sys
from typing import Any

from .device import Device
from .dtype import f32, u32
from .errors import Error
from .jit import Program
from .ops.image import FILTERS
from .tensor import Tensor

SIZES = 8  # sizes of images whose plans are kept


class Image:
    """`width` x `height` pixels of RGBA, 8 bits each, row-major; `data` is bytes-like, in the tab also a JavaScript
    array."""

    def __init__(self, width: int, height: int, data: Any) -> None:
        size = data.byteLength if hasattr(data, "byteLength") else memoryview(data).nbytes
        if width < 1 or height < 1 or size != 4 * width * height:
            raise Error(
                "bad_request",
                f"An image of {width} x {height} pixels has {4 * width * height} bytes of RGBA, not {size}.",
            )
        self.width, self.height, self.data = width, height, data

    @staticmethod
    async def of(source: Any) -> "Image":
        """An Image as it is; an array [H, W, 3 or 4] of u8; a Pillow image; in the tab a Blob (decoded by the browser)
        or an ImageBitmap. Raises Error("bad_request")."""
        if isinstance(source, Image):
            return source
        if hasattr(source, "convert"):
            width, height = source.size
            return Image(width, height, source.convert("RGBA").tobytes())
        if hasattr(source, "shape") and hasattr(source, "tobytes"):
            return _of_array(source)
        if sys.platform == "emscripten":
            from .device.browser import pixels

            return Image(*await pixels(source))
        raise Error(
            "bad_request", f"{type(source).__name__} is not an image: give an Image, an array or a Pillow image."
        )


def _of_array(array: Any) -> Image:
    shape = tuple(array.shape)
    data = array.tobytes()
    if len(shape) != 3 or shape[2] not in (3, 4) or len(data) != math.prod(shape):
        raise Error(
            "bad_request", f"An array of shape {list(shape)} is not an image: give [height, width, 3 or 4] of u8."
        )
    if shape[2] == 3:
        rgba = bytearray(b"\xff") * (4 * shape[0] * shape[1])
        for channel in range(3):
            rgba[channel::4] = data[channel::3]
        data = bytes(rgba)
    return Image(shape[1], shape[0], data)


class ImageProcessor:
    """Writes images into `pixel_values`, f32 [1, H, W, 3], as a folder's preprocessor_config.json says."""

    def __init__(self, config: dict[str, Any], device: Device) -> None:
        self.device = device
        square = not config.get("do_center_crop")
        self.size = _size(config.get("size", 224), square) if config.get("do_resize", True) else {}
        self.resample = config.get("resample", 2)
        self.crop = None if square else _size(config.get("crop_size", 224), True)
        if not isinstance(self.resample, int) or self.resample not in FILTERS:
            raise Error("bad_file", f"preprocessor_config.json: resample {self.resample!r} is not one of {FILTERS}")
        if self.crop is None and "height" not in self.size:
            raise Error("bad_file", "preprocessor_config.json gives images no common size (size or crop_size)")
        self.scale, self.offset = _affine(config)
        out = self.crop or self.size
        self.pixel_values = Tensor.of("pixel_values", (1, out["height"], out["width"], 3), f32)
        self._plans: dict[tuple[int, int], tuple[Tensor, Program]] = {}  # by height and width, the latest last

    async def prepare(self, image: Image) -> Program:
        """The plan whose replay writes `image`; what is submitted after it reads that."""
        place, program = await self._plan(image.height, image.width)
        assert place.buffer is not None
        self.device.write(place.buffer.on(self.device), 0, image.data)
        return program

    async def _plan(self, height: int, width: int) -> tuple[Tensor, Program]:
        key = (height, width)
        if key in self._plans:
            self._plans[key] = self._plans.pop(key)
        else:
            while len(self._plans) >= SIZES:
                self._drop(next(iter(self._plans)))
            place = Tensor.of("image", key, u32)
            self._plans[key] = (place, await Program(self.device, [self._graph(place)]).load())
        return self._plans[key]

    def _graph(self, image: Tensor) -> Tensor:
        height, width = image.shape
        if "shortest_edge" in self.size:
            short = min(height, width)
            height, width = (int(self.size["shortest_edge"] * side / short) for side in (height, width))
        elif self.size:
            height, width = self.size["height"], self.size["width"]
        if max(image.shape + (height, width)) >= 1 << 15:
            raise Error(
                "bad_request", f"An image of {image.shape[1]} x {image.shape[0]} pixels is too long: cut it first."
            )
        _, rows, columns, _ = self.pixel_values.shape
        return Tensor.apply(
            "pixel_values", image.resize(height, width, self.resample), self.pixel_values,
            index=0, top=(height - rows) // 2, left=(width - columns) // 2, scale=self.scale, offset=self.offset,
        )  # fmt: skip

    def _drop(self, key: tuple[int, int]) -> None:
        place, program = self._plans.pop(key)
        program.unload()
        if place.buffer is not None:
            place.buffer.free()

    def free(self) -> None:
        """Gives the GPU's memory back."""
        for key in list(self._plans):
            self._drop(key)
        if self.pixel_values.buffer is not None:
            self.pixel_values.buffer.free()


def _size(size: Any, square: bool) -> dict[str, int]:
    """{"height", "width"} or {"shortest_edge"}; older files have a number."""
    if isinstance(size, int):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    given: dict[str, Any] = size if isinstance(size, dict) else {}
    found = {
        name: given.get(name) for name in (("shortest_edge",) if "shortest_edge" in given else ("height", "width"))
    }
    sides = {name: side for name, side in found.items() if isinstance(side, int) and 0 < side < 1 << 15}
    if sides.keys() != found.keys():
        raise Error("bad_file", f"preprocessor_config.json: {size!r} is not a size")
    return sides


def _affine(config: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What makes a pixel's value of a byte, for each of three channels: byte * scale + offset."""
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    means, stds = (config.get(f"image_{name}", [0.5] * 3) for name in ("mean", "std"))
    if not config.get("do_normalize", True):
        means, stds = [0.0] * 3, [1.0] * 3
    numbers = [factor, *means, *stds] if isinstance(means, list) and isinstance(stds, list) else []
    if len(numbers) != 7 or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or 0 in stds:
        raise Error("bad_file", "preprocessor_config.json: rescale_factor, image_mean and image_std are not numbers")
    shift = 1.0 if config.get("rescale_offset") else 0.0
    twice = "EfficientNet" in str(config.get("image_processor_type")) and config.get("include_top", True)
    again = stds if twice else [1.0] * 3  # that processor divides once more
    scale = tuple(factor / std / more for std, more in zip(stds, again, strict=True))
    offset = tuple(-(mean + shift) / std / more for mean, std, more in zip(means, stds, again, strict=True))
    return scale, offset
