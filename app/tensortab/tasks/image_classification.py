"""image-classification: which of the model's labels fit an image best."""

import heapq
import math
from typing import TYPE_CHECKING, Any, overload

from ..image import NESTED
from ..inputs import best_of, each
from ..loading import Files, Progress
from ..vision import Vision

if TYPE_CHECKING:
    from ..results import ClassificationOutput


async def declare(files: Files, context: int | None) -> "ImageClassification":
    return ImageClassification(await Vision.declare(files, "image-classification"))


class ImageClassification:
    """await pipe(image, top_k=5) -> [{"label": "tabby cat", "score": 0.7}, ...], the likeliest first."""

    def __init__(self, vision: Vision) -> None:
        self.name, self.vision = vision.name, vision
        names = vision.config.get("id2label") or {}
        self.labels = {int(id): str(label) for id, label in names.items() if str(id).isdecimal()}

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.vision.load(on_progress)

    @overload
    async def __call__(
        self, images: list[Any] | tuple[Any, ...], top_k: int | None = 5
    ) -> "list[list[ClassificationOutput]]": ...
    @overload
    async def __call__(self, images: Any, top_k: int | None = 5) -> "list[ClassificationOutput]": ...
    async def __call__(self, images: Any, top_k: int | None = 5) -> list[Any]:
        """Returns the top_k labels of an image, or a list of these for a list of images. images: anything that
        tensortab.Image.of accepts. top_k: None stands for all labels. Raises Error("bad_request")."""
        best_of(top_k, len(self.labels))  # raises before anything is computed

        async def classify(image: Any) -> "list[ClassificationOutput]":
            return ranked(await self.vision(image), lambda n: self.labels.get(n, f"LABEL_{n}"), top_k)

        return await each(images, classify, NESTED)

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.vision.free()


def ranked(logits: list[float], label: Any, top_k: int | None) -> "list[ClassificationOutput]":
    """The softmax of the logits, the top_k highest first: [{"label": label(number), "score"}]."""
    best = heapq.nlargest(best_of(top_k, len(logits)), range(len(logits)), key=logits.__getitem__)
    high = logits[best[0]]
    total = sum(map(math.exp, [x - high for x in logits]))
    return [{"label": label(n), "score": math.exp(logits[n] - high) / total} for n in best]
