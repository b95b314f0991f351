"""Sampling: the token of every step against numpy in float64 with the same random numbers, and its distribution.

All steps of a case run in one submit on constant logits: each takes the random number of its own position.
"""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tensortab.device.native import NativeDevice
from tensortab.kernels import kernel

SLICE = 1024
FORMS = [(4, 256), (256, 1024)]  # (WG, BINS) on software adapters and on others
STAGES = ("sample_max", "sample_histogram", "sample_select", "sample_draw")


@dataclass
class Settings:
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    top_k: int = 0
    seed: int = 0
    repetition_penalty: float = 1.0
    end: int = 1 << 30
    stop: tuple[int, ...] = ()

    def words(self) -> np.ndarray:
        floats = np.array([self.temperature, self.top_p, self.min_p], np.float32).view(np.uint32)
        ints = [self.top_k, self.seed, np.float32(self.repetition_penalty).view(np.uint32), self.end, len(self.stop)]
        return np.array([*floats, *ints, *self.stop, *[0] * (16 - len(self.stop))], np.uint32)


def run_steps(
    backend: NativeDevice,
    logits: np.ndarray,
    settings: Settings,
    steps: int,
    form: tuple[int, int] = FORMS[0],
    pos: int = 0,
    done: int = 0,
    logprobs: bool = False,
) -> dict[str, np.ndarray]:
    """tokens, state, penalties (and logprobs) after `steps` steps from `pos`; transient buffers start as NaN."""
    vocab, slices = len(logits), -(-len(logits) // SLICE)
    length = pos + steps + 1
    start = {
        "logits": logits,
        "settings": settings.words(),
        "state": np.array([pos, done, 0, 0, 0, 0, 0, 0], np.uint32),
        "penalties": np.ones(vocab, np.float32),
        "tokens": np.full(length, 0xFFFFFFFF, np.uint32),
        "parts": np.full(16 + 8 * slices, 0x7FC0FFEE, np.uint32),
        "hist": np.full(3 * form[1], 0x7FC0FFEE, np.uint32),
        "cand": np.full(2 * slices * SLICE, 0x7FC0FFEE, np.uint32),
    }
    spec = {"WG": f"{form[0]}u", "BINS": f"{form[1]}u"}
    kernels = [kernel(stem, **spec) for stem in STAGES]
    if logprobs:
        kernels[0] = kernel("sample_max", LOGPROBS=True, **spec)
        kernels.append(kernel("sample_logprobs", **spec))
        start["logprobs"] = np.full((length, 21, 2), 0x7FC0FFEE, np.uint32)

    async def go() -> dict[str, np.ndarray]:
        ids = {name: backend.create_buffer(array.nbytes, name) for name, array in start.items()}
        for name, array in start.items():
            backend.write(ids[name], 0, array)
        order = {name: n for n, name in enumerate(start)}
        size = {name: -(-array.nbytes // 16) * 16 for name, array in start.items()}
        plan: dict[str, Any] = {
            "version": 1,
            "buffers": [{"name": name, "size": size[name]} for name in start],
            "kernels": [{"label": k.label, "code": k.code, "bindings": list(k.bindings)} for k in kernels],
            "params": base64.b64encode(kernels[0].pack({"vocab": vocab}).ljust(256, b"\0")).decode(),
            "steps": [
                {
                    "kernel": n,
                    "bind": [[order[name], 0, size[name]] for name in k.names if name != "p"],
                    "params": 0,
                    "grid": [slices if n < 3 else 1, 1, 1],
                }
                for n, k in enumerate(kernels)
            ],
        }
        handle = await backend.load(plan, ids)
        await backend.replay(handle, steps)
        names = ["tokens", "state", "penalties"] + ["logprobs"] * logprobs
        after = {n: np.frombuffer(await backend.read(ids[n], 0, start[n].nbytes), start[n].dtype) for n in names}
        backend.unload(handle)
        for buffer in ids.values():
            backend.destroy_buffer(buffer)
        return {n: array.reshape(start[n].shape) for n, array in after.items()}

    return asyncio.run(go())


def pcg(v: np.ndarray) -> np.ndarray:
    """O'Neill's RXS-M-XS permutation of one step of a 32-bit linear congruential generator."""
    s = v.astype(np.uint32) * np.uint32(747796405) + np.uint32(2891336453)
    word = ((s >> ((s >> np.uint32(28)) + np.uint32(4))) ^ s) * np.uint32(277803737)
    return (word >> np.uint32(22)) ^ word


def uniform(seed: int, positions: np.ndarray) -> np.ndarray:
    return (pcg(positions.astype(np.uint32) ^ pcg(np.array([seed]))) >> np.uint32(8)) / 2.0**24


def distribution(logits: np.ndarray, settings: Settings) -> np.ndarray:
    """The probabilities after Hugging Face's warpers in their order, 0 for removed tokens. Tokens that tie with the
    last one kept are kept too."""
    x = logits.astype(np.float64) / np.float64(np.float32(settings.temperature))
    keep = np.ones(len(x), bool)
    if 0 < settings.top_k < len(x):
        keep &= x >= np.sort(x)[-settings.top_k]
    probability = np.where(keep, np.exp(x - x.max()), 0)
    probability /= probability.sum()
    if settings.top_p < 1:
        order = np.argsort(-x, kind="stable")
        above = np.concatenate([[0], np.cumsum(probability[order])[:-1]])
        first = np.searchsorted(-x[order], -x, side="left")  # of the tokens tied with each
        keep &= (above[first] < np.float32(settings.top_p)) | (x == x.max())
    keep &= np.exp(x - x.max()) >= np.float32(settings.min_p)
    probability = np.where(keep, probability, 0)
    return probability / probability.sum()


def between(logits: np.ndarray, settings: Settings, tokens: int) -> float:
    """A top_p that ends in the middle of the probability of the `tokens`-th token, far from any rounding."""
    p = np.sort(distribution(logits, settings))[::-1]
    return float(np.cumsum(p)[tokens - 1] - p[tokens - 1] / 2)


def check(
    backend: NativeDevice, logits: np.ndarray, settings: Settings, steps: int = 60, form: Any = FORMS[0]
) -> np.ndarray:
    """Asserts that every token is the one that NumPy draws with the same random number. Returns the tokens."""
    after = run_steps(backend, logits, settings, steps, form)
    tokens = after["tokens"][1:]
    p = distribution(logits, settings)
    cumulative = np.cumsum(p)
    u = uniform(settings.seed, np.arange(steps))
    assert (p[tokens] > 0).all(), f"removed tokens drawn: {tokens[p[tokens] == 0]}"
    low, high = cumulative[tokens] - p[tokens], cumulative[tokens]
    assert ((u >= low - 2e-6) & (u <= high + 2e-6)).all(), np.flatnonzero((u < low - 2e-6) | (u > high + 2e-6))
    assert after["state"].tolist() == [steps, 0, steps, 0, 0, 0, 0, 0]
    return tokens


@pytest.fixture(params=FORMS, ids=lambda form: f"WG={form[0]}")
def form(backend: NativeDevice, request: pytest.FixtureRequest) -> tuple[int, int]:
    if request.param[0] > 4 and "swiftshader" in backend.info["device"].lower():
        pytest.skip("SwiftShader takes half a minute to compile the large workgroups, which are not picked for it")
    return request.param


@pytest.mark.parametrize("vocab", [1, 3, 127, 129, 1024, 1025, 49152])
def test_greedy_takes_the_lowest_of_ties(
    backend: NativeDevice, rng: np.random.Generator, vocab: int, form: Any
) -> None:
    logits = rng.integers(-3, 4, vocab).astype(np.float32)
    tokens = run_steps(backend, logits, Settings(temperature=0), 1, form)["tokens"]
    assert tokens.tolist() == [0xFFFFFFFF, logits.argmax()]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logits_that_are_not_finite(backend: NativeDevice, temperature: float) -> None:
    nan, inf = np.nan, np.inf
    for row, expected in (
        ([nan, nan], 0), ([-inf, -inf, nan], 0), ([nan, -inf, 3, nan, -inf], 2), ([1, inf, inf], 1), ([-inf, -1e38], 1),
    ):  # fmt: skip
        settings = Settings(temperature=temperature, top_k=2, top_p=0.9)
        assert run_steps(backend, np.array(row, np.float32), settings, 1)["tokens"][1] == expected, row


@pytest.mark.parametrize("vocab", [1, 3, 127, 129, 5000])
def test_every_token_as_numpy_draws_it(backend: NativeDevice, rng: np.random.Generator, vocab: int) -> None:
    seed = int(rng.integers(1 << 32))
    for temperature, spread in ((1.0, 1.0), (0.3, 4.0), (3.0, 8.0)):
        logits = (rng.standard_normal(vocab) * spread + rng.choice([-100, 0, 30])).astype(np.float32)
        k = int(rng.integers(1, vocab + 1))
        plain = Settings(temperature, seed=seed)
        check(backend, logits, plain)
        check(backend, logits, Settings(temperature, seed=seed, top_k=k))
        check(backend, logits, Settings(temperature, seed=seed, top_p=between(logits, plain, min(k, 50))))
        check(backend, logits, Settings(temperature, seed=seed, min_p=0.05))
        both = Settings(temperature, seed=seed, top_k=min(k, 100), min_p=0.001)
        both.top_p = between(logits, Settings(temperature, top_k=both.top_k), int(rng.integers(1, both.top_k + 1)))
        check(backend, logits, both)


def test_a_large_vocabulary(backend: NativeDevice, rng: np.random.Generator, form: Any) -> None:
    logits = (rng.standard_normal(128256) * 3).astype(np.float32)
    for top_k, count in ((0, 2000), (50, 20), (40000, 9000), (1, 1)):
        settings = Settings(0.8, top_k=top_k, seed=int(rng.integers(1 << 32)))
        settings.top_p = between(logits, settings, count) if count > 1 else 0.5
        check(backend, logits, settings, 3, form)


@pytest.mark.parametrize("ties", [1.0, 4.0])
def test_many_candidates_in_one_bin(backend: NativeDevice, rng: np.random.Generator, ties: float) -> None:
    """The logits are so close that all fall into a few bins: there are more candidates than fit workgroup memory."""
    logits = (rng.integers(0, 2000, 6000) * (ties / 1e6)).astype(np.float32)
    for settings in (
        Settings(top_k=1),
        Settings(top_k=2999),
        Settings(top_p=0.43217),
        Settings(top_k=5000, top_p=0.777),
    ):
        check(backend, logits, settings, 8)
    equal = np.zeros(3000, np.float32)
    for settings in (Settings(top_k=1), Settings(top_p=0.2), Settings(top_k=7, top_p=0.5, min_p=1.0)):
        check(backend, equal, settings, 8)  # all are tied with the last one kept


def test_exactly_the_kept_tokens_come(backend: NativeDevice, rng: np.random.Generator) -> None:
    logits = np.sort(rng.uniform(0, 1, 40))[::-1].astype(np.float32)
    logits[10:14] = logits[10]  # top_k = 12 ends among equals: all four stay
    order = rng.permutation(40)
    for settings, count in (
        (Settings(top_k=12), 14),
        (Settings(top_k=9), 9),
        (Settings(top_p=between(logits, Settings(), 20)), 20),
        (Settings(top_p=between(logits, Settings(), 12)), 14),
        (Settings(top_k=30, top_p=between(logits, Settings(top_k=30), 17)), 17),
        (Settings(temperature=0.5, min_p=float(np.exp(logits[21] + logits[22] - 2 * logits[0]))), 22),
        (Settings(top_p=0.0), 1),
    ):
        settings.seed = int(rng.integers(1 << 32))
        assert (distribution(logits, settings) > 0).sum() == count
        shuffled = np.empty_like(logits)
        shuffled[order] = logits
        tokens = check(backend, shuffled, settings, 1200)
        assert set(tokens.tolist()) == set(order[:count].tolist())


def test_the_distribution_by_chi_square(backend: NativeDevice, rng: np.random.Generator) -> None:
    logits = (rng.standard_normal(50) * 1.5).astype(np.float32)
    settings = Settings(0.9, top_k=30, seed=int(rng.integers(1 << 32)))
    steps = 3000
    tokens = check(backend, logits, settings, steps)
    expected = distribution(logits, settings) * steps
    seen = np.bincount(tokens, minlength=50)
    rare = expected < 5
    seen, expected = np.append(seen[~rare], seen[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    chi = ((seen - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    freedom = len(seen) - 1
    assert chi < freedom + 5.5 * np.sqrt(2 * freedom), f"{chi:.1f} at {freedom} degrees of freedom"


def test_a_seed_repeats_a_text(backend: NativeDevice, rng: np.random.Generator) -> None:
    logits = rng.standard_normal(3000).astype(np.float32)
    texts = [run_steps(backend, logits, Settings(seed=s), 20)["tokens"].tolist() for s in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_the_state_advances(backend: NativeDevice) -> None:
    logits = np.zeros(300, np.float32)
    logits[299] = 50
    settings = Settings(temperature=0, repetition_penalty=1.5, end=12)
    after = run_steps(backend, logits, settings, 10, pos=7)
    assert after["state"].tolist() == [12, 1, 5, 0, 0, 0, 0, 0]  # stops by itself when pos reaches end
    assert after["tokens"].tolist() == [0xFFFFFFFF] * 8 + [299] * 5 + [0xFFFFFFFF] * 5
    assert after["penalties"][299] == 1.5
    assert (after["penalties"][:299] == 1).all()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_stop_tokens_end_it(backend: NativeDevice, temperature: float) -> None:
    logits = np.full(300, -np.inf, np.float32)
    logits[123] = 1
    after = run_steps(backend, logits, Settings(temperature, stop=(*range(15), 123)), 4, pos=2)
    assert after["state"].tolist() == [3, 1, 1, 0, 0, 0, 0, 0]
    assert after["tokens"].tolist() == [0xFFFFFFFF] * 3 + [123] + [0xFFFFFFFF] * 3
    assert run_steps(backend, logits, Settings(temperature, stop=(1, 2)), 1)["state"].tolist() == [1, 0, 1, *[0] * 5]


def test_done_writes_nothing(backend: NativeDevice, rng: np.random.Generator) -> None:
    logits = rng.standard_normal(300).astype(np.float32)
    after = run_steps(backend, logits, Settings(repetition_penalty=2), 2, pos=3, done=1)
    assert after["state"].tolist() == [3, 1, 0, 0, 0, 0, 0, 0]
    assert (after["tokens"] == 0xFFFFFFFF).all()
    assert (after["penalties"] == 1).all()


@pytest.mark.parametrize("vocab", [1, 7, 129, 5000])
def test_log_probabilities(backend: NativeDevice, rng: np.random.Generator, vocab: int, form: Any) -> None:
    """They are those of the raw distribution, whatever the settings: one row a token, and none after the end."""
    logits = (rng.integers(-40, 40, vocab) / 4).astype(np.float32)  # with ties
    logits[rng.random(vocab) < 0.1] = -np.inf
    logits[-1] = 9
    after = run_steps(backend, logits, Settings(0.5, top_k=9, end=5), 4, form, pos=2, logprobs=True)
    assert after["state"].tolist() == [5, 1, 3, 3, 0, 0, 0, 0]
    x = logits.astype(np.float64)
    expected = x - np.log(np.exp(x).sum())
    order = np.argsort(-x, kind="stable")[:20]
    rows = after["logprobs"]
    assert (np.delete(rows, [3, 4, 5], axis=0) == 0x7FC0FFEE).all()
    for row in (3, 4, 5):
        tokens, values = rows[row, :, 0], rows[row, :, 1].view(np.float32)
        assert tokens[0] == after["tokens"][row]
        assert tokens[1 : 1 + len(order)].tolist() == order.tolist()
        assert (tokens[1 + len(order) :] == 0xFFFFFFFF).all()
        known = tokens != 0xFFFFFFFF
        finite = np.isfinite(expected[tokens[known]])
        assert np.abs(values[known][finite] - expected[tokens[known]][finite]).max() < 2e-5
        assert (values[known][~finite] < -1e30).all()
