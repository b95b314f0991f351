"""Whisper's rules for timestamps: the kernels and their definition against the rules applied one by one."""

import numpy as np
import pytest
from tensortab.device.native import NativeDevice
from tensortab.ops import OPS

from tests.kernels.harness import run
from tests.kernels.tolerances import assert_close

NEVER = -1e30


def ruled(logits: np.ndarray, masks: np.ndarray, said: list[int], first: int, text_end: int) -> np.ndarray:
    """openai-whisper's ApplyTimestampRules, in float64, token by token."""
    y = logits.astype(np.float64) + masks[0 if not said else 1]
    vocab = len(y)
    times = [t for t in said if t >= first]
    if said and said[-1] >= first:
        if len(said) < 2 or said[-2] >= first:
            for i in range(first, vocab):  # text must follow
                y[i] = NEVER
        else:
            for i in range(text_end):  # it must be closed
                y[i] = NEVER
    if times:
        opened = said[-1] >= first and len(said) > 1 and said[-2] < first
        for i in range(first, times[-1] if opened else times[-1] + 1):
            y[i] = NEVER
    y = np.maximum(y, NEVER)
    likely = np.exp(y - y.max())
    if first < vocab and likely[first:].sum() > likely[:first].max():
        y[:first] = NEVER
    return y


def case(rng: np.random.Generator, vocab: int, first: int) -> dict[str, np.ndarray]:
    """Random text and timestamps after a prompt; only the last few of them matter."""
    begin, count = int(rng.integers(1, 5)), int(rng.choice([0, 1, 2, 3, 50, 300]))
    text = rng.integers(0, max(1, min(first, vocab) - 2), count)
    times = rng.integers(first, vocab, count) if first < vocab else text
    said = np.where(rng.random(count) < rng.choice([0.0, 0.1, 0.6, 1.0]), np.sort(times), text)
    tokens = np.concatenate([rng.integers(0, vocab, begin), said, rng.integers(0, vocab, 4)]).astype(np.uint32)
    logits = (rng.standard_normal(vocab) * rng.choice([0.5, 3, 20])).astype(np.float32)
    masks = np.where(rng.random((2, vocab)) < 0.2, NEVER, 0).astype(np.float32)
    state = np.array([begin + count - 1, 0, 0, 0, 0, 0, 0, 0], np.uint32)
    rules = np.array([begin, first, max(0, first - 3), 0], np.uint32)
    return {"logits": logits, "masks": masks, "tokens": tokens, "state": state, "rules": rules}


@pytest.mark.parametrize("wg", ["4u", "128u"])
@pytest.mark.parametrize(("vocab", "first"), [(3, 2), (129, 100), (2049, 1023), (3000, 1500), (1500, 1500)])
def test_timestamp_rules(backend: NativeDevice, rng: np.random.Generator, wg: str, vocab: int, first: int) -> None:
    slices = -(-vocab // 1024)
    for _ in range(8):
        inputs = case(rng, vocab, first)
        begin, _, text_end, _ = inputs["rules"].tolist()
        said = inputs["tokens"][begin : inputs["state"][0] + 1].tolist()
        want = ruled(inputs["logits"], inputs["masks"], said, first, text_end)
        shape, grid = {"vocab": vocab}, (slices, 1, 1)
        parts = run(backend, "timestamp_rules_part", {"WG": wg}, inputs, {"parts": (3 * slices,)}, shape, grid)
        y = run(backend, "timestamp_rules", {"WG": wg}, inputs | {"parts": parts}, {"y": (vocab,)}, shape, grid)
        defined = OPS["timestamp_rules"].numpy(np, {}, inputs["logits"][None], *list(inputs.values())[1:])[0]
        assert_close(y, want, np.maximum(1, np.abs(want)))
        assert_close(defined, want, np.maximum(1, np.abs(want)))
