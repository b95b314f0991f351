"""zero-shot-image-classification: which of the user's labels fit an image best."""

import math
from collections.abc import Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, overload

from ..errors import Error
from ..image import NESTED
from ..inputs import each
from ..loading import Files, Progress
from ..vision import Texts, Vision
from .image_classification import ranked

if TYPE_CHECKING:
    from ..results import ClassificationOutput


async def declare(files: Files, context: int | None) -> "ZeroShotImageClassification":
    return ZeroShotImageClassification(await Vision.declare(files, "zero-shot-image-classification"))


class ZeroShotImageClassification:
    """await pipe(image, candidate_labels=["cat", "dog"]) -> [{"label": "cat", "score": 0.9}, ...], the best first."""

    def __init__(self, vision: Vision) -> None:
        self.name, self.vision, self.texts = vision.name, vision, Texts(vision)
        self.scale = 0.0  # of the logits, set by load()
        self._read: tuple[list[str], list[list[float]]] = ([], [])  # the last texts and their vectors

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.vision.load(on_progress)
        (scale,) = await self.vision.model.logit_scale.tolist()
        self.scale = math.exp(scale)

    @overload
    async def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        candidate_labels: Sequence[str],
        hypothesis_template: str = ...,
    ) -> "list[list[ClassificationOutput]]": ...
    @overload
    async def __call__(
        self, images: Any, candidate_labels: Sequence[str], hypothesis_template: str = ...
    ) -> "list[ClassificationOutput]": ...
    async def __call__(
        self, images: Any, candidate_labels: Sequence[str], hypothesis_template: str = "This is a photo of {}."
    ) -> list[Any]:
        """Returns the score of each label, the highest first, or a list of these for a list of images. images: anything
        that tensortab.Image.of accepts. Each label replaces the {} of the template. Raises Error("bad_request")."""
        labels = candidate_labels
        if not isinstance(labels, list | tuple) or not labels or not all(isinstance(label, str) for label in labels):
            raise Error("bad_request", f"candidate_labels must be a list of one or more texts, got {labels!r}.")
        if not isinstance(hypothesis_template, str) or "{}" not in hypothesis_template:
            raise Error(
                "bad_request", f"hypothesis_template must be a text with {{}} in it, got {hypothesis_template!r}."
            )
        texts = [hypothesis_template.replace("{}", label) for label in labels]
        if self._read[0] != texts:
            self._read = texts, await self.texts(texts)
        vectors = self._read[1]

        async def classify(image: Any) -> "list[ClassificationOutput]":
            seen = await self.vision(image)
            logits = [self.scale * sum(map(mul, seen, vector)) for vector in vectors]
            return ranked(logits, labels.__getitem__, None)

        return await each(images, classify, NESTED)

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.texts.free()
        self.vision.free()
