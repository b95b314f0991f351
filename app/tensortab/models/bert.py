"""BERT (Devlin et al. 2018, arXiv:1810.04805), with the heads for masked words and for classification.

Names follow the Hugging Face checkpoint; its query, key and value matrices are read as one. N texts of T tokens, padded
on the right, C hidden size, V vocabulary, L labels.
"""

from typing import Any

from ..formats import check_config
from ..nn import ACTIVATIONS, LayerNorm, Linear
from ..tensor import Tensor
from ..weights import Weights

TASKS = {"text-classification": "ForSequenceClassification", "fill-mask": "ForMaskedLM", "feature-extraction": ""}
NEEDED = "hidden_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps"


class Embeddings:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.words, self.positions, self.types = (
            weights.matrix(f"{name}.{part}_embeddings.weight") for part in ("word", "position", "token_type")
        )
        self.norm = LayerNorm(weights, f"{name}.LayerNorm", config["layer_norm_eps"])

    def __call__(self, ids: Tensor, types: Tensor) -> Tensor:
        positions = Tensor([list(range(ids.shape[1]))] * ids.shape[0], "u32").reshape(-1)
        x = ids.reshape(-1).lookup(*self.words) + positions.lookup(*self.positions)
        x = x + types.reshape(-1).lookup(*self.types)
        return self.norm(x.reshape(*ids.shape, -1))  # (N, T, C)


class Layer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        eps = config["layer_norm_eps"]
        self.heads, self.activation = config["num_attention_heads"], ACTIVATIONS[config["hidden_act"]]
        self.query_key_value = Linear(weights, *(f"{name}.attention.self.{part}" for part in ("query", "key", "value")))
        self.attention_output = Linear(weights, f"{name}.attention.output.dense")
        self.attention_norm = LayerNorm(weights, f"{name}.attention.output.LayerNorm", eps)
        self.intermediate = Linear(weights, f"{name}.intermediate.dense")
        self.output = Linear(weights, f"{name}.output.dense")
        self.norm = LayerNorm(weights, f"{name}.output.LayerNorm", eps)

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        size = x.shape[-1]
        qkv = self.query_key_value(x)  # (N, T, 3C)
        q, k, v = (qkv[:, :, part * size : (part + 1) * size] for part in range(3))
        x = self.attention_norm(x + self.attention_output(q.sdpa(k, v, self.heads, lengths=lengths)))
        return self.norm(x + self.output(self.activation(self.intermediate(x))))  # (N, T, C)


class Model:
    """Reads whole texts: ids and token types u32 (N, T), lengths u32 (N).

    size: C; length: the number of positions, the most tokens of a text.
    """

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        check_config(config, *NEEDED, position_embedding_type="absolute")
        self.name = "bert." if "bert.embeddings.word_embeddings.weight" in weights else ""
        weights.unused(f"{self.name}pooler.*", "cls.*", "classifier.*", "qa_outputs.*")  # heads of other tasks
        self.embeddings = Embeddings(config, weights, f"{self.name}embeddings")
        self.length = sum(table.shape[0] for table in self.embeddings.positions)
        self.size, layers = config["hidden_size"], range(config["num_hidden_layers"])
        self.layers = [Layer(config, weights, f"{self.name}encoder.layer.{n}") for n in layers]

    def hidden(self, ids: Tensor, types: Tensor, lengths: Tensor) -> Tensor:
        """The last layer's output for every token: (N, T, C)."""
        x = self.embeddings(ids, types)
        for layer in self.layers:
            x = layer(x, lengths)
        return x


class ForMaskedLM(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        name = "cls.predictions"
        self.transform, self.activation = Linear(weights, f"{name}.transform.dense"), ACTIVATIONS[config["hidden_act"]]
        self.norm = LayerNorm(weights, f"{name}.transform.LayerNorm", config["layer_norm_eps"])
        own = f"{name}.decoder.weight" in weights
        self.decoder = weights.matrix(f"{name}.decoder.weight") if own else self.embeddings.words
        self.bias = weights.vector(f"{name}.bias")

    def logits(self, x: Tensor) -> Tensor:
        """The logits of M tokens' outputs: (M, C) -> (M, V)"""
        return self.norm(self.activation(self.transform(x))).linear(*self.decoder) + self.bias


class ForSequenceClassification(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        self.pooler = Linear(weights, f"{self.name}pooler.dense")
        self.classifier = Linear(weights, "classifier")

    def logits(self, x: Tensor) -> Tensor:
        """The logits of N texts, from the outputs of their first tokens: (N, C) -> (N, L)"""
        return self.classifier(self.pooler(x).tanh())
