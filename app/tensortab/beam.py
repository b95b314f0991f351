"""Beam search with an encoder-decoder: the GPU finds the best continuations, Python keeps the beams.

A decoding step is one replay of one plan for all beams. Only the best candidates are read back. Only each beam's last
token is written to the GPU, and which beams wrote the rows of the cache that it continues (kv.py BeamCache).
"""

import asyncio
import struct
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from . import models
from .device import Device
from .dtype import u32
from .errors import Error
from .formats import Checkpoint, token_ids
from .jit import Program, hardware, jit
from .kv import BeamCache
from .loading import Progress, load
from .tensor import Tensor
from .weights import Weights

SOURCES = (64, 256)  # how many tokens the encoder's plans read; the longest plan has the model's own limit
POSITIONS = 256  # how many tokens may be written, unless the configuration asks for more
NEVER = -1e9  # a score below that of any candidate; transformers' number
BANNED = struct.pack("<f", -1e30)


@dataclass(frozen=True)
class GenerationConfig:
    """The generation settings, with transformers' names and defaults. Lengths include the token that begins a text."""

    decoder_start_token_id: int
    eos_token_id: frozenset[int]
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0
    min_length: int = 0
    max_length: int = 20
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None

    @staticmethod
    async def of(checkpoint: Checkpoint, task: str) -> "GenerationConfig":
        """Reads config.json, generation_config.json, and config.json's part for the task, which wins. One beam is
        greedy."""
        config = checkpoint.config
        given = {**config, **await checkpoint.json("generation_config.json"), **task_params(config, task)}
        names = [field.name for field in fields(GenerationConfig)][2:]
        values = {name: given[name] for name in names if given.get(name) is not None}
        for name, value in values.items():
            kinds = {"early_stopping": (bool, str), "length_penalty": (int, float)}.get(name, (int,))
            if type(value) not in kinds:
                raise Error(
                    "bad_file",
                    f"{name} is {value!r} in the model's configuration, which is impossible: download the file again.",
                )
        start = token_ids(given, "decoder_start_token_id") or token_ids(given, "bos_token_id")
        ends = token_ids(config)
        if not start or not ends:
            raise Error(
                "bad_file", "config.json needs both decoder_start_token_id and eos_token_id: download the file again."
            )
        return GenerationConfig(start[0], frozenset(ends), **values)


def task_params(config: dict[str, Any], task: str) -> dict[str, Any]:
    """The settings that config.json has for one task only. Raises Error("bad_file")."""
    tasks = config.get("task_specific_params") or {}
    params = (tasks.get(task) or {}) if isinstance(tasks, dict) else None
    if not isinstance(params, dict):
        raise Error(
            "bad_file", "config.json: task_specific_params is not an object of objects: download the file again."
        )
    return params


class Beam(NamedTuple):
    score: float  # the sum of log probabilities
    ids: list[int]
    wrote: list[int]  # for each position before the last token, the beam that wrote its keys and values


