"""Beam search: its settings in a model's files, its GPU memory, and its errors. Its texts are compared with those of
transformers in tests/models/test_bart.py and test_t5.py."""

import asyncio
import json
from pathlib import Path

import pytest
import tensortab as tt
from tensortab import debug
from tensortab import device as devices
from tensortab.beam import BeamGenerator, BeamSearch, GenerationConfig
from tensortab.device.cpu import CPUDevice
from tensortab.formats import Checkpoint, open_checkpoint

from tests.formats.memory import MemorySource
from tests.kernels.conftest import device as native
from tests.models.seq import MODELS, folder, opened

CASE = MODELS["bart"]["cases"][1]


@pytest.fixture
def bart(tmp_path: Path) -> Path:
    return folder("bart", tmp_path)


def said(config: dict, generation: dict) -> GenerationConfig:
    config = {"eos_token_id": [2], "decoder_start_token_id": 3} | config
    files = {"generation_config.json": MemorySource(json.dumps(generation).encode())}
    return asyncio.run(GenerationConfig.of(Checkpoint("safetensors", {}, {}, config, files=files), "summarization"))


def test_what_the_files_say():
    """The task's settings override generation_config.json, which overrides config.json, and all override defaults."""
    config = {"num_beams": 2, "max_length": 30, "min_length": 5, "forced_bos_token_id": 0}
    config["task_specific_params"] = {
        "summarization": {"max_length": 142, "prefix": "x"},
        "translation": {"num_beams": 9},
    }
    got = said(config, {"num_beams": 4, "max_length": 62, "early_stopping": True})
    assert got == GenerationConfig(
        3, frozenset({2}), 4, max_length=142, min_length=5, early_stopping=True, forced_bos_token_id=0
    )
    assert said({}, {"length_penalty": None}) == GenerationConfig(3, frozenset({2}))


@pytest.mark.parametrize(
    "wrong", [{"num_beams": "4"}, {"max_length": 1.5}, {"early_stopping": 3}, {"task_specific_params": [1]}]
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(tt.Error, match=next(iter(wrong))):
        said(wrong, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_beams": 0},
        {"num_beams": 65},
        {"forced_eos_token_id": 999},
        {"forced_bos_token_id": -1},
        {"eos_token_id": 320},
    ],
)
def test_a_configuration_beyond_the_vocabulary_is_refused(bart, wrong):
    with pytest.raises(tt.Error, match="configuration"):
        opened(bart, CPUDevice(), wrong)


def test_other_models_are_refused():
    checkpoint = Checkpoint("safetensors", {}, {}, {"model_type": "llama"})
    with pytest.raises(tt.Error, match="'llama'"):
        BeamGenerator(checkpoint, CPUDevice(), GenerationConfig(0, frozenset({1})))


def test_requests_that_cannot_be(bart):
    generator = opened(bart, CPUDevice(), CASE["settings"])
    for arguments, code in [
        (([5] * 97,), "context_exceeded"), (([],), "bad_request"), (([320],), "bad_request"),
        (([5], 9, 8), "bad_request"), (([5], 0, 97), "bad_request"), (([5], 0, "8"), "bad_request"),
    ]:  # fmt: skip
        with pytest.raises(tt.Error) as caught:
            asyncio.run(generator.generate(*arguments))
        assert caught.value.code == code
    assert asyncio.run(generator.generate(CASE["ids"])) == CASE["written"]


def test_lengths_of_one_request(bart):
    generator = opened(bart, CPUDevice(), CASE["settings"] | {"eos_token_id": list(range(8, 30))})
    assert len(asyncio.run(generator.generate(CASE["ids"], 0, 5))) <= 5
    assert len(asyncio.run(generator.generate(CASE["ids"], 30, 31))) == 31
    assert len(asyncio.run(generator.generate(CASE["ids"], 30))) == 30


def test_everything_is_given_back(bart):
    device = CPUDevice()
    before = device.counters()["bytes"]
    generator = opened(bart, device, CASE["settings"])
    asyncio.run(generator.generate(CASE["ids"]))
    generator.free()
    assert device.counters()["bytes"] == before


def test_a_step_creates_no_gpu_object(bart):
    device = native("dawn")
    generator = opened(bart, device, CASE["settings"])
    asyncio.run(generator.generate(CASE["ids"], 0, 4))
    before = device.counters()["created"]
    search = BeamSearch(generator.config)
    for _ in range(3):
        search.advance(asyncio.run(generator._candidates(search, 9)))
    assert device.counters()["created"] == before
    generator.free()


def test_abort_ends_texts_asked_for_before(bart, monkeypatch):
    generator = opened(bart, CPUDevice(), CASE["settings"])
    steps, step = [], generator._candidates

    async def counted(*arguments) -> list:
        steps.append(arguments)
        if len(steps) == 3:
            generator.abort()
        return await step(*arguments)

    monkeypatch.setattr(generator, "_candidates", counted)

    async def both() -> list[list[int]]:
        return await asyncio.gather(generator.generate(CASE["ids"]), generator.generate(CASE["ids"]))

    assert list(map(len, asyncio.run(both()))) == [4, 1]  # three steps after the token that begins a text, and none
    assert asyncio.run(generator.generate(CASE["ids"])) == CASE["written"]


def test_check_passes_for_whole_steps(bart):
    """Keys and values are put into their table in place, which CHECK=1 compares too."""
    device = native("wgpu")
    devices.use(device)
    with debug(CHECK=1, TIER="default"):
        generator = opened(bart, device, CASE["settings"])
        assert asyncio.run(generator.generate(CASE["ids"], 0, 4)) == CASE["written"][:4]
    devices.use(None)


@pytest.mark.parametrize(("name", "layer", "more"), [("bart", 13, 5), ("t5", 10, 6), ("t5_gated", 10, 6)])
def test_dispatches_a_step(tmp_path, name, layer, more):
    """The dispatches for up to four beams are counted in the plan; a large vocabulary needs one more."""
    with debug(TIER="subgroups"):
        checkpoint = asyncio.run(open_checkpoint(folder(name, tmp_path)))
        generator = BeamGenerator(checkpoint, native("dawn"), GenerationConfig(0, frozenset({2}), 4))
    assert len(generator.step.plan["steps"]) == layer * len(generator.model.decoder) + more
