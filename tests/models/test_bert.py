"""BERT and DistilBERT against transformers: hidden states block by block, and the logits of their heads."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab import debug
from tensortab.device import Device
from tensortab.encode import Encoder
from tensortab.errors import Error
from tensortab.jit import Jit, Program, jit
from tensortab.tasks import pipeline
from tensortab.tensor import Tensor

from tests.kernels.tolerances import of_model
from tests.models.test_llama import relative
from tests.recipe_text import GOLDEN, write

GOLD = json.loads((GOLDEN / "bert.json").read_text())
ARRAYS = np.load(GOLDEN / "bert.npz")
KINDS = ["bert", "distilbert"]


@pytest.fixture(params=["cpu", "dawn-software", "wgpu-default"])
def adapter(adapter: Device) -> Device:
    return adapter


def opened(
    folder: Path, device: Device | None = None, task: str = "feature-extraction", kind: str = "bert", **more: Any
) -> Encoder:
    return loaded(task, write(folder, kind, **more), device)


def loaded(task: str, folder: Path, device: Device | None = None) -> Encoder:
    return asyncio.run(pipeline(task, folder, device)).encoder


def values(run: Jit, *args: Tensor) -> np.ndarray:
    async def computed() -> np.ndarray:
        raw = np.frombuffer(await run.read(*args), np.float32)
        ((_, output, _),) = run.traced.values()
        return raw.reshape(output.shape)

    result = asyncio.run(computed())
    run.free()
    return result


def tolerance(encoder: Encoder, rows: int, layers: int | None = None) -> float:
    """Of what `layers` (all) give, or their head: q/k/v, output, inner and outer product of each, two of a head."""
    return of_model(encoder.device, 4 * (len(encoder.model.layers) if layers is None else layers) + 2, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_block_by_block(adapter, tmp_path, kind):
    encoder = opened(tmp_path, kind=kind)
    (batch,) = encoder.batches([tuple(GOLD["pair"])])
    want = ARRAYS[f"{kind}.hidden"]
    layers = encoder.model.layers
    for count in range(len(layers) + 1):
        encoder.model.layers = layers[:count]
        got = values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths)
        assert relative(got[0, : len(batch.tokens[0])], want[count]) < tolerance(encoder, 48, count), count
    encoder.free()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_with_padding(adapter, tmp_path, kind):
    encoder = opened(tmp_path, kind=kind)
    (batch,) = encoder.batches(GOLD["texts"])
    assert batch.ids.shape == (8, 48) and batch.numbers[0] == 4 and len(batch.tokens[0]) == 48
    got = values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths)
    want = np.split(ARRAYS[f"{kind}.last"], np.cumsum(ARRAYS["lengths"])[:-1])
    for row, number in enumerate(batch.numbers):
        assert relative(got[row, : len(want[number])], want[number]) < tolerance(encoder, 48)
    encoder.free()


@pytest.mark.parametrize("kind", KINDS)
def test_heads(adapter, tmp_path, kind):
    encoder = opened(tmp_path, task="fill-mask", kind=kind)
    (batch,) = encoder.batches(GOLD["texts"][:1])
    place = batch.tokens[0].index(encoder.tokenizer.mask)
    got = values(
        jit(lambda *given: encoder.model.logits(encoder.model.hidden(*given)[0, place : place + 1].contiguous())),
        batch.ids, batch.types, batch.lengths,
    )  # fmt: skip
    assert relative(got, ARRAYS[f"{kind}.mask"]) < tolerance(encoder, 48)
    encoder.free()
    encoder = opened(tmp_path, task="text-classification", kind=kind)
    (batch,) = encoder.batches(GOLD["texts"])
    run = jit(lambda *given: encoder.model.logits(encoder.model.hidden(*given)[:, 0]))
    got = values(run, batch.ids, batch.types, batch.lengths)
    order = np.argsort(batch.numbers)
    assert relative(got[: len(order)][order], ARRAYS[f"{kind}.labels"]) < tolerance(encoder, 48)
    encoder.free()


@pytest.mark.parametrize("kind", KINDS)
def test_names_without_the_models_in_front(software, tmp_path, kind):
    got = []
    for prefix in (True, False):
        encoder = opened(tmp_path / str(prefix), kind=kind, prefix=prefix)
        (batch,) = encoder.batches(["Hello, world!"])
        got.append(values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths))
        encoder.free()
    assert np.array_equal(*got)


def test_old_names_of_norms(software, tmp_path):
    encoder = opened(tmp_path)
    (batch,) = encoder.batches(["Hello, world!"])
    want = values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths)
    encoder.free()
    file = tmp_path / "model.safetensors"
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + size]
    for new, old in ((b"LayerNorm.weight", b"LayerNorm.gamma"), (b"LayerNorm.bias", b"LayerNorm.beta")):
        header = header.replace(new, old)
    file.write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + size :])
    encoder = loaded("feature-extraction", tmp_path)
    assert np.array_equal(values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths), want)
    encoder.free()


@pytest.mark.parametrize("knobs", [{"FUSE": 0}, {"POISON": 1}, {"CHECK": 1}])
def test_knobs_change_nothing(software, tmp_path, knobs):
    with debug(**knobs):
        encoder = opened(tmp_path)
        (batch,) = encoder.batches([tuple(GOLD["pair"])])
        got = values(jit(encoder.model.hidden), batch.ids, batch.types, batch.lengths)
        assert relative(got[0, : len(batch.tokens[0])], ARRAYS["bert.hidden"][-1]) < tolerance(encoder, 48)
        encoder.free()


def test_dispatches_a_layer(tmp_path):
    """7 a layer: q/k/v, attention, its output, norm, the inner product, the outer one, norm; 4 before."""
    from tests.kernels.conftest import device as native

    for tier in ("software", "default", "subgroups"):
        with debug(TIER=tier):
            encoder = opened(tmp_path, native("dawn"))
            for texts in (["Hello"], ["Hello"] * 3):
                (batch,) = encoder.batches(texts)
                program = Program(encoder.device, [encoder.model.hidden(batch.ids, batch.types, batch.lengths)])
                assert len(program.plan["steps"]) == 7 * len(encoder.model.layers) + 4
            encoder.free()


def test_batches_are_of_few_shapes_and_lose_nothing(software, tmp_path):
    rng = np.random.default_rng()
    encoder = opened(tmp_path)
    texts = [" ".join(["word"] * int(n)) for n in rng.integers(0, 60, 700)]
    batches = list(encoder.batches(texts))
    assert sorted(number for batch in batches for number in batch.numbers) == list(range(700))
    for batch in batches:
        rows, columns = batch.ids.shape
        assert rows * columns <= 4096 and columns <= 48 and rows & (rows - 1) == 0 and columns % 16 == 0
        assert max(map(len, batch.tokens)) > columns - 16
        for number, tokens in zip(batch.numbers, batch.tokens, strict=True):
            assert tokens == encoder.tokenizer.inputs(texts[number], max_length=48)[0]
    assert len({batch.ids.shape for batch in batches}) <= 4
    assert list(encoder.batches([])) == []
    encoder.free()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bart"}, "type 'bart'"),
        ({"model_type": "llama"}, "type 'llama'"),
        ({"model_type": "../x"}, "type '../x'"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"num_hidden_layers": 3}, "no tensor"),
        ({"hidden_act": "mish"}, "mish"),
    ],
)
def test_what_is_no_bert_is_refused(software, tmp_path, change, message):
    write(tmp_path, "bert")
    config = json.loads((tmp_path / "config.json").read_text()) | change
    config = {key: value for key, value in config.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    before = software.counters()["bytes"]
    with pytest.raises(Error, match=message) as caught:
        loaded("fill-mask", tmp_path)
    assert caught.value.code == "bad_file"
    assert software.counters()["bytes"] == before
