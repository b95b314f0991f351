"""summarization: a long text in short, by an encoder-decoder (BART, T5) or by a chat model that is asked for it.

A text that is longer than the model reads is cut into parts between paragraphs or sentences. Their summaries, joined,
are summarised again until they fit into one part.
"""

import re
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..beam import BeamGenerator, GenerationConfig, task_params
from ..errors import Error
from ..loading import Files, Progress
from ..sampling import Sampling
from ..stream import Stream
from ..tokenizer import load_tokenizer
from . import text_generation

if TYPE_CHECKING:
    from ..results import SummarizationOutput, SummarizationProgress

LENGTH = 256  # the most tokens of a chat model's summary
LEAST = 16  # tokens of text that a part must have room for
ASK = "Summarize this text in a few sentences. Keep its names, numbers and conclusions. Write only the summary."
ASK_AGAIN = (
    "These are summaries of the parts of one text, in their order. Make one summary of them in a few sentences. "
    "Keep the names, numbers and conclusions. Write only the summary."
)
# the ends of paragraphs, sentences and words, and how far off they may be, in quarters of a part
BORDERS = ((r"\n\s*\n", 1), (r"[.!?…][\"'”’)\]]*\s+|[。！？]", 1), (r"\s+", 4))


DEFAULT_OF = "text-generation"


def lent(model: Any) -> "Summarization | None":
    """Summaries by a text-generation pipeline, which stays its owner's to free, as the page's chat does."""
    return Summarization(Chat(model)) if isinstance(model, text_generation.TextGeneration) else None


async def declare(files: Files, context: int | None) -> "Summarization":
    if not files.checkpoint.config.get("is_encoder_decoder"):
        return Summarization(Chat(await text_generation.declare(files, context)))
    config = await GenerationConfig.of(files.checkpoint, "summarization")
    generator = BeamGenerator(files.checkpoint, files.device, config, context)
    return Summarization(EncoderDecoder(files, generator))


class EncoderDecoder:
    """Writes the summary of a part with an encoder-decoder."""

    def __init__(self, files: Files, generator: BeamGenerator) -> None:
        self.name, self.generator, self.tokenizer = files.name, generator, load_tokenizer(files.checkpoint)
        self.prefix = str(task_params(files.checkpoint.config, "summarization").get("prefix") or "")

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.generator.load(on_progress)

    def room(self, most: int | None) -> int:
        return self.generator.source

    def size(self, text: str, again: bool) -> int:
        return len(self.tokenizer.encode(self.prefix + text))

    async def write(self, text: str, again: bool, least: int | None, most: int | None) -> AsyncGenerator[str, None]:
        ids = await self.generator.generate(self.tokenizer.encode(self.prefix + text), least, most)
        yield self.tokenizer.decode(ids)

    def abort(self) -> None:
        self.generator.abort()

    def free(self) -> None:
        self.generator.free()


class Chat:
    """Writes the summary of a part with a chat model, which is asked for it."""

    def __init__(self, pipe: text_generation.TextGeneration) -> None:
        self.name, self.pipe = pipe.name, pipe

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.pipe.load(on_progress)

    def room(self, most: int | None) -> int:
        return self.pipe.context - (most or LENGTH)

    def size(self, text: str, again: bool) -> int:
        return len(self._prompt(text, again, None))

    def _prompt(self, text: str, again: bool, least: int | None) -> list[int]:
        words = f" Use at least {least * 3 // 4} words." if least else ""
        asked = f"{ASK_AGAIN if again else ASK}{words}\n\n{text}"
        return self.pipe.prompt([{"role": "user", "content": asked}])

    async def write(self, text: str, again: bool, least: int | None, most: int | None) -> AsyncGenerator[str, None]:
        sampling = Sampling(stop_ids=frozenset(self.pipe.tokenizer.eos))
        pieces = self.pipe.text(self.pipe.tokens(self._prompt(text, again, least), sampling, most or LENGTH))
        try:
            async for _, piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    def abort(self) -> None:
        self.pipe.abort()

    def free(self) -> None:
        self.pipe.free()


