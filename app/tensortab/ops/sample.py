"""The choice of the next token, which sampling.py defines."""

from typing import Any

from ..dtype import u32
from ..sampling import sample
from .base import OPS, Dispatch, Hardware, Op, check, rows


def _sample_shape(arg: dict, logits: Any, penalties: Any, tokens: Any, state: Any, settings: Any, *more: Any) -> tuple:
    check(rows(logits) == 1 and penalties.shape == logits.shape[-1:] and tokens.dtype is u32, "sample", logits, tokens)
    return tokens.shape, u32


def _sample(hw: Hardware, node: Any) -> list[Dispatch]:
    """The optional sixth source, `logprobs` [C + 1, 21, 2], receives the log probabilities of the token and of the 20
    most likely ones."""
    logits, penalties, tokens, state, settings, *logprobs = node.src
    size = logits.shape[-1]
    slices = -(-size // 1024)
    parts, hist, candidates = (node.node("temp", shape=(n,), dtype=u32) for n in (16 + 8 * slices, 3072, 2048 * slices))
    params, grid, spec = {"vocab": size}, (slices, 1, 1), hw.workgroup(4)
    spec |= {"BINS": "256u"} if spec else {}
    dispatches = [
        Dispatch(
            "sample_max",
            [logits, state, settings, parts, hist],
            params,
            grid,
            spec | ({"LOGPROBS": True} if logprobs else {}),
        ),
        Dispatch("sample_histogram", [logits, state, settings, parts, hist], params, grid, spec),
        Dispatch("sample_select", [logits, state, settings, hist, parts, candidates], params, grid, spec),
        Dispatch(
            "sample_draw", [logits, settings, parts, candidates, penalties, tokens, state], params, (1, 1, 1), spec
        ),
    ]
    for d in dispatches[1:3]:  # in greedy decoding they end before they read anything
        d.touched = {0: 0, 3: 0, 4: 0, 5: 0}
    dispatches[3].touched = {0: 0, 3: 0, 4: 4, 5: 4}
    if logprobs:
        dispatches.append(
            Dispatch("sample_logprobs", [logits, tokens, parts, state, *logprobs], params, (1, 1, 1), spec)
        )
    return dispatches


OPS["sample"] = Op(_sample_shape, sample, _sample, inplace=2, writes=(1, 3, 5), stored={5: "f4"})