class BeamSearch:
    """The beams of one text, as in transformers' generate(). One beam is greedy: it stops at the first end token."""

    def __init__(self, config: GenerationConfig) -> None:
        self.config = config
        start = [config.decoder_start_token_id]
        self.running = [Beam(NEVER if n else 0.0, start, []) for n in range(config.num_beams)]
        self.finished: list[Beam] = []
        self.done = False

    @property
    def best(self) -> list[int]:
        """The ids of the best text, including the token that begins it."""
        return (self.finished or self.running)[0].ids

    def forced(self) -> int | None:
        """The token that must come next whatever the model computes, or None."""
        length = len(self.running[0].ids)
        if length == self.config.max_length - 1 and self.config.forced_eos_token_id is not None:
            return self.config.forced_eos_token_id
        return self.config.forced_bos_token_id if length == 1 else None

    def banned(self) -> set[tuple[int, int]]:
        """The pairs (beam, token) that may not come next: end tokens before min_length, and those that repeat an
        n-gram."""
        size, ends = self.config.no_repeat_ngram_size, self.config.eos_token_id
        banned: set[tuple[int, int]] = set()
        for b, beam in enumerate(self.running):
            ids = beam.ids
            if len(ids) < self.config.min_length:
                banned.update((b, token) for token in ends)
            if 0 < size <= len(ids):
                last = ids[len(ids) + 1 - size :]
                starts = range(len(ids) + 1 - size)
                banned.update((b, ids[n + size - 1]) for n in starts if ids[n : n + size - 1] == last)
        return banned

    def advance(self, candidates: list[tuple[float, int, int]]) -> None:
        """Goes on with the best `candidates`: (score, beam, token), the best first, at least twice as many as beams."""
        c, count = self.config, self.config.num_beams
        running, ended = [], []
        for rank, (score, b, token) in enumerate(candidates):
            parent = self.running[b]
            beam = Beam(score, [*parent.ids, token], [*parent.wrote, b])
            written = len(beam.ids) - 1
            if token not in c.eos_token_id and len(beam.ids) < c.max_length:
                running.append(beam)
            elif rank < count:
                ended.append(beam._replace(score=score / written**c.length_penalty))
        self.finished = sorted(self.finished + ended, key=lambda beam: -beam.score)[:count]
        self.done = not running or (len(self.finished) == count and self._enough(running[0].score, written))
        self.running = running[:count]

    def _enough(self, score: float, written: int) -> bool:
        """Whether no beam that goes on from this score can become better than the finished ones."""
        c = self.config
        if c.early_stopping is True or c.num_beams == 1:
            return True
        length = c.max_length - 1 if c.early_stopping == "never" and c.length_penalty > 0 else written
        return score / length**c.length_penalty <= self.finished[-1].score


