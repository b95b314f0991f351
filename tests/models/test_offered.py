"""The models of the hub that are offered (tensortab/hub.json): each is declared here with its real sizes, without its
weights, so that what the list says of it is what the library computes."""

import json
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest
from tensortab import encode, models
from tensortab.beam import BeamGenerator, GenerationConfig
from tensortab.decoder import Decoder
from tensortab.device.cpu import CPUDevice
from tensortab.dtype import DTYPES, DType
from tensortab.formats import Checkpoint, TensorInfo
from tensortab.jit import Program
from tensortab.sources.model import offered
from tensortab.tasks import tasks_of
from tensortab.tensor import Tensor
from tensortab.weights import Weights

from tests.formats.memory import MemorySource

OFFERED = {about["name"]: about for about in offered()}
CONFIGS = json.loads((Path(__file__).parents[1] / "golden/offered.json").read_text())  # of each model's config.json
SOURCE = MemorySource(b"")
Shapes = Iterator[tuple[str, tuple[int, ...]]]


class Gpu(CPUDevice):
    """What most browsers say of a graphics card. Nothing runs here, so that no memory is needed."""

    interprets = False

    def __init__(self) -> None:
        super().__init__()
        self.info |= {"vendor": "none", "fallback": False, "features": ["shader-f16"], "subgroupMinSize": 32}
        self.info["limits"] |= {"maxBufferSize": 1 << 32, "maxStorageBufferBindingSize": (1 << 31) - 4}


def norm(name: str, size: int) -> Shapes:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def linear(name: str, out: int, into: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (out, into)
    if bias:
        yield f"{name}.bias", (out,)


def llama(c: dict[str, Any]) -> Shapes:
    size, wide, kind = c["hidden_size"], c["intermediate_size"], c["model_type"]
    heads, groups = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    yield "model.embed_tokens.weight", (c["vocab_size"], size)
    yield "model.norm.weight", (size,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], size)
    for n in range(c["num_hidden_layers"]):
        name = f"model.layers.{n}"
        for part in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{part}.weight", (size,)
        if kind == "phi3":
            yield f"{name}.self_attn.qkv_proj.weight", (heads + 2 * groups, size)
            yield f"{name}.mlp.gate_up_proj.weight", (2 * wide, size)
        else:
            for part, out in (("q", heads), ("k", groups), ("v", groups)):
                yield from linear(f"{name}.self_attn.{part}_proj", out, size, kind == "qwen2")
            for part in ("gate", "up"):
                yield f"{name}.mlp.{part}_proj.weight", (wide, size)
        if kind == "qwen3":
            for part in ("q_norm", "k_norm"):
                yield f"{name}.self_attn.{part}.weight", (c["head_dim"],)
        yield f"{name}.self_attn.o_proj.weight", (size, heads)
        yield f"{name}.mlp.down_proj.weight", (size, wide)


def block(name: str, size: int, wide: int, norms: list[str], attentions: list[str], k_bias: bool) -> Shapes:
    """A layer of BART, Whisper or CLIP."""
    for attention in attentions:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{name}.{attention}.{part}", size, size, k_bias or part != "k_proj")
    for part in norms:
        yield from norm(f"{name}.{part}", size)


def seq(c: dict[str, Any]) -> Shapes:
    """BART and Whisper."""
    size, heard = c["d_model"], c["model_type"] == "whisper"
    for side, layers in (("encoder", c["encoder_layers"]), ("decoder", c["decoder_layers"])):
        attentions = ["self_attn"] + ["encoder_attn"] * (side == "decoder")
        for n in range(layers):
            name = f"model.{side}.layers.{n}"
            norms = [f"{part}_layer_norm" for part in (*attentions, "final")]
            yield from block(name, size, 0, norms, attentions, not heard)
            yield from linear(f"{name}.fc1", c[f"{side}_ffn_dim"], size)
            yield from linear(f"{name}.fc2", size, c[f"{side}_ffn_dim"])
        yield from norm(f"model.{side}.layer{'_norm' if heard else 'norm_embedding'}", size)
    if heard:
        yield "model.encoder.conv1.weight", (size, c["num_mel_bins"], 3)
        yield "model.encoder.conv2.weight", (size, size, 3)
        yield from ((f"model.encoder.conv{n}.bias", (size,)) for n in (1, 2))
        yield "model.encoder.embed_positions.weight", (c["max_source_positions"], size)
        yield "model.decoder.embed_positions.weight", (c["max_target_positions"], size)
        yield "model.decoder.embed_tokens.weight", (c["vocab_size"], size)
    else:
        yield from (
            (f"model.{side}.embed_positions.weight", (c["max_position_embeddings"] + 2, size))
            for side in ("encoder", "decoder")
        )
        yield "model.shared.weight", (c["vocab_size"], size)


