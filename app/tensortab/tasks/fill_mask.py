"""fill-mask: the words that a text has most likely where it has a mask."""

import struct
from functools import partial
from typing import Any

from ..encode import Encoder
from ..errors import Error
from ..jit import Jit, jit
from ..loading import Files, Progress
from ..ops.rows import MOST
from ..tensor import Tensor


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
        await self.encoder.load(on_progress)

    async def __call__(self, text: str, top_k: int = 5) -> list[Any]:
        """The likeliest first; for a text with several masks a list for each, as transformers gives them. Raises
        Error("bad_request") where a text has no mask that is read.
        """
        tokenizer = self.encoder.tokenizer
        if not 1 <= top_k <= min(MOST, tokenizer.size):
            raise Error("bad_request", f"top_k is {top_k}: give 1 to {min(MOST, tokenizer.size)}.")
        (batch,) = self.encoder.batches([text])
        (ids,) = batch.tokens
        places = [place for place, id in enumerate(ids) if id == tokenizer.mask]
        if not places:
            raise Error("bad_request", f"The text has no {tokenizer.token(tokenizer.mask or 0)}: put one for a word.")
        run = self.runs.setdefault(top_k, jit(partial(self._likeliest, top_k), self.encoder.device))
        async with run:
            data = await run.read(batch.ids, batch.types, batch.lengths, Tensor(places, "u32"))
        results = []
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
