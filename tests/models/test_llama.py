"""Llama against transformers: logits of random models in every format, then the default model's tokens."""

import asyncio
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensortab import debug
from tensortab.decoder import Decoder
from tensortab.device import Device
from tensortab.formats import open_checkpoint
from tensortab.generate import Generator
from tensortab.jit import Program
from tensortab.ops import OPS, Hardware
from tensortab.sampling import Sampling
from tensortab.tokenizer import load_tokenizer

from tests.formats.memory import string, typed
from tests.kernels.tolerances import of_model

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = np.load(GOLDEN / "tiny.npz")
MODELS = ["tiny_llama", "tiny_llama3", *sorted(path.name for path in GOLDEN.glob("tiny_[!s]*.gguf"))]


def opened(file: str | Path, device: Device, context: int = 256) -> Generator:
    """A model with its weights, whose plans compile when they are needed."""
    decoder = Decoder(asyncio.run(open_checkpoint(GOLDEN / file)), device, context)

    async def read() -> None:
        await decoder.declare()
        await decoder.weights.load(device)

    asyncio.run(read())
    return Generator(decoder)


def logits(generator: Generator, ids: list[int], rows: int) -> np.ndarray:
    """Logits of every position, `rows` tokens at a time."""
    g = generator.decoder
    hidden = g.model.hidden(g.tokens, g.state, g.rope, g.kv, rows)
    g.kv.traced()
    out = g.model.logits(hidden)

    async def run() -> list[bytes]:
        program = await Program(g.device, [out]).load()
        g.tokens.write(g.device, struct.pack(f"<{len(ids)}I", *ids))
        parts = []
        for position in range(0, len(ids), rows):
            g.state.write(g.device, struct.pack("<4I", position, 0, 0, 0))
            parts.append(await program.replay(1, out, 0, 4 * out.shape[0] * out.shape[1]))
        program.unload()
        return parts

    return np.concatenate([np.frombuffer(p, np.float32).reshape(rows, -1) for p in asyncio.run(run())])[: len(ids)]


