"""fill-mask: the words that a text has most likely where it has a mask."""

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from ..encode import Encoder
from ..errors import Error
from ..inputs import best_of, each
from ..jit import Jit, jit
from ..ops.rows import MOST
from ..tensor import Tensor
from . import Progress

if TYPE_CHECKING:
    from ..results import FillMaskOutput


async def create(model: Any, device: Any, context: int | None, on_progress: Progress) -> "FillMask":
    return FillMask(await Encoder.open("fill-mask", model, device, context, on_progress))


class FillMask:
    """await pipe("Paris is the [MASK] of France.") -> [{"score", "token", "token_str", "sequence"}, ...]"""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        self.runs: dict[int, Jit] = {}

    def _likeliest(self, k: int, ids: Tensor, types: Tensor, lengths: Tensor, places: Tensor) -> Tensor:
        x = self.encoder.model.hidden(ids, types, lengths)
        masked = places.lookup(x.reshape(-1, x.shape[-1]))  # (M, C)
        return self.encoder.model.logits(masked).softmax().topk(k)

    @overload
    async def __call__(self, texts: str, top_k: int | None = 5) -> "list[FillMaskOutput]": ...
    @overload
    async def __call__(self, texts: list[str], top_k: int | None = 5) -> "list[list[FillMaskOutput]]": ...
    async def __call__(self, texts: str | list[str], top_k: int | None = 5) -> list[Any]:
        """The likeliest first; for a text with several masks a list for each, for a list of texts a list of results, as
        transformers gives them. top_k: None stands for 5. Raises Error("bad_request"), also where a text has no mask
        that is read.
        """
        most = min(MOST, self.encoder.tokenizer.size)
        top_k = 5 if top_k is None else top_k
        if best_of(top_k, most) < top_k:
            raise Error("bad_request", f"top_k is {top_k}: give at most {most}.")

        async def fill(text: str) -> list[Any]:
            return await self._fill(text, top_k)

        return await each(texts, fill)

    async def _fill(self, text: str, top_k: int) -> list[Any]:
        tokenizer = self.encoder.tokenizer
        (batch,) = self.encoder.batches([text])
        (ids,) = batch.tokens
        places = [place for place, id in enumerate(ids) if id == tokenizer.mask]
        if not places:
            raise Error("bad_request", f"The text has no {tokenizer.token(tokenizer.mask or 0)}: put one for a word.")
        run = self.runs.setdefault(top_k, jit(partial(self._likeliest, top_k), self.encoder.device))
        async with run:
            data = await run.read(batch.ids, batch.types, batch.lengths, Tensor(places, "u32"))
        results: list[Any] = []
        for number, place in enumerate(places):
            scores, tokens = (
                struct.unpack_from(f"<{top_k}{code}", data, 4 * top_k * (2 * number + part))
                for part, code in enumerate("fI")
            )
            results.append([
                {"score": score, "token": token, "token_str": tokenizer.decode([token], False)}
                | {"sequence": tokenizer.decode([*ids[:place], token, *ids[place + 1 :]], len(places) == 1)}
                for score, token in zip(scores, tokens, strict=True)
            ])  # fmt: skip
        return results if len(results) > 1 else results[0]

    def free(self) -> None:
        """Gives the GPU's memory back."""
        for run in self.runs.values():
            run.free()
        self.encoder.free()
