"""fill-mask: the likeliest words in the place of a text's mask."""

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from ..encode import Batch, Encoder
from ..errors import Error
from ..inputs import best_of, several
from ..jit import Jit, jit
from ..loading import Files, Progress
from ..ops.rows import MOST
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..results import FillMaskOutput


async def declare(files: Files, context: int | None) -> "FillMask":
    return FillMask(await Encoder.declare(files, context, "fill-mask"))


class FillMask:
    """await pipe("Paris is the [MASK] of France.") -> [{"score", "token", "token_str", "sequence"}, ...]"""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        self.runs: dict[int, Jit] = {}

    def _likeliest(self, k: int, ids: Tensor, types: Tensor, lengths: Tensor, places: Tensor) -> Tensor:
        x = self.encoder.model.hidden(ids, types, lengths)
        masked = places.lookup(x.reshape(-1, x.shape[-1]))  # (M, C)
        return self.encoder.model.logits(masked).softmax().topk(k)

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.encoder.load(on_progress)

    @overload
    async def __call__(self, texts: str, top_k: int | None = 5) -> "list[FillMaskOutput]": ...
    @overload
    async def __call__(self, texts: list[str], top_k: int | None = 5) -> "list[list[FillMaskOutput]]": ...
    async def __call__(self, texts: str | list[str], top_k: int | None = 5) -> list[Any]:
        """Returns the top_k likeliest words, the likeliest first; for a text with several masks a list of these for
        each mask, and for a list of texts a list of results, as transformers does. top_k: None stands for 5. Raises
        Error("bad_request"), also if a text has no mask among the tokens that the model reads.
        """
        most = min(MOST, self.encoder.tokenizer.size)
        top_k = 5 if top_k is None else top_k
        if best_of(top_k, most) < top_k:
            raise Error("bad_request", f"top_k must be at most {most}, got {top_k}.")
        tokenizer = self.encoder.tokenizer
        listed = several(texts)
        given: Any = texts if listed else [texts]
        results: list[list[Any]] = [[]] * len(given)
        run = self.runs.setdefault(top_k, jit(partial(self._likeliest, top_k), self.encoder.device))
        async for batch, data in self.encoder.computed(run, given, self._places):
            at = 0  # bytes: for each mask top_k scores and top_k tokens
            for number, ids in zip(batch.numbers, batch.tokens, strict=True):
                masks = [place for place, id in enumerate(ids) if id == tokenizer.mask]
                words = []
                for place in masks:
                    scores, tokens = (struct.unpack_from(f"<{top_k}{code}", data, at + 4 * top_k * part)
                                      for part, code in enumerate("fI"))  # fmt: skip
                    at += 8 * top_k
                    words.append([
                        {"score": score, "token": token, "token_str": tokenizer.decode([token], False)}
                        | {"sequence": tokenizer.decode([*ids[:place], token, *ids[place + 1 :]], len(masks) == 1)}
                        for score, token in zip(scores, tokens, strict=True)
                    ])  # fmt: skip
                results[number] = words if len(words) > 1 else words[0]
        return results if listed else results[0]

    def _places(self, batch: Batch) -> list[Tensor]:
        """The places of the masks among all tokens of a batch, padded to a power of two so that there are few plans."""
        tokenizer, columns = self.encoder.tokenizer, batch.ids.shape[1]
        places = []
        for row, ids in enumerate(batch.tokens):
            found = [row * columns + place for place, id in enumerate(ids) if id == tokenizer.mask]
            if not found:
                word = tokenizer.token(tokenizer.mask or 0)
                raise Error(
                    "bad_request",
                    f"A text has no {word} among the tokens that the model reads: put one in the place of a word.",
                )
            places += found
        return [Tensor(places + [0] * ((1 << (len(places) - 1).bit_length()) - len(places)), "u32")]

    def free(self) -> None:
        """Frees the GPU's memory."""
        for run in self.runs.values():
            run.free()
        self.encoder.free()