def t5(c: dict[str, Any]) -> Shapes:
    size, heads = c["d_model"], c["num_heads"] * c["d_kv"]
    yield "shared.weight", (c["vocab_size"], size)
    for side in ("encoder", "decoder"):
        yield f"{side}.final_layer_norm.weight", (size,)
        table = (c["relative_attention_num_buckets"], c["num_heads"])
        yield f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", table
        for n in range(c["num_layers"]):
            attentions = ["SelfAttention"] + ["EncDecAttention"] * (side == "decoder")
            for at, attention in enumerate(attentions):
                name = f"{side}.block.{n}.layer.{at}"
                yield f"{name}.layer_norm.weight", (size,)
                for part in "qkv":
                    yield f"{name}.{attention}.{part}.weight", (heads, size)
                yield f"{name}.{attention}.o.weight", (size, heads)
            name = f"{side}.block.{n}.layer.{len(attentions)}"
            yield f"{name}.layer_norm.weight", (size,)
            yield f"{name}.DenseReluDense.wi.weight", (c["d_ff"], size)
            yield f"{name}.DenseReluDense.wo.weight", (size, c["d_ff"])


def bert(c: dict[str, Any]) -> Shapes:
    size, wide = c["hidden_size"], c["intermediate_size"]
    rows = {"word": c["vocab_size"], "position": c["max_position_embeddings"], "token_type": c["type_vocab_size"]}
    for part, count in rows.items():
        yield f"embeddings.{part}_embeddings.weight", (count, size)
    yield from norm("embeddings.LayerNorm", size)
    yield from linear("pooler.dense", size, size)
    for n in range(c["num_hidden_layers"]):
        name = f"encoder.layer.{n}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from linear(f"{name}.attention.{part}", size, size)
        yield from norm(f"{name}.attention.output.LayerNorm", size)
        yield from linear(f"{name}.intermediate.dense", wide, size)
        yield from linear(f"{name}.output.dense", size, wide)
        yield from norm(f"{name}.output.LayerNorm", size)


