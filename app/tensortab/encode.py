"""Encoders, which read whole texts, in batches of few shapes.

The model's file has `class Model` with size (of a vector), length (the most tokens that it reads) and hidden(ids,
types, lengths) -> Tensor [N, T, C]; the classes of other tasks (HEADS) also have logits(rows of that).
"""

import math
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import models
from .dtype import f32, u32
from .errors import Error
from .jit import Jit, hardware
from .loading import Files, Progress, load
from .tensor import Tensor
from .tokenizer import load_tokenizer
from .weights import Weights

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 320, 384, 448, 512)  # per row; or a multiple of the last
BATCH = 2048  # the most tokens of a batch, with padding: tokenizing the next takes as long as a fast GPU needs
ABREAST = 2  # batches on the GPU while the next one is prepared
# the class of a model's file for each task
HEADS = {
    "feature-extraction": "Model", "fill-mask": "ForMaskedLM", "text-classification": "ForSequenceClassification",
}  # fmt: skip
Text = str | tuple[str, str]  # a text or a pair of texts


@dataclass
class Batch:
    """Texts of similar lengths: numbers[i] is the index of row i among all texts; further rows are empty."""

    numbers: list[int]
    tokens: list[list[int]]  # of each text
    ids: Tensor  # u32 [N, T], padded on the right
    types: Tensor
    lengths: Tensor  # u32 [N]

    @property
    def inputs(self) -> list[Tensor]:
        """What a model's hidden() reads."""
        return [self.ids, self.types, self.lengths]


class Encoder:
    """A model that reads texts, with its weights and its tokenizer, on a device.

    max_length: the most tokens that it reads of a text: the model's positions, or fewer if the tokenizer
    (model_max_length), a sentence model (sentence_bert_config.json's max_seq_length) or the caller says so.
    """

    def __init__(self, files: Files, task: str) -> None:
        """task: one of HEADS."""
        self.name, self.checkpoint, self.device = files.name, files.checkpoint, files.device
        self.config = self.checkpoint.config
        self.tokenizer = load_tokenizer(self.checkpoint)
        self.weights = Weights(self.checkpoint, hardware(self.device.info).max_binding)
        kind = str(self.config.get("model_type"))
        architecture = getattr(models.find(kind), HEADS[task], None)
        self.model: Any
        self.model = models.declare(architecture, self.weights) if architecture else None
        if not hasattr(self.model, "length"):
            raise Error(
                "bad_file",
                f"Models of type {kind!r} are not supported for this task yet: use a BERT or a DistilBERT model.",
            )
        self.max_length: int = self.model.length

    @classmethod
    async def declare(cls, files: Files, context: int | None, task: str) -> "Encoder":
        sentence = await files.checkpoint.json("sentence_bert_config.json")
        encoder = cls(files, task)
        limits = files.checkpoint.tokenizer_config.get("model_max_length"), sentence.get("max_seq_length"), context
        for limit in limits:
            if isinstance(limit, int | float) and 2 < limit < encoder.max_length:
                encoder.max_length = int(limit)
        return encoder

    async def load(self, on_progress: Progress) -> None:
        await load(self.weights, self.device, [], on_progress)

    def batches(self, texts: Sequence[Text]) -> Iterator[Batch]:
        """Yields batches of all texts, the longest first; a batch is tokenized when it is asked for. Raises
        Error("bad_request")."""
        if not isinstance(texts, list | tuple):
            raise Error("bad_request", f"Expected a text or a list of texts, got {type(texts).__name__}.")
        pairs = [text if isinstance(text, tuple) else (text,) for text in texts]
        if not all(len(pair) in (1, 2) for pair in pairs):
            raise Error("bad_request", "Expected a text or a pair of texts, got a tuple that is not of length 2.")
        for part in (part for pair in pairs for part in pair):
            if not isinstance(part, str):
                raise Error("bad_request", f"Expected a text or a list of texts, got {type(part).__name__}.")
        numbers: list[int] = []
        inputs: list[tuple[list[int], list[int]]] = []
        longest = 0
        for number in sorted(range(len(pairs)), key=lambda number: -sum(map(len, pairs[number]))):
            new = self.tokenizer.inputs(*pairs[number], max_length=self.max_length)
            longest = max(longest, len(new[0]))
            if numbers and math.prod(self._shape(len(inputs) + 1, longest)) > BATCH:
                yield self._batch(numbers, inputs)
                numbers, inputs, longest = [], [], len(new[0])
            numbers.append(number)
            inputs.append(new)
        if numbers:
            yield self._batch(numbers, inputs)

    async def computed(
        self, run: Jit, texts: Sequence[Text], more: Callable[[Batch], list[Tensor]] = lambda batch: []
    ) -> AsyncGenerator[tuple[Batch, bytes], None]:
        """Yields each batch of the texts, and the bytes of the only output of `run` for the batch's inputs and those
        that `more` returns for it. The next batch is prepared while the GPU works. Raises Error("bad_request")."""
        flying: deque[tuple[Batch, Awaitable[bytes]]] = deque()
        try:
            for batch in self.batches(texts):
                inputs = [*batch.inputs, *more(batch)]
                async with run:
                    flying.append((batch, await run.submit(*inputs)))
                if len(flying) > ABREAST:
                    batch, values = flying.popleft()
                    yield batch, await values
            while flying:
                batch, values = flying.popleft()
                yield batch, await values
        finally:  # the staging buffers must be returned
            for _, values in flying:
                await values

    def _shape(self, count: int, longest: int) -> tuple[int, int]:
        """The rows and columns of a batch, of few different sizes, so that there are few plans."""
        return 1 << (count - 1).bit_length(), min(self.max_length, _up(longest))

    def _batch(self, numbers: list[int], inputs: list[tuple[list[int], list[int]]]) -> Batch:
        tokens, types = ([each[part] for each in inputs] for part in range(2))
        rows, columns = self._shape(len(tokens), max(map(len, tokens)))
        lengths = [len(row) for row in tokens] + [0] * (rows - len(tokens))
        ids, kinds = (padded("I", part, rows, columns) for part in (tokens, types))
        return Batch(numbers, tokens, ids, kinds, Tensor(lengths, "u32"))

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.weights.free()


def _up(length: int) -> int:
    return next((n for n in LENGTHS if n >= length), -(-length // LENGTHS[-1]) * LENGTHS[-1])


def padded(code: str, rows: Sequence[Sequence[Any]], count: int, columns: int) -> Tensor:
    """A Tensor [count, columns] of the rows, padded with zeros; code: an array's, "I" (u32) or "f" (f32)."""
    values = array(code, bytes(4 * count * columns))
    for number, row in enumerate(rows):
        values[number * columns : number * columns + len(row)] = array(code, row)
    return Tensor.of("rows", (count, columns), u32 if code == "I" else f32, values.tobytes())
