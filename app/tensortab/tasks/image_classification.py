"""image-classification: what is in an image, of the labels that the model knows."""

import heapq
import math
from typing import TYPE_CHECKING, Any

from ..errors import Error
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
        """Puts the model on the device. pipeline() calls it, and frees what there is if it fails."""
        await self.vision.load(on_progress)

    async def __call__(self, image: Any, top_k: int = 5) -> "list[ClassificationOutput]":
        """image: what tensortab.Image.of takes. Raises Error("bad_request")."""
        return ranked(await self.vision(image), lambda n: self.labels.get(n, f"LABEL_{n}"), top_k)

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.vision.free()


def ranked(logits: list[float], label: Any, top_k: int) -> "list[ClassificationOutput]":
    """The softmax of logits, the top_k highest first: [{"label": label(number), "score"}]."""
    if top_k < 1:
        raise Error("bad_request", f"top_k is {top_k}: ask for one label or more.")
    best = heapq.nlargest(top_k, range(len(logits)), key=logits.__getitem__)
    high = logits[best[0]]
    total = sum(map(math.exp, [x - high for x in logits]))
    return [{"label": label(n), "score": math.exp(logits[n] - high) / total} for n in best]
