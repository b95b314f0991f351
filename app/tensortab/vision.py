"""Vision models: an image goes through its processor and the model in one submission, and its vector is read back.

The model's file has `class Model` with embed_image(pixel_values) -> Tensor [N, C], and, if it also reads texts,
embed_text(ids, ends) -> Tensor [N, C], logit_scale, length (positions of a text) and end (the token that ends one).
`class ForImageClassification` is a Model with logits(pixel_values) -> Tensor [N, L]. pixel_values: f32 [N, H, W, 3].
"""

import asyncio
import struct
from collections.abc import Awaitable, Sequence
from typing import Any

from . import models
from .encode import padded
from .errors import Error
from .image import Image, ImageProcessor
from .jit import Program, hardware, jit
from .loading import Files, Progress, load
from .tensor import Tensor
from .tokenizer import load_tokenizer
from .weights import Weights

ABREAST = 4  # images that are decoded or on the GPU at once
TEXTS = 16  # texts that are read at once
TOKENS = 16  # rows of texts are padded to a multiple of this
# the class of a model's file for each task, and its method
HEADS = {
    "image-classification": ("ForImageClassification", "logits"),
    "zero-shot-image-classification": ("Model", "embed_image"),
    "image-feature-extraction": ("Model", "embed_image"),
}


class Vision:
    """A model that reads images, with its weights, on a device. `await vision(image)` returns its head's numbers."""

    def __init__(self, files: Files, processor: dict, task: str) -> None:
        """processor: the folder's preprocessor_config.json; task: one of HEADS."""
        self.name, self.checkpoint, self.device = files.name, files.checkpoint, files.device
        self.config = self.checkpoint.config
        self.weights = Weights(self.checkpoint, hardware(self.device.info).max_binding)
        self.processor = ImageProcessor(processor, self.device)
        self._places, self._turn = asyncio.Semaphore(ABREAST), asyncio.Lock()
        kind = str(self.config.get("model_type"))
        head, method = HEADS[task]
        architecture = getattr(models.find(kind), head, None)
        if not hasattr(architecture, method):
            raise Error(
                "bad_file",
                f"Models of type {kind!r} are not supported for this task yet: use a CLIP, ViT or EfficientNet model.",
            )
        self.model: Any = models.declare(architecture, self.weights)
        self.program: Program | None
        with models.fitting(kind):
            self.program = Program(self.device, [getattr(self.model, method)(self.processor.pixel_values)])

    @classmethod
    async def declare(cls, files: Files, task: str) -> "Vision":
        return cls(files, await files.checkpoint.json("preprocessor_config.json"), task)

    async def load(self, on_progress: Progress) -> None:
        assert self.program is not None
        await load(self.weights, self.device, [self.program.load()], on_progress)

    async def __call__(self, image: Any) -> list[float]:
        """image: anything that Image.of accepts. Several calls may run at once."""
        async with self._places:
            seen = await Image.of(image)
            async with self._turn:
                prepared, row = await self._submit(seen)
            await prepared
            values = await row
            return list(struct.unpack(f"<{len(values) // 4}f", values))

    async def _submit(self, image: Image) -> tuple[Awaitable[bytes], Awaitable[bytes]]:
        """Submits an image. The next one may be submitted before its result is there: the GPU keeps their order."""
        assert self.program is not None
        prepared = await (await self.processor.prepare(image)).submit()
        (row,) = self.program.outputs
        return prepared, await self.program.submit(row, 4 * row.shape[-1])

    def free(self) -> None:
        """Frees the GPU's memory."""
        if self.program is not None:
            self.program.unload()
            for output in self.program.outputs:
                output.free()
            self.program = None  # and with it the constants of its graph
        self.processor.free()
        self.weights.free()


class Texts:
    """The text half of a model of both: `await texts(["a cat"])` returns vectors in the same space as the images'."""

    def __init__(self, vision: Vision) -> None:
        if not hasattr(vision.model, "embed_text"):
            raise Error("bad_file", f"{vision.name} reads images only, not texts: use a CLIP model.")
        self.tokenizer = load_tokenizer(vision.checkpoint)
        self.model = vision.model
        self.run = jit(vision.model.embed_text, vision.device)

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Texts that are longer than the model reads are truncated."""
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise Error("bad_request", f"Expected a list of texts, got {type(texts).__name__} {texts!r:.60}.")
        vectors: list[list[float]] = []
        for first in range(0, len(texts), TEXTS):
            ids = [
                self.tokenizer.inputs(text, max_length=self.model.length)[0] for text in texts[first : first + TEXTS]
            ]
            columns = min(self.model.length, -(-max(map(len, ids)) // TOKENS) * TOKENS)
            rows = 1 << (len(ids) - 1).bit_length()
            ends = [n * columns + self._end(row) for n, row in enumerate(ids)] + [0] * (rows - len(ids))
            async with self.run:
                # attention is causal: what follows the end of a text does not count
                made = await self.run(padded("I", ids, rows, columns), Tensor(ends, "u32"))
                vectors += (await made.tolist())[: len(ids)]
        return vectors

    def _end(self, ids: list[int]) -> int:
        """The row of the text's vector: its end token's, or in older configurations that of the largest id."""
        return ids.index(self.model.end if self.model.end in ids else max(ids))

    def free(self) -> None:
        self.run.free()
