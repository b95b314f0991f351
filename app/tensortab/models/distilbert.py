"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without token types and pooler, under other names."""

from typing import Any

from ..formats import check_config
from ..nn import ACTIVATIONS, LayerNorm, Linear
from ..tensor import Tensor
from ..weights import Weights
from .bert import TASKS as TASKS

EPS = 1e-12


class Layer:
    def __init__(self, config: dict[str, Any], weights: Weights, name: str) -> None:
        self.heads, self.activation = config["n_heads"], ACTIVATIONS[config["activation"]]
        self.qkv_lin = Linear(weights, *(f"{name}.attention.{part}_lin" for part in "qkv"))
        self.out_lin = Linear(weights, f"{name}.attention.out_lin")
        self.sa_layer_norm = LayerNorm(weights, f"{name}.sa_layer_norm", EPS)
        self.lin1, self.lin2 = Linear(weights, f"{name}.ffn.lin1"), Linear(weights, f"{name}.ffn.lin2")
        self.output_layer_norm = LayerNorm(weights, f"{name}.output_layer_norm", EPS)

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        size = x.shape[-1]
        qkv = self.qkv_lin(x)  # (N, T, 3C)
        q, k, v = (qkv[:, :, part * size : (part + 1) * size] for part in range(3))
        x = self.sa_layer_norm(x + self.out_lin(q.sdpa(k, v, self.heads, lengths=lengths)))
        return self.output_layer_norm(x + self.lin2(self.activation(self.lin1(x))))  # (N, T, C)


class Model:
    """Reads whole texts: ids u32 (N, T), lengths u32 (N). size: C; length: the number of positions."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        check_config(config, "dim", "n_layers", "n_heads")
        name = "distilbert." if "distilbert.embeddings.word_embeddings.weight" in weights else ""
        weights.unused("vocab_*", "pre_classifier.*", "classifier.*", "qa_outputs.*")  # heads of other tasks
        embeddings = f"{name}embeddings"
        self.words, self.positions = (
            weights.matrix(f"{embeddings}.{part}_embeddings.weight") for part in ("word", "position")
        )
        self.norm = LayerNorm(weights, f"{embeddings}.LayerNorm", EPS)
        self.size, self.length = config["dim"], sum(table.shape[0] for table in self.positions)
        self.layers = [Layer(config, weights, f"{name}transformer.layer.{n}") for n in range(config["n_layers"])]

    def hidden(self, ids: Tensor, types: Tensor, lengths: Tensor) -> Tensor:
        """The last layer's output for every token: (N, T, C)."""
        positions = Tensor([list(range(ids.shape[1]))] * ids.shape[0], "u32").reshape(-1)
        x = ids.reshape(-1).lookup(*self.words) + positions.lookup(*self.positions)
        x = self.norm(x.reshape(*ids.shape, -1))
        for layer in self.layers:
            x = layer(x, lengths)
        return x


class ForMaskedLM(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        self.activation = ACTIVATIONS[config["activation"]]
        self.vocab_transform = Linear(weights, "vocab_transform")
        self.vocab_layer_norm = LayerNorm(weights, "vocab_layer_norm", EPS)
        own = "vocab_projector.weight" in weights
        self.vocab_projector = weights.matrix("vocab_projector.weight") if own else self.words
        self.bias = weights.vector("vocab_projector.bias")

    def logits(self, x: Tensor) -> Tensor:
        """The logits of M tokens' outputs: (M, C) -> (M, V)"""
        return self.vocab_layer_norm(self.activation(self.vocab_transform(x))).linear(*self.vocab_projector) + self.bias


class ForSequenceClassification(Model):
    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        self.pre_classifier, self.classifier = Linear(weights, "pre_classifier"), Linear(weights, "classifier")

    def logits(self, x: Tensor) -> Tensor:
        """The logits of N texts, from the outputs of their first tokens: (N, C) -> (N, L)"""
        return self.classifier(self.pre_classifier(x).relu())
