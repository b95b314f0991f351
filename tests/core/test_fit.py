"""Whether a model fits the GPU: what ran or failed here before counts more than the adapter's limits."""

from typing import Any

import pytest
from tensortab.fit import fit

GB = 10**9
CARD = {"fallback": False, "limits": {"maxBufferSize": 2 * GB}}
SOFTWARE = {"fallback": True, "limits": {"maxBufferSize": 2 * GB}}


def run(memory: float, ran: bool) -> dict[str, Any]:
    return {"memory": memory * GB, "ran": ran}


@pytest.mark.parametrize(
    ("memory", "info", "runs", "device_memory", "expected"),
    [
        (1, CARD, {}, 0, ("yes", "buffer_limit")),
        (3, CARD, {}, 0, ("maybe", "buffer_limit")),
        (3, CARD, {"this": run(3, True)}, 0, ("yes", "ran")),
        (1, CARD, {"this": run(1, False), "that": run(9, True)}, 0, ("no", "failed")),
        (3, CARD, {"that": run(4, True), "other": run(2, False)}, 0, ("yes", "larger_ran")),
        (3, CARD, {"that": run(2, True), "other": run(3, False)}, 0, ("no", "smaller_failed")),
        (3, CARD, {"that": run(2, True), "other": run(4, False)}, 0, ("maybe", "buffer_limit")),
        (4, SOFTWARE, {}, 8 * GB, ("yes", "device_memory")),
        (5, SOFTWARE, {}, 8 * GB, ("maybe", "device_memory")),
        (9, SOFTWARE, {}, 8 * GB, ("no", "device_memory")),
        (9, SOFTWARE, {"this": run(9, True)}, 8 * GB, ("yes", "ran")),
        (3, SOFTWARE, {}, 0, ("maybe", "buffer_limit")),
        (1, None, {"this": run(1, True)}, 8 * GB, ("no", "no_gpu")),
    ],
)
def test_whether_a_model_fits(
    memory: float, info: dict[str, Any] | None, runs: dict[str, Any], device_memory: float, expected: tuple[str, str]
) -> None:
    assert fit("this", int(memory * GB), info, runs, device_memory) == expected
