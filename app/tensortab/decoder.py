"""A causal language model on a device: its weights, its cache, its plans, and the decoding steps in flight.

A decoding step runs wholly on the GPU: it reads the last token there and writes the next one; Python reads the tokens
later.
"""

import struct
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import models
from .device import Device
from .dtype import u32
from .errors import Error
from .formats import Checkpoint
from .jit import Program, hardware
from .kv import STATE_WORDS, KVCache
from .loading import Progress, load
from .sampling import TOP_LOGPROBS, WORDS, Sampling
from .tensor import Tensor
from .weights import Weights

# tokens per prefill plan: 32 are a tile of matmul_matrix_small
CHUNKS = {"software": (8, 32), "default": (16, 128, 512), "subgroups": (16, 128, 512), "matrix": (32, 128, 512)}
CONTEXT = 4096  # tokens, unless the model's own context is shorter
# from this position on attention is split over the context: measured on an H100, bench/notes.md
LONG = {"software": 128, "default": 128, "subgroups": 512}
SUBMIT_SECONDS = 0.008  # of work per submission: the granularity of stopping


@dataclass
class Token:
    """A generated token. `logprobs`: [(id, log probability)] of the token itself, then of the likeliest ones."""

    id: int
    logprobs: list[tuple[int, float]] = field(default_factory=list)


