"""Generates texts with a decoder, one at a time, and keeps the cache for the prefix that the next one has in common."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .decoder import Decoder, Token
from .errors import Error
from .sampling import Sampling
from .stream import Stream
from .turn import Turn

GREEDY = Sampling()


@dataclass(eq=False)
class _Text:
    """A text that is being generated."""

    ids: list[int]  # the tokens so far
    end: int  # the most tokens that it may have
    sampling: Sampling
    top_logprobs: int
    prepare: Callable[[], Awaitable[None]] | None
    owner: Any  # for whose turn it counts
    aborted: Callable[[], bool]
    steps: AsyncGenerator[Token, None] | None = None  # the decoder's iterator, while the cache is this text's
    last_chunk: Awaitable[bytes] | None = None  # the last chunk of the prompt, until the first token has arrived
    reused: int | None = None

    async def stop(self) -> None:
        """Ends its decoding steps; they may begin again from `ids`."""
        steps, self.steps = self.steps, None
        chunk, self.last_chunk = self.last_chunk, None
        if steps is not None:
            await steps.aclose()
        if chunk is not None:
            await chunk


class Tokens(Stream[Token]):
    """The tokens that follow a prompt, including the one that ends the text."""

    def __init__(self, parts: AsyncGenerator[Token, None], text: _Text) -> None:
        super().__init__(parts)
        self._text = text

    @property
    def reused(self) -> int:
        """How many tokens of the prompt were in the cache already; 0 until the first token has arrived."""
        return self._text.reused or 0

    @property
    def aborted(self) -> bool:
        """Whether abort() was called after generate()."""
        return self._text.aborted()


class Generator:
    """Generates texts with a decoder, one at a time.

    A request waits while the one before it is being read, that is, while its reader awaits the next token or asks for
    it at once. A text whose reader does something else in between, or has left it, gives way: it continues when it is
    read again, from its tokens so far, which are then brought into the cache again.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.device, self.context, self.vocabulary = decoder.device, decoder.context, decoder.vocabulary
        self._cached: list[int] = []  # the tokens whose keys and values are in the cache
        self._turn = Turn()
        self._text: _Text | None = None  # the text whose decoding steps are in flight
        self._aborts = 0

    def generate(
        self,
        prompt: list[int],
        sampling: Sampling = GREEDY,
        max_tokens: int | None = None,
        top_logprobs: int = -1,
        prepare: Callable[[], Awaitable[None]] | None = None,
        owner: Any = None,
    ) -> Tokens:
        """Returns the tokens that follow `prompt`; closing them stops the GPU.

        top_logprobs: how many of the likeliest tokens come with each token, beside itself, with their log
        probabilities; -1: none, not even its own. prepare: a coroutine function that writes what the model needs
        besides the tokens; it is awaited before the text begins or continues after another one. owner: texts of one
        owner may follow one another without letting others in between.

        Raises Error("context_exceeded") if the prompt leaves no room in the context, or ("bad_request").
        """
        if not prompt:
            raise Error("bad_request", "The prompt is empty: it must have at least one token.")
        if any(not 0 <= t < self.vocabulary for t in prompt):
            raise Error("bad_request", "The prompt has tokens that are not in the model's vocabulary.")
        if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
            raise Error(
                "bad_request", f"The number of tokens to generate must be an integer of at least 1, got {max_tokens!r}."
            )
        room = self.context - len(prompt)
        if room < 1:
            raise Error(
                "context_exceeded",
                f"The conversation has {len(prompt):,} tokens, but the model's context is {self.context:,}: shorten "
                "it, or start a new one.",
            )
        limit, aborts = room if max_tokens is None else min(room, max_tokens), self._aborts
        text = _Text(
            list(prompt), len(prompt) + limit, sampling.seeded(), top_logprobs, prepare,
            object() if owner is None else owner, lambda: self._aborts != aborts,
        )  # fmt: skip
        return Tokens(self._tokens(text), text)

    async def _tokens(self, text: _Text) -> AsyncGenerator[Token, None]:
        turn = self._turn
        try:
            while not text.aborted():
                if text.steps is None or not turn.retake(text.owner):
                    await self._begin(text)
                    continue
                async for token in text.steps:
                    self._cached.append(text.ids[-1])
                    text.ids.append(token.id)
                    turn.leave()
                    yield token
                    if token.id in text.sampling.stop_ids:
                        return
                    if text.aborted() or text.steps is None or not turn.retake(text.owner):
                        break
                else:
                    return
        finally:
            if self._text is text and turn.retake(text.owner):
                await text.stop()
                turn.leave()

    async def _begin(self, text: _Text) -> None:
        """Takes the turn, and brings the part of the text into the cache that is not there yet."""
        if not self._turn.retake(text.owner):
            await self._turn.take(text.owner)
        before, self._text = self._text, text
        if before is not None:
            await before.stop()
        if text.prepare is not None:
            await text.prepare()
        common = 0
        for old, new in zip(self._cached, text.ids[:-1], strict=False):
            if old != new:
                break
            common += 1
        del self._cached[common:]
        text.reused = common if text.reused is None else text.reused
        decoder, sampling = self.decoder, text.sampling
        text.last_chunk = await decoder.prefill(text.ids, self._cached, text.aborted)
        decoder.set_sampling(sampling, text.ids, text.end)
        text.steps = decoder.decode(len(text.ids), text.end, text.top_logprobs)

    def forget(self) -> None:
        """Empties the cache of the common prefix, because what the model reads besides the tokens has changed."""
        self._cached.clear()

    def abort(self) -> None:
        """Ends all texts so far: each iterator stops after the token that the GPU is computing."""
        self._aborts += 1

    def free(self) -> None:
        """Frees everything; the object cannot be used afterwards."""
        self.decoder.free()
