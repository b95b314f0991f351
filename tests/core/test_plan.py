"""Plans are plain data, the same each time, and refused if no device could run them."""

import copy
import json

import numpy as np
import pytest
from tensortab import Tensor
from tensortab.errors import Error
from tensortab.ops import Hardware
from tensortab.plan import build, verify
from tensortab.schedule import schedule

HW = Hardware("default", False, 1 << 27)


def made() -> dict:
    x, w = Tensor.of("x", (1, 64)), Tensor.of("w", (96, 64))
    y = x.rms_norm(Tensor.of("g", (64,)), 1e-5).linear(w).silu()
    dispatches, outputs = schedule([(y * 2).softmax()], HW)
    return build(dispatches, outputs, HW, graph=True)[0]


def test_a_plan_is_json_and_the_same_each_time():
    assert json.loads(json.dumps(made())) == json.loads(json.dumps(made()))


def test_named_buffers_are_the_callers():
    names = [b["name"] for b in made()["buffers"]]
    assert sorted(n for n in names if n) == ["g", "output", "w", "x"]
    assert names.count(None) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p["steps"][0]["bind"].pop(),
        lambda p: p["steps"][0]["bind"][0].__setitem__(1, 4),
        lambda p: p["steps"][0]["bind"][0].__setitem__(2, 1 << 30),
        lambda p: p["steps"][0]["bind"].__setitem__(0, p["steps"][0]["bind"][-1]),
        lambda p: p["steps"][0].__setitem__("grid", [70000, 1, 1]),
        lambda p: p["steps"][0].__setitem__("grid", [0, 1, 1]),
    ],
)
def test_a_spoilt_plan_is_refused(spoil):
    plan = copy.deepcopy(made())
    verify(plan, HW)
    spoil(plan)
    with pytest.raises(Error, match=r"storage bindings|range|reads and writes|grid") as caught:
        verify(plan, HW)
    assert caught.value.code == "internal"


def test_a_tensor_beyond_the_limit_says_so():
    dispatches, outputs = schedule([Tensor(np.zeros(4)).expand(1 << 26, 4) + 1], HW)
    with pytest.raises(Error, match="limit") as caught:
        build(dispatches, outputs, HW)
    assert caught.value.code == "out_of_memory"