class Decoder:
    """The model with its cache: `prefill` brings tokens into it, `decode` writes what follows them."""

    def __init__(
        self, checkpoint: Checkpoint, device: Device, context: int | None = None, prompt: int | None = None
    ) -> None:
        """Declares everything; nothing is read or allocated. context: the most tokens of a text; the model's own limit
        still applies. prompt: the most tokens that prompts usually have; no plan reads more at once. Raises
        Error("out_of_memory"), ("bad_file") or ("bad_request")."""
        kind = str(checkpoint.config.get("model_type"))
        architecture = models.find(kind)
        if architecture is None:
            raise Error("bad_file", f"Models of type {kind!r} are not supported yet: use another model.")
        self.device, self.kind = device, kind
        self.hw = hardware(device.info)
        self.weights = Weights(checkpoint, self.hw.max_binding)
        self.model = models.declare(architecture.Model, self.weights)
        shape = getattr(self.model, "cache", None)
        if shape is None:
            raise Error("bad_file", f"{kind!r} is not a text generator: use a language model.")
        chunks = CHUNKS["matrix" if self.hw.matrix else self.hw.tier]
        self.chunks = chunks[: 1 + sum(n < (prompt or chunks[-1]) for n in chunks)]
        self.long = LONG[self.hw.tier]
        if context is not None and context < 32:
            raise Error("bad_request", f"context must be at least 32 tokens, got {context}.")
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
        self.settings = Tensor.of("settings", (WORDS,), u32)
        self.penalties = Tensor.of("penalties", (outputs,))
        self.logprobs = Tensor.of("logprobs", (room + 1, 1 + TOP_LOGPROBS, 2), u32)
        self.programs: dict[str, Program] = {}  # the plans so far, by name
        self.step_seconds = 0.0  # the measured time of one decoding step
        self._penalised = True

    @property
    def nbytes(self) -> int:
        """Bytes on the GPU, without the transient buffers of plans."""
        return self.weights.nbytes + self.kv.nbytes

    @property
    def step_bytes(self) -> int:
        """The bytes of weights that one decoding step reads."""
        table, head = self.model.embed_tokens.weights, self.model.lm_head.weights
        unread = 0 if table is head else sum(w.buffer.nbytes for w in table if w.buffer)  # only one row is read
        return self.weights.nbytes - unread

    # loading

    async def load(self, on_progress: Progress, meanwhile: Callable[[], Any] = lambda: None) -> Any:
        """Loads the weights and compiles the plans (loading.load)."""
        await self.declare()
        return await load(self.weights, self.device, self._compiling(), on_progress, meanwhile)

    async def declare(self) -> None:
        """Writes the table of rotations, which plans need besides the weights."""
        self.rope.write(self.device, await self.model.rotary.table(self.context, self.kv.context))

    def _compiling(self) -> Iterator[Any]:
        for name in ("decode", "decode_long", *map(str, self.chunks)):
            self.plan(name)
            yield self.program(name)

    # plans

    def plan(self, name: str) -> Program:
        """Returns the plan "decode", "logprobs" (which decodes and keeps the log probabilities), either with "_long"
        (from position self.long on), or the plan that prefills a number of tokens."""
        if name not in self.programs:
            with models.fitting(self.kind):
                self.programs[name] = Program(self.device, self._trace(name))
        return self.programs[name]

    async def program(self, name: str) -> Program:
        """Returns the compiled plan."""
        program = self.plan(name)
        return program if program.handle else await program.load()

    async def step(self, position: int, kind: str = "decode") -> Program:
        """Returns the compiled plan of one decoding step at a position."""
        return await self.program(kind if position < self.long else f"{kind}_long")

    def _trace(self, name: str) -> list[Tensor]:
        kind, self.kv.long = name.removesuffix("_long"), name.endswith("_long")
        rows = int(name) if name.isdigit() else 1
        hidden = self.model.hidden(self.tokens, self.state, self.rope, self.kv, rows)
        updates = self.kv.traced()
        if rows > 1:
            return updates[-1:]  # the output of the last layer is not needed
        logits = self.model.logits(hidden).penalise(self.penalties.reshape(1, -1))
        if rules := getattr(self.model, "rules", None):
            logits = rules(logits, self.tokens, self.state)
        more = [self.logprobs] if kind == "logprobs" else []
        return [Tensor.apply("sample", logits, self.penalties, self.tokens, self.state, self.settings, *more)]

    # steps

    async def prefill(
        self, ids: Sequence[int], cached: list[int], aborted: Callable[[], bool] = lambda: False
    ) -> Awaitable[bytes] | None:
        """Brings all but the last of `ids` into the cache. `cached` are those that it has already; the others are
        appended. It waits for each chunk, so that stopping is quick, but not for the last one, which it returns: the
        first token waits for that."""
        position = len(cached)
        self.tokens.write(self.device, struct.pack(f"<{len(ids)}I", *ids))
        replay: Awaitable[bytes] | None = None
        while (left := len(ids) - 1 - position) > 0 and not aborted():
            above = next((n for n in self.chunks if n >= left), 2 * left + 1)
            rows = above if above <= 2 * left else max((n for n in self.chunks if n <= left), default=above)
            self._at(position)
            program = await self.program(str(rows))
            replay = await program.submit(self.state, 4)
            if left > rows:
                await replay
                replay = None
            cached += ids[position : position + min(rows, left)]
            position = len(cached)
        self._at(len(ids) - 1)
        return replay

    def _at(self, position: int) -> None:
        self.state.write(self.device, struct.pack("<4I", position, 0, 0, 0))

    async def position(self) -> int:
        """The position of the last token that the GPU has written or read."""
        assert self.state.buffer is not None
        return int.from_bytes(await self.device.read(self.state.buffer.on(self.device), 0, 4), "little")

    def set_sampling(self, sampling: Sampling, ids: Sequence[int], end: int) -> None:
        """Sets how the tokens after `ids` are chosen; the text ends before position `end`."""
        self.settings.write(self.device, sampling.settings(end))
        penalty = sampling.repetition_penalty
        if penalty != 1.0 or self._penalised:
            penalties = [1.0] * self.penalties.shape[0]
            for token in ids if penalty != 1.0 else ():
                penalties[token] = penalty
            self.penalties.write(self.device, struct.pack(f"<{len(penalties)}f", *penalties))
            self._penalised = penalty != 1.0

    async def decode(self, position: int, end: int, top_logprobs: int = -1) -> AsyncGenerator[Token, None]:
        """Keeps decoding steps in flight and yields their tokens as they arrive, from `position` on, until it is
        closed. The GPU writes none after a stop id of the sampling, so nothing after it may be read."""
        flying: deque[tuple[int, float, Any]] = deque()  # decoding steps, when they were submitted, and their tokens
        submitted, at, landed = position, position, 0.0
        kind = "logprobs" if top_logprobs >= 0 else "decode"
        try:
            while True:
                while submitted < end and len(flying) < self._depth(top_logprobs):
                    steps = min(end - submitted, self._steps(top_logprobs)) if submitted > position else 1
                    program = await self.step(submitted, kind)
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
                    yield Token(token, await self._logprobs(at, top_logprobs))
                    at += 1
        finally:
            for _, _, replay in flying:  # the staging buffers must be returned; the tokens are overwritten later
                await replay

    def _depth(self, top_logprobs: int) -> int:
        """Submissions in flight: two if a decoding step is quick, else one, so that stopping never waits for another
        step."""
        return 2 if 0 < self.step_seconds < 0.05 and top_logprobs < 0 else 1

    def _steps(self, top_logprobs: int) -> int:
        """Decoding steps per submission."""
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

    def free(self) -> None:
        """Frees everything; the object cannot be used afterwards."""
        for program in self.programs.values():
            program.unload()
        self.programs.clear()
        self.weights.free()
        self.kv.free()
        for tensor in (self.tokens, self.state, self.settings, self.penalties, self.logprobs, self.rope):
            tensor.free()
