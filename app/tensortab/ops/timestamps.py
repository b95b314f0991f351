"""Which tokens may follow in a transcript with timestamps, by Whisper's rules (see kernels/timestamps.wgsl)."""

from typing import Any

from ..dtype import f32, u32
from .base import OPS, Dispatch, Hardware, Op, check, rows

NEVER = -1e30  # the logit of a token that may not follow; masks have it too


def _shape(arg: dict, logits: Any, masks: Any, tokens: Any, state: Any, rules: Any) -> tuple:
    right = rows(logits) == 1 and masks.shape == (2, logits.shape[-1]) and tokens.dtype is rules.dtype is u32
    check(right, "timestamp_rules", logits, masks, tokens, rules)
    return logits.shape, f32


def _definition(np: Any, arg: dict, logits: Any, masks: Any, tokens: Any, state: Any, rules: Any) -> Any:
    begin, first, text_end = (int(n) for n in rules[:3])
    said = tokens[begin : int(state[0]) + 1]
    y = logits.reshape(-1) + masks[min(len(said), 1)]
    times = said[said >= first]
    if len(times):
        closed = said[-1] < first  # text came after the last timestamp
        paired = not closed and (len(said) == 1 or said[-2] >= first)
        y[first : first if paired else times[-1] + closed] = NEVER
        y[slice(first, None) if paired else slice(0 if closed else text_end)] = NEVER
    if first < len(y):
        top = max(y[first:].max(), NEVER)
        if top + np.log(np.exp(y[first:] - top).sum()) > y[:first].max():
            y[:first] = NEVER
    return y.reshape(logits.shape)


def _timestamp_rules(hw: Hardware, node: Any) -> list[Dispatch]:
    size = node.shape[-1]
    slices = -(-size // 1024)
    parts = node.node("temp", shape=(3 * slices,))
    params, grid, spec = {"vocab": size}, (slices, 1, 1), hw.workgroup(4)
    return [
        Dispatch("timestamp_rules_part", [*node.src, parts], params, grid, spec),
        Dispatch("timestamp_rules", [*node.src, parts, node], params, grid, spec),
    ]


# rules u32 [4]: the index in `tokens` of the first generated token; the id of the first timestamp (the vocabulary's
# size if there are none); the first id that is not text; unused
OPS["timestamp_rules"] = Op(_shape, _definition, _timestamp_rules)
