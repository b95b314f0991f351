"""BART against transformers: hidden states block by block, logits, and what beam search writes."""

import asyncio

import pytest
from tensortab.device.cpu import CPUDevice

from tests.models.seq import ARRAYS, MODELS, folder, hidden, logits, opened, relative, tolerance

NAMES = ["bart", "bart_scaled"]


def test_hidden_states_and_logits(adapter, tmp_path):
    path, settings = folder("bart", tmp_path), {"num_beams": 3, "max_length": 21}
    ids, texts = ARRAYS["bart.ids"].tolist(), ARRAYS["bart.texts"].tolist()
    generator = opened(path, adapter, settings)
    for n, (got, want) in enumerate(zip(hidden(generator, ids, 47), ARRAYS["bart.hidden"], strict=True)):
        assert relative(got, want) < tolerance(generator, 47), f"after block {n}"
    assert relative(logits(generator, ids, texts), ARRAYS["bart.logits"]) < tolerance(generator, 47, len(texts))
    generator.free()


def test_scaled_embeddings(tmp_path):
    path, settings = folder("bart_scaled", tmp_path), {"num_beams": 3, "max_length": 21}
    ids, texts = ARRAYS["bart_scaled.ids"].tolist(), ARRAYS["bart_scaled.texts"].tolist()
    generator = opened(path, CPUDevice(), settings)
    assert relative(hidden(generator, ids, 64)[-1], ARRAYS["bart_scaled.hidden"][-1]) < tolerance(generator, 64)
    assert relative(logits(generator, ids, texts), ARRAYS["bart_scaled.logits"]) < tolerance(generator, 47, len(texts))


@pytest.mark.parametrize(("name", "case"), [(name, n) for name in NAMES for n in range(len(MODELS[name]["cases"]))])
def test_beam_search(software, tmp_path, name, case):
    case = MODELS[name]["cases"][case]
    generator = opened(folder(name, tmp_path), software, case["settings"])
    for _ in range(2):  # a text leaves nothing behind
        assert asyncio.run(generator.generate(case["ids"])) == case["written"]
    generator.free()