def greedy(generator: Generator, prompt: list[int], count: int) -> list[int]:
    async def run() -> list[int]:
        return [token.id async for token in generator.generate(prompt, Sampling(), count)]

    return asyncio.run(run())


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """|got - want| / |want|; NaN never passes."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def tolerance(generator: Generator, rows: int, layers: int | None = None) -> float:
    """Of logits, or of what the first `layers` write: q/k/v, output, gate and up, down of each, and the head."""
    layers = generator.decoder.model.cache.layers if layers is None else layers
    return of_model(generator.device, 4 * layers + 1, rows, cached=layers)


@pytest.mark.parametrize("file", MODELS)
def test_logits_in_every_format(adapter, file):
    generator = opened(file, adapter)
    name = file.removesuffix(".gguf")
    ids = TINY["ids"].tolist()
    for rows in (1, 41):
        assert relative(logits(generator, ids, rows), TINY[f"{name}.logits"]) < tolerance(generator, rows)
    generator.free()


def test_the_scale_of_rotations_of_files_of_2023(tmp_path, software):
    """rope.scale_linear = 4, which llama.cpp reads as the type "linear": its next tokens."""
    data = (GOLDEN / "tiny_f16.gguf").read_bytes()
    entry = string("llama.rope.scale_linear") + typed("f32", 4.0) + string("x") + typed("str", "pads")
    assert len(entry) == 64  # tensors keep their alignment
    count = int.from_bytes(data[16:24], "little") + 2
    (tmp_path / "2023.gguf").write_bytes(data[:16] + struct.pack("<Q", count) + entry + data[24:])
    expected = {
        GOLDEN / "tiny_f16.gguf": [(188, -3.6294), (190, -3.4088), (35, -3.2112)],
        tmp_path / "2023.gguf": [(188, -3.4572), (296, -3.2469), (122, -3.3593)],
    }
    for file, tokens in expected.items():
        generator = opened(file, software)
        prompt = load_tokenizer(generator.decoder.weights.checkpoint).encode("hello world, hello again and again")

        async def run(generator=generator, prompt=prompt):
            return [token.logprobs[0] async for token in generator.generate(prompt, Sampling(), 3, top_logprobs=0)]

        found = asyncio.run(run())
        assert [id for id, _ in found] == [id for id, _ in tokens]
        np.testing.assert_allclose([p for _, p in found], [p for _, p in tokens], atol=2e-3)
        generator.free()


def test_greedy_tokens(adapter):
    generator = opened("tiny_llama", adapter)
    assert greedy(generator, TINY["ids"].tolist(), 16) == TINY["tiny_llama.greedy"].tolist()
    assert greedy(generator, TINY["ids"].tolist(), 16) == TINY["tiny_llama.greedy"].tolist()  # all from the cache
    generator.free()


def test_split_tensors_give_the_same(software, monkeypatch):
    whole = logits(opened("tiny_q4_0.gguf", software), TINY["ids"].tolist(), 1)
    limited = Hardware("software", False, 8192)  # less than the embedding, enough for the cache
    monkeypatch.setattr("tensortab.decoder.hardware", lambda info: limited)
    split = opened("tiny_q4_0.gguf", software, 64)
    assert len(split.decoder.model.embed_tokens.weights) > 1
    assert np.array_equal(logits(split, TINY["ids"].tolist(), 1), whole)


@pytest.mark.parametrize("file", ["tiny_q8_0.gguf", "tiny_k.gguf"])
@pytest.mark.parametrize("knobs", [{"FUSE": 0}, {"ARENA": 0}, {"POISON": 1}, {"CHECK": 1}])
def test_knobs_change_nothing(software, knobs, file):
    with debug(**knobs):
        generator = opened(file, software)
        want = TINY[f"{file.removesuffix('.gguf')}.logits"]
        assert relative(logits(generator, TINY["ids"].tolist(), 1), want) < tolerance(generator, 1)


def test_check_passes_for_whole_steps(software):
    """Sampling and the cache are changed in place: they are compared as well."""
    with debug(CHECK=1, TIER="default"):
        generator = opened("tiny_llama", software)
        assert greedy(generator, TINY["ids"].tolist()[:4], 2)


@pytest.mark.parametrize("op", ["kv_update", "attention", "linear", "rms_norm"])
def test_check_finds_a_wrong_kernel(software, monkeypatch, op):
    """As if the kernel were wrong: here its definition is."""
    row = OPS[op]

    def wrong(np, arg, *values):
        if row.inplace is None:
            return row.numpy(np, arg, *values) * 1.1
        values[row.writes[0]][...] = 7
        return values[row.inplace]

    monkeypatch.setitem(OPS, op, replace(row, numpy=wrong))
    kernel = {"linear": "matvec"}.get(op, op)
    # of the tier in which a norm is a kernel of its own
    with debug(CHECK=1, TIER="software"), pytest.raises(AssertionError, match=rf"CHECK: {kernel}.*differs"):
        logits(opened("tiny_llama", software), TINY["ids"].tolist()[:3], 1)


def test_dispatches_a_token():
    """At most 7 a layer and 8 more, counted in the plan of one decoding step on a GPU."""
    from tests.kernels.conftest import device as native

    for file in ("tiny_llama", "tiny_k.gguf"):
        with debug(TIER="subgroups"):
            generator = opened(file, native("dawn"), 4096)
            short, long = (len(generator.decoder.plan(name).plan["steps"]) for name in ("decode", "decode_long"))
        layers = generator.decoder.model.cache.layers
        assert short <= 6 * layers + 8
        assert long <= 7 * layers + 8
        generator.free()


def prompts() -> list[dict]:
    return json.loads((GOLDEN / "smollm2.json").read_text())["prompts"]


@pytest.fixture(scope="module")
def smollm2(model_path) -> Generator:
    from tests.kernels.conftest import device as native

    return opened(model_path, native("wgpu"), 512)


@pytest.mark.parametrize("prompt", prompts(), ids=lambda prompt: prompt["name"])
def test_the_default_models_tokens(smollm2, prompt):
    """32 greedy tokens as transformers and llama.cpp give on the same weights; where the reference's own two best
    logits are closer than 0.05, either is right, and what follows the other is not compared."""
    got = greedy(smollm2, prompt["ids"], 32)
    reference = prompt["transformers"]
    assert reference["ids"] == prompt["llama_cpp_f32"]["ids"]
    for n, (token, want) in enumerate(zip(got, reference["ids"], strict=True)):
        if token != want:
            _, best, second, next_best = reference["top2"][n]
            assert token == second, f"token {n} is {token}, not {want}"
            assert best - next_best < 0.05
            break


def test_a_long_context_goes_on_with_the_split_attention(adapter):
    """The same tokens whether attention is split over the context from the start, from the middle, or never."""
    texts = []
    for border in (0, len(TINY["ids"]) + 5, 10**6):
        generator = opened("tiny_llama", adapter)
        generator.decoder.long = border
        texts.append(greedy(generator, TINY["ids"].tolist(), 12))
        generator.free()
    assert texts[0] == texts[1] == texts[2] == TINY["tiny_llama.greedy"].tolist()[:12]
