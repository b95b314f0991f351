"""How the next token is chosen: the settings, their layout on the GPU, and the NumPy definition of the sampling kernels
(kernels/sample*.wgsl): Hugging Face's rules in their order, and a draw."""

import random
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import Error

SETTINGS = ("temperature", "top_p", "min_p", "top_k", "seed", "repetition_penalty", "end", "stop_count")
STOPS = 16  # the most ids that end a text on the GPU
WORDS = len(SETTINGS) + STOPS  # of the settings on the GPU
TOP_LOGPROBS = 20


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p."""

    temperature: float = 0.0  # 0: the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None  # None: a new one for each text
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
                raise Error("bad_request", f"{name} must be a {whole} from {low} to {high}, got {value!r}.")
        if self.seed is not None and type(self.seed) is not int:
            raise Error("bad_request", f"seed must be a whole number, got {self.seed!r}.")

    def seeded(self) -> "Sampling":
        """Returns the same settings with a seed, a random one if there is none: a position's draw depends on it
        alone."""
        return self if self.seed is not None else replace(self, seed=random.getrandbits(32))

    def settings(self, end: int) -> bytes:
        """Returns the WORDS words that the kernels read; the text ends before position `end`."""
        assert self.seed is not None
        stops = sorted(self.stop_ids)[:STOPS]
        values = (self.temperature, self.top_p, self.min_p, self.top_k, self.seed & 0xFFFFFFFF)
        packed = struct.pack("<3fIIfII", *values, self.repetition_penalty, end - 1, len(stops))
        return packed + struct.pack(f"<{STOPS}I", *stops, *[0] * (STOPS - len(stops)))


def pcg(np: Any, v: Any) -> Any:
    """u32 -> u32: O'Neill's permuted congruential generator (RXS-M-XS, pcg-random.org)."""
    s = v * np.uint32(747796405) + np.uint32(2891336453)
    word = ((s >> ((s >> np.uint32(28)) + np.uint32(4))) ^ s) * np.uint32(277803737)
    return (word >> np.uint32(22)) ^ word


def uniform(np: Any, seed: int, positions: Any) -> Any:
    """The random numbers in [0, 1) of a seed at these positions."""
    with np.errstate(over="ignore"):
        return (pcg(np, positions.astype(np.uint32) ^ pcg(np, np.array([seed], np.uint32))) >> np.uint32(8)) / 2.0**24


def distribution(np: Any, logits: Any, temperature: float, top_k: int, top_p: float, min_p: float) -> Any:
    """Returns the probabilities [V] (f64), 0 for removed tokens; ties with the last token that is kept are kept,
    too."""
    x = np.where(np.isnan(logits), -np.inf, logits).astype(np.float64) / np.float64(np.float32(temperature))
    keep = np.ones(len(x), bool)
    if 0 < top_k < len(x):
        keep &= x >= np.sort(x)[-top_k]
    probability = np.where(keep, np.exp(x - x.max()), 0)
    probability /= probability.sum()
    if top_p < 1:
        order = np.argsort(-x, kind="stable")
        above = np.concatenate([[0], np.cumsum(probability[order])[:-1]])
        first = np.searchsorted(-x[order], -x, side="left")  # of the tokens tied with each
        keep &= (above[first] < np.float32(top_p)) | (x == x.max())
    keep &= np.exp(x - x.max()) >= np.float32(min_p)
    probability = np.where(keep, probability, 0)
    return probability / probability.sum()


def sample(
    np: Any, arg: dict, logits: Any, penalties: Any, tokens: Any, state: Any, settings: Any, *logprobs: Any
) -> Any:
    """Chooses one token: changes tokens, penalties, state (and logprobs) as sample_draw.wgsl does."""
    if state[1]:
        return tokens
    x, position = logits.reshape(-1), int(state[0])
    floats = settings.view(np.float32)
    s = {name: (floats if n in (0, 1, 2, 5) else settings)[n].item() for n, name in enumerate(SETTINGS)}
    if s["temperature"] == 0 or not np.isfinite(np.nanmax(x)):
        token = int(np.nanargmax(x))
    else:
        p = distribution(np, x, s["temperature"], s["top_k"], s["top_p"], s["min_p"])
        u = uniform(np, s["seed"], np.array([position]))[0]
        token = int(np.searchsorted(np.cumsum(p), u, side="right").clip(0, np.flatnonzero(p)[-1]))
    tokens[position + 1] = token
    penalties[token] = s["repetition_penalty"]
    state[0] = position + 1
    state[2] += 1
    state[1] = position + 1 >= s["end"] or token in settings[8 : 8 + s["stop_count"]]
    for rows in logprobs:
        state[3] = state[2]
        normal = x.astype(np.float64) - np.log(np.exp(x.astype(np.float64) - x.max()).sum()) - x.max()
        best = [token, *np.argsort(-x, kind="stable")[:TOP_LOGPROBS]]
        rows[position + 1, : len(best), 0] = best
        rows[position + 1, : len(best), 1] = normal[best].astype(np.float32).view(np.uint32)
    return tokens
