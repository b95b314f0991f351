"""feature-extraction: texts as vectors, one for each token or for the whole text."""

import struct
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

from ..encode import Batch, Encoder, padded
from ..errors import Error
from ..formats import Checkpoint
from ..inputs import one_of
from ..jit import jit
from ..loading import Files, Progress
from ..tensor import Tensor

# the weight of each of a text's n tokens in its vector, by sentence-transformers' names
POOLINGS: dict[str, Callable[[int], list[float]]] = {
    "mean": lambda n: [1 / n] * n,
    "cls": lambda n: [1.0] + [0.0] * (n - 1),
    "mean_sqrt_len_tokens": lambda n: [n**-0.5] * n,
    "weightedmean": lambda n: [2 * (t + 1) / (n * (n + 1)) for t in range(n)],
    "lasttoken": lambda n: [0.0] * (n - 1) + [1.0],
}
OLD = {"cls_token": "cls", "mean_tokens": "mean", "weightedmean_tokens": "weightedmean"}  # names before version 5


async def declare(files: Files, context: int | None) -> "FeatureExtraction":
    encoder = await Encoder.declare(files, context, "feature-extraction")
    return FeatureExtraction(encoder, *await sentence_model(files.checkpoint))


async def sentence_model(checkpoint: Checkpoint) -> tuple[str, bool]:
    """Returns (pooling, whether vectors are normalised) of a sentence model's folder; ("none", False) for other
    models."""
    modules = {}
    for module in await checkpoint.json("modules.json", list):
        if isinstance(module, dict):
            modules[str(module.get("type")).rpartition(".")[2]] = module
    if not modules.keys() <= {"Transformer", "Pooling", "Normalize"}:
        raise Error(
            "bad_file",
            f"Sentence models with the modules {', '.join(modules)} are not supported yet: use another model.",
        )
    if "Pooling" not in modules:
        return "none", "Normalize" in modules
    config = await checkpoint.json(f"{modules['Pooling'].get('path')}/config.json")
    old = [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    mode = config.get("pooling_mode", [OLD.get(name, name) for name in old])
    if isinstance(mode, list) and len(mode) == 1:
        (mode,) = mode
    if not isinstance(mode, str) or mode not in POOLINGS:
        raise Error(
            "bad_file", f"The pooling {mode!r} is not supported yet: use a model with one of {', '.join(POOLINGS)}."
        )
    return mode, "Normalize" in modules


class FeatureExtraction:
    """await pipe(["A text", "Another"], pooling="mean", normalize=True) -> [[0.1, ...], [0.2, ...]]

    dimensions: how many numbers a vector has.
    """

    def __init__(self, encoder: Encoder, pooling: str, normalize: bool) -> None:
        self.encoder, self.name = encoder, encoder.name
        self.pooling, self.normalize = pooling, normalize
        self.dimensions = size = encoder.model.size
        self._unit = Tensor.of("unit", (size,), data=struct.pack("<f", size**-0.5) * size)
        self.runs = {
            (pooled, unit): jit(partial(self._vectors, pooled, unit), encoder.device)
            for pooled in (False, True)
            for unit in (False, True)
        }

    def _vectors(
        self, pooled: bool, unit: bool, ids: Tensor, types: Tensor, lengths: Tensor, *shares: Tensor
    ) -> Tensor:
        x = self.encoder.model.hidden(ids, types, lengths)  # (N, T, C)
        if pooled:
            x = shares[0].reshape(x.shape[0], 1, -1).matmul(x)  # (N, 1, C)
        return x.rms_norm(self._unit, 1e-24) if unit else x  # x / |x|, as C^-0.5 of its root mean square is |x|

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.encoder.load(on_progress)

    async def __call__(
        self, texts: str | list[str], pooling: str | None = None, normalize: bool | None = None
    ) -> list[list[Any]]:
        """Returns a list with the vector of each text, or with the list of its tokens' vectors.

        pooling: "none" returns a vector for each token; "mean", "cls" ... (POOLINGS) return one for each text.
        normalize: whether vectors are scaled to length 1. The defaults are those in the folder of a sentence model, or
        else "none" and False. Texts that are longer than the model reads are truncated. Raises Error("bad_request").
        """
        pooling = self.pooling if pooling is None else pooling
        unit = self.normalize if normalize is None else normalize
        one_of("pooling", pooling, ("none", *POOLINGS))
        if not isinstance(unit, bool):
            raise Error("bad_request", f"normalize must be True or False, got {unit!r:.60}.")
        texts = [texts] if isinstance(texts, str) else texts
        run = self.runs[pooling != "none", unit]
        result: dict[int, list[Any]] = {}

        def shares(batch: Batch) -> list[Tensor]:
            if pooling == "none":
                return []
            return [padded("f", [POOLINGS[pooling](len(tokens)) for tokens in batch.tokens], *batch.ids.shape)]

        async for batch, data in self.encoder.computed(run, texts, shares):
            values = array("f", data)
            each = len(values) // batch.ids.shape[0]
            for row, (number, tokens) in enumerate(zip(batch.numbers, batch.tokens, strict=True)):
                result[number] = self._nested(values[row * each : (row + 1) * each], pooling, len(tokens))
        return [result[number] for number in range(len(result))]

    def _nested(self, values: array, pooling: str, tokens: int) -> list[Any]:
        if pooling != "none":
            return values.tolist()
        size = self.dimensions
        return [values[start : start + size].tolist() for start in range(0, tokens * size, size)]

    def free(self) -> None:
        """Frees the GPU's memory."""
        for run in self.runs.values():
            run.free()
        self._unit.free()
        self.encoder.free()
