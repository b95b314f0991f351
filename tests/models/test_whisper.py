"""Whisper against transformers on the same random weights (tests/make_golden_whisper.py)."""

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensortab.audio import LogMel, Recording
from tensortab.decoder import Decoder
from tensortab.formats import open_checkpoint
from tensortab.jit import Program, jit
from tensortab.ops import OPS
from tensortab.tensor import Tensor

from tests import tiny_whisper as tiny
from tests.kernels.tolerances import of_model

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "whisper.npz")
adapters = pytest.mark.parametrize("adapter", ["cpu", "wgpu-software", "dawn-subgroups"], indirect=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("whisper"))


def opened(folder: Path, device: Any) -> Decoder:
    """The model with its weights, whose plans compile when they are needed."""
    decoder = Decoder(asyncio.run(open_checkpoint(folder)), device)

    async def read() -> None:
        await decoder.declare()
        await decoder.weights.load(device)

    asyncio.run(read())
    return decoder


def samples(audio: np.ndarray) -> Tensor:
    window = Recording(audio).window(0, tiny.WINDOW)
    return Tensor.of("samples", (len(window) // 4,), data=window)


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """|got - want| / |want|; NaN never passes."""
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@adapters
@pytest.mark.parametrize("bands", [80, 128])
def test_log_mel(adapter, bands):
    log_mel = LogMel(bands)
    run = jit(log_mel, adapter)
    got = np.frombuffer(asyncio.run(asyncio.run(run(samples(tiny.noise(2, 1)))).tobytes()), np.float32)
    got = got.reshape(-1, bands)[::4]
    assert np.abs(got - GOLDEN[f"mel{bands}"]).max() < 1e-4  # of values from -1 to 2, four decades of power each
    run.free()
    log_mel.free()


@adapters
def test_encoder_block_by_block(adapter, folder):
    decoder = opened(folder, adapter)
    encoder = decoder.model.encoder

    def stages(audio: Tensor) -> list[Tensor]:
        mel = decoder.model.log_mel(audio).reshape(1, -1, 80)
        x = encoder.activation_fn(encoder.conv1(mel))
        x = encoder.activation_fn(encoder.conv2(x)) + encoder.embed_positions
        states = [x]
        for layer in encoder.layers:
            states.append(x := layer(x))
        return [*states[:-1], encoder.layer_norm(x)]  # transformers gives the last one normed

    run = jit(stages, adapter)

    async def compute() -> list[np.ndarray]:
        outputs = await run(samples(tiny.noise(1.7, 2)))
        return [np.frombuffer(await o.tobytes(), np.float32).reshape(-1, tiny.SIZE)[:, ::4] for o in outputs]

    for got, want in zip(asyncio.run(compute()), GOLDEN["encoder"], strict=True):
        assert relative(got, want) < of_model(adapter, 4 * len(encoder.layers) + 2, 1500)
    run.free()
    decoder.free()


@adapters
def test_decoder_block_by_block(adapter, folder):
    """All tokens at once, then one by one from the cache: hidden states and logits."""
    decoder = opened(folder, adapter)
    model, ids = decoder.model, GOLDEN["ids"].astype(np.uint32)
    encode = jit(model.encode, adapter)

    def stages(rows: int) -> list[Tensor]:
        state, rope, kv = decoder.state, decoder.rope, decoder.kv
        x = model.embed_tokens(decoder.tokens, state, rows) + model.embed_positions(state, rows)
        states = [x]
        for layer in model.layers:
            states.append(x := layer(x, state, rope, kv))
        kv.traced()
        return [*states[:-1], model.layer_norm(x), model.logits(x)]

    async def compute(rows: int) -> list[np.ndarray]:
        outputs = stages(rows)
        program = await Program(adapter, outputs).load()
        parts: list[list[bytes]] = [[] for _ in outputs]
        for position in range(0, len(ids), rows):
            decoder.tokens.write(decoder.device, ids.tobytes())
            decoder.state.write(decoder.device, np.array([position, 0, 0, 0], np.uint32).tobytes())
            await program.replay()
            for part, output in zip(parts, outputs, strict=True):
                part.append(await adapter.read(output.buffer.id, 0, 4 * rows * output.shape[-1]))
        program.unload()
        return [np.frombuffer(b"".join(part), np.float32).reshape(len(ids), -1) for part in parts]

    asyncio.run(encode(samples(tiny.noise(1.7, 2))))
    for rows in (len(ids), 1):
        *states, logits = asyncio.run(compute(rows))
        layers = len(model.layers)  # of the decoder; the encoder has as many, and its keys and values are f16, too
        encoded = of_model(adapter, 4 * layers + 3, 1500, cached=layers)
        allowed = math.hypot(encoded, of_model(adapter, 6 * layers + 1, rows, cached=layers))
        for got, want in zip(states, GOLDEN["decoder"], strict=True):
            assert relative(got[:, ::4], want) < allowed
        assert relative(logits, GOLDEN["logits"]) < allowed
    encode.free()
    model.free()
    decoder.free()


@pytest.mark.parametrize("case", range(0, 40, 4))
def test_the_rules_are_those_of_transformers(case):
    """The definition of timestamp_rules, with which tests/kernels compares the kernels."""
    for n in range(case, case + 4):
        tokens, begin = GOLDEN["rules.tokens"][n], 2
        count = int((tokens >= 0).sum())
        first = tiny.ID["notimestamps"] + 1
        masks = np.zeros((2, tiny.VOCABULARY), np.float32)
        masks[:, first - 1] = -1e30
        masks[0, :first] = masks[0, first + tiny.GENERATION["max_initial_timestamp_index"] + 1 :] = -1e30
        state, rules = np.array([count - 1, 0], np.uint32), np.array([begin, first, tiny.END, 0], np.uint32)
        before, want = GOLDEN["rules.before"][n], GOLDEN["rules.after"][n]
        got = OPS["timestamp_rules"].numpy(np, {}, before[None], masks, tokens.astype(np.uint32), state, rules)[0]
        assert (np.isinf(want) == (got < -1e29)).all()
        assert np.array_equal(got[np.isfinite(want)], want[np.isfinite(want)])
