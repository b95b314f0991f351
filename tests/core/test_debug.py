"""Every knob does what debug.py says."""

import asyncio
import json

import numpy as np
import pytest
from tensortab import DTYPES, Tensor, debug
from tensortab import device as devices
from tensortab.debug import KNOBS, knob, level
from tensortab.jit import Program

from tests.kernels.conftest import device as native


@pytest.fixture
def gpu():
    chosen = native("wgpu")
    devices.use(chosen)
    yield chosen
    devices.use(None)


def chain() -> Tensor:
    return (Tensor(np.ones((1, 64))).linear(Tensor(np.ones((32, 64)))) * 2).softmax()


def test_environment_scope_and_default(monkeypatch):
    assert (knob("DEVICE"), level("FUSE")) == ("", 1)
    monkeypatch.setenv("DEBUG", "2")
    assert level("DEBUG") == 2
    with debug(DEBUG=0, DEVICE="cpu"):
        assert (level("DEBUG"), knob("DEVICE")) == (0, "cpu")
        with debug(DEBUG=3):
            assert (level("DEBUG"), knob("DEVICE")) == (3, "cpu")
    assert level("DEBUG") == 2
    with pytest.raises(KeyError):
        knob("NOSUCH")
    with pytest.raises(KeyError), debug(NOSUCH=1):
        pass
    assert len(KNOBS) == 10


@pytest.mark.parametrize(
    ("value", "said"), [(1, "plan: 2 steps"), (2, "GB/s"), (3, "softmax"), (4, "@compute"), (5, "'op': 'linear'")]
)
def test_debug(gpu, capsys, value, said):
    with debug(DEBUG=value):
        chain().numpy()
    assert said in capsys.readouterr().out


def test_profile(gpu):
    async def run() -> list[dict]:
        program = await Program(gpu, [chain()]).load()
        await program.replay(3)
        program.unload()
        return program.profile()

    with debug(PROFILE=1, TIER="software"):
        rows = asyncio.run(run())
    assert [row["kernel"].split(".")[0] for row in rows] == ["matvec_serial", "softmax"]
    assert rows[0]["flops"] == 2 * 32 * 64
    assert all(row["ns"] > 0 and row["bytes"] > 0 for row in rows)


def test_measure_is_that_profile_without_a_knob_and_starts_from_zero(gpu):
    async def run() -> tuple[list[dict], int]:
        program = await Program(gpu, [chain()]).load()
        await program.measure(3)
        rows = await program.measure(2)
        program.unload()
        return rows, program.replays

    (matvec, softmax), replays = asyncio.run(run())
    assert replays == 2 and matvec["ns"] > 0 and softmax["ns"] > 0
    assert matvec["bytes"] == 4 * (64 + 32 * 64 + 32), "x, whose gain nobody reads, the weight, and y"
    assert softmax["bytes"] == 4 * (32 + 32)


def test_pick_and_tier(gpu):
    def stems() -> list[str]:
        return [k["label"].split(".")[0].split("+")[0] for k in Program(gpu, [chain()]).plan["kernels"]]

    with debug(TIER="software"):
        assert stems()[0] == "matvec_serial"
    with debug(TIER="default"):
        assert stems()[0] == "matvec"
    with debug(PICK="linear:matmul"):
        assert stems()[0] == "matmul"


def test_dump(gpu, tmp_path):
    with debug(DUMP=tmp_path):
        chain().numpy()
    plan = json.loads((tmp_path / "plan0.json").read_text())
    assert len(plan["steps"]) == 2
    assert len(list(tmp_path.glob("*.wgsl"))) == 2


def test_device():
    devices.use(None)
    with debug(DEVICE="cpu"):
        assert asyncio.run(devices.choose()).info["vendor"] == "numpy"
    devices.use(None)


def test_poison_reaches_what_is_not_written(gpu):
    """A kernel that reads a byte that nothing wrote computes NaN instead of a lucky zero."""
    with debug(POISON=1):
        scratch = Tensor.node("temp", shape=(64,), dtype=DTYPES["f32"])
        assert np.isnan((scratch + 0).numpy()).all()
