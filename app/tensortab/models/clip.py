"""CLIP (Radford et al. 2021, arXiv:2103.00020): images and texts as vectors of one space.

Names follow the Hugging Face checkpoint; its q, k and v matrices are read as one. N images of H x W pixels or texts of
T tokens, C hidden size of each tower, D size of the common space.
"""

from typing import Any

from ..nn import MLP, LayerNorm, Linear, Patches
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"zero-shot-image-classification": "", "image-feature-extraction": ""}

# what configurations leave out, as for ViT-B/32
TOWER = {"num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
DEFAULTS = {
    "vision_config": {"num_attention_heads": 12, "patch_size": 32} | TOWER,
    "text_config": {"num_attention_heads": 8} | TOWER,
}


class EncoderLayer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str, causal: bool) -> None:
        self.heads, self.causal, eps = config["num_attention_heads"], causal, config["layer_norm_eps"]
        self.layer_norm1 = LayerNorm(weights, f"{name}.layer_norm1", eps)
        self.qkv_proj = Linear(weights, *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.out_proj = Linear(weights, f"{name}.self_attn.out_proj")
        self.layer_norm2 = LayerNorm(weights, f"{name}.layer_norm2", eps)
        self.mlp = MLP(weights, f"{name}.mlp", config["hidden_act"])

    def __call__(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(self.layer_norm1(x)).split(3)  # (N, T, C) each
        x = x + self.out_proj(q.sdpa(k, v, self.heads, self.causal))
        return x + self.mlp(self.layer_norm2(x))


class VisionTower:
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        name, eps = "vision_model", config["layer_norm_eps"]
        first, positions = f"{name}.embeddings.class_embedding", f"{name}.embeddings.position_embedding.weight"
        projection = f"{name}.embeddings.patch_embedding"
        self.embeddings = Patches(weights, projection, config["patch_size"], first, positions)
        self.pre_layrnorm = LayerNorm(weights, f"{name}.pre_layrnorm", eps)
        layers = range(config["num_hidden_layers"])
        self.layers = [EncoderLayer(config, weights, f"{name}.encoder.layers.{n}", causal=False) for n in layers]
        self.post_layernorm = LayerNorm(weights, f"{name}.post_layernorm", eps)

    def hidden(self, pixel_values: Tensor) -> list[Tensor]:
        """The embeddings and the output of each layer: (N, T, C)."""
        x = [self.pre_layrnorm(self.embeddings(pixel_values))]
        for layer in self.layers:
            x.append(layer(x[-1]))
        return x


class TextTower:
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        name = "text_model"
        self.token_embedding, self.position_embedding = (
            weights.matrix(f"{name}.embeddings.{part}_embedding.weight") for part in ("token", "position")
        )
        layers = range(config["num_hidden_layers"])
        self.layers = [EncoderLayer(config, weights, f"{name}.encoder.layers.{n}", causal=True) for n in layers]
        self.final_layer_norm = LayerNorm(weights, f"{name}.final_layer_norm", config["layer_norm_eps"])

    def hidden(self, ids: Tensor) -> list[Tensor]:
        """ids u32 (N, T) -> the embeddings and the output of each layer: (N, T, C)."""
        positions = Tensor([list(range(ids.shape[1]))] * ids.shape[0], "u32")
        x = [ids.lookup(*self.token_embedding) + positions.lookup(*self.position_embedding)]
        for layer in self.layers:
            x.append(layer(x[-1]))
        return x


class Model:
    """pixel_values f32 (N, H, W, 3); ids u32 (N, T), padded on the right."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        vision, text = (DEFAULTS[tower] | config.get(tower, {}) for tower in ("vision_config", "text_config"))
        self.vision_model, self.text_model = VisionTower(vision, weights), TextTower(text, weights)
        self.visual_projection, self.text_projection = (
            Linear(weights, f"{name}_projection") for name in ("visual", "text")
        )
        self.logit_scale = weights.vector("logit_scale")
        self.length = weights.checkpoint.tensor("text_model.embeddings.position_embedding.weight").shape[0]
        self.end = text.get("eos_token_id")

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """Vectors of length 1 of the class token's rows: (N, D)"""
        x = self.vision_model.hidden(pixel_values)[-1][:, 0]
        return self.visual_projection(self.vision_model.post_layernorm(x)).normalize()

    def embed_text(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Vectors of length 1 of the end tokens' rows: (N, D). ends: u32 (N), the end token's t + n * T."""
        x = self.text_model.hidden(ids)[-1]
        last = ends.lookup(x.reshape(-1, x.shape[-1]))
        return self.text_projection(self.text_model.final_layer_norm(last)).normalize()
