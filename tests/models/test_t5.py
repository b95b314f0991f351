"""T5 and its version 1.1 against transformers: hidden states block by block, logits, and what beam search writes."""

import asyncio

import pytest
from tensortab.models.t5 import RelativeBias

from tests.models.seq import ARRAYS, MODELS, folder, hidden, logits, opened, relative, tolerance

NAMES = ["t5", "t5_gated"]


@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_and_logits(adapter, tmp_path, name):
    path, settings = folder(name, tmp_path), {"num_beams": 3, "max_length": 21}
    ids, texts = ARRAYS[f"{name}.ids"].tolist(), ARRAYS[f"{name}.texts"].tolist()
    generator = opened(path, adapter, settings)
    for n, (got, want) in enumerate(zip(hidden(generator, ids, 47), ARRAYS[f"{name}.hidden"], strict=True)):
        assert relative(got, want) < tolerance(generator, 47), f"after block {n}"
    assert relative(logits(generator, ids, texts), ARRAYS[f"{name}.logits"]) < tolerance(generator, 47, len(texts))
    generator.free()


@pytest.mark.parametrize("name", [name for name in ARRAYS if name.startswith("buckets")])
def test_buckets(name):
    """Of distances from -200 to 200."""
    bias = RelativeBias.__new__(RelativeBias)
    bias.buckets, bias.far, bias.bidirectional = map(int, name.split(".")[1:])
    assert [bias.bucket(distance) for distance in range(-200, 201)] == ARRAYS[name].tolist()


@pytest.mark.parametrize(("name", "case"), [(name, n) for name in NAMES for n in range(len(MODELS[name]["cases"]))])
def test_beam_search(software, tmp_path, name, case):
    case = MODELS[name]["cases"][case]
    generator = opened(folder(name, tmp_path), software, case["settings"])
    for _ in range(2):  # a text leaves nothing behind
        assert asyncio.run(generator.generate(case["ids"])) == case["written"]
    generator.free()
