"""The other tasks' ONNX files compute what transformers does: tiny models, run by onnx's reference in numpy."""

import asyncio
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from tensortab.device.cpu import CPUDevice
from tensortab.encode import Encoder
from tensortab.sources.file import open_folder

from bench.export_tasks import export
from tests import recipe_text
from tests.models import test_bert
from tests.models.test_vision import ARRAYS, MODELS, tensors
from tests.recipe import write_folder


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


def run(folder: Path, part: str, **inputs: np.ndarray) -> list[Any]:
    operators = [MultiHeadAttention, SkipLayerNormalization, Gelu, QuickGelu]
    return ReferenceEvaluator(str(folder / "onnx" / f"{part}.onnx"), new_ops=operators).run(None, inputs)


def close(have: np.ndarray, want: np.ndarray) -> None:
    assert have.shape == want.shape
    assert np.abs(have - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize(
    ("kind", "part", "output"), [("clip", "vision_model", "embed_image"), ("efficientnet_lite", "model", "logits")]
)
def test_images(tmp_path: Path, kind: str, part: str, output: str) -> None:
    given = write_folder(tmp_path / "given", MODELS[kind]["config"], tensors(kind))
    export(open_folder(given), tmp_path / "made", ("fp32",))
    pixels = ARRAYS[f"{kind}.pixel_values"].astype(np.float32).transpose(0, 3, 1, 2)
    (rows,) = run(tmp_path / "made", part, pixel_values=pixels)
    want = ARRAYS[f"{kind}.{output}"]
    close(rows / np.linalg.norm(rows, axis=-1, keepdims=True) if output == "embed_image" else rows, want)


def test_texts(tmp_path: Path) -> None:
    given = recipe_text.write(tmp_path / "given", "bert", prefix=False)
    export(open_folder(given), tmp_path / "made", ("fp32",))
    encoder = asyncio.run(Encoder.open(str(given), "Model", CPUDevice(), None, lambda *_: None))
    (batch,) = encoder.batches(test_bert.GOLD["texts"])
    encoder.free()
    columns = max(map(len, batch.tokens))
    ids, mask = (np.zeros((len(batch.tokens), columns), np.int64) for _ in range(2))
    for row, tokens in enumerate(batch.tokens):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    (hidden,) = run(tmp_path / "made", "model", input_ids=ids, attention_mask=mask, token_type_ids=0 * ids)
    want = np.split(test_bert.ARRAYS["bert.last"], np.cumsum(test_bert.ARRAYS["lengths"])[:-1])
    for row, number in enumerate(batch.numbers):
        close(hidden[row, : len(batch.tokens[row])], want[number])
