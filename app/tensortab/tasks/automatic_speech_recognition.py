"""automatic-speech-recognition: Whisper writes what is said in a recording, and when. Long recordings are read window
by window."""

import math
import time
import zlib
from array import array
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from .. import models
from ..audio import EDGE, FAINT, HOP, RATE, SILENT, Recording, loudness
from ..decoder import Decoder
from ..errors import Error
from ..formats import token_ids
from ..generate import Generator, Tokens
from ..inputs import one_of, several
from ..jit import jit
from ..loading import Files, Progress
from ..ops.timestamps import NEVER
from ..sampling import TOP_LOGPROBS, Sampling
from ..stream import Stream
from ..tensor import Tensor
from ..tokenizer import load_tokenizer

if TYPE_CHECKING:
    from ..results import AutomaticSpeechRecognitionOutput, AutomaticSpeechRecognitionProgress

PROMPT = 4  # the most tokens of a prompt
STAMP = 2 * HOP  # samples from one timestamp to the next
PARTIAL_SECONDS = 0.1  # between partial results of a window
QUIET, UNSURE = 0.6, -1.0  # nobody speaks if <|nospeech|> is likelier and the tokens' mean log probability is lower
# A text that repeats itself, so that zlib compresses it by more than the factor REPETITIVE, is written again at the
# next temperature (arXiv:2212.04356, section 4.5).
TEMPERATURES, REPETITIVE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 2.4


@dataclass(eq=False)
class Request:
    """The settings of one transcription. abort() ends all requests that have an older count of `aborts`."""

    timed: bool
    language: str | None  # None until it has been detected
    task: str
    aborts: int


class Window(NamedTuple):
    """The part of a recording that begins at sample `at`."""

    request: Request
    recording: Recording
    at: int


