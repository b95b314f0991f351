"""text-classification: labels for texts, or for pairs of texts."""

from array import array
from typing import TYPE_CHECKING, Any, overload

from ..encode import Encoder, Text
from ..errors import Error
from ..inputs import best_of, several
from ..jit import jit
from ..loading import Files, Progress
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..results import ClassificationOutput


async def declare(files: Files, context: int | None) -> "TextClassification":
    return TextClassification(await Encoder.declare(files, context, "text-classification"))


class TextClassification:
    """await pipe("What a film!") -> [{"label": "POSITIVE", "score": 0.99}]"""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        config = encoder.config
        count = sum(weight.shape[0] for weight in encoder.model.classifier.weights)
        names = config.get("id2label")
        names = names if isinstance(names, dict) else {}
        self.labels = [str(names.get(str(n), f"LABEL_{n}")) for n in range(count)]
        kind = config.get("problem_type")
        self.scores = Tensor.softmax
        if kind == "multi_label_classification" or (kind != "regression" and count == 1):
            self.scores = Tensor.sigmoid
        elif kind == "regression":
            self.scores = Tensor.contiguous
        self.run = jit(self._scores, encoder.device)

    def _scores(self, ids: Tensor, types: Tensor, lengths: Tensor) -> Tensor:
        first = self.encoder.model.hidden(ids, types, lengths)[:, 0]  # (N, C)
        return self.scores(self.encoder.model.logits(first))

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.encoder.load(on_progress)

    @overload
    async def __call__(self, texts: str | dict[str, str], top_k: int | None = 1) -> "list[ClassificationOutput]": ...
    @overload
    async def __call__(
        self, texts: list[str] | list[dict[str, str]], top_k: int | None = 1
    ) -> "list[list[ClassificationOutput]]": ...
    async def __call__(self, texts: str | dict[str, str] | list[Any], top_k: int | None = 1) -> list[Any]:
        """Returns the top_k labels of a text or of a pair {"text", "text_pair"}, or a list of these for a list of
        texts. top_k: None stands for all labels. Scores are probabilities: the softmax, or the sigmoid where several
        labels may hold (the config's problem_type) or there is one label only. Raises Error("bad_request").
        """
        count = best_of(top_k, len(self.labels))
        listed = several(texts)
        given: list[Text] = [_text(text) for text in (texts if listed else [texts])]
        results: list[Any] = [None] * len(given)
        async for batch, data in self.encoder.computed(self.run, given):
            values = array("f", data)
            for row, number in enumerate(batch.numbers):
                scores = values[row * len(self.labels) : (row + 1) * len(self.labels)]
                ranked = sorted(zip(self.labels, scores, strict=True), key=lambda pair: -pair[1])
                results[number] = [{"label": label, "score": score} for label, score in ranked[:count]]
        return results if listed else results[0]

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.run.free()
        self.encoder.free()


def _text(given: Any) -> Text:
    if not isinstance(given, dict):
        return given
    if "text" not in given or given.keys() - {"text", "text_pair"}:
        keys = ", ".join(map(repr, given)) or "nothing"
        raise Error("bad_request", f'Expected a text or {{"text", "text_pair"}}, got a dict with {keys}.')
    return (given["text"], given["text_pair"]) if "text_pair" in given else given["text"]
