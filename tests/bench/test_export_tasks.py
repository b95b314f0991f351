"""The other tasks' ONNX files compute what transformers does: tiny models, run by onnx's reference in numpy."""

import asyncio
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from tensortab.audio import LogMel, Recording
from tensortab.device.cpu import CPUDevice
from tensortab.jit import jit
from tensortab.sources.file import open_folder
from tensortab.tensor import Tensor

from bench.export_tasks import export
from tests import tiny_whisper
from tests.models import test_bert
from tests.models.test_vision import ARRAYS, MODELS, tensors
from tests.recipe import write_folder

WHISPER = np.load(Path(__file__).parents[1] / "golden/whisper.npz")


class MultiHeadAttention(OpRun):
    op_domain = "com.microsoft"

    def _run(self, q, k, v, bias=None, padding=None, added=0, past_k=None, past_v=None, num_heads=None):
        def split(x: np.ndarray) -> np.ndarray:
            return x if x.ndim == 4 else x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2)

        q, k, v = split(q), split(k), split(v)
        if past_k is not None:
            k, v = np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2)
        scores = q @ k.swapaxes(2, 3) * q.shape[3] ** -0.5 + (0 if added is None else added)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ v
        return mixed.swapaxes(1, 2).reshape(mixed.shape[0], mixed.shape[2], -1).astype(q.dtype), k, v


class SkipLayerNormalization(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, skip, gain, bias, epsilon=None):
        x = x + skip
        x = x - x.mean(-1, keepdims=True)
        return (x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * gain + bias,)


class Gelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, approximate=None):
        return ((x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2).astype(x.dtype),)


class QuickGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, alpha=1.702):
        return (x / (1 + np.exp(-1.702 * x)),)


@pytest.fixture(params=["onnx", "fused"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


def run(folder: Path, part: str, **inputs: np.ndarray) -> list[Any]:
    operators = [MultiHeadAttention, SkipLayerNormalization, Gelu, QuickGelu]
    return ReferenceEvaluator(str(folder / f"{part}.onnx"), new_ops=operators).run(None, inputs)


def close(have: np.ndarray, want: np.ndarray) -> None:
    assert have.shape == want.shape
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize(
    ("kind", "part", "output"), [("clip", "vision_model", "embed_image"), ("efficientnet_lite", "model", "logits")]
)
def test_images(tmp_path: Path, variant: str, kind: str, part: str, output: str) -> None:
    if (kind, variant) == ("efficientnet_lite", "fused"):
        pytest.skip("no attention")
    given = write_folder(tmp_path / "given", MODELS[kind]["config"], tensors(kind))
    export(open_folder(given), tmp_path / "made", ("fp32",))
    pixels = ARRAYS[f"{kind}.pixel_values"].astype(np.float32).transpose(0, 3, 1, 2)
    (rows,) = run(tmp_path / "made" / variant, part, pixel_values=pixels)
    want = ARRAYS[f"{kind}.{output}"]
    close(rows / np.linalg.norm(rows, axis=-1, keepdims=True) if output == "embed_image" else rows, want)


def test_texts(tmp_path: Path, variant: str) -> None:
    encoder = test_bert.opened(tmp_path / "given", CPUDevice(), prefix=False)
    export(open_folder(tmp_path / "given"), tmp_path / "made", ("fp32",))
    (batch,) = encoder.batches(test_bert.GOLD["texts"])
    encoder.free()
    columns = max(map(len, batch.tokens))
    ids, mask = (np.zeros((len(batch.tokens), columns), np.int64) for _ in range(2))
    for row, tokens in enumerate(batch.tokens):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    (hidden,) = run(tmp_path / "made" / variant, "model", input_ids=ids, attention_mask=mask, token_type_ids=0 * ids)
    want = np.split(test_bert.ARRAYS["bert.last"], np.cumsum(test_bert.ARRAYS["lengths"])[:-1])
    for row, number in enumerate(batch.numbers):
        close(hidden[row, : len(batch.tokens[row])], want[number])


def test_speech(tmp_path: Path, variant: str) -> None:
    """The prompt at once, then token by token from the cache."""
    (tmp_path / "given").mkdir()
    export(open_folder(tiny_whisper.write(tmp_path / "given")), tmp_path / "made", ("fp32",))
    window = Recording(tiny_whisper.noise(1.7, 2)).window(0, tiny_whisper.WINDOW)
    samples = Tensor.of("samples", (len(window) // 4,), data=window)
    log_mel = jit(LogMel(80), CPUDevice())
    mel = np.frombuffer(asyncio.run(log_mel.read(samples)), np.float32).reshape(1, -1, 80)
    log_mel.free()
    (states,) = run(tmp_path / "made" / variant, "encoder_model", input_features=mel.swapaxes(1, 2))
    close(states[0, :, ::4], WHISPER["encoder"][-1])
    model = onnx.load(tmp_path / "made" / variant / "decoder_model_merged.onnx")
    names = [value.name for value in model.graph.input if value.name.startswith("past")]
    shape = (1, tiny_whisper.CONFIG["decoder_attention_heads"], 0, 32)
    past, ids = {name: np.zeros(shape, np.float32) for name in names}, WHISPER["ids"][None].astype(np.int64)
    for start, end in ((0, 4), *((n, n + 1) for n in range(4, ids.shape[1]))):
        given = {
            "input_ids": ids[:, start:end],
            "encoder_hidden_states": states,
            "use_cache_branch": np.array([start > 0]),
        }
        values = run(tmp_path / "made" / variant, "decoder_model_merged", **given, **past)
        made = dict(zip((value.name for value in model.graph.output), values, strict=True))
        past = {name: made[name.replace("past_key_values", "present")] for name in names}
        close(made["logits"][0], WHISPER["logits"][start:end])
