"""The peers' ONNX files have the weights of the GGUF file: 8 bits exactly, 4 bits to half a step of their own."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper
from tensortab.formats import open_checkpoint

from bench.export_onnx import BLOCK, FLOATS, Graph, model

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINT = asyncio.run(open_checkpoint(GOLDEN / "tiny_q8_0.gguf"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_matrix(dtype: str) -> None:
    made = model(CHECKPOINT, FLOATS[dtype])
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    tensors = Graph(CHECKPOINT, FLOATS[dtype])
    matrices = [node for node in made.graph.node if node.op_type == "MatMulNBits"]
    assert len(matrices) == 7 * CHECKPOINT.config["num_hidden_layers"] + 1
    for node in matrices:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        data, scales, *zeros = (values[name] for name in node.input[1:])
        scales = scales.astype(np.float32)[..., None]
        shape = attributes["N"], attributes["K"]
        assert attributes["block_size"] == BLOCK and data.shape[:2] == (shape[0], shape[1] // BLOCK)
        if node.name == "logits":  # the embedding's own bytes
            want = tensors.floats("model.embed_tokens.weight")
            assert np.array_equal(((data.astype(np.float32) - 128) * scales).reshape(shape), want)
            continue
        halves = np.stack([data & 15, data >> 4], -1).reshape(*data.shape[:2], BLOCK)
        zero = np.stack([zeros[0] & 15, zeros[0] >> 4], -1).reshape(shape[0], -1)[:, : data.shape[1], None]
        got = (halves.astype(np.float32) - zero) * scales
        want = tensors.floats(f"{node.name}.weight").reshape(got.shape)
        assert np.all(np.abs(got - want) <= scales * 0.51)  # f16 scales may be a little short of the ends


def test_rows_of_q_are_in_hugging_faces_order() -> None:
    """GGUF's rows alternate between a head's two halves."""
    tensors = Graph(CHECKPOINT, FLOATS["q4"])
    name = "model.layers.0.self_attn.q_proj.weight"
    ours = tensors.floats(name)
    CHECKPOINT.rope_interleaved = False
    try:
        theirs = tensors.floats(name)
    finally:
        CHECKPOINT.rope_interleaved = True
    half = CHECKPOINT.config["head_dim"] // 2
    assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[half], theirs[1])
    assert np.array_equal(ours[1], theirs[2])
