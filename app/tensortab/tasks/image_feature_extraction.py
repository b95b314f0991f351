"""image-feature-extraction: images as vectors, and texts in the same space where the model has them."""

import math
from collections.abc import Sequence
from operator import mul
from typing import Any

from ..errors import Error
from ..image import NESTED
from ..inputs import each, several
from ..loading import Files, Progress
from ..vision import Texts, Vision


async def declare(files: Files, context: int | None) -> "ImageFeatureExtraction":
    return ImageFeatureExtraction(await Vision.declare(files, "image-feature-extraction"))


class ImageFeatureExtraction:
    """await pipe([image, ...]) -> [[0.1, ...], ...]: vectors of length 1, whose dot products are cosine
    similarities."""

    def __init__(self, vision: Vision) -> None:
        self.name, self.vision = vision.name, vision
        self.texts = Texts(vision) if hasattr(vision.model, "embed_text") else None

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.vision.load(on_progress)

    async def __call__(self, images: Any) -> list[list[float]]:
        """Returns a list with a vector for each image. images: anything that tensortab.Image.of accepts, or a list of
        these. Raises Error("bad_request")."""

        async def vector(image: Any) -> list[float]:
            return _normalized(await self.vision(image))

        return await each(images if several(images, NESTED) else [images], vector)

    async def text(self, texts: str | Sequence[str]) -> list[list[float]]:
        """Returns a vector for each text, in the same space. Raises Error("bad_request"), also if the model reads no
        texts."""
        if self.texts is None:
            raise Error("bad_request", f"{self.name} reads images only, not texts: use a CLIP model.")
        return await self.texts([texts] if isinstance(texts, str) else texts)

    def free(self) -> None:
        """Frees the GPU's memory."""
        if self.texts is not None:
            self.texts.free()
        self.vision.free()


def _normalized(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(map(mul, vector, vector))) or 1.0
    return [x / length for x in vector]
