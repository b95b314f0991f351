"""Models that see: an image goes through its processor and the model in one go, its row of numbers comes back."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from .device import Device, choose
from .errors import Error
from .formats import Checkpoint, open_checkpoint
from .image import Image, ImageProcessor
from .jit import Program, hardware, jit
from .sources.model import find
from .tensor import Tensor
from .tokenizer import load_tokenizer
from .weights import Weights

TEXTS = 16  # that are read at once
TOKENS = 16  # rows of texts have a multiple of so many


class Vision:
    """A model that reads images, with its weights on a device.

    `await vision(image)` gives what the method `output` of class `head` in the model's file says of it.
    """

    def __init__(
        self, name: str, checkpoint: Checkpoint, processor: dict, device: Device, head: str, output: str
    ) -> None:
        self.name, self.checkpoint, self.device = name, checkpoint, device
        self.config = checkpoint.config
        self.weights = Weights(checkpoint, hardware(device.info).max_binding)
        self.processor = ImageProcessor(processor, device)
        self.program: Program | None = None
        self._turn = asyncio.Lock()
        kind = str(self.config.get("model_type"))
        try:
            self.model = getattr(import_module(f".models.{kind}", __package__), head)(self.config, self.weights)
            self.program = Program(device, [getattr(self.model, output)(self.processor.pixel_values)])
        except (ModuleNotFoundError, AttributeError):
            raise Error(
                "bad_file", f"Models of type {kind!r} don't do this: take a CLIP, ViT or EfficientNet."
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise Error("bad_file", f"config.json isn't as a model of type {kind!r} has it ({error!r})") from None

    @classmethod
    async def open(cls, model: Any, device: Device | None, head: str, output: str, on_progress: Callable) -> "Vision":
        """on_progress: as in tasks/__init__.py. Raises Error("bad_file") and what a source or the device raises."""
        device = device or await choose()
        source = await find(model, lambda done, total: on_progress("download", done, total))
        checkpoint = await open_checkpoint(source)
        processor = await checkpoint.json("preprocessor_config.json")
        vision = cls(str(getattr(source, "name", model)), checkpoint, processor, device, head, output)
        try:
            assert vision.program is not None
            await asyncio.gather(
                vision.program.load(), vision.weights.load(device, lambda done, total: on_progress("load", done, total))
            )
        except BaseException:  # stopped by the user, too
            vision.free()
            raise
        return vision

    async def __call__(self, image: Any) -> list[float]:
        """image: what Image.of takes."""
        seen = await Image.of(image)
        async with self._turn:
            assert self.program is not None
            prepared = (await self.processor.prepare(seen)).replay()
            row = self.program.outputs[0]
            done = self.program.replay(read=row, size=4 * row.shape[-1])  # submitted before the other is waited for
            await prepared
            return list(struct.unpack(f"<{row.shape[-1]}f", await done))

    def free(self) -> None:
        """Gives the GPU's memory back."""
        if self.program is not None:
            self.program.unload()
            for output in self.program.outputs:
                if output.buffer is not None:
                    output.buffer.free()
            self.program = None  # and with it the constants of its graph
        self.processor.free()
        self.weights.free()


class Texts:
    """The texts' side of a model of both: `await texts(["a cat"])` gives vectors in the space of the images'."""

    def __init__(self, vision: Vision) -> None:
        self.tokenizer = load_tokenizer(vision.checkpoint)
        config = vision.config.get("text_config", {})
        self.limit, self.end = config.get("max_position_embeddings", 77), config.get("eos_token_id")
        self.run = jit(vision.model.embed_text, vision.device)

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Longer texts than the model reads are cut."""
        if not all(isinstance(text, str) for text in texts):
            raise Error("bad_request", "Give a list of texts.")
        vectors: list[list[float]] = []
        for first in range(0, len(texts), TEXTS):
            ids = [self.tokenizer.inputs(text, max_length=self.limit)[0] for text in texts[first : first + TEXTS]]
            columns = min(self.limit, -(-max(map(len, ids)) // TOKENS) * TOKENS)
            rows = 1 << (len(ids) - 1).bit_length()
            # causal attention: what follows the end of a text does not count
            padded = [row + [0] * (columns - len(row)) for row in ids] + [[0] * columns] * (rows - len(ids))
            ends = [n * columns + self._end(row) for n, row in enumerate(ids)] + [0] * (rows - len(ids))
            async with self.run:
                made = await self.run(Tensor(padded, "u32"), Tensor(ends, "u32"))
                vectors += (await made.tolist())[: len(ids)]
        return vectors

    def _end(self, ids: list[int]) -> int:
        """Where the text's vector is: at its end token, in older configurations at the largest id."""
        return ids.index(self.end if self.end in ids else max(ids))

    def free(self) -> None:
        self.run.free()
