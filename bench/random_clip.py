"""CLIP ViT-B/32 with random weights in its exact shapes, as a Hugging Face folder: real ones are in no package.

What is computed is noise; its speed is the real model's, and both engines of the benchmark get the same numbers.
"""

import json
from pathlib import Path

import numpy as np
from tensortab.converters.safetensors import Tensor, write

NAME = "clip-vit-base-patch32"
CONFIG = {
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "projection_dim": 512,
    "text_config": {
        "model_type": "clip_text_model", "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 8, "vocab_size": 49408, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5, "projection_dim": 512, "eos_token_id": 49407,
    },
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "image_size": 224, "patch_size": 32, "num_channels": 3, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5, "projection_dim": 512,
    },
}  # fmt: skip
PREPROCESSOR = {
    "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip

TOKENIZER = {  # texts are not measured: it knows where one ends
    "version": "1.0", "added_tokens": [], "pre_tokenizer": None, "decoder": None,
    "model": {"type": "BPE", "vocab": {"<|endoftext|>": 49407}, "merges": []},
}  # fmt: skip


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """{name: shape} of every tensor, as transformers has them."""
    text, vision, joint = config["text_config"], config["vision_config"], config["projection_dim"]
    patch = vision["patch_size"]
    positions = (vision["image_size"] // patch) ** 2 + 1
    found: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_projection.weight": (joint, text["hidden_size"]),
        "visual_projection.weight": (joint, vision["hidden_size"]),
        "text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["hidden_size"]),
        "text_model.embeddings.position_embedding.weight": (text["max_position_embeddings"], text["hidden_size"]),
        "vision_model.embeddings.class_embedding": (vision["hidden_size"],),
        "vision_model.embeddings.patch_embedding.weight": (vision["hidden_size"], 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": (positions, vision["hidden_size"]),
    }
    matrices, norms = {}, {"text_model.final_layer_norm": text["hidden_size"]}
    norms |= {f"vision_model.{name}": vision["hidden_size"] for name in ("pre_layrnorm", "post_layernorm")}
    for side, part in (("text_model", text), ("vision_model", vision)):
        hidden, inner = part["hidden_size"], part["intermediate_size"]
        for n in range(part["num_hidden_layers"]):
            layer = f"{side}.encoder.layers.{n}"
            matrices |= {f"{layer}.self_attn.{name}_proj": (hidden, hidden) for name in ("q", "k", "v", "out")}
            matrices |= {f"{layer}.mlp.fc1": (inner, hidden), f"{layer}.mlp.fc2": (hidden, inner)}
            norms |= {f"{layer}.layer_norm{which}": hidden for which in (1, 2)}
    for name, (rows, columns) in matrices.items():
        found |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    for name, size in norms.items():
        found |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return found


def make(folder: Path, config: dict = CONFIG) -> None:
    """The folder, in f16 (302 MB)."""
    source = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, shape in shapes(config).items():
        values = source.standard_normal(shape, np.float32) * 0.03
        if name.endswith("weight") and "norm" in name:
            values += 1
        tensors[name] = Tensor("F16", shape, values.astype(np.float16).tobytes())
    write(folder / "model.safetensors", tensors)
    for name, content in {"config": config, "preprocessor_config": PREPROCESSOR, "tokenizer": TOKENIZER}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
