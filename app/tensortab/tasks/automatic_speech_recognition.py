"""automatic-speech-recognition: what is said in a recording, and when, by Whisper. Long ones go window by window."""

import math
import time
import zlib
from array import array
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import models
from ..audio import EDGE, HOP, RATE, Recording
from ..decoder import Decoder
from ..errors import Error
from ..formats import token_ids
from ..generate import Generator, Tokens
from ..jit import jit
from ..loading import Files, Progress
from ..ops.timestamps import NEVER
from ..sampling import TOP_LOGPROBS, Sampling
from ..stream import Stream
from ..tensor import Tensor
from ..tokenizer import load_tokenizer

if TYPE_CHECKING:
    from ..results import AutomaticSpeechRecognitionOutput

PROMPT = 4  # tokens of a prompt at most
STAMP = 2 * HOP  # samples from one timestamp to the next
PARTIAL_SECONDS = 0.1  # between partial results of a window
QUIET, UNSURE = 0.6, -1.0  # nobody speaks if <|nospeech|> is likelier and the tokens' mean log probability is lower
# A text that says the same again and again, which zlib makes so many times shorter, is written anew at the next
# temperature (arXiv:2212.04356, section 4.5).
TEMPERATURES, REPETITIVE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 2.4


class Window(NamedTuple):
    """The part of a recording that begins at sample `at`; `request` stands for who asked for it."""

    request: object
    recording: Recording
    at: int


async def declare(files: Files, context: int | None) -> "SpeechRecognition":
    if files.checkpoint.config.get("model_type") != "whisper":
        raise Error("bad_file", f"{files.name} does not understand speech: use a Whisper model.")
    generation = await files.checkpoint.json("generation_config.json")
    decoder = Decoder(files.checkpoint, files.device, context, prompt=PROMPT)
    return SpeechRecognition(files, files.checkpoint.config | generation, Generator(decoder))


