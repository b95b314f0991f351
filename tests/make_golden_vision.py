"""Writes tests/golden/vision_*: what Pillow, torch and transformers make of images.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, tokenizers 0.23.3, Pillow 13.0.0, scikit-image 0.26.0,
numpy 2.4.6, in an environment of its own:

    python tests/make_golden_vision.py <efficientnet-lite0-57934424.pth>        (20 seconds)

vision_images.npz    images of noise and edges; Pillow's resized ones; what image processors of transformers make of one
vision_models.json   tiny models of each architecture: config.json, and the shapes of the tensors, whose numbers are
                     tests/recipe.py's; CLIP's tokenizer.json
vision_models.npz    of each: the hidden states of one image, and the outputs for three
vision_lite0.npz     photographs of scikit-image (astronaut: NASA, public domain; chelsea, coffee: CC0), made smaller,
                     and what EfficientNet-lite0 with its real weights says: hidden states in the middle, all logits
"""

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers import (
    CLIPConfig,
    CLIPModel,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

sys.path.append(str(Path(__file__).parents[1]))
from tests.recipe import weight

GOLDEN = Path(__file__).parent / "golden"


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """[height, width, 3] u8: a gradient, an edge of full contrast and noise."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    smooth = np.stack([x, y, 1 - x], -1) * 200
    smooth[(x > y) & (x < 0.7)] = 255
    return np.clip(smooth + rng.integers(-60, 60, (height, width, 3)), 0, 255).astype(np.uint8)


# (height, width) -> (height, width)
RESIZED = [
    ((37, 53), (16, 24)), ((37, 53), (80, 61)), ((37, 53), (37, 20)), ((37, 53), (50, 53)), ((1, 1), (3, 5)),
    ((129, 3), (7, 7)),
]  # fmt: skip
PROCESSORS: list[tuple[Any, dict[str, Any]]] = [
    (CLIPImageProcessorPil, {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}),
    (CLIPImageProcessorPil, {"size": {"shortest_edge": 21}, "crop_size": {"height": 24, "width": 30}}),
    (ViTImageProcessorPil, {"size": {"height": 20, "width": 24}}),
    (EfficientNetImageProcessorPil, {"size": {"height": 24, "width": 24}, "resample": 0, "rescale_offset": True}),
    (EfficientNetImageProcessorPil, {"size": {"height": 40, "width": 40}, "include_top": False, "do_center_crop": True,
                                     "crop_size": {"height": 24, "width": 24}}),
]  # fmt: skip


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    out: dict[str, np.ndarray] = {}
    for n, (before, after) in enumerate(RESIZED):
        out[f"in{n}"] = picture(rng, *before)
        for resample in (0, 2, 3):
            # two calls: rows first, as all of Pillow before 13 (which goes the other way where that is quicker)
            rows = Image.fromarray(out[f"in{n}"]).resize((after[1], before[0]), Image.Resampling(resample))
            out[f"out{n}.{resample}"] = np.asarray(rows.resize(after[::-1], Image.Resampling(resample)))
    for n, (make, given) in enumerate(PROCESSORS):
        processor = make(**given)
        config = {key: value for key, value in processor.to_dict().items() if not key.startswith("_")}
        config["image_processor_type"] = make.__name__.removesuffix("Pil")
        out[f"config{n}"] = np.array(json.dumps(config, default=dict))
        values = processor(Image.fromarray(out["in0"]), return_tensors="np")["pixel_values"]
        out[f"values{n}"] = values.transpose(0, 2, 3, 1).astype(np.float32)
    return out


LITE: dict[str, Any] = {
    "model_type": "efficientnet_lite", "hidden_act": "relu6", "batch_norm_eps": 1e-3, "kernel_sizes": [3, 5, 3],
    "in_channels": [8, 8, 12], "out_channels": [8, 12, 16], "strides": [1, 2, 2], "num_block_repeats": [1, 2, 2],
    "expand_ratios": [1, 6, 6], "hidden_dim": 64,
}  # fmt: skip
TOWER = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = "a photo of a cat a dog a bowl of coffee the ocean at night this is a photo of an astronaut , a kitten ."


def lite_shapes(config: dict[str, Any]) -> dict[str, list[int]]:
    """The tensors of an EfficientNet-lite with these stages."""
    shapes: dict[str, list[int]] = {}

    def conv(name: str, norm: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = list(shape)
        shapes.update({f"{norm}.{part}": [shape[0]] for part in ("weight", "bias", "running_mean", "running_var")})

    first = config["in_channels"][0]
    conv("_conv_stem", "_bn0", first, 3, 3, 3)
    channels, number = first, 0
    stages = ("num_block_repeats", "out_channels", "expand_ratios", "kernel_sizes")
    for repeats, outputs, ratio, size in zip(*(config[key] for key in stages), strict=True):
        for _ in range(repeats):
            name, inner = f"_blocks.{number}", channels * ratio
            if ratio > 1:
                conv(f"{name}._expand_conv", f"{name}._bn0", inner, channels, 1, 1)
            conv(f"{name}._depthwise_conv", f"{name}._bn1", inner, 1, size, size)
            conv(f"{name}._project_conv", f"{name}._bn2", outputs, inner, 1, 1)
            channels, number = outputs, number + 1
    conv("_conv_head", "_bn1", config["hidden_dim"], channels, 1, 1)
    return shapes | {"_fc.weight": [5, config["hidden_dim"]], "_fc.bias": [5]}


def lite(state: dict[str, torch.Tensor], config: dict[str, Any], x: torch.Tensor) -> tuple[list, torch.Tensor]:
    """EfficientNet-lite as its authors wrote it (TensorFlow's "SAME" padding): the hidden states, and the logits."""

    def conv(x: torch.Tensor, name: str, norm: str, stride: int = 1) -> torch.Tensor:
        weight, size = state[f"{name}.weight"], state[f"{name}.weight"].shape[-1]
        missing = [max(0, (math.ceil(n / stride) - 1) * stride + size - n) for n in x.shape[2:]]
        x = F.pad(x, (missing[1] // 2, missing[1] - missing[1] // 2, missing[0] // 2, missing[0] - missing[0] // 2))
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, variance, gain, bias = (state[f"{norm}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, variance, gain, bias, eps=config["batch_norm_eps"])

    hidden = [F.relu6(conv(x, "_conv_stem", "_bn0", 2))]
    for repeats, stride in zip(config["num_block_repeats"], config["strides"], strict=True):
        for n in range(repeats):
            x, name = hidden[-1], f"_blocks.{len(hidden) - 1}"
            y = F.relu6(conv(x, f"{name}._expand_conv", f"{name}._bn0")) if f"{name}._bn0.weight" in state else x
            y = F.relu6(conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride if n == 0 else 1))
            y = conv(y, f"{name}._project_conv", f"{name}._bn2")
            hidden.append(x + y if n else y)
    x = F.relu6(conv(hidden[-1], "_conv_head", "_bn1")).mean((2, 3))
    return hidden, F.linear(x, state["_fc.weight"], state["_fc.bias"])


def numbers(shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The recipe's weights, f16 numbers in f32; those of a filter as of a matrix's row."""
    flat = {name: (shape[0], math.prod(shape[1:])) if len(shape) > 2 else shape for name, shape in shapes.items()}
    return {
        name: torch.from_numpy(np.array(weight(name, shape), np.float32)).reshape(shapes[name])
        for name, shape in flat.items()
    }


def filled(model: Any) -> dict[str, list[int]]:
    """Fills a model of transformers with the recipe's weights, as a checkpoint has them; gives their shapes."""
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = f"{folder}/model.safetensors"
        shapes = {name: list(t.shape) for name, t in load_file(file).items() if t.is_floating_point()}
        save_file(numbers(shapes), file, {"format": "pt"})
        loaded = type(model).from_pretrained(folder)
    model.load_state_dict(loaded.state_dict())
    model.eval()
    return shapes


def last(x: torch.Tensor) -> np.ndarray:
    """Channels last."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).contiguous().numpy()


def clip_tokenizer() -> Tokenizer:
    """CLIP's kind: lower case, byte pairs that end in </w>, its start and end around a text."""
    tokenizer = Tokenizer(
        models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = [chr(n) for n in range(97, 123)]
    trainer = trainers.BpeTrainer(
        vocab_size=118, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    start, end = (tokenizer.token_to_id(f"<|{name}oftext|>") for name in ("start", "end"))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", end), ("<|startoftext|>", start), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def tiny() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """vision_models.json and .npz."""
    described: dict[str, Any] = {}
    out: dict[str, np.ndarray] = {}
    random = np.random.default_rng(5)

    def keep(name: str, config: Any, shapes: dict, hidden: Any, pixels: np.ndarray, **more: torch.Tensor) -> None:
        config = config if isinstance(config, dict) else json.loads(config.to_json_string(use_diff=False))
        described[name] = {"config": config, "shapes": shapes}
        out[f"{name}.pixel_values"] = pixels.astype(np.float16)
        out.update({f"{name}.hidden{n}": last(x[:1]) for n, x in enumerate(hidden)})
        out.update({f"{name}.{key}": value.numpy() for key, value in more.items()})

    def see(name: str, processor: Any) -> torch.Tensor:
        """What the model's processor, which is kept, makes of the first of the images."""
        config = {key: value for key, value in processor.to_dict().items() if not key.startswith("_")}
        described[name]["processor"] = json.loads(json.dumps(config, default=dict))
        return torch.from_numpy(processor(Image.fromarray(images()["in0"]), return_tensors="np")["pixel_values"])

    def pixels(height: int, width: int) -> tuple[np.ndarray, torch.Tensor]:
        values = random.standard_normal((3, height, width, 3)).astype(np.float16)
        return values, torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2)

    values, x = pixels(39, 33)
    shapes = lite_shapes(LITE)
    hidden, logits = lite(numbers(shapes), LITE, x)
    keep("efficientnet_lite", LITE, shapes, hidden, values, logits=logits)

    values, x = pixels(39, 33)
    config = EfficientNetConfig(
        width_coefficient=0.5, depth_coefficient=1.1, kernel_sizes=[3, 5, 3], in_channels=[32, 16, 24],
        out_channels=[16, 24, 40], strides=[1, 2, 2], num_block_repeats=[1, 1, 1], expand_ratios=[1, 6, 6],
        depthwise_padding=[1], hidden_dim=640, num_labels=5,
    )  # fmt: skip
    model = EfficientNetForImageClassification(config)
    shapes = filled(model)
    made = model(x, output_hidden_states=True)
    keep("efficientnet", config, shapes, made.hidden_states, values, logits=made.logits)

    values, x = pixels(32, 32)
    config = ViTConfig(**TOWER, image_size=32, patch_size=8, num_labels=5)
    model = ViTForImageClassification(config)
    shapes = filled(model)
    made = model(x, output_hidden_states=True)
    first = model.vit(x).last_hidden_state[:, 0]
    keep("vit", config, shapes, made.hidden_states, values, logits=made.logits, embed_image=first)
    x = see("vit", ViTImageProcessorPil(size={"height": 32, "width": 32}))
    out["vit.scores"] = model(x).logits.softmax(-1)[0].numpy()

    tokenizer = clip_tokenizer()
    texts = ["a photo of a cat.", "This is a photo of an astronaut.", "the ocean at night, " * 30]
    tokenizer.enable_truncation(24)
    coded = tokenizer.encode_batch(texts)
    tokenizer.no_truncation()
    ids = torch.full((3, 24), coded[0].ids[-1])
    for row, text in zip(ids, coded, strict=True):
        row[: len(text.ids)] = torch.tensor(text.ids)
    values, x = pixels(48, 48)
    special = {
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": coded[0].ids[0],
        "eos_token_id": coded[0].ids[-1],
    }
    config = CLIPConfig(
        text_config=TOWER | special | {"max_position_embeddings": 24, "pad_token_id": 1},
        vision_config=TOWER | {"image_size": 48, "patch_size": 16}, projection_dim=32,
    )  # fmt: skip
    model = CLIPModel(config)
    shapes = filled(model)
    seen = model.vision_model(x, output_hidden_states=True)
    read = model.text_model(ids, output_hidden_states=True)
    made = model(ids, x)
    keep(
        "clip", config, shapes, seen.hidden_states, values, ids=ids, probabilities=made.logits_per_image.softmax(-1),
        embed_image=made.image_embeds, embed_text=made.text_embeds,
    )  # fmt: skip
    out.update({f"clip.text_hidden{n}": last(x[:1]) for n, x in enumerate(read.hidden_states)})
    x = see("clip", CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}))
    out["clip.scores"] = model(ids, x).logits_per_image.softmax(-1)[0].numpy()
    out["clip.vector"] = model(ids, x).image_embeds[0].numpy()
    described["clip"] |= {"texts": texts, "tokenizer": json.loads(tokenizer.to_str())}
    return described, out


def lite0(path: str) -> dict[str, np.ndarray]:
    """vision_lite0.npz"""
    config: dict[str, Any] = {
        "batch_norm_eps": 1e-3, "strides": [1, 2, 2, 2, 1, 2, 1], "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
    }  # fmt: skip
    state = torch.load(path, map_location="cpu", weights_only=True)
    values = {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
    processor = CLIPImageProcessorPil(**values, size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    out: dict[str, np.ndarray] = {}
    for name in ("astronaut", "chelsea", "coffee"):
        photo = Image.fromarray(getattr(skimage.data, name)())
        photo.thumbnail((200, 200), Image.Resampling.LANCZOS)
        x = torch.from_numpy(processor(photo, return_tensors="np")["pixel_values"])
        hidden, logits = lite(state, config, x.float())
        out[name], out[f"{name}.logits"] = np.asarray(photo), logits[0].numpy()
        if name == "chelsea":
            centers = [h[0, :, h.shape[2] // 2, h.shape[3] // 2].numpy() for h in hidden]
            out.update({f"{name}.hidden{n}": center for n, center in enumerate(centers)})
    return out


if __name__ == "__main__":
    with torch.no_grad():
        np.savez_compressed(GOLDEN / "vision_images.npz", **images())
        described, arrays = tiny()
        (GOLDEN / "vision_models.json").write_text(json.dumps(described, indent=1) + "\n")
        np.savez_compressed(GOLDEN / "vision_models.npz", **arrays)
        np.savez_compressed(GOLDEN / "vision_lite0.npz", **lite0(sys.argv[1]))
