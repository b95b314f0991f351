"""Random BERTs of the exact architecture for tests and their references: a folder as on the Hugging Face hub, whose
weights follow from their names. Only numpy is needed."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
VOCAB = (GOLDEN / "bert_vocab.txt").read_text().splitlines() if (GOLDEN / "bert_vocab.txt").exists() else []
TOKENIZER = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
LABELS = {"0": "calm", "1": "glad", "2": "sad"}
BERT: dict[str, Any] = {
    "model_type": "bert", "vocab_size": len(VOCAB), "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 96, "hidden_act": "gelu", "max_position_embeddings": 48, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "id2label": LABELS, "label2id": {name: int(id) for id, name in LABELS.items()},
}  # fmt: skip
DISTILBERT: dict[str, Any] = {
    "model_type": "distilbert", "vocab_size": len(VOCAB), "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96,
    "activation": "gelu", "max_position_embeddings": 48, "id2label": LABELS, "label2id": BERT["label2id"],
}  # fmt: skip


def bert_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """All parameters of BertForMaskedLM (whose decoder is tied) and of BertForSequenceClassification."""
    size, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {"cls.predictions.bias": (config["vocab_size"],)}
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    shapes |= {f"bert.embeddings.{part}_embeddings.weight": (config[rows], size) for part, rows in tables.items()}
    linear = {"bert.pooler.dense": (size, size), "cls.predictions.transform.dense": (size, size)}
    linear["classifier"] = (len(config["id2label"]), size)
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        name = f"bert.encoder.layer.{layer}"
        linear |= {f"{name}.attention.self.{part}": (size, size) for part in ("query", "key", "value")}
        linear[f"{name}.attention.output.dense"] = (size, size)
        linear |= {f"{name}.intermediate.dense": (inner, size), f"{name}.output.dense": (size, inner)}
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    return shapes | _layers(linear, norms, size)


def distilbert_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """All parameters of DistilBertForMaskedLM (whose projector is tied) and of DistilBertForSequenceClassification."""
    size, inner = config["dim"], config["hidden_dim"]
    shapes = {"vocab_projector.bias": (config["vocab_size"],)}
    tables = {"word": "vocab_size", "position": "max_position_embeddings"}
    shapes |= {f"distilbert.embeddings.{part}_embeddings.weight": (config[rows], size) for part, rows in tables.items()}
    linear = {"vocab_transform": (size, size), "pre_classifier": (size, size)}
    linear["classifier"] = (len(config["id2label"]), size)
    norms = ["distilbert.embeddings.LayerNorm", "vocab_layer_norm"]
    for layer in range(config["n_layers"]):
        name = f"distilbert.transformer.layer.{layer}"
        linear |= {f"{name}.attention.{part}_lin": (size, size) for part in ("q", "k", "v", "out")}
        linear |= {f"{name}.ffn.lin1": (inner, size), f"{name}.ffn.lin2": (size, inner)}
        norms += [f"{name}.sa_layer_norm", f"{name}.output_layer_norm"]
    return shapes | _layers(linear, norms, size)


def _layers(linear: dict[str, tuple[int, ...]], norms: list[str], size: int) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    return shapes | {f"{name}.{part}": (size,) for name in norms for part in ("weight", "bias")}


def tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Numbers that keep activations near 1, so that each weight matters."""
    result = {}
    for name, shape in shapes.items():
        random = np.random.default_rng(zlib.crc32(name.encode()))
        if "orm." in name and name.endswith(".weight"):
            value = random.uniform(0.5, 1.5, shape)
        else:
            scale = 0.3 if len(shape) == 1 else 1.0 if "embeddings" in name else shape[1] ** -0.5
            value = random.normal(0, scale, shape)
        result[name] = value.astype(np.float32)
    return result


def model(kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(config, tensors) of "bert" or "distilbert"."""
    config = BERT if kind == "bert" else DISTILBERT
    return config, tensors((bert_shapes if kind == "bert" else distilbert_shapes)(config))


def write(folder: Path, kind: str, prefix: bool = True, **files: Any) -> Path:
    """The folder of a model; `files`: further JSON files by their names without the suffix ("1_Pooling/config").

    prefix: whether the encoder's names begin with the model's.
    """
    config, weights = model(kind)
    header, data = {}, b""
    for name, value in weights.items():
        name = name if prefix else name.removeprefix(f"{kind}.")
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    for name, value in {"config": config, "tokenizer_config": TOKENIZER, **files}.items():
        (folder / f"{name}.json").parent.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder
