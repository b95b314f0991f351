"""Unknown tensors are refused by name, except those in published files that nothing computes with."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tensortab import models
from tensortab.decoder import Decoder
from tensortab.device.cpu import CPUDevice
from tensortab.errors import Error
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.weights import Weights

from tests.models.test_hostile import opened
from tests.recipe import weight, write_folder

# What files on the hub have beside the weights, by those of the models (transformers' other heads, its
# _tied_weights_keys and _keys_to_ignore_on_load_unexpected, and what older versions of it and of llama.cpp wrote).
PUBLISHED = {
    "qwen3": ["model.layers.0.self_attn.rotary_emb.inv_freq", "rope_freqs.weight", "blk.0.attn_rot_embd.weight"],
    "phi3_long": ["rope_factors_long.weight", "rope_factors_short.weight"],
    "gemma": ["vision_tower.patch.weight", "model.visual.blocks.0.attn.proj.bias", "mtp.fc.weight"],
    "gpt2": ["transformer.h.0.attn.bias", "h.1.attn.masked_bias", "multiple_choice_head.summary.bias"],
    "bart": ["lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
             "model.decoder.version"],
    "t5": ["lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
           "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"],
    "whisper": ["proj_out.weight"],
    "bert": ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "cls.seq_relationship.weight", "classifier.bias",
             "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "qa_outputs.weight",
             "bert.embeddings.position_ids"],
    "clip": ["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"],
    "vit": ["vit.pooler.dense.bias", "classifier.weight", "vit.embeddings.mask_token", "decoder.0.weight"],
    "efficientnet": ["classifier.bias"],
}  # fmt: skip
FOREIGN = {
    "qwen3": "model.layers.0.input_layernorm.bias", "gemma": "model.layers.0.self_attn.q_norm.weight",
    "gpt2": "transformer.h.0.ln_3.weight", "bart": "model.encoder.layers.0.fc3.weight", "t5": "encoder.extra.weight",
    "whisper": "model.decoder.layers.0.fc3.weight", "bert": "bert.encoder.layer.0.adapter.weight",
    "clip": "text_model.pooler.weight", "vit": "vit.encoder.layer.0.layer_scale", "efficientnet": "head.weight",
    "phi3_long": "model.layers.0.self_attn.q_norm.weight",
}  # fmt: skip


def declare(checkpoint: Checkpoint, *more: str) -> None:
    """A model of a file with these tensors, too."""
    some = next(iter(checkpoint.tensors.values()))
    added = {name: replace(some, name=name) for name in more if name not in checkpoint.tensors}
    module = models.find(checkpoint.config["model_type"])
    assert module is not None
    models.declare(module.Model, Weights(replace(checkpoint, tensors=checkpoint.tensors | added), 1 << 27))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_published_files_have_is_known(kind: str, tmp_path: Path) -> None:
    checkpoint, _ = opened(kind, tmp_path)
    declare(checkpoint, *PUBLISHED[kind])
    foreign = FOREIGN[kind]
    with pytest.raises(Error, match=f"of type '{checkpoint.config['model_type']}' do not have here: {foreign}\\.") as e:
        declare(checkpoint, *PUBLISHED[kind], foreign)
    assert e.value.code == "bad_file"


def test_a_file_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """Norms of q and k in a file that claims to be Llama's: it is Qwen3's, and its answers would be noise."""
    checkpoint, _ = opened("qwen3", tmp_path)
    names = ", ".join(sorted(name for name in checkpoint.tensors if "_norm." in name)[:3])
    with pytest.raises(Error, match=f"'llama' do not have here: {names} and 1 more. Its answers would be wrong"):
        Decoder(replace(checkpoint, config=checkpoint.config | {"model_type": "llama"}), CPUDevice())


def test_an_unknown_tensor_that_cannot_be_read_is_no_matter(tmp_path: Path) -> None:
    """Counters, masks and ids in integers: no model computes with them."""
    checkpoint, _ = opened("qwen3", tmp_path)
    declare(replace(checkpoint, unusable={"model.position_ids": "I64"}))


def test_a_folder_with_more(tmp_path: Path) -> None:
    checkpoint, _ = opened("gemma", tmp_path)
    tensors = {name: weight(name, info.shape) for name, info in checkpoint.tensors.items()}
    tensors["model.layers.0.self_attn.q_norm.weight"] = weight("q_norm", (256,))
    more = asyncio.run(open_checkpoint(write_folder(tmp_path / "more", checkpoint.config, tensors)))
    with pytest.raises(Error, match=r"model\.layers\.0\.self_attn\.q_norm\.weight"):
        Decoder(more, CPUDevice())