class BeamGenerator:
    """An encoder-decoder on a device, with its cache. It writes one text at a time; other requests wait."""

    def __init__(
        self, checkpoint: Checkpoint, device: Device, config: GenerationConfig, context: int | None = None
    ) -> None:
        """Declares everything; nothing is read or allocated. context: the most tokens that it reads; the model's own
        limit still applies. Raises Error("out_of_memory") or ("bad_file")."""
        kind = str(checkpoint.config.get("model_type"))
        architecture = models.find(kind)
        if architecture is None or not hasattr(architecture.Model, "read"):
            raise Error("bad_file", f"Models of type {kind!r} are not supported yet: use a BART or a T5 model.")
        self.device = device
        self.weights = Weights(checkpoint, hardware(device.info).max_binding)
        self.model = models.declare(architecture.Model, self.weights)
        self.vocabulary = sum(w.shape[0] for w in self.model.lm_head.weights)
        forced = [id for id in (config.forced_bos_token_id, config.forced_eos_token_id) if id is not None]
        ids = {config.decoder_start_token_id, *config.eos_token_id, *forced}
        self.candidates = max(2, 1 + len(config.eos_token_id)) * config.num_beams  # so that not all are end tokens
        fits = 1 <= config.num_beams <= 32 and self.candidates <= min(128, self.vocabulary)
        if not fits or any(not 0 <= token < self.vocabulary for token in ids):
            raise Error(
                "bad_file",
                "The model's configuration has too many beams, or token ids beyond its vocabulary: use another model.",
            )
        self.source = min(self.model.source, context or self.model.source)  # the most tokens that it reads
        self.positions = min(self.model.cache.positions, max(POSITIONS, config.max_length))
        self.config = replace(config, max_length=min(config.max_length, self.positions))
        self.beams = BeamCache(self.model.cache, config.num_beams, self.positions)
        self.scores = Tensor.of("scores", (config.num_beams, 1))
        self.bans = Tensor.of("bans", (config.num_beams, self.vocabulary))
        self.encode = jit(self.model.encode, device)
        with models.fitting(kind):
            self.step = Program(device, [self._trace()])
        self._aborts = 0
        self._banned: set[tuple[int, int]] = set()
        self._busy = asyncio.Lock()

    def _trace(self) -> Tensor:
        """The best candidates of all beams, u32 [1, 2, candidates]: the bits of their scores, and their places in [B,
        V]."""
        probabilities = self.model.logits(self.model.hidden(self.beams)).softmax()
        scores = probabilities.maximum(1e-37).log() + self.scores + self.bans
        return scores.reshape(1, -1).topk(self.candidates)

    async def load(self, on_progress: Progress) -> None:
        """Loads the weights and compiles the plans (loading.load)."""
        await load(self.weights, self.device, self._compiling(), on_progress)

    def _compiling(self) -> Iterator[Any]:
        yield self.step.load()
        for size in self._sizes():
            yield self._encoder(size)

    async def _encoder(self, size: int) -> None:
        with models.fitting(str(self.weights.checkpoint.config["model_type"])):
            await self.encode.program(Tensor.of("ids", (1, size), u32), Tensor.of("length", (1,), u32))

    def _sizes(self) -> list[int]:
        return [*(size for size in SOURCES if size < self.source), self.source]

    def generate(
        self, ids: list[int], min_length: int | None = None, max_length: int | None = None
    ) -> Coroutine[Any, Any, list[int]]:
        """Returns the ids of the text that the model writes after reading `ids`; after abort() those written until
        then. If only one of the lengths is given, the configuration's other one is changed to fit it.

        Raises Error("context_exceeded") if the model cannot read so many `ids`, or ("bad_request").
        """
        c = self.config
        most = max(c.max_length, min_length or 0) if max_length is None else max_length
        least = min(c.min_length, most) if min_length is None else min_length
        if type(least) is not int or type(most) is not int or not 2 <= most <= self.positions or least > most:
            wanted = f"max_length must be a whole number from 2 to {self.positions}, and min_length at most as large"
            raise Error("bad_request", f"{wanted}, got {most!r} and {least!r}.")
        if len(ids) > self.source:
            raise Error(
                "context_exceeded",
                f"The text has {len(ids):,} tokens, but the model reads at most {self.source:,}: shorten it.",
            )
        if not ids or any(not 0 <= token < self.vocabulary for token in ids):
            raise Error("bad_request", "The text is empty, or has tokens that are not in the model's vocabulary.")
        return self._generate(ids, replace(c, min_length=least, max_length=most), self._aborts)

    async def _generate(self, ids: list[int], config: GenerationConfig, aborts: int) -> list[int]:
        """`aborts` is the count when the request was made: abort() ends all that were made before it."""
        async with self._busy:
            size = next(size for size in self._sizes() if size >= len(ids))
            await self.encode(Tensor([ids + [0] * (size - len(ids))], "u32"), Tensor([len(ids)], "u32"))
            search = BeamSearch(config)
            while not search.done and self._aborts == aborts:
                search.advance(await self._candidates(search, len(ids)))
        return search.best

    async def _candidates(self, search: BeamSearch, source: int) -> list[tuple[float, int, int]]:
        """Brings each beam's last token into the cache, and returns (score, beam, token), the best first."""
        beams, before = search.running, self._banned
        self._banned = search.banned()
        for b, token in before ^ self._banned:
            place = 4 * (b * self.vocabulary + token)
            self.bans.write(self.device, bytes(4) if (b, token) in before else BANNED, place)
        self.scores.write(self.device, struct.pack(f"<{len(beams)}f", *(beam.score for beam in beams)))
        state = self.beams.step([beam.ids[-1] for beam in beams], [beam.wrote for beam in beams], source)
        self.beams.state.write(self.device, state)
        count = self.candidates
        data = bytes(await self.step.replay(1, self.step.outputs[0], 0, 8 * count))
        if (forced := search.forced()) is not None:
            return [(beam.score, b, forced) for b, beam in enumerate(beams)]
        scores, places = struct.unpack(f"<{count}f", data[: 4 * count]), struct.unpack(f"<{count}I", data[4 * count :])
        return [(score, *divmod(place, self.vocabulary)) for score, place in zip(scores, places, strict=True)]

    def abort(self) -> None:
        """Ends all texts so far after the decoding step that is running on the GPU."""
        self._aborts += 1

    def free(self) -> None:
        """Frees everything; the object cannot be used afterwards."""
        self.encode.free()
        self.step.unload()
        self.weights.free()
        for buffer in self.step.named.values():
            buffer.free()