def vit(c: dict[str, Any]) -> Shapes:
    size, wide, patch = c["hidden_size"], c["intermediate_size"], c["patch_size"]
    yield "vit.embeddings.cls_token", (1, 1, size)
    yield "vit.embeddings.position_embeddings", (1, 1 + (c["image_size"] // patch) ** 2, size)
    yield "vit.embeddings.patch_embeddings.projection.weight", (size, 3, patch, patch)
    yield "vit.embeddings.patch_embeddings.projection.bias", (size,)
    yield from norm("vit.layernorm", size)
    yield from linear("classifier", 1000, size)
    for n in range(c["num_hidden_layers"]):
        name = f"vit.encoder.layer.{n}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            yield from linear(f"{name}.attention.{part}", size, size)
        yield from linear(f"{name}.intermediate.dense", wide, size)
        yield from linear(f"{name}.output.dense", size, wide)
        for part in ("layernorm_before", "layernorm_after"):
            yield from norm(f"{name}.{part}", size)


def clip(c: dict[str, Any]) -> Shapes:
    yield "logit_scale", ()
    for tower, first in (("text", "final_layer_norm"), ("vision", "post_layernorm")):
        t = c[f"{tower}_config"]
        size = t["hidden_size"]
        yield f"{'visual' if tower == 'vision' else 'text'}_projection.weight", (c["projection_dim"], size)
        yield from norm(f"{tower}_model.{first}", size)
        for n in range(t["num_hidden_layers"]):
            name = f"{tower}_model.encoder.layers.{n}"
            yield from block(name, size, 0, ["layer_norm1", "layer_norm2"], ["self_attn"], True)
            yield from linear(f"{name}.mlp.fc1", t["intermediate_size"], size)
            yield from linear(f"{name}.mlp.fc2", size, t["intermediate_size"])
    text, vision = c["text_config"], c["vision_config"]
    yield "text_model.embeddings.token_embedding.weight", (text["vocab_size"], text["hidden_size"])
    yield "text_model.embeddings.position_embedding.weight", (text["max_position_embeddings"], text["hidden_size"])
    size, patch = vision["hidden_size"], vision["patch_size"]
    yield from norm("vision_model.pre_layrnorm", size)
    yield "vision_model.embeddings.class_embedding", (size,)
    yield "vision_model.embeddings.patch_embedding.weight", (size, 3, patch, patch)
    yield "vision_model.embeddings.position_embedding.weight", (1 + (vision["image_size"] // patch) ** 2, size)


SHAPES = {"whisper": seq, "bart": seq, "t5": t5, "bert": bert, "vit": vit, "clip": clip}


def stored_as(name: str, shape: tuple[int, ...], quantisation: str, c: dict[str, Any]) -> DType:
    """The format in which llama.cpp's quantize stores a tensor (llama_tensor_get_type), or the only one of a
    safetensors file."""
    if quantisation in ("F32", "F16"):
        return DTYPES[quantisation.lower()]
    if len(shape) < 2:
        return DTYPES["f32"]
    if quantisation == "Q8_0":
        return DTYPES["q8_0"]
    assert quantisation == "Q4_K_M"
    kind, layers = "q4_k", c.get("num_hidden_layers", 0)
    if match := re.search(r"layers\.(\d+)\..*(v_proj|down_proj)", name):
        n, eighth = int(match[1]), layers // 8
        if n < eighth or n >= 7 * layers // 8 or (n - eighth) % 3 == 2:
            kind = "q6_k"
    elif "qkv_proj" in name:
        kind = "q5_k"
    elif name == ("model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"):
        kind = "q6_k"
    return DTYPES[kind]


def declared(name: str) -> Checkpoint:
    config, about = CONFIGS[name], OFFERED[name]
    tensors = {}
    for tensor, shape in SHAPES.get(config["model_type"], llama)(config):
        dtype = stored_as(tensor, shape, about["quantisation"], config)
        tensors[tensor] = TensorInfo(tensor, dtype, shape, 0, dtype.file_size(prod(shape)), SOURCE)
    kind = "gguf" if name.endswith(".gguf") else "safetensors"
    return Checkpoint(kind, {}, tensors, config, rope_interleaved=kind == "gguf")


def programs(checkpoint: Checkpoint) -> Iterator[Program]:
    """The plans of a model at its largest."""
    device, config = Gpu(), checkpoint.config
    kind = config["model_type"]
    if kind in ("bart", "t5"):
        settings = GenerationConfig(2, frozenset({1}), num_beams=config.get("num_beams", 1))
        generator = BeamGenerator(checkpoint, device, settings)
        yield generator.step
        ids, length = Tensor.of("ids", (1, generator.source), DTYPES["u32"]), Tensor.of("length", (1,), DTYPES["u32"])
        yield Program(device, generator.model.encode(ids, length))
    elif kind in ("bert", "vit", "clip"):
        weights = Weights(checkpoint, device.info["limits"]["maxStorageBufferBindingSize"])
        module = models.find(kind)
        assert module is not None
        model = models.declare(getattr(module, "ForImageClassification", module.Model), weights)
        if kind == "bert":
            u32 = DTYPES["u32"]
            rows = encode.BATCH // model.length
            ids, types = (Tensor.of("ids", (rows, model.length), u32) for _ in range(2))
            yield Program(device, [model.hidden(ids, types, Tensor.of("lengths", (rows,), u32))])
        else:
            pixels = Tensor.of("pixels", (1, 224, 224, 3))
            yield Program(device, [model.logits(pixels) if kind == "vit" else model.embed_image(pixels)])
        if kind == "clip":
            ids = Tensor.of("ids", (16, model.length), DTYPES["u32"])
            yield Program(device, [model.embed_text(ids, Tensor.of("ends", (16,), DTYPES["u32"]))])
    else:
        decoder = Decoder(checkpoint, device, prompt=4 if kind == "whisper" else None)
        if kind == "whisper":
            samples = Tensor.of("samples", (decoder.model.samples + 400,))
            yield Program(device, decoder.model.encode(samples))
        for plan in ("decode_long", str(decoder.chunks[-1])):
            yield decoder.plan(plan)


def memory(checkpoint: Checkpoint) -> int:
    """The bytes on the GPU of a model's plans: their buffers, and what the plans share."""
    buffers: dict[int, int] = {}
    shared = 0
    alive = []
    for program in programs(checkpoint):
        alive.append(program)
        buffers |= {id(buffer): buffer.nbytes for buffer in program.named.values()}
        shared = max(shared, sum(b["size"] for b in program.plan["buffers"] if b["name"] is None))
    return sum(buffers.values()) + shared


@pytest.mark.parametrize("name", OFFERED)
def test_what_is_said_of_an_offered_model(name: str) -> None:
    about, checkpoint = OFFERED[name], declared(name)
    infos = checkpoint.tensors.values()
    assert about["parameters"] == sum(info.size for info in infos)
    # the rest is the tokenizer and other texts; Phi has one layer in fewer bits than quantize says
    assert -4e6 < about["size"] - sum(info.nbytes for info in infos) < 26e6
    assert about["memory"] == pytest.approx(memory(checkpoint), rel=0.01)
    assert about["tasks"] == tasks_of(checkpoint)
