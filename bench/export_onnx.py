"""The default model as ONNX files, for the peers that need those: `export(gguf, folder, "q4f16")`.

The graph is that of Transformers.js's published q4 and q4f16 exports: MatMulNBits, GroupQueryAttention with rotation,
SkipSimplifiedLayerNormalization, num_logits_to_keep. The weights come from the GGUF file's blocks of 32. 8 bits (the
embedding, which is the head as well) go over exactly. 4 bits can not: Q4_1 has an offset of any size for a block, and
ONNX Runtime's WebGPU kernels take an offset of a whole number of steps only (zero points of 4 bits). They are rounded
anew to the same number of bits, so a peer's text may differ from TensorTab's; the work and the bytes do not.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tensortab import blocks
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.tokenizer.gguf import from_gguf

BLOCK = 32
FLOATS = {"q4": np.dtype(np.float32), "q4f16": np.dtype(np.float16)}
MICROSOFT = (  # the domain of these operators
    "Gelu", "GatherBlockQuantized", "GroupQueryAttention", "MatMulNBits", "MultiHeadAttention", "QuickGelu",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
)  # fmt: skip
ROUNDED = "Q4_1 rounded anew to 4 bits with 4-bit zero points: ONNX Runtime's WebGPU kernels take no others"


def four_bits(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n, k] -> MatMulNBits' nibbles [n, k / 32, 16], scales f16 [n, k / 32], zero points, two a byte, [n, k / 64]."""
    w = w.reshape(len(w), -1, BLOCK)
    low, high = np.minimum(w.min(-1), 0), np.maximum(w.max(-1), 0)
    scales = np.maximum((high - low) / 15, 1e-7).astype(np.float16)
    step = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / step), 0, 15)
    q = np.clip(np.rint(w / step[..., None]) + zeros[..., None], 0, 15).astype(np.uint8)
    zeros = np.pad(zeros.astype(np.uint8), ((0, 0), (0, zeros.shape[1] % 2)))
    return q[..., 0::2] | q[..., 1::2] << 4, scales, zeros[:, 0::2] | zeros[:, 1::2] << 4


def eight_bits(raw: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Q8_0's bytes as [n, k / 32, 32] with zero at 128, and scales f16 [n, k / 32]: the same numbers."""
    raw = raw.reshape(n, -1, 2 + BLOCK)
    return raw[..., 2:] + np.uint8(128), np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0]


class Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, checkpoint: Checkpoint, float_type: np.dtype) -> None:
        self.checkpoint, self.float_type = checkpoint, float_type
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], name: str, outputs: list[str] | None = None, **attributes: Any) -> str:
        """Its first output, which has its name."""
        domain = "com.microsoft" if op in MICROSOFT else ""
        self.nodes.append(helper.make_node(op, inputs, outputs or [name], name, domain=domain, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def bytes(self, name: str) -> np.ndarray:
        info = self.checkpoint.tensor(name)
        return np.frombuffer(asyncio.run(info.source.bytes(info.offset, info.nbytes)), np.uint8)

    def floats(self, name: str) -> np.ndarray:
        """A tensor's values; rows of q and k in Hugging Face's order, as the exports have them."""
        info = self.checkpoint.tensor(name)
        w = blocks.dequantize(self.bytes(name), info.dtype).reshape(info.shape)
        if self.checkpoint.rope_interleaved and name.endswith(("q_proj.weight", "k_proj.weight")):
            pairs = self.checkpoint.config["head_dim"] // 2
            w = w.reshape(-1, pairs, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        return w

    def vector(self, name: str) -> str:
        return self.constant(name, self.floats(name).astype(self.float_type))

    def linear(self, x: str, name: str) -> str:
        """x @ w.T of a matrix that is rounded to 4 bits."""
        w = self.floats(f"{name}.weight")
        nibbles, scales, zeros = four_bits(w)
        parts = {"nibbles": nibbles, "scales": scales.astype(self.float_type), "zeros": zeros}
        inputs = [x, *(self.constant(f"{name}.{part}", value) for part, value in parts.items())]
        return self.node("MatMulNBits", inputs, name, N=w.shape[0], K=w.shape[1], bits=4, block_size=BLOCK)


def model(checkpoint: Checkpoint, float_type: np.dtype) -> onnx.ModelProto:
    """Llama with tied embeddings in Q8_0, from input_ids to logits."""
    c, g = checkpoint.config, Graph(checkpoint, float_type)
    heads, kv_heads, dim, hidden = (
        c[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size")
    )
    t = helper.np_dtype_to_tensor_dtype(float_type)
    embed = "model.embed_tokens.weight"
    data, scales = eight_bits(g.bytes(embed), c["vocab_size"])
    g.constant("embed.bytes", data)
    g.constant("embed.scales", scales.astype(float_type))
    shape = g.constant("embed.shape", np.array([c["vocab_size"], hidden]))
    rows = g.node("Reshape", ["embed.bytes", shape], "embed.rows")
    x = g.node("GatherBlockQuantized", [rows, "input_ids", "embed.scales"], "embed", bits=8, block_size=BLOCK,
               gather_axis=0, quantize_axis=1)  # fmt: skip

    one, axis = g.constant("one", np.array([1])), g.constant("axis", np.array([1]))
    count = g.node("ReduceSum", ["attention_mask", axis], "mask.count", keepdims=0)
    last = g.node("Cast", [g.node("Sub", [count, one], "mask.last")], "seqlens_k", to=TensorProto.INT32)
    mask_shape = g.node("Shape", ["attention_mask"], "mask.shape")
    size = g.node("Gather", [mask_shape, g.constant("1", np.array(1))], "mask.size")
    total = g.node("Cast", [size], "total_sequence_length", to=TensorProto.INT32)
    angles = np.arange(c["max_position_embeddings"])[:, None] * c["rope_theta"] ** -(np.arange(0, dim, 2) / dim)
    cos = g.constant("cos", np.cos(angles).astype(float_type))
    sin = g.constant("sin", np.sin(angles).astype(float_type))

    epsilon = c["rms_norm_eps"]
    normed = g.node("SimplifiedLayerNormalization", [x, g.vector("model.layers.0.input_layernorm.weight")],
                    "layers.0.norm", axis=-1, epsilon=epsilon, stash_type=1)  # fmt: skip
    cache_in, cache_out = [], []
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        q, k, v = (g.linear(normed, f"{layer}.self_attn.{name}_proj") for name in "qkv")
        past = [f"past_key_values.{n}.{name}" for name in ("key", "value")]
        present = [f"present.{n}.{name}" for name in ("key", "value")]
        shapes = [["batch_size", kv_heads, f"{which}_sequence_length", dim] for which in ("past", "total")]
        cache_in += [helper.make_tensor_value_info(name, t, shapes[0]) for name in past]
        cache_out += [helper.make_tensor_value_info(name, t, shapes[1]) for name in present]
        mixed = g.node("GroupQueryAttention", [q, k, v, *past, last, total, cos, sin], f"{layer}.attention",
                       [f"{layer}.attention", *present], num_heads=heads, kv_num_heads=kv_heads,
                       scale=dim**-0.5, do_rotary=1, rotary_interleaved=0)  # fmt: skip

        def add(x: str, y: str, norm: str) -> tuple[str, str]:
            """(norm(x + y), x + y)"""
            outputs = [norm, "", "", f"{norm}.sum"]
            inputs = [x, y, g.vector(f"{norm}.weight")]
            g.node("SkipSimplifiedLayerNormalization", inputs, norm, outputs, epsilon=epsilon)
            return norm, outputs[3]

        normed, x = add(x, g.linear(mixed, f"{layer}.self_attn.o_proj"), f"{layer}.post_attention_layernorm")
        gate, up = (g.linear(normed, f"{layer}.mlp.{name}_proj") for name in ("gate", "up"))
        silu = g.node("Mul", [gate, g.node("Sigmoid", [gate], f"{layer}.sigmoid")], f"{layer}.silu")
        down = g.linear(g.node("Mul", [silu, up], f"{layer}.product"), f"{layer}.mlp.down_proj")
        following = f"model.layers.{n + 1}.input_layernorm" if n + 1 < c["num_hidden_layers"] else "model.norm"
        normed, x = add(x, down, following)

    # the last num_logits_to_keep positions, all for 0
    start = g.node("Reshape", [g.node("Neg", ["num_logits_to_keep"], "keep.negative"), one], "keep.start")
    end = g.constant("keep.end", np.array([np.iinfo(np.int64).max]))
    kept = g.node("Slice", [normed, start, end, axis], "kept")
    g.node("MatMulNBits", [kept, "embed.bytes", "embed.scales"], "logits",
           N=c["vocab_size"], K=hidden, bits=8, block_size=BLOCK)  # fmt: skip

    def int64(name: str, *shape: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.INT64, shape)

    inputs = [int64("input_ids", "batch_size", "sequence_length")]
    inputs += [int64("attention_mask", "batch_size", "total_sequence_length"), int64("num_logits_to_keep")]
    logits = helper.make_tensor_value_info("logits", t, ["batch_size", "num_logits", c["vocab_size"]])
    graph = helper.make_graph(g.nodes, "model", [*inputs, *cache_in], [logits, *cache_out], g.constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tensortab bench")


def export(gguf: Path, folder: Path, dtypes: tuple[str, ...] = tuple(FLOATS)) -> None:
    """A folder as Transformers.js loads it: onnx/model_q4.onnx, onnx/model_q4f16.onnx, and the JSON files."""
    checkpoint = asyncio.run(open_checkpoint(gguf))
    config = checkpoint.config | {"architectures": ["LlamaForCausalLM"]}
    tokenizer, tokenizer_config = from_gguf(checkpoint.metadata)
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id") if key in config}
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for name, content in {
        "config.json": config,
        "generation_config.json": special,
        "tokenizer.json": {"version": "1.0", "truncation": None, "padding": None} | tokenizer,
        "tokenizer_config.json": tokenizer_config | {"tokenizer_class": "PreTrainedTokenizerFast"},
    }.items():
        (folder / name).write_text(json.dumps(content))
    for dtype in dtypes:
        onnx.save(model(checkpoint, FLOATS[dtype]), folder / "onnx" / f"model_{dtype}.onnx")
