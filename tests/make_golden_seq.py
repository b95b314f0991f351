"""Writes tests/golden/seq.json and .npz: what transformers says of tiny models of BART's and T5's architecture.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, numpy 2.4.6, in an environment of its own:

    python tests/make_golden_seq.py        (a minute)

seq.json  of each model: config.json, the shapes of its tensors, whose numbers are tests/recipe.py's times a factor, and
          cases: ids that are read, settings of generate(), and the ids that it writes. The ids that are read are such
          that a little noise in all weights does not change what is written
seq.npz   of each model: ids, the encoder's hidden states after the embedding and each block (every other channel);
          three texts for the decoder and its logits at every position of them (every fourth token); for T5 the buckets
          of distances from -200 to 200
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

sys.path.append(str(Path(__file__).parents[1]))
from tests.recipe import weight

GOLDEN = Path(__file__).parent / "golden"
VOCAB = 320  # as tests/golden/tiny_llama's tokenizer
BART: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 160, "max_position_embeddings": 96,
    "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": 64, "d_kv": 32, "d_ff": 96, "num_layers": 2,
    "num_heads": 3, "relative_attention_num_buckets": 16, "relative_attention_max_distance": 40, "n_positions": 96,
    "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 0,
}  # fmt: skip
FACTORS = {  # so that some tokens are likelier than others, and not those that were written last
    "bart": {"model.shared.weight": 4, "model.decoder.embed_positions.weight": 16},
    "bart_scaled": {"model.shared.weight": 4, "model.decoder.embed_positions.weight": 80},
    "t5": {"shared.weight": 24, "o.weight": 12},
    "t5_gated": {"lm_head.weight": 3, "o.weight": 4},
}
MODELS = {
    "bart": BartForConditionalGeneration(BartConfig(**BART)),
    "bart_scaled": BartForConditionalGeneration(
        BartConfig(**BART | {"decoder_layers": 1}, scale_embedding=True, activation_function="gelu_new")
    ),
    "t5": T5ForConditionalGeneration(T5Config(**T5, feed_forward_proj="relu")),
    "t5_gated": T5ForConditionalGeneration(
        T5Config(**T5, num_decoder_layers=1, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
}
ENDS = [2, *range(140, 150), 217, 304]  # so many that texts end
SETTINGS: list[dict[str, Any]] = [
    {"num_beams": 1, "max_length": 16},
    {"num_beams": 4, "max_length": 16, "no_repeat_ngram_size": 3},
    {"num_beams": 4, "max_length": 20, "min_length": 12, "length_penalty": 2.0, "early_stopping": True,
     "no_repeat_ngram_size": 2},
    {"num_beams": 4, "max_length": 14, "length_penalty": 0.5, "early_stopping": "never", "no_repeat_ngram_size": 2,
     "eos_token_id": ENDS},
    {"num_beams": 4, "max_length": 12, "forced_bos_token_id": 7, "forced_eos_token_id": 2, "no_repeat_ngram_size": 1,
     "min_length": 12, "early_stopping": True},
    {"num_beams": 3, "max_length": 40, "min_length": 6, "no_repeat_ngram_size": 2, "length_penalty": 1.5,
     "eos_token_id": ENDS},
]  # fmt: skip


CASES = {"bart_scaled": 2}  # so many of the settings; all for the others


def tensor(model: str, name: str, shape: list[int]) -> np.ndarray:
    factor = next((factor for end, factor in FACTORS[model].items() if name.endswith(end)), 1)
    return weight(name, shape).astype(np.float64) * factor


def loaded(name: str) -> tuple[Any, dict[str, list[int]]]:
    """The model with the recipe's weights, and the shapes of its tensors."""
    model = MODELS[name]
    model.set_attn_implementation("eager")
    if name == "t5_gated":
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    model.double().eval()
    values = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for key, value in values.items():
            value.copy_(torch.tensor(tensor(name, key, list(value.shape))))
    return model, {key: list(value.shape) for key, value in values.items()}


def write(model: Any, ids: list[int], settings: dict[str, Any]) -> list[int]:
    inputs = torch.tensor([ids])
    with torch.no_grad():
        return model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, **settings)[0].tolist()


def noisy(model: Any, ids: list[int], settings: dict[str, Any], seed: int) -> list[int]:
    """What it writes with every weight changed by about a five thousandth."""
    before = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + 2e-4 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        written = write(model, ids, settings)
        for p, value in zip(model.parameters(), before, strict=True):
            p.copy_(value)
    return written


def case(model: Any, settings: dict[str, Any], length: int) -> dict[str, Any]:
    for seed in range(60):
        ids = np.random.default_rng(seed).integers(3, VOCAB, length).tolist()
        written = write(model, ids, settings)
        if len(set(written)) > 4 and all(noisy(model, ids, settings, n) == written for n in range(3)):
            print("   ", seed, settings, written)
            return {"ids": ids, "settings": settings, "written": written}
    raise SystemExit(f"no ids are safe with {settings}")


def golden(name: str) -> tuple[dict, dict]:
    model, shapes = loaded(name)
    random = np.random.default_rng(1)
    ids, texts = random.integers(3, VOCAB, 39), random.integers(3, VOCAB, (3, 21))
    with torch.no_grad():
        said = model(
            torch.tensor(ids)[None].expand(3, -1), decoder_input_ids=torch.tensor(texts), output_hidden_states=True
        )
    hidden = torch.stack([h[0] for h in said.encoder_hidden_states]).numpy()
    arrays = {"ids": ids.astype(np.int32), "texts": texts.astype(np.int32)}
    arrays |= {"hidden": hidden[..., ::2].astype(np.float32), "logits": said.logits[..., ::4].float().numpy()}
    print(f"{name}: logits' deviation {said.logits.std():.2f}, hidden states' {hidden.std((1, 2))}")
    cases = [case(model, settings, 9 + 23 * n % 80) for n, settings in enumerate(SETTINGS[: CASES.get(name)])]
    config = json.loads(model.config.to_json_string())
    if name == "t5_gated":
        config["tie_word_embeddings"] = False  # as the files of 1.1 say
    described = {"config": config, "tensors": shapes, "factors": FACTORS[name], "cases": cases}
    return described, {f"{name}.{key}": value for key, value in arrays.items()}


def buckets() -> dict[str, np.ndarray]:
    distances = torch.arange(-200, 201)
    return {
        f"buckets.{count}.{far}.{int(both)}": T5Attention._relative_position_bucket(distances, both, count, far)
        .numpy()
        .astype(np.int32)
        for count, far in ((32, 128), (16, 40), (8, 20))
        for both in (True, False)
    }


if __name__ == "__main__":
    print({name: version(name) for name in ("torch", "transformers", "numpy")})
    models, arrays = {}, buckets()
    for name in MODELS:
        models[name], more = golden(name)
        arrays |= more
    (GOLDEN / "seq.json").write_text(json.dumps(models))
    np.savez_compressed(GOLDEN / "seq.npz", **arrays)