class SpeechRecognition:
    """await pipe(samples) -> {"text": " Hello.", "chunks": [], "language": "en"}"""

    def __init__(self, files: Files, config: dict[str, Any], generator: Generator) -> None:
        self.name, self.checkpoint, self.config, self.generator = files.name, files.checkpoint, config, generator
        self.model = generator.decoder.model
        self.encode = jit(self.model.encode, files.device)
        self.vocabulary = self.model.masks.shape[-1]
        self._heard: tuple[object, int] | None = None  # the request and the beginning of the window encoded last
        self._aborts = 0

    async def load(self, on_progress: Progress) -> None:
        """Puts the model on the device. pipeline() calls it, and frees what there is if it fails."""
        decoder = self.generator.decoder
        self._use(await decoder.load(on_progress, lambda: load_tokenizer(self.checkpoint)))
        with models.fitting("whisper"):
            await self.encode.program(Tensor.of("samples", (EDGE + self.model.samples + EDGE,)))

    def _use(self, tokenizer: Any) -> None:
        """Finds the ids of what the model writes beside words."""
        self.tokenizer, config = tokenizer, self.config
        self.end = self._id("endoftext")  # text is below
        self.start = self._id("startoftranscript")
        self.first = self._id("notimestamps") + 1  # <|0.00|>
        multilingual = config.get("is_multilingual", self.vocabulary > 51864)
        ids = range(self.start + 1, self._id("translate")) if multilingual else range(0)
        self.languages = {tokenizer.token(id)[2:-2]: id for id in ids}
        # tokens that may not come first, and later
        never = token_ids(config, "suppress_tokens")
        at_first = never + token_ids(config, "begin_suppress_tokens")
        latest = self.first + (token_ids(config, "max_initial_timestamp_index") or [50])[0]
        no_stamp = [*range(self.first), *range(latest + 1, self.vocabulary)]
        self.masks = {
            "all": self._mask([], []),
            "languages": self._mask([id for id in range(self.vocabulary) if id not in ids], []),
            "plain": self._mask(at_first, never),
            "stamped": self._mask([*at_first, *no_stamp], [*never, self.first - 1]),
        }

    def _mask(self, at_first: list[int], later: list[int]) -> bytes:
        mask = array("f", bytes(8 * self.vocabulary))
        for row, ids in enumerate((at_first, later)):
            for id in filter(self.vocabulary.__gt__, ids):
                mask[row * self.vocabulary + id] = NEVER
        return mask.tobytes()

    async def __call__(
        self, audio: Any, return_timestamps: bool = False, language: str | None = None, task: str = "transcribe"
    ) -> "AutomaticSpeechRecognitionOutput":
        """audio: mono f32 samples at 16 kHz (audio.Recording). language: a code like "fr", by default what is heard;
        task: "transcribe" or "translate" (into English). chunks: [{"timestamp": (start, end), "text"}] in seconds where
        return_timestamps asks for them. Raises Error("bad_request").
        """
        result: dict[str, Any] = {}
        async for partial in self.stream(audio, return_timestamps, language, task):
            result = partial
        return {"text": result["text"], "chunks": result["chunks"], "language": result["language"]}

    def stream(
        self, audio: Any, return_timestamps: bool = False, language: str | None = None, task: str = "transcribe"
    ) -> Stream[dict[str, Any]]:
        """The result so far, again and again, with the seconds that are "done" of the "total"; the last one has the
        "language", too."""
        if task not in ("transcribe", "translate"):
            raise Error("bad_request", f"The task is {task!r}: give transcribe or translate.")
        if not self.languages and (task == "translate" or language not in (None, "en")):
            raise Error("bad_request", f"{self.name} only transcribes English: take a multilingual Whisper model.")
        if self.languages and language is not None and language not in self.languages:
            raise Error("bad_request", f"The language is {language!r}: give one of {', '.join(self.languages)}.")
        return Stream(self._stream(Recording(audio), return_timestamps, language, task, self._aborts))

    async def _stream(
        self, recording: Recording, timed: bool, language: str | None, task: str, aborts: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """`aborts` is the count when the request was made: abort() ends all that were made before it."""
        at, total, shown, request = 0, len(recording), time.perf_counter(), object()
        chunks: list[dict[str, Any]] = []

        def result(new: list[dict[str, Any]], done: int) -> dict[str, Any]:
            text = "".join(chunk["text"] for chunk in (*chunks, *new))
            return {"text": text, "chunks": chunks + new if timed else [], "done": done / RATE, "total": total / RATE}

        while total - at >= HOP and self._aborts == aborts:
            window = Window(request, recording, at)
            if language is None:
                language = await self._language(window) if self.languages else "en"
            prompt = [self.start, *([self.languages[language], self._id(task)] if self.languages else [])]
            length = min(self.model.samples, total - at)
            stamped = timed or total > self.model.samples
            for temperature in TEMPERATURES:
                ids: list[int] = []
                async with aclosing(self._tokens(window, prompt, stamped, temperature, aborts)) as tokens:
                    async for id in tokens:
                        ids.append(id)
                        if time.perf_counter() - shown > PARTIAL_SECONDS:
                            yield result(self._chunks(ids, at, length, stamped)[0], at)
                            shown = time.perf_counter()
                new, settled = self._chunks(ids, at, length, stamped)
                if not repetitive("".join(chunk["text"] for chunk in new)) or self._aborts != aborts:
                    break
            chunks += new
            if self._aborts == aborts:
                at = at + settled if total - at - settled >= HOP else total
                yield result([], at)
        yield {**result([], at), "language": language or "en"}

    async def _hear(self, window: Window) -> None:
        """Encodes a window, unless it was encoded last."""
        heard = window.request, window.at
        if self._heard == heard:
            return
        self._heard = None
        samples = window.recording.window(window.at, self.model.samples)
        await self.encode(Tensor.of("samples", (EDGE + self.model.samples + EDGE,), data=samples))
        self.generator.forget()  # what the decoder has of its text is about other sound
        self._heard = heard

    def _write(
        self, window: Window, prompt: list[int], mask: str, begin: int, first: int, sampling: Sampling,
        limit: int | None = None, top_logprobs: int = -1,
    ) -> Tokens:  # fmt: skip
        """What the decoder writes about a window after a prompt. Which tokens may follow say a mask and, from position
        `begin` on, Whisper's rules of timestamps (ops/timestamps.py), of which `first` is the first."""

        async def prepare() -> None:
            await self._hear(window)
            self.model.masks.write(self.generator.device, self.masks[mask])
            self.model.marks.write(self.generator.device, array("I", [begin, first, self.end, 0]).tobytes())

        return self.generator.generate(prompt, sampling, limit, top_logprobs, prepare, window.request)

    def _chunks(self, ids: list[int], at: int, length: int, stamped: bool) -> tuple[list[dict[str, Any]], int]:
        """Tokens of the window that begins at sample `at` as chunks, and how many of its samples they settle."""
        parts, settled = cut(ids, self.first, length) if stamped else ([(0, length, ids)], length)
        chunks = []
        for start, stop, part in parts:
            text = self.tokenizer.decode([id for id in part if id < self.end])
            if text.strip():
                chunks.append({"timestamp": ((at + start) / RATE, (at + stop) / RATE), "text": text})
        return chunks, settled

    async def _tokens(
        self, window: Window, prompt: list[int], stamped: bool, temperature: float, aborts: int
    ) -> AsyncGenerator[int, None]:
        """What is said in a window; nothing where nobody speaks."""
        likely = await self._likely(window, "all")
        quiet = likely.get(self.first - 2, -math.inf) > math.log(QUIET)  # <|nospeech|>
        if not stamped:
            prompt = [*prompt, self.first - 1]
        mask, first = ("stamped", self.first) if stamped else ("plain", self.vocabulary)
        if self._aborts != aborts:
            return
        sampling = Sampling(temperature, seed=0, stop_ids=frozenset([self.end]))
        ids, sure = [], 0.0
        async with self._write(window, prompt, mask, len(prompt), first, sampling, None, 0 if quiet else -1) as tokens:
            async for token in tokens:
                ids.append(token.id)
                if quiet:
                    sure += token.logprobs[0][1]
                elif token.id != self.end:
                    yield token.id
        if quiet and sure >= UNSURE * len(ids):
            for id in ids:
                if id != self.end:
                    yield id

    async def _language(self, window: Window) -> str:
        """What is spoken in a window."""
        likely = await self._likely(window, "languages")
        return max(self.languages, key=lambda language: likely.get(self.languages[language], -math.inf))

    async def _likely(self, window: Window, mask: str) -> dict[int, float]:
        """The likeliest tokens at the beginning of a window's text, and their log probabilities."""
        likely: dict[int, float] = {}
        async for token in self._write(window, [self.start], mask, 1, self.vocabulary, Sampling(), 1, TOP_LOGPROBS):
            likely = dict(token.logprobs)
        return likely

    def _id(self, name: str) -> int:
        """The id of a special token."""
        ids = self.tokenizer.encode(f"<|{name}|>", add_special_tokens=False)
        if len(ids) != 1:
            raise Error("bad_file", f"The model's tokenizer has no <|{name}|>: take all files of a Whisper model.")
        return ids[0]

    def abort(self) -> None:
        """Ends what is being transcribed after the token being read."""
        self._aborts += 1
        self.generator.abort()

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.encode.free()
        self.model.free()
        self.generator.free()


def repetitive(text: str) -> bool:
    data = text.encode()
    return len(data) > REPETITIVE * len(zlib.compress(data))


def cut(ids: list[int], first: int, length: int) -> tuple[list[tuple[int, int, list[int]]], int]:
    """The tokens of a window in parts (first sample, last sample, tokens), and how many of its `length` samples are
    settled by them: as many as the last pair of timestamps says if text after it is unfinished."""
    borders = [n for n in range(1, len(ids)) if ids[n - 1] >= first <= ids[n]]
    closed = len(ids) > 1 and ids[-2] < first <= ids[-1]
    if not borders:
        times = [id - first for id in ids if id > first]
        return [(0, times[-1] * STAMP if times else length, ids)], length
    if closed:
        borders.append(len(ids))
    parts = [ids[a:b] for a, b in pairwise([0, *borders])]
    timed = [((part[0] - first) * STAMP, (part[-1] - first) * STAMP, part) for part in parts]
    return timed, length if closed else timed[-1][1]
