"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929).

Names follow the Hugging Face checkpoint; its query, key and value matrices are read as one. N images of H x W pixels, T
rows (patches and a class), C hidden size, L labels.
"""

from typing import Any

from ..nn import ACTIVATIONS, LayerNorm, Linear, Patches
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"image-classification": "ForImageClassification", "image-feature-extraction": ""}


class Layer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        eps = config["layer_norm_eps"]
        self.heads, self.activation = config["num_attention_heads"], ACTIVATIONS[config["hidden_act"]]
        self.layernorm_before = LayerNorm(weights, f"{name}.layernorm_before", eps)
        attention = f"{name}.attention.attention"
        self.query_key_value = Linear(weights, *(f"{attention}.{part}" for part in ("query", "key", "value")))
        self.attention_output = Linear(weights, f"{name}.attention.output.dense")
        self.layernorm_after = LayerNorm(weights, f"{name}.layernorm_after", eps)
        self.intermediate = Linear(weights, f"{name}.intermediate.dense")
        self.output = Linear(weights, f"{name}.output.dense")

    def __call__(self, x: Tensor) -> Tensor:
        q, k, v = self.query_key_value(self.layernorm_before(x)).split(3)  # (N, T, C) each
        x = x + self.attention_output(q.sdpa(k, v, self.heads))
        return x + self.output(self.activation(self.intermediate(self.layernorm_after(x))))


class Model:
    """pixel_values f32 (N, H, W, 3)."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        name = "vit." if "vit.embeddings.cls_token" in weights else ""
        weights.unused(f"{name}pooler.*", "classifier.*", "decoder.*", f"{name}embeddings.mask_token")  # of other tasks
        first, positions = (f"{name}embeddings.{part}" for part in ("cls_token", "position_embeddings"))
        projection = f"{name}embeddings.patch_embeddings.projection"
        self.embeddings = Patches(weights, projection, config["patch_size"], first, positions)
        layers = range(config["num_hidden_layers"])
        self.layers = [Layer(config, weights, f"{name}encoder.layer.{n}") for n in layers]
        self.layernorm = LayerNorm(weights, f"{name}layernorm", config["layer_norm_eps"])

    def hidden(self, pixel_values: Tensor) -> list[Tensor]:
        """The embeddings and the output of each layer: (N, T, C)."""
        x = [self.embeddings(pixel_values)]
        for layer in self.layers:
            x.append(layer(x[-1]))
        return x

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """The class token's row: (N, C)"""
        return self.layernorm(self.hidden(pixel_values)[-1][:, 0])


class ForImageClassification(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        self.classifier = Linear(weights, "classifier")

    def logits(self, pixel_values: Tensor) -> Tensor:
        """(N, L)"""
        return self.classifier(self.embed_image(pixel_values))
