"""Describes a model: its architecture, size and formats, and whether this engine runs it.

MODEL is anything that pipeline() accepts: a GGUF or safetensors file, a folder (also of a packed model), a name of the
catalogue or a Hugging Face id. Only headers are read.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator

from .. import models
from ..formats import Checkpoint, open_checkpoint
from ..sources.model import find
from . import shown

KEYS = {  # the names that are shown, and config.json's keys
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers"),
    "hidden size": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "encoder_attention_heads"),
    "key/value heads": ("num_key_value_heads",),
    "context": ("max_position_embeddings", "n_positions", "max_target_positions"),
    "vocabulary": ("vocab_size",),
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file, a folder, a name or a Hugging Face id")


def run(args: argparse.Namespace) -> None:
    checkpoint = asyncio.run(_open(args.model))
    for name, value in _facts(checkpoint):
        print(f"{name:16} {' '.join(shown(value).splitlines())}")


async def _open(model: str) -> Checkpoint:
    return await open_checkpoint(await find(model, lambda done, total: None))


def _facts(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    config, tensors = checkpoint.config, checkpoint.tensors.values()
    kind = config.get("model_type")
    yield "format", checkpoint.format
    if name := checkpoint.metadata.get("general.name"):
        yield "name", str(name)
    known = isinstance(kind, str) and models.find(kind) is not None
    yield "architecture", f"{kind}{'' if known else ' (this version of TensorTab does not run it)'}"
    if license := checkpoint.metadata.get("general.license"):
        yield "licence", str(license)
    yield "parameters", f"{sum(info.size for info in tensors):,}"
    yield "tensors", f"{len(tensors)}, {sum(info.nbytes for info in tensors):,} bytes"
    sizes: Counter[str] = Counter()
    for info in tensors:
        sizes[info.dtype.name] += info.size
    total = sum(sizes.values())
    yield "stored as", ", ".join(f"{dtype} {count / total:.1%}" for dtype, count in sizes.most_common())
    if checkpoint.unusable:
        others = Counter(checkpoint.unusable.values())
        yield "not readable", ", ".join(f"{count} tensors of {dtype}" for dtype, count in others.most_common())
    for name, keys in KEYS.items():
        if (value := next((config[key] for key in keys if config.get(key) is not None), None)) is not None:
            yield name, f"{value:,}" if isinstance(value, int) else str(value)
    template = "tokenizer.chat_template" in checkpoint.metadata or "chat_template" in checkpoint.tokenizer_config
    yield "chat template", "yes" if template else "no"
