"""Decoding a causal language model: everything of a step stays on the GPU, tokens are read late."""

import asyncio
import random
import struct
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from . import models
from .device import Device
from .dtype import u32
from .errors import Error
from .formats import Checkpoint
from .jit import Program, hardware
from .kv import STATE_WORDS, KVCache
from .sampling import TOP_LOGPROBS
from .tensor import Tensor
from .weights import Weights

# tokens a prefill plan: 32 are a tile of matmul_matrix_small
CHUNKS = {"software": (8, 32), "default": (16, 128, 512), "subgroups": (16, 128, 512), "matrix": (32, 128, 512)}
CONTEXT = 4096  # tokens, unless the model's own is shorter
# from this position on attention is split over the context: measured on an H100, bench/notes.md
LONG = {"software": 128, "default": 128, "subgroups": 512}
STOPS = 16  # ids that end a text on the GPU
SUBMIT_SECONDS = 0.008  # of work submitted at once: the granularity of stopping


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p."""

    temperature: float = 0.0  # 0: the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_ids: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "temperature": (0, 100), "top_p": (0, 1), "top_k": (0, 1 << 30), "min_p": (0, 1),
            "repetition_penalty": (0.01, 100),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) not in ((int,) if name == "top_k" else (int, float)) or not low <= value <= high:
                whole = "whole number" if name == "top_k" else "number"
                raise Error("bad_request", f"{name} is {value!r}: give a {whole} from {low} to {high}")
        if self.seed is not None and type(self.seed) is not int:
            raise Error("bad_request", f"seed is {self.seed!r}: give a whole number")


@dataclass
class Token:
    """A generated token. `logprobs` [(id, log probability)]: the token itself, then the likeliest ones."""

    id: int
    logprobs: list[tuple[int, float]] = field(default_factory=list)


class Generator:
    """A causal language model on a device, with its cache. One text at a time; others wait."""

    def __init__(self, checkpoint: Checkpoint, device: Device, context: int | None = None) -> None:
        """Declares everything; nothing is read or allocated. Raises Error("out_of_memory") or ("bad_file")."""
        kind = str(checkpoint.config.get("model_type"))
        architecture = models.find(kind)
        if architecture is None:
            raise Error("bad_file", f"Models of type {kind!r} are not supported yet: take another one.")
        self.device = device
        self.hw = hardware(device.info)
        self.weights = Weights(checkpoint, self.hw.max_binding)
        self.model = models.declare(architecture.Model, self.weights)
        shape = getattr(self.model, "cache", None)
        if shape is None:
            raise Error("bad_file", f"Models of type {kind!r} write no text: take a language model.")
        self.chunks = CHUNKS["matrix" if self.hw.matrix else self.hw.tier]
        self.long = LONG[self.hw.tier]
        if context is not None and context < 32:
            raise Error("bad_request", f"context is {context}: give at least 32 tokens.")
        longest = self.hw.max_binding // (shape.kv_heads * shape.head_dim * 2) // 64 * 64 - self.chunks[-1]
        self.context = min(context or CONTEXT, shape.positions, longest)
        if self.context < 32:
            raise Error("out_of_memory", "This GPU's buffers are too small for this model: use a smaller one.")
        room = -(-(self.context + self.chunks[-1]) // 64) * 64  # a padded chunk may reach beyond the context
        self.kv = KVCache(shape, room)
        self.rope = Tensor.of("rope", (64 + room // 64, len(self.model.rotary.frequencies), 2))
        self.vocabulary = sum(w.shape[0] for w in self.model.embed_tokens.weights)
        outputs = sum(w.shape[0] for w in self.model.lm_head.weights)
        self.tokens = Tensor.of("tokens", (room + 1,), u32)
        self.state = Tensor.of("state", (STATE_WORDS,), u32)
        self.settings = Tensor.of("settings", (8 + STOPS,), u32)
        self.penalties = Tensor.of("penalties", (outputs,))
        self.logprobs = Tensor.of("logprobs", (room + 1, 1 + TOP_LOGPROBS, 2), u32)
        self.cached: list[int] = []  # tokens whose keys and values are in the cache
        self.step_seconds = 0.0  # measured time of one decoding step
        self._penalised = True
        self._programs: dict[str, Program] = {}
        self._busy = asyncio.Lock()
        self.aborts = 0
        self.reused = 0  # tokens of the last prompt that were in the cache already

    @property
    def nbytes(self) -> int:
        """Bytes on the GPU, without what a plan needs for itself."""
        return self.weights.nbytes + self.kv.nbytes

    async def load(
        self,
        on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
        meanwhile: Callable[[], Any] = lambda: None,
    ) -> Any:
        """Streams the weights to the GPU while the plans compile. Stages: "load" (bytes), "compile" (plans).

        Every plan is made, and checked against the adapter's limits, before a weight is read. Gives the result of
        `meanwhile`, which is called once there is something to wait for.
        """
        await self.declare()
        names = ["decode", "decode_long", *map(str, self.chunks)]

        async def stream() -> None:
            await self.weights.load(self.device, lambda done, total: on_progress("load", done, total))
            on_progress("compile", 0, len(names))

        tasks: list[asyncio.Task] = []
        try:
            for name in names:
                self._plan(name)
                tasks.append(asyncio.create_task(self._program(name)))
                await asyncio.sleep(0)  # its kernels compile while the next plan is made
            tasks.append(asyncio.create_task(stream()))
            for _ in range(2):  # until the first weights are being read
                await asyncio.sleep(0)
            result = meanwhile()
            await asyncio.gather(*tasks)
        finally:  # the first that fails, or a stop, ends the others before anything is freed
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        on_progress("compile", len(names), len(names))
        return result

    async def declare(self) -> None:
        """What plans need beside weights: the table of rotations."""
        self._write(self.rope, 0, await self.model.rotary.table(self.context, self.kv.context))

    def _plan(self, name: str) -> Program:
        """ "decode", "logprobs" (decode that keeps them), those with "_long" (from position self.long on), or a number
        of tokens to prefill."""
        if name not in self._programs:
            with models.fitting(str(self.weights.checkpoint.config["model_type"])):
                self._programs[name] = Program(self.device, self._trace(name))
        return self._programs[name]

    async def _program(self, name: str) -> Program:
        """The plan, compiled."""
        program = self._plan(name)
        return program if program.handle else await program.load()

    async def decoding(self, position: int) -> Program:
        """The plan of one decoding step at a position, compiled."""
        return await self._program("decode" if position < self.long else "decode_long")

    def _trace(self, name: str) -> list[Tensor]:
        kind, self.kv.long = name.removesuffix("_long"), name.endswith("_long")
        rows = int(name) if name.isdigit() else 1
        hidden = self.model.hidden(self.tokens, self.state, self.rope, self.kv, rows)
        updates = self.kv.traced()
        if rows > 1:
            return updates[-1:]  # the last layer's own output is not needed
        logits = self.model.logits(hidden).penalise(self.penalties.reshape(1, -1))
        if rules := getattr(self.model, "rules", None):
            logits = rules(logits, self.tokens, self.state)
        more = [self.logprobs] if kind == "logprobs" else []
        return [Tensor.apply("sample", logits, self.penalties, self.tokens, self.state, self.settings, *more)]

    def generate(
        self, prompt: list[int], sampling: Sampling = Sampling(), max_tokens: int | None = None, top_logprobs: int = -1
    ) -> AsyncGenerator[Token, None]:
        """Gives the tokens that follow `prompt`, the one that stops included. Closing the iterator stops the GPU.

        Raises Error("context_exceeded") if the prompt leaves no room in the context, or ("bad_request").
        """
        if not prompt:
            raise Error("bad_request", "The prompt is empty: give at least one token.")
        if any(not 0 <= t < self.vocabulary for t in prompt):
            raise Error("bad_request", "The prompt has tokens that are not in the model's vocabulary.")
        if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
            raise Error("bad_request", f"The number of tokens to generate is {max_tokens!r}: give 1 or more.")
        room = self.context - len(prompt)
        if room < 1:
            raise Error(
                "context_exceeded",
                f"The conversation has {len(prompt):,} tokens, the model's context is {self.context:,}: shorten it, "
                "or start a new one.",
            )
        limit = room if max_tokens is None else min(room, max_tokens)
        return self._generate(prompt, sampling, limit, top_logprobs, self.aborts)

    async def _generate(
        self, prompt: list[int], sampling: Sampling, limit: int, top_logprobs: int, aborts: int
    ) -> AsyncGenerator[Token, None]:
        """`aborts` is the count when the request was made: abort() ends all that were made before it."""

        def aborted() -> bool:
            return self.aborts != aborts

        async with self._busy:
            last_chunk = await self._prefill(prompt, aborted)
            self._write_settings(prompt, sampling, len(prompt) + limit)
            tokens = self._decode(prompt[-1], len(prompt), limit, sampling.stop_ids, top_logprobs, aborted)
            try:
                async for token in tokens:
                    yield token
            finally:
                await tokens.aclose()
                if last_chunk is not None:
                    await last_chunk

    async def _prefill(self, prompt: list[int], aborted: Callable[[], bool]) -> Awaitable[bytes] | None:
        """Brings all but the last token of the prompt into the cache, reusing what is there already. Each chunk is
        waited for, so that stopping is quick, but the last: the first token waits for it, so it is given back."""
        position = 0
        for old, new in zip(self.cached, prompt[:-1], strict=False):
            if old != new:
                break
            position += 1
        self.reused = position
        del self.cached[position:]
        self._write(self.tokens, 0, struct.pack(f"<{len(prompt)}I", *prompt))
        replay: Awaitable[bytes] | None = None
        while (left := len(prompt) - 1 - position) > 0 and not aborted():
            above = next((n for n in self.chunks if n >= left), 2 * left + 1)
            rows = above if above <= 2 * left else max((n for n in self.chunks if n <= left), default=above)
            self._write(self.state, 0, struct.pack("<4I", position, 0, 0, 0))
            program = await self._program(str(rows))
            replay = await program.submit(self.state, 4)
            if left > rows:
                await replay
                replay = None
            position += min(rows, left)
            self.cached = prompt[:position]
        self._write(self.state, 0, struct.pack("<4I", len(prompt) - 1, 0, 0, 0))
        return replay

    def _write(self, tensor: Tensor, offset: int, data: bytes) -> None:
        assert tensor.buffer is not None
        self.device.write(tensor.buffer.on(self.device), offset, data)

    def _write_settings(self, prompt: list[int], sampling: Sampling, end: int) -> None:
        s = sampling
        seed = random.getrandbits(32) if s.seed is None else s.seed & 0xFFFFFFFF
        stops = sorted(s.stop_ids)[:STOPS]
        numbers = (s.temperature, s.top_p, s.min_p, s.top_k, seed, s.repetition_penalty, end - 1, len(stops))
        self._write(
            self.settings,
            0,
            struct.pack("<3fIIfII", *numbers) + struct.pack(f"<{STOPS}I", *stops, *[0] * (STOPS - len(stops))),
        )
        if s.repetition_penalty != 1.0 or self._penalised:
            penalties = [1.0] * self.penalties.shape[0]
            for token in prompt if s.repetition_penalty != 1.0 else ():
                penalties[token] = s.repetition_penalty
            self._write(self.penalties, 0, struct.pack(f"<{len(penalties)}f", *penalties))
            self._penalised = s.repetition_penalty != 1.0

    async def _decode(
        self,
        last: int,
        position: int,
        limit: int,
        stops: frozenset[int],
        top_logprobs: int,
        aborted: Callable[[], bool],
    ) -> AsyncGenerator[Token, None]:
        """Keeps steps in flight and yields their tokens as they arrive; the first goes to `position`, after `last`."""
        assert self.tokens.buffer is not None
        flying: deque[tuple[int, float, Any]] = deque()  # steps, when they were submitted, their tokens
        submitted, end, landed = position, position + limit, 0.0
        kind = "logprobs" if top_logprobs >= 0 else "decode"
        try:
            while not aborted():
                while submitted < end and len(flying) < self._depth(top_logprobs):
                    steps = min(end - submitted, self._steps(top_logprobs)) if submitted > position else 1
                    program = await self._program(kind if submitted < self.long else f"{kind}_long")
                    replay = program.replay(steps, self.tokens, 4 * submitted, 4 * steps)
                    flying.append((steps, time.perf_counter(), replay))
                    submitted += steps
                if not flying:
                    return
                steps, started, replay = flying.popleft()
                ids = struct.unpack(f"<{steps}I", bytes(await replay))
                before, landed = landed, time.perf_counter()
                self._measure(landed - max(started, before), steps)
                for token in ids:
                    self.cached.append(last)
                    last = token
                    yield Token(token, await self._logprobs(len(self.cached), top_logprobs))
                    if token in stops or aborted():
                        return
        finally:
            for _, _, replay in flying:  # their staging buffers must come back; what they wrote is overwritten later
                await replay

    def _depth(self, top_logprobs: int) -> int:
        """Submissions in flight: two where a step is quick, else one, so that stopping never waits for a step more."""
        return 2 if 0 < self.step_seconds < 0.05 and top_logprobs < 0 else 1

    def _steps(self, top_logprobs: int) -> int:
        """Steps a submission."""
        if top_logprobs >= 0 or not self.step_seconds:
            return 1
        return max(1, min(16, int(SUBMIT_SECONDS / self.step_seconds)))

    def _measure(self, seconds: float, steps: int) -> None:
        each = seconds / steps
        self.step_seconds = each if not self.step_seconds else 0.8 * self.step_seconds + 0.2 * each

    async def _logprobs(self, position: int, count: int) -> list[tuple[int, float]]:
        if count < 0:
            return []
        assert self.logprobs.buffer is not None
        size = 8 * (1 + count)
        row = 8 * (1 + TOP_LOGPROBS) * position
        return list(struct.iter_unpack("<If", bytes(await self.device.read(self.logprobs.buffer.id, row, size))))

    def abort(self) -> None:
        """Ends every text asked for so far: its iterator stops after the token that the GPU is at."""
        self.aborts += 1

    def free(self) -> None:
        """Gives everything back; the object is of no use afterwards."""
        for program in self._programs.values():
            if program.handle:
                program.unload()
        self._programs.clear()
        self.weights.free()
        self.kv.free()
        for tensor in (self.tokens, self.state, self.settings, self.penalties, self.logprobs, self.rope):
            if tensor.buffer is not None:
                tensor.buffer.free()
