"""The models of the other tasks as ONNX files, for Transformers.js: `export(files, folder, dtypes)`.

The same weights, in fp32 or fp16, in the layout that Transformers.js loads. The graphs are those of published exports;
in onnx/ attention is of plain operators, in fused/ it is ONNX Runtime's MultiHeadAttention, whose WebGPU kernel is
wrong on SwiftShader. Inputs and outputs are f32 in both types, Whisper's cache is of the weights' type.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path

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
    """What transformers are made of, by the names of a checkpoint. `dim`: of an attention head."""

    dim: int

    def __init__(self, checkpoint: Checkpoint, float_type: np.dtype, fused: bool) -> None:
        super().__init__(checkpoint, float_type)
        self.fused = fused
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

    def slice(self, x: str, start: str, end: str, axis: int, name: str) -> str:
        return self.node("Slice", [x, start, end, self.ints(axis)], name)

    def size(self, x: str, axis: int, name: str) -> str:
        """[x.shape[axis]]"""
        return self.slice(self.node("Shape", [x], f"{name}.shape"), self.ints(axis), self.ints(axis + 1), 0, name)

    def cast(self, x: str, name: str, type: int | None = None) -> str:
        return self.node("Cast", [x], name, to=type or self.type)

    def linear(self, x: str, name: str) -> str:
        """x @ w.T, + its bias if it has one."""
        weight = self.constant(f"{name}.weight.T", self.floats(f"{name}.weight").T.astype(self.float_type))
        product = self.node("MatMul", [x, weight], f"{name}.product")
        if f"{name}.bias" not in self.checkpoint.tensors:
            return product
        return self.add(product, self.vector(f"{name}.bias"), name)

    def norm(self, x: str, name: str, epsilon: float) -> str:
        inputs = [x, self.vector(f"{name}.weight"), self.vector(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def add_norm(self, x: str, y: str, name: str, epsilon: float) -> str:
        inputs = [x, y, self.vector(f"{name}.weight"), self.vector(f"{name}.bias")]
        return self.node("SkipLayerNormalization", inputs, name, epsilon=epsilon)

    def add(self, x: str, y: str, name: str) -> str:
        return self.node("Add", [x, y], name)

    def heads(self, x: str, name: str) -> str:
        """[batch, positions, heads dim] -> [batch, heads, positions, dim]"""
        x = self.node("Reshape", [x, self.ints(0, 0, -1, self.dim)], f"{name}.split")
        return self.node("Transpose", [x], name, perm=[0, 2, 1, 3])

    def attention(
        self, q: str, k: str, v: str, name: str, count: int, bias: str = "", past: tuple = (), present: tuple = ()
    ) -> str:
        """q, k, v [batch, positions, heads dim]; bias is added to the scores. past: k and v that come before, to which
        these are added as present; without present, but with past, k and v are those."""
        if self.fused:
            keys = past if past and not present else (k, v)
            inputs = [q, *keys, "", "", bias, *(past if present else ())]
            return self.node("MultiHeadAttention", inputs, name, [name, *present], num_heads=count)
        scale = self.constant(f"{name}.scale", np.array(self.dim**-0.5, self.float_type))
        q = self.node("Mul", [self.heads(q, f"{name}.q"), scale], f"{name}.q.scaled")
        if past and not present:
            k, v = past
        else:
            k, v = self.heads(k, f"{name}.k"), self.heads(v, f"{name}.v")
        if present:
            k, v = (
                self.node("Concat", [old, x], new, axis=2) for old, x, new in zip(past, (k, v), present, strict=True)
            )
        k = self.node("Transpose", [k], f"{name}.k.columns", perm=[0, 1, 3, 2])
        scores = self.node("MatMul", [q, k], f"{name}.scores")
        scores = self.add(scores, bias, f"{name}.biased") if bias else scores
        mixed = self.node("MatMul", [self.node("Softmax", [scores], f"{name}.shares", axis=-1), v], f"{name}.mixed")
        mixed = self.node("Transpose", [mixed], f"{name}.rows", perm=[0, 2, 1, 3])
        return self.node("Reshape", [mixed, self.ints(0, 0, -1)], name)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "model", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tensortab bench")


def bert(g: Layers) -> dict[str, onnx.ModelProto]:
    c = g.checkpoint.config
    g.dim = c["hidden_size"] // c["num_attention_heads"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (g.input(name, INT64, "batch_size", "tokens") for name in names)
    batch, tokens = g.size(ids, 0, "batch"), g.size(ids, 1, "tokens")
    table = {name: g.vector(f"embeddings.{name}_embeddings.weight") for name in ("word", "token_type", "position")}
    words, kinds = (
        g.node("Gather", [table["word"], ids], "words"),
        g.node("Gather", [table["token_type"], types], "types"),
    )
    places = g.slice(table["position"], g.ints(0), tokens, 0, "positions")
    x = g.add(g.add(words, kinds, "words.types"), places, "embeddings")
    x = g.norm(x, "embeddings.LayerNorm", c["layer_norm_eps"])

    one, masked = g.constant("one", np.array(1, g.float_type)), g.constant("masked", np.array(MASKED, g.float_type))
    row = g.node("Mul", [g.node("Sub", [one, g.cast(mask, "mask")], "mask.not"), masked], "mask.row")
    shape = g.node("Concat", [batch, g.ints(1), tokens, tokens], "mask.shape", axis=0)
    bias = g.node("Expand", [g.node("Unsqueeze", [row, g.ints(1, 2)], "mask.rows"), shape], "mask.bias")
    for n in range(c["num_hidden_layers"]):
        layer = f"encoder.layer.{n}"
        q, k, v = (g.linear(x, f"{layer}.attention.self.{name}") for name in ("query", "key", "value"))
        mixed = g.attention(q, k, v, f"{layer}.attention", c["num_attention_heads"], bias)
        mixed = g.linear(mixed, f"{layer}.attention.output.dense")
        x = g.add_norm(mixed, x, f"{layer}.attention.output.LayerNorm", c["layer_norm_eps"])
        inner = g.node("Gelu", [g.linear(x, f"{layer}.intermediate.dense")], f"{layer}.gelu")
        x = g.add_norm(g.linear(inner, f"{layer}.output.dense"), x, f"{layer}.output.LayerNorm", c["layer_norm_eps"])
    g.output(g.cast(x, "last_hidden_state", FLOAT), FLOAT, "batch_size", "tokens", c["hidden_size"])
    return {"model": g.model()}


def encoder(g: Layers, x: str, layers: list[str], heads: int, norms: str, mlp: str, gelu: str) -> str:
    """Blocks with norms in front, of Whisper and CLIP; norms: the names of both; mlp: what 1 and 2 follow."""
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


def whisper(g: Layers) -> dict[str, onnx.ModelProto]:
    decoder = whisper_decoder(Layers(g.checkpoint, g.float_type, g.fused))
    return {"encoder_model": whisper_encoder(g), "decoder_model_merged": decoder}


def whisper_encoder(g: Layers) -> onnx.ModelProto:
    c = g.checkpoint.config
    g.dim = c["d_model"] // c["encoder_attention_heads"]
    features = g.input("input_features", FLOAT, "batch_size", c["num_mel_bins"], 2 * c["max_source_positions"])
    x = g.cast(features, "features")
    for n, stride in ((1, 1), (2, 2)):
        name = f"model.encoder.conv{n}"
        inputs = [x, g.vector(f"{name}.weight"), g.vector(f"{name}.bias")]
        x = g.node("Gelu", [g.node("Conv", inputs, name, strides=[stride], pads=[1, 1])], f"{name}.gelu")
    x = g.node("Transpose", [x], "rows", perm=[0, 2, 1])
    x = g.add(x, g.vector("model.encoder.embed_positions.weight"), "placed")
    layers = [f"model.encoder.layers.{n}" for n in range(c["encoder_layers"])]
    norms = "self_attn_layer_norm final_layer_norm"
    x = encoder(g, x, layers, c["encoder_attention_heads"], norms, "fc", "Gelu")
    x = g.norm(x, "model.encoder.layer_norm", 1e-5)
    x = g.cast(x, "last_hidden_state", FLOAT)
    g.output(x, FLOAT, "batch_size", c["max_source_positions"], c["d_model"])
    return g.model()


def whisper_decoder(g: Layers) -> onnx.ModelProto:
    """Keys and values of the encoder are computed in the first step (use_cache_branch is false) and given back."""
    c = g.checkpoint.config
    heads, hidden, source = c["decoder_attention_heads"], c["d_model"], c["max_source_positions"]
    g.dim = hidden // heads
    shape = ["batch_size", heads, "past", g.dim]
    ids = g.input("input_ids", INT64, "batch_size", "tokens")
    states = g.cast(g.input("encoder_hidden_states", FLOAT, "batch_size", source, hidden), "states")
    kinds = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
    names = [f"{n}.{kind}" for n in range(c["decoder_layers"]) for kind in kinds]
    for name in names:
        g.input(f"past_key_values.{name}", g.type, *shape[:2], f"past_{name.split('.')[1]}", shape[3])
        g.output(f"present.{name}", g.type, *shape[:2], "all", shape[3])
    cached = g.input("use_cache_branch", TensorProto.BOOL, 1)

    past = g.size("past_key_values.0.decoder.key", 2, "past")
    end = g.add(past, g.size(ids, 1, "tokens"), "end")
    places = g.slice(g.vector("model.decoder.embed_positions.weight"), past, end, 0, "positions")
    x = g.add(g.node("Gather", [g.vector("model.decoder.embed_tokens.weight"), ids], "embedding"), places, "placed")
    rows = np.triu(np.full((c["max_target_positions"],) * 2, MASKED, g.float_type), 1)[None, None]
    causal = g.slice(g.constant("causal", rows), past, end, 2, "causal.rows")
    causal = g.slice(causal, g.ints(0), end, 3, "causal.bias")

    cross = [name for name in names if "encoder" in name]
    nodes, g.nodes = g.nodes, []
    for name in cross:
        layer, _, kind = name.split(".")
        rows = g.linear(states, f"model.decoder.layers.{layer}.encoder_attn.{kind[0]}_proj")
        g.heads(rows, f"{name}.new")
    first, g.nodes = g.nodes, nodes
    again = [helper.make_node("Identity", [f"past_key_values.{name}"], [f"{name}.old"]) for name in cross]

    def branch(name: str, nodes: list[onnx.NodeProto], end: str) -> onnx.GraphProto:
        rows = [*shape[:2], "source", shape[3]]
        outputs = [helper.make_tensor_value_info(f"{one}.{end}", g.type, rows) for one in cross]
        return helper.make_graph(nodes, name, [], outputs)

    g.node("If", [cached], "cross", [f"present.{name}" for name in cross],
           then_branch=branch("again", again, "old"), else_branch=branch("first", first, "new"))  # fmt: skip

    for n in range(c["decoder_layers"]):
        layer = f"model.decoder.layers.{n}"
        normed = g.norm(x, f"{layer}.self_attn_layer_norm", 1e-5)
        q, k, v = (g.linear(normed, f"{layer}.self_attn.{name}_proj") for name in "qkv")
        past, present = (
            tuple(f"{cache}.{n}.decoder.{kind}" for kind in ("key", "value"))
            for cache in ("past_key_values", "present")
        )
        mixed = g.attention(q, k, v, f"{layer}.attention", heads, causal, past, present)
        x = g.add(x, g.linear(mixed, f"{layer}.self_attn.out_proj"), f"{layer}.mixed")
        q = g.linear(g.norm(x, f"{layer}.encoder_attn_layer_norm", 1e-5), f"{layer}.encoder_attn.q_proj")
        heard = tuple(f"present.{n}.encoder.{kind}" for kind in ("key", "value"))
        mixed = g.attention(q, "", "", f"{layer}.cross", heads, past=heard)
        x = g.add(x, g.linear(mixed, f"{layer}.encoder_attn.out_proj"), f"{layer}.heard")
        x = feed_forward(g, x, layer, "final_layer_norm", "fc", "Gelu")
    x = g.norm(x, "model.decoder.layer_norm", 1e-5)
    head = g.constant("head", g.floats("model.decoder.embed_tokens.weight").T.astype(g.float_type))
    logits = g.cast(g.node("MatMul", [x, head], "scores"), "logits", FLOAT)
    g.output(logits, FLOAT, "batch_size", "tokens", c["vocab_size"])
    return g.model()


def clip(g: Layers) -> dict[str, onnx.ModelProto]:
    """The side of the images."""
    c = g.checkpoint.config["vision_config"]
    hidden, size, patch = c["hidden_size"], c["image_size"], c["patch_size"]
    g.dim = hidden // c["num_attention_heads"]
    pixels = g.cast(g.input("pixel_values", FLOAT, "batch_size", 3, size, size), "pixels")
    weight = g.vector("vision_model.embeddings.patch_embedding.weight")
    x = g.node("Conv", [pixels, weight], "patches", strides=[patch, patch])
    x = g.node("Reshape", [x, g.ints(0, hidden, -1)], "patches.flat")
    x = g.node("Transpose", [x], "patches.rows", perm=[0, 2, 1])
    batch = g.size(pixels, 0, "batch")
    first = g.floats("vision_model.embeddings.class_embedding").reshape(1, 1, -1).astype(g.float_type)
    first = g.constant("class", first)
    first = g.node("Expand", [first, g.node("Concat", [batch, g.ints(1, hidden)], "class.shape", axis=0)], "class.rows")
    x = g.node("Concat", [first, x], "rows", axis=1)
    x = g.add(x, g.vector("vision_model.embeddings.position_embedding.weight"), "placed")
    layers = [f"vision_model.encoder.layers.{n}" for n in range(c["num_hidden_layers"])]
    x = g.norm(x, "vision_model.pre_layrnorm", 1e-5)
    x = encoder(g, x, layers, c["num_attention_heads"], "layer_norm1 layer_norm2", "mlp.fc", "QuickGelu")
    x = g.node("Gather", [x, g.constant("0", np.array(0))], "pooled", axis=1)
    x = g.norm(x, "vision_model.post_layernorm", 1e-5)
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


MODELS = {"bert": bert, "whisper": whisper, "clip": clip, "efficientnet_lite": efficientnet}
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
    """A model's folder as Transformers.js loads it: onnx/<part>.onnx, onnx/<part>_fp16.onnx, the same in fused/ where
    there is attention, and the JSON files."""
    checkpoint = asyncio.run(open_checkpoint(files))
    kind = checkpoint.config["model_type"]
    variants = {"onnx": False} | ({} if kind == "efficientnet_lite" else {"fused": True})
    for variant in variants:
        (folder / variant).mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        if name.endswith(".json") and "/" not in name:
            content = json.loads(asyncio.run(source.bytes(0, source.size)))
            if more := SAID.get(name, {}).get(kind):
                content |= more
            (folder / name).write_text(json.dumps(content))
    for dtype, (variant, fused) in product(dtypes, variants.items()):
        for part, model in MODELS[kind](Layers(checkpoint, FLOATS[dtype], fused)).items():
            onnx.save(model, folder / variant / f"{part}{SUFFIX[dtype]}.onnx")


def make(models: Path, folder: Path) -> None:
    """All of them, from a site's models/ (shards), and CLIP with random weights, which TensorTab gets from here too."""
    for name in NAMES:
        export(ShardSource(models / name).files, folder / name)
    random_clip.make(folder / random_clip.NAME)
    export(open_folder(folder / random_clip.NAME), folder / random_clip.NAME)


if __name__ == "__main__":  # on another machine, where the site came without them
    make(*map(Path, sys.argv[1:]))
