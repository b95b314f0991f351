"""summarization: a long text in short, by an encoder-decoder (BART, T5) or by a chat model that is asked for it.

A text that is more than the model reads is cut into parts between paragraphs or sentences; their summaries are a text,
too, which is summarised again until it is one part.
"""

import re
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..beam import BeamGenerator, GenerationConfig, task_params
from ..device import choose
from ..errors import Error
from ..formats import Checkpoint, open_checkpoint
from ..generate import Sampling
from ..sources.model import find
from ..tokenizer import load_tokenizer
from . import Progress, text_generation

if TYPE_CHECKING:
    from ..results import SummarizationOutput, SummarizationProgress

LENGTH = 256  # tokens a chat model's summary has at most
LEAST = 16  # tokens of text that a part must have room for
ASK = "Summarize this text in a few sentences. Keep its names, numbers and conclusions. Write only the summary."
ASK_AGAIN = (
    "These are summaries of the parts of one text, in their order. Make one summary of them in a few sentences. "
    "Keep the names, numbers and conclusions. Write only the summary."
)
# the ends of paragraphs, sentences and words, and how far off they may be, in quarters of a part
BORDERS = ((r"\n\s*\n", 1), (r"[.!?…][\"'”’)\]]*\s+|[。！？]", 1), (r"\s+", 4))


async def create(model: Any, device: Any, context: int | None, on_progress: Progress) -> "Summarization":
    if model is None:
        return Summarization(Chat(await text_generation.create(None, device, context, on_progress)))
    if isinstance(model, text_generation.TextGeneration):  # lent, as by the page's chat, which frees it
        return Summarization(Chat(model))
    device = device or await choose()
    source = await find(model, lambda done, total: on_progress("download", done, total))
    checkpoint = await open_checkpoint(source)
    if not checkpoint.config.get("is_encoder_decoder"):
        return Summarization(Chat(await text_generation.create(source, device, context, on_progress)))
    config = await GenerationConfig.of(checkpoint, "summarization")
    generator = BeamGenerator(checkpoint, device, config, context)
    try:
        await generator.load(on_progress)
        return Summarization(EncoderDecoder(str(getattr(source, "name", model)), checkpoint, generator))
    except BaseException:  # stopped by the user, too
        generator.free()
        raise


class EncoderDecoder:
    """Writes what the model does after reading a part."""

    def __init__(self, name: str, checkpoint: Checkpoint, generator: BeamGenerator) -> None:
        self.name, self.generator, self.tokenizer = name, generator, load_tokenizer(checkpoint)
        self.prefix = str(task_params(checkpoint.config, "summarization").get("prefix") or "")

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
    """Writes what a chat model answers when it is asked for a summary."""

    def __init__(self, pipe: text_generation.TextGeneration) -> None:
        self.name, self.pipe = pipe.name, pipe

    def room(self, most: int | None) -> int:
        return self.pipe.generator.context - (most or LENGTH)

    def size(self, text: str, again: bool) -> int:
        return len(self._prompt(text, again, None))

    def _prompt(self, text: str, again: bool, least: int | None) -> list[int]:
        words = f" Use at least {least * 3 // 4} words." if least else ""
        asked = f"{ASK_AGAIN if again else ASK}{words}\n\n{text}"
        return self.pipe.prompt([{"role": "user", "content": asked}])

    async def write(self, text: str, again: bool, least: int | None, most: int | None) -> AsyncGenerator[str, None]:
        sampling = Sampling(stop_ids=frozenset(self.pipe.tokenizer.eos))
        tokens = self.pipe.stream(self._prompt(text, again, least), sampling, most or LENGTH)
        try:
            async for _, piece in tokens:
                yield piece
        finally:
            await tokens.aclose()

    def abort(self) -> None:
        self.pipe.abort()

    def free(self) -> None:
        self.pipe.free()


class Summarization:
    """await pipe("Once upon a time ...", max_length=142) -> [{"summary_text": "..."}]"""

    def __init__(self, writer: EncoderDecoder | Chat) -> None:
        self.name, self.writer = writer.name, writer
        self.aborts = 0

    async def __call__(
        self, text: str, max_length: int | None = None, min_length: int | None = None
    ) -> "list[SummarizationOutput]":
        """A summary of min_length to max_length tokens, by default as the model's configuration says; a chat model is
        asked for the shorter, and cut off at the longer one. Raises Error("context_exceeded") or ("bad_request")."""
        summary = ""
        async for state in self.stream(text, max_length, min_length):
            summary = state["text"]
        return [{"summary_text": summary}]

    async def stream(
        self, text: str, max_length: int | None = None, min_length: int | None = None
    ) -> "AsyncGenerator[SummarizationProgress, None]":
        """{"text" so far, "done": parts, "total": parts}: first the summaries of parts, one below the other, and in the
        end the summary. After abort() it ends with what there is."""
        if not isinstance(text, str) or not text.strip():
            raise Error("bad_request", "There is nothing to summarize: give a text.")
        for length in (max_length, min_length):
            if length is not None and (type(length) is not int or length < 0):
                raise Error("bad_request", f"max_length and min_length are numbers of tokens, not {length!r}.")
        aborts, writer, done, again = self.aborts, self.writer, 0, False
        while True:
            size, room = partial(writer.size, again=again), writer.room(max_length)
            if size("") + LEAST > room:
                raise Error("context_exceeded", "The model reads too few tokens for that: ask for a shorter summary.")
            parts = split(text.strip(), size, room)
            written: list[str] = []
            total = done + len(parts) + (len(parts) > 1)
            for part in parts:
                summary, pieces = "", writer.write(part, again, min_length, max_length)
                try:
                    async for piece in pieces:
                        summary += piece
                        yield {"text": "\n".join([*written, summary.strip()]), "done": done, "total": total}
                        if self.aborts != aborts:
                            return
                finally:
                    await pieces.aclose()
                if self.aborts != aborts:
                    return
                written.append(summary.strip())
                done += 1
                yield {"text": "\n".join(written), "done": done, "total": total}
            before, text, again = text, "\n".join(written), True
            if len(parts) == 1 or not text.strip() or writer.size(text, again) >= writer.size(before, again):
                return

    def abort(self) -> None:
        """Ends what is being written after the token being read."""
        self.aborts += 1
        self.writer.abort()

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.writer.free()


def split(text: str, size: Callable[[str], int], room: int) -> list[str]:
    """The text in parts of at most `room` by `size`, and of about the same length: cut between paragraphs, or else
    sentences, or else words."""
    empty = size("")
    count = -(-(size(text) - empty) // (room - empty))
    if count <= 1:
        return [text]
    cut = border(text, len(text) * (count // 2) // count, len(text) // (4 * count))
    return [part for half in (text[:cut], text[cut:]) if half.strip() for part in split(half.strip(), size, room)]


def border(text: str, at: int, reach: int) -> int:
    """Where to cut: the end of a paragraph near `at`, or else of a sentence, or else of a word, or there."""
    for pattern, quarters in BORDERS:
        low, high = max(1, at - quarters * reach), min(len(text) - 1, at + quarters * reach)
        ends = [match.end() for match in re.finditer(pattern, text[low:high])]
        if ends:
            return low + min(ends, key=lambda end: abs(low + end - at))
    return max(1, at)
