"""BART against transformers: hidden states block by block, logits, and what beam search writes."""

import asyncio

import pytest
from tensortab.device.cpu import CPUDevice

from tests.models.seq import ARRAYS, MODELS, TOLERANCE, folder, logits, opened, read, relative

NAMES = ["bart", "bart_scaled"]


def test_hidden_states_and_logits(adapter, tmp_path):
    path, settings = folder("bart", tmp_path), {"num_beams": 3, "max_length": 21}
    ids, texts = ARRAYS["bart.ids"].tolist(), ARRAYS["bart.texts"].tolist()
    generator = opened(path, adapter, settings)
    layers = generator.model.encoder
    for n, want in enumerate(ARRAYS["bart.hidden"]):
        generator.model.encoder = layers[:n]
        assert relative(read(generator, ids, 47), want) < TOLERANCE, f"after block {n}"
    assert relative(logits(generator, ids, texts), ARRAYS["bart.logits"]) < TOLERANCE
    generator.free()


def test_scaled_embeddings(tmp_path):
    path, settings = folder("bart_scaled", tmp_path), {"num_beams": 3, "max_length": 21}
    ids, texts = ARRAYS["bart_scaled.ids"].tolist(), ARRAYS["bart_scaled.texts"].tolist()
    generator = opened(path, CPUDevice(), settings)
    assert relative(read(generator, ids, 64), ARRAYS["bart_scaled.hidden"][-1]) < TOLERANCE
    assert relative(logits(generator, ids, texts), ARRAYS["bart_scaled.logits"]) < TOLERANCE


@pytest.mark.parametrize(("name", "case"), [(name, n) for name in NAMES for n in range(len(MODELS[name]["cases"]))])
def test_beam_search(software, tmp_path, name, case):
    case = MODELS[name]["cases"][case]
    generator = opened(folder(name, tmp_path), software, case["settings"])
    for _ in range(2):  # a text leaves nothing behind
        assert asyncio.run(generator.generate(case["ids"])) == case["written"]
    generator.free()