async def declare(files: Files, context: int | None) -> "SpeechRecognition":
    if files.checkpoint.config.get("model_type") != "whisper":
        raise Error("bad_file", f"{files.name} is not a speech recognition model: use a Whisper model.")
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
        self._heard: tuple[Request, int] | None = None  # the request and the beginning of the window encoded last
        self._aborts = 0

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        decoder = self.generator.decoder
        self._use(await decoder.load(on_progress, lambda: load_tokenizer(self.checkpoint)))
        with models.fitting("whisper"):
            await self.encode.program(Tensor.of("samples", (EDGE + self.model.samples + EDGE,)))

    def _use(self, tokenizer: Any) -> None:
        """Finds the ids of the special tokens, and makes the masks of the tokens that may follow."""
        self.tokenizer, config = tokenizer, self.config
        self.end = self._id("endoftext")  # the ids of text are below it
        self.start = self._id("startoftranscript")
        self.first = self._id("notimestamps") + 1  # <|0.00|>
        multilingual = config.get("is_multilingual", self.vocabulary > 51864)
        ids = range(self.start + 1, self._id("translate")) if multilingual else range(0)
        self.languages = {tokenizer.token(id)[2:-2]: id for id in ids}
        # tokens that may not come first, and tokens that may not come later
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

    @overload
    async def __call__(
        self,
        audio: list[dict[str, Any]] | list[str] | list[bytes],
        return_timestamps: bool = ...,
        language: str | None = ...,
        task: str = ...,
    ) -> "list[AutomaticSpeechRecognitionOutput]": ...
    @overload
    async def __call__(
        self, audio: Any, return_timestamps: bool = ..., language: str | None = ..., task: str = ...
    ) -> "AutomaticSpeechRecognitionOutput": ...
    async def __call__(
        self, audio: Any, return_timestamps: bool = False, language: str | None = None, task: str = "transcribe"
    ) -> Any:
        """Transcribes a recording, or each of a list of recordings, for which it returns a list of results.

        audio: anything that audio.Recording.of accepts. language: a code such as "fr", by default the language that is
        detected. task: "transcribe" or "translate" (into English). With return_timestamps the result's chunks are
        [{"timestamp": (start, end), "text"}], in seconds. Raises Error("bad_request").
        """
        request = self._request(return_timestamps, language, task)

        async def write(one: Any) -> "AutomaticSpeechRecognitionOutput":
            result: Any = {}
            async with aclosing(self._stream(one, replace(request))) as partials:
                async for partial in partials:
                    result = partial
            return {"text": result["text"], "chunks": result["chunks"], "language": result["language"]}

        return [await write(one) for one in audio] if several(audio, 1) else await write(audio)

    def stream(
        self, audio: Any, return_timestamps: bool = False, language: str | None = None, task: str = "transcribe"
    ) -> "Stream[AutomaticSpeechRecognitionProgress]":
        """Yields the result so far of one recording, with the seconds that are "done" of the "total". The last one also
        has the "language"."""
        return Stream(self._stream(audio, self._request(return_timestamps, language, task)))

    def _request(self, timed: bool | None, language: str | None, task: str) -> Request:
        if not isinstance(timed, bool | None):
            raise Error("bad_request", f"return_timestamps must be True or False, got {timed!r:.60}.")
        one_of("task", task, ("transcribe", "translate"))
        if language is not None:
            one_of("language", language, self.languages or ["en"])
        if task == "translate" and not self.languages:
            raise Error("bad_request", f"{self.name} only transcribes English: load a multilingual Whisper model.")
        return Request(bool(timed), language if self.languages else "en", task, self._aborts)

    async def _stream(
        self, audio: Any, request: Request
    ) -> "AsyncGenerator[AutomaticSpeechRecognitionProgress, None]":
        recording = await Recording.of(audio, self.generator.device)
        at, total = 0, len(recording)
        chunks: list[Any] = []

        def result(new: list[Any]) -> "AutomaticSpeechRecognitionProgress":
            text = "".join(chunk["text"] for chunk in (*chunks, *new))
            timed = chunks + new if request.timed else []
            return {"text": text, "chunks": timed, "done": at / RATE, "total": total / RATE}

        while total - at >= HOP and self._aborts == request.aborts:
            new: list[Any] = []
            settled = 0
            async with aclosing(self._written(Window(request, recording, at))) as written:
                async for part in written:
                    new, settled = part
                    yield result(new)
            chunks += new
            if self._aborts == request.aborts:
                at = at + settled if total - at - settled >= HOP else total
                yield result([])
        yield {**result([]), "language": request.language or "en"}

    async def _written(self, window: Window) -> AsyncGenerator[tuple[list[dict[str, Any]], int], None]:
        """Yields (chunks, the number of samples that they settle) of a window, from time to time and at its end."""
        request, recording, at = window
        length = min(self.model.samples, len(recording) - at)
        level = loudness(recording.part(at, length))
        if level < SILENT or (level < FAINT and await self._unspoken(window)):
            yield [], length
            return
        stamped = request.timed or len(recording) > self.model.samples
        request.language = request.language or await self._language(window)
        prompt = [self.start]
        if self.languages:
            prompt += [self.languages[request.language], self._id(request.task)]
        shown = time.perf_counter()
        async with aclosing(self._attempts(window, prompt, stamped)) as attempts:
            async for ids, done in attempts:
                if done or time.perf_counter() - shown > PARTIAL_SECONDS:
                    yield self._chunks(ids, at, length, stamped)
                    shown = time.perf_counter()

    async def _hear(self, window: Window) -> None:
        """Encodes a window, unless it is the one that was encoded last."""
        heard = window.request, window.at
        if self._heard == heard:
            return
        self._heard = None
        samples = window.recording.window(window.at, self.model.samples)
        await self.encode(Tensor.of("samples", (EDGE + self.model.samples + EDGE,), data=samples))
        self.generator.forget()  # the decoder's cache belongs to the window before
        self._heard = heard

    def _write(
        self, window: Window, prompt: list[int], mask: str, begin: int, first: int, sampling: Sampling,
        limit: int | None = None, top_logprobs: int = -1,
    ) -> Tokens:  # fmt: skip
        """The tokens that the decoder writes for a window after a prompt. A mask says which tokens may follow, and so
        do, from position `begin` on, Whisper's rules of timestamps (ops/timestamps.py); `first` is the first
        timestamp."""

        async def prepare() -> None:
            await self._hear(window)
            self.model.masks.write(self.generator.device, self.masks[mask])
            self.model.marks.write(self.generator.device, array("I", [begin, first, self.end, 0]).tobytes())

        return self.generator.generate(prompt, sampling, limit, top_logprobs, prepare, window.request)

    async def _attempts(
        self, window: Window, prompt: list[int], stamped: bool
    ) -> AsyncGenerator[tuple[list[int], bool], None]:
        """Yields the tokens so far, and whether they are complete. A text that repeats itself is written again at the
        next temperature."""
        aborts = window.request.aborts
        for temperature in TEMPERATURES:
            ids: list[int] = []
            async with aclosing(self._tokens(window, prompt, stamped, temperature, aborts)) as tokens:
                async for id in tokens:
                    ids.append(id)
                    yield ids, False
            if self._aborts != aborts or not repetitive(self._text(ids)):
                break
        yield ids, True

    def _chunks(self, ids: list[int], at: int, length: int, stamped: bool) -> tuple[list[dict[str, Any]], int]:
        """Makes chunks of the tokens of the window that begins at sample `at`, and says how many of its samples they
        settle. The model sees silence behind the end of the sound and may name times in it: they become that end."""
        parts, settled = cut(ids, self.first, length) if stamped else ([(0, length, ids)], length)
        chunks = []
        for start, stop, part in parts:
            text = self._text(part)
            if text.strip():
                span = tuple((at + min(sample, length)) / RATE for sample in (start, stop))
                chunks.append({"timestamp": span, "text": text})
        return chunks, min(settled, length)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode([id for id in ids if id < self.end])

    async def _tokens(
        self, window: Window, prompt: list[int], stamped: bool, temperature: float, aborts: int
    ) -> AsyncGenerator[int, None]:
        """Yields the tokens of a window, and none where nobody speaks."""
        quiet = await self._unspoken(window)
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

    async def _unspoken(self, window: Window) -> bool:
        """Whether the model thinks that nobody speaks in a window."""
        likely = await self._likely(window, "all")
        return likely.get(self.first - 2, -math.inf) > math.log(QUIET)  # <|nospeech|>

    async def _language(self, window: Window) -> str:
        """The language that is spoken in a window."""
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
            raise Error(
                "bad_file", f"The model's tokenizer has no token <|{name}|>: use all files of a Whisper model's folder."
            )
        return ids[0]

    def abort(self) -> None:
        """Ends all transcriptions so far, each after the token that is being read."""
        self._aborts += 1
        self.generator.abort()

    def free(self) -> None:
        """Frees the GPU's memory."""
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
