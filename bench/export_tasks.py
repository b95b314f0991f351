"""The models of the other tasks as ONNX files, for Transformers.js: `export(checkpoint, folder, dtypes)`.

The same weights, in fp32 or fp16, in the layout that Transformers.js loads. The graphs are those of published exports,
with the fused operators that ONNX Runtime has for them: MultiHeadAttention, SkipLayerNormalization, Gelu. Inputs and
outputs are f32 in both, Whisper's cache is of the weights' type.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.sources import Source
from tensortab.sources.file import ShardSource, open_folder

from bench import random_clip
from bench.export_onnx import Graph

NAMES = ("all-MiniLM-L6-v2", "whisper-tiny.en", "efficientnet-lite0")  # and bench/random_clip.py's
FLOATS = {"fp32": np.dtype(np.float32), "fp16": np.dtype(np.float16)}
SUFFIX = {"fp32": "", "fp16": "_fp16"}  # what Transformers.js puts behind a file's name
MASKED = -1e4  # added to scores that do not count; f16 can hold it
INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


class Layers(Graph):
    """What transformer encoders are made of, by the names of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, float_type: np.dtype) -> None:
        super().__init__(checkpoint, float_type)
        self.type = helper.np_dtype_to_tensor_dtype(float_type)
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, type: int, *shape: int | str) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, type, shape))
        return name

    def output(self, name: str, type: int, *shape: int | str) -> str:
        self.outputs.append(helper.make_tensor_value_info(name, type, shape))
        return name

    def ints(self, *values: int) -> str:
        """A constant list of int64, made once."""
        name = f"ints.{'.'.join(map(str, values))}"
        if not any(constant.name == name for constant in self.constants):
            self.constant(name, np.array(values, np.int64))
        return name

    def cast(self, x: str, name: str, type: int | None = None) -> str:
        return self.node("Cast", [x], name, to=type or self.type)

    def linear(self, x: str, name: str) -> str:
        """x @ w.T, + its bias if it has one."""
        weight = self.constant(f"{name}.weight.T", self.floats(f"{name}.weight").T.astype(self.float_type))
        product = self.node("MatMul", [x, weight], f"{name}.product")
        if f"{name}.bias" not in self.checkpoint.tensors:
            return product
        return self.node("Add", [product, self.vector(f"{name}.bias")], name)

    def norm(self, x: str, name: str, epsilon: float) -> str:
        inputs = [x, self.vector(f"{name}.weight"), self.vector(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def add_norm(self, x: str, y: str, name: str, epsilon: float) -> str:
        inputs = [x, y, self.vector(f"{name}.weight"), self.vector(f"{name}.bias")]
        return self.node("SkipLayerNormalization", inputs, name, epsilon=epsilon)

    def add(self, x: str, y: str, name: str) -> str:
        return self.node("Add", [x, y], name)

    def attention(self, q: str, k: str, v: str, name: str, heads: int, *others: str, present: tuple = ()) -> str:
        """q, k, v [batch, positions, hidden]; others: bias, key_padding_mask, attention_bias, past_key, past_value."""
        return self.node("MultiHeadAttention", [q, k, v, *others], name, [name, *present], num_heads=heads)

    def model(self, opset: int = 20) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "model", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tensortab bench")


def bert(g: Layers) -> dict[str, onnx.ModelProto]:
    c = g.checkpoint.config
    ids, mask, types = (
        g.input(n, INT64, "batch_size", "tokens") for n in ("input_ids", "attention_mask", "token_type_ids")
    )
    size = g.node("Shape", [ids], "size")
    batch, tokens = (g.node("Slice", [size, g.ints(n), g.ints(n + 1)], f"size.{n}") for n in (0, 1))
    table = {name: g.vector(f"embeddings.{name}_embeddings.weight") for name in ("word", "token_type", "position")}
    words, kinds = (
        g.node("Gather", [table["word"], ids], "words"),
        g.node("Gather", [table["token_type"], types], "types"),
    )
    places = g.node("Slice", [table["position"], g.ints(0), tokens, g.ints(0)], "positions")
    x = g.add(g.add(words, kinds, "words.types"), places, "embeddings")
    x = g.norm(x, "embeddings.LayerNorm", c["layer_norm_eps"])

    one, masked = g.constant("one", np.array(1, g.float_type)), g.constant("masked", np.array(MASKED, g.float_type))
    row = g.node("Mul", [g.node("Sub", [one, g.cast(mask, "mask")], "mask.not"), masked], "mask.row")
    shape = g.node("Concat", [batch, g.ints(1), tokens, tokens], "mask.shape", axis=0)
    bias = g.node("Expand", [g.node("Unsqueeze", [row, g.ints(1, 2)], "mask.rows"), shape], "mask.bias")
    for n in range(c["num_hidden_layers"]):
        layer = f"encoder.layer.{n}"
        q, k, v = (g.linear(x, f"{layer}.attention.self.{name}") for name in ("query", "key", "value"))
        mixed = g.attention(q, k, v, f"{layer}.attention", c["num_attention_heads"], "", "", bias)
        mixed = g.linear(mixed, f"{layer}.attention.output.dense")
        x = g.add_norm(mixed, x, f"{layer}.attention.output.LayerNorm", c["layer_norm_eps"])
        inner = g.node("Gelu", [g.linear(x, f"{layer}.intermediate.dense")], f"{layer}.gelu")
        x = g.add_norm(g.linear(inner, f"{layer}.output.dense"), x, f"{layer}.output.LayerNorm", c["layer_norm_eps"])
    g.output(g.cast(x, "last_hidden_state", FLOAT), FLOAT, "batch_size", "tokens", c["hidden_size"])
    return {"model": g.model()}


def encoder(g: Layers, x: str, layers: list[str], heads: int, norms: str, mlp: str, gelu: str) -> str:
    """Blocks with norms in front, of Whisper and CLIP; norms and mlp: names, with {} for 1 and 2."""
    for layer in layers:
        normed = g.norm(x, f"{layer}.{norms.split()[0]}", 1e-5)
        q, k, v = (g.linear(normed, f"{layer}.self_attn.{name}_proj") for name in "qkv")
        mixed = g.attention(q, k, v, f"{layer}.attention", heads)
        x = g.add(x, g.linear(mixed, f"{layer}.self_attn.out_proj"), f"{layer}.mixed")
        x = feed_forward(g, x, layer, norms.split()[1], mlp, gelu)
    return x


def feed_forward(g: Layers, x: str, layer: str, norm: str, mlp: str, gelu: str) -> str:
    inner = g.linear(g.norm(x, f"{layer}.{norm}", 1e-5), f"{layer}.{mlp}1")
    return g.add(x, g.linear(g.node(gelu, [inner], f"{layer}.gelu"), f"{layer}.{mlp}2"), f"{layer}.out")


def whisper(checkpoint: Checkpoint, float_type: np.dtype) -> dict[str, onnx.ModelProto]:
    return {
        "encoder_model": whisper_encoder(Layers(checkpoint, float_type)),
        "decoder_model_merged": whisper_decoder(Layers(checkpoint, float_type)),
    }


def whisper_encoder(g: Layers) -> onnx.ModelProto:
    c = g.checkpoint.config
    x = g.cast(
        g.input("input_features", FLOAT, "batch_size", c["num_mel_bins"], 2 * c["max_source_positions"]), "features"
    )
    for n, stride in ((1, 1), (2, 2)):
        name = f"model.encoder.conv{n}"
        inputs = [x, g.vector(f"{name}.weight"), g.vector(f"{name}.bias")]
        x = g.node("Gelu", [g.node("Conv", inputs, name, strides=[stride], pads=[1, 1])], f"{name}.gelu")
    x = g.add(
        g.node("Transpose", [x], "rows", perm=[0, 2, 1]), g.vector("model.encoder.embed_positions.weight"), "placed"
    )
    layers = [f"model.encoder.layers.{n}" for n in range(c["encoder_layers"])]
    norms = "self_attn_layer_norm final_layer_norm"
    x = g.norm(
        encoder(g, x, layers, c["encoder_attention_heads"], norms, "fc", "Gelu"), "model.encoder.layer_norm", 1e-5
    )
    x = g.cast(x, "last_hidden_state", FLOAT)
    g.output(x, FLOAT, "batch_size", c["max_source_positions"], c["d_model"])
    return g.model()


def whisper_decoder(g: Layers) -> onnx.ModelProto:
    """Keys and values of the encoder are computed in the first step (use_cache_branch is false) and given back."""
    c = g.checkpoint.config
    heads, hidden, source = c["decoder_attention_heads"], c["d_model"], c["max_source_positions"]
    shape = ["batch_size", heads, "past", hidden // heads]
    ids = g.input("input_ids", INT64, "batch_size", "tokens")
    states = g.cast(g.input("encoder_hidden_states", FLOAT, "batch_size", source, hidden), "states")
    names = [
        f"{n}.{which}.{kind}"
        for n in range(c["decoder_layers"])
        for which in ("decoder", "encoder")
        for kind in ("key", "value")
    ]
    for name in names:
        g.input(f"past_key_values.{name}", g.type, *shape[:2], f"past_{name.split('.')[1]}", shape[3])
        g.output(f"present.{name}", g.type, *shape[:2], "all", shape[3])
    cached = g.input("use_cache_branch", TensorProto.BOOL, 1)

    past = g.node(
        "Slice", [g.node("Shape", ["past_key_values.0.decoder.key"], "past.shape"), g.ints(2), g.ints(3)], "past"
    )
    end = g.add(past, g.node("Slice", [g.node("Shape", [ids], "size"), g.ints(1), g.ints(2)], "tokens"), "end")
    table = g.vector("model.decoder.embed_positions.weight")
    places = g.node("Slice", [table, past, end, g.ints(0)], "positions")
    x = g.add(g.node("Gather", [g.vector("model.decoder.embed_tokens.weight"), ids], "embedding"), places, "placed")
    rows = np.triu(np.full((c["max_target_positions"],) * 2, MASKED, g.float_type), 1)[None, None]
    causal = g.node("Slice", [g.constant("causal", rows), past, end, g.ints(2)], "causal.rows")
    causal = g.node("Slice", [causal, g.ints(0), end, g.ints(3)], "causal.bias")

    cross = [name for name in names if "encoder" in name]
    nodes, g.nodes = g.nodes, []
    for name in cross:
        layer, _, kind = name.split(".")
        rows = g.linear(states, f"model.decoder.layers.{layer}.encoder_attn.{kind[0]}_proj")
        rows = g.node("Reshape", [rows, g.ints(0, 0, heads, hidden // heads)], f"{name}.heads")
        g.node("Transpose", [rows], f"{name}.new", perm=[0, 2, 1, 3])
    first, g.nodes = g.nodes, nodes
    again = [helper.make_node("Identity", [f"past_key_values.{name}"], [f"{name}.old"]) for name in cross]

    def branch(name: str, nodes: list[onnx.NodeProto], end: str) -> onnx.GraphProto:
        outputs = [
            helper.make_tensor_value_info(f"{one}.{end}", g.type, shape[:2] + ["source", shape[3]]) for one in cross
        ]
        return helper.make_graph(nodes, name, [], outputs)

    g.node("If", [cached], "cross", [f"present.{name}" for name in cross],
           then_branch=branch("again", again, "old"), else_branch=branch("first", first, "new"))  # fmt: skip

    for n in range(c["decoder_layers"]):
        layer = f"model.decoder.layers.{n}"
        normed = g.norm(x, f"{layer}.self_attn_layer_norm", 1e-5)
        q, k, v = (g.linear(normed, f"{layer}.self_attn.{name}_proj") for name in "qkv")
        cache = [f"past_key_values.{n}.decoder.{kind}" for kind in ("key", "value")]
        present = tuple(f"present.{n}.decoder.{kind}" for kind in ("key", "value"))
        mixed = g.attention(q, k, v, f"{layer}.attention", heads, "", "", causal, *cache, present=present)
        x = g.add(x, g.linear(mixed, f"{layer}.self_attn.out_proj"), f"{layer}.mixed")
        q = g.linear(g.norm(x, f"{layer}.encoder_attn_layer_norm", 1e-5), f"{layer}.encoder_attn.q_proj")
        k, v = (f"present.{n}.encoder.{kind}" for kind in ("key", "value"))
        mixed = g.attention(q, k, v, f"{layer}.cross", heads)
        x = g.add(x, g.linear(mixed, f"{layer}.encoder_attn.out_proj"), f"{layer}.heard")
        x = feed_forward(g, x, layer, "final_layer_norm", "fc", "Gelu")
    x = g.norm(x, "model.decoder.layer_norm", 1e-5)
    head = g.constant("head", g.floats("model.decoder.embed_tokens.weight").T.astype(g.float_type))
    g.output(
        g.cast(g.node("MatMul", [x, head], "scores"), "logits", FLOAT), FLOAT, "batch_size", "tokens", c["vocab_size"]
    )
    return g.model()


def clip(g: Layers) -> dict[str, onnx.ModelProto]:
    """The side of the images."""
    c = g.checkpoint.config["vision_config"]
    hidden, size, patch = c["hidden_size"], c["image_size"], c["patch_size"]
    pixels = g.cast(g.input("pixel_values", FLOAT, "batch_size", 3, size, size), "pixels")
    weight = g.vector("vision_model.embeddings.patch_embedding.weight")
    x = g.node("Conv", [pixels, weight], "patches", strides=[patch, patch])
    x = g.node(
        "Transpose", [g.node("Reshape", [x, g.ints(0, hidden, -1)], "patches.flat")], "patches.rows", perm=[0, 2, 1]
    )
    batch = g.node("Slice", [g.node("Shape", [pixels], "size"), g.ints(0), g.ints(1)], "batch_size")
    first = g.constant(
        "class", g.floats("vision_model.embeddings.class_embedding").reshape(1, 1, -1).astype(g.float_type)
    )
    first = g.node("Expand", [first, g.node("Concat", [batch, g.ints(1, hidden)], "class.shape", axis=0)], "class.rows")
    x = g.node("Concat", [first, x], "rows", axis=1)
    x = g.add(x, g.vector("vision_model.embeddings.position_embedding.weight"), "placed")
    layers = [f"vision_model.encoder.layers.{n}" for n in range(c["num_hidden_layers"])]
    x = g.norm(x, "vision_model.pre_layrnorm", 1e-5)
    x = encoder(g, x, layers, c["num_attention_heads"], "layer_norm1 layer_norm2", "mlp.fc", "QuickGelu")
    x = g.norm(
        g.node("Gather", [x, g.constant("0", np.array(0))], "pooled", axis=1), "vision_model.post_layernorm", 1e-5
    )
    x = g.cast(g.linear(x, "visual_projection"), "image_embeds", FLOAT)
    g.output(x, FLOAT, "batch_size", g.checkpoint.config["projection_dim"])
    return {"vision_model": g.model()}


def efficientnet(g: Layers) -> dict[str, onnx.ModelProto]:
    """EfficientNet-lite, each convolution with its batch norm folded in; padded as TensorFlow does ("SAME")."""
    c = g.checkpoint.config

    def conv(x: str, name: str, norm: str, stride: int = 1, active: bool = True) -> str:
        w = g.floats(f"{name}.weight")
        parts = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, var = (g.floats(f"{norm}.{part}") for part in parts)
        gain = gain / np.sqrt(var + c["batch_norm_eps"])
        weights = g.constant(f"{name}.folded", (w * gain[:, None, None, None]).astype(g.float_type))
        offset = g.constant(f"{name}.offset", (bias - mean * gain).astype(g.float_type))
        groups = w.shape[0] if w.shape[1] == 1 else 1
        y = g.node("Conv", [x, weights, offset], name, strides=[stride] * 2, auto_pad="SAME_UPPER", group=groups)
        return g.node("Clip", [y, low, high], f"{name}.relu6") if active else y

    low, high = (g.constant(str(value), np.array(value, g.float_type)) for value in (0, 6))
    x = g.cast(g.input("pixel_values", FLOAT, "batch_size", 3, "height", "width"), "pixels")
    x = conv(x, "_conv_stem", "_bn0", 2)
    n = 0
    for repeats, stride, ratio in zip(c["num_block_repeats"], c["strides"], c["expand_ratios"], strict=True):
        for again in range(repeats):
            layer, y = f"_blocks.{n}", x
            if ratio > 1:
                y = conv(y, f"{layer}._expand_conv", f"{layer}._bn0")
            y = conv(y, f"{layer}._depthwise_conv", f"{layer}._bn1", 1 if again else stride)
            y = conv(y, f"{layer}._project_conv", f"{layer}._bn2", active=False)
            x = g.add(x, y, layer) if again else y
            n += 1
    x = g.node("GlobalAveragePool", [conv(x, "_conv_head", "_bn1")], "pooled")
    x = g.linear(g.node("Flatten", [x], "flat"), "_fc")
    g.output(g.cast(x, "logits", FLOAT), FLOAT, "batch_size", "labels")
    return {"model": g.model()}


MODELS: dict[str, Any] = {
    "bert": lambda *given: bert(Layers(*given)),
    "whisper": whisper,
    "clip": lambda *given: clip(Layers(*given)),
    "efficientnet_lite": lambda *given: efficientnet(Layers(*given)),
}
IMAGES = {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True}
SAID = {  # what Transformers.js must find in these files besides
    "config.json": {
        "whisper": {"is_encoder_decoder": True},
        "efficientnet_lite": {"model_type": "efficientnet", "architectures": ["EfficientNetForImageClassification"]},
    },
    "preprocessor_config.json": {
        "whisper": {"processor_class": "WhisperProcessor"},
        "clip": IMAGES,
        "efficientnet_lite": IMAGES,
    },
}


def export(files: Mapping[str, Source], folder: Path, dtypes: tuple[str, ...] = tuple(FLOATS)) -> None:
    """A model's folder as Transformers.js loads it: onnx/<part>.onnx, onnx/<part>_fp16.onnx, and the JSON files."""
    checkpoint = asyncio.run(open_checkpoint(files))
    kind = checkpoint.config["model_type"]
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        if name.endswith(".json") and "/" not in name:
            content = json.loads(asyncio.run(source.bytes(0, source.size)))
            if more := SAID.get(name, {}).get(kind):
                content |= more
            (folder / name).write_text(json.dumps(content))
    for dtype in dtypes:
        for part, model in MODELS[kind](checkpoint, FLOATS[dtype]).items():
            onnx.save(model, folder / "onnx" / f"{part}{SUFFIX[dtype]}.onnx")


def make(models: Path, folder: Path) -> None:
    """All of them, from a site's models/ (shards), and CLIP with random weights, which TensorTab gets from here too."""
    for name in NAMES:
        export(ShardSource(models / name).files, folder / name)
    random_clip.make(folder / random_clip.NAME)
    export(open_folder(folder / random_clip.NAME), folder / random_clip.NAME)


if __name__ == "__main__":  # on another machine, where the site came without them
    make(*map(Path, sys.argv[1:]))
