"""zero-shot-image-classification: which of the labels that the user gives fits an image best."""

import math
from operator import mul
from typing import TYPE_CHECKING, Any

from ..errors import Error
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
        self.scale = 0.0  # of the logits, from load() on
        self._read: tuple[list[str], list[list[float]]] = ([], [])  # the last texts, which are often the next ones, too

    async def load(self, on_progress: Progress) -> None:
        """Puts the model on the device. pipeline() calls it, and frees what there is if it fails."""
        await self.vision.load(on_progress)
        (scale,) = await self.vision.model.logit_scale.tolist()
        self.scale = math.exp(scale)

    async def __call__(
        self, image: Any, candidate_labels: list[str], hypothesis_template: str = "This is a photo of {}."
    ) -> "list[ClassificationOutput]":
        """image: what tensortab.Image.of takes. Raises Error("bad_request")."""
        if not candidate_labels or isinstance(candidate_labels, str) or "{}" not in hypothesis_template:
            raise Error("bad_request", "Give a list of labels, and a template with {} in it.")
        texts = [hypothesis_template.replace("{}", str(label)) for label in candidate_labels]
        seen = await self.vision(image)
        if self._read[0] != texts:
            self._read = texts, await self.texts(texts)
        logits = [self.scale * sum(map(mul, seen, vector)) for vector in self._read[1]]
        return ranked(logits, candidate_labels.__getitem__, len(candidate_labels))

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.texts.free()
        self.vision.free()