class Summarization:
    """await pipe("Once upon a time ...", max_length=142) -> [{"summary_text": "..."}]"""

    def __init__(self, writer: EncoderDecoder | Chat) -> None:
        self.name, self.writer = writer.name, writer
        self._aborts = 0

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        await self.writer.load(on_progress)

    async def __call__(
        self, texts: str | list[str], max_length: int | None = None, min_length: int | None = None
    ) -> "list[SummarizationOutput]":
        """Returns the summary of each text, which has min_length to max_length tokens, by default as in the model's
        config. A chat model is asked for min_length, and cut off at max_length. Raises Error("context_exceeded") or
        ("bad_request")."""
        listed = texts if isinstance(texts, list | tuple) else [texts]
        summaries: list[SummarizationOutput] = []
        for stream in [self.stream(text, max_length, min_length) for text in listed]:
            summary = ""
            async for state in stream:
                summary = state["text"]
            summaries.append({"summary_text": summary})
        return summaries

    def stream(
        self, text: str, max_length: int | None = None, min_length: int | None = None
    ) -> "Stream[SummarizationProgress]":
        """Yields {"text": the text so far, "done": parts, "total": parts}: first the summaries of the parts, one below
        the other, and at the end the summary. After abort() the last text is what has been written until then."""
        if not isinstance(text, str) or not text.strip():
            raise Error("bad_request", "There is nothing to summarize: the text is empty.")
        for length in (max_length, min_length):
            if length is not None and (type(length) is not int or length < 0):
                raise Error("bad_request", f"max_length and min_length must be numbers of tokens, got {length!r}.")
        return Stream(self._stream(text, max_length, min_length, self._aborts))

    async def _stream(
        self, text: str, max_length: int | None, min_length: int | None, aborts: int
    ) -> "AsyncGenerator[SummarizationProgress, None]":
        """`aborts` is the count when the request was made: abort() ends all that were made before it."""
        writer, done, again = self.writer, 0, False
        while True:
            size, room = partial(writer.size, again=again), writer.room(max_length)
            if size("") + LEAST > room:
                raise Error(
                    "context_exceeded",
                    "The model's context is too short for such a long summary: ask for a shorter summary.",
                )
            parts = split(text.strip(), size, room)
            written: list[str] = []
            total = done + len(parts) + (len(parts) > 1)
            for part in parts:
                summary, pieces = "", writer.write(part, again, min_length, max_length)
                try:
                    async for piece in pieces:
                        summary += piece
                        yield {"text": "\n".join([*written, summary.strip()]), "done": done, "total": total}
                        if self._aborts != aborts:
                            return
                finally:
                    await pieces.aclose()
                if self._aborts != aborts:
                    return
                written.append(summary.strip())
                done += 1
                yield {"text": "\n".join(written), "done": done, "total": total}
            before, text, again = text, "\n".join(written), True
            if len(parts) == 1 or not text.strip() or writer.size(text, again) >= writer.size(before, again):
                return

    def abort(self) -> None:
        """Ends all summaries so far, each after the token that is being read."""
        self._aborts += 1
        self.writer.abort()

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.writer.free()


def split(text: str, size: Callable[[str], int], room: int) -> list[str]:
    """Cuts the text into parts of about the same length, each of at most `room` tokens as `size` counts them: between
    paragraphs, or else between sentences, or else between words."""
    empty = size("")
    count = -(-(size(text) - empty) // (room - empty))
    if count <= 1:
        return [text]
    cut = border(text, len(text) * (count // 2) // count, len(text) // (4 * count))
    return [part for half in (text[:cut], text[cut:]) if half.strip() for part in split(half.strip(), size, room)]


def border(text: str, at: int, reach: int) -> int:
    """Where to cut: at the end of a paragraph near `at`, or else of a sentence, or else of a word, or else at `at`."""
    for pattern, quarters in BORDERS:
        low, high = max(1, at - quarters * reach), min(len(text) - 1, at + quarters * reach)
        ends = [match.end() for match in re.finditer(pattern, text[low:high])]
        if ends:
            return low + min(ends, key=lambda end: abs(low + end - at))
    return max(1, at)
