"""Writes tests/golden/decoders.json and .npz: what transformers says of tiny models of each decoder's architecture.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, numpy 2.4.6, in an environment of its own:

    python tests/make_golden_decoders.py        (10 seconds)

decoders.json  each model's config.json, and the shapes of its tensors, whose numbers are tests/recipe.py's
decoders.npz   of each model: ids, the logits at every position, 8 greedy tokens after them, and the hidden states after
               the embedding and each block but the last. The ids are such that no two logits are close on the way
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)  # fmt: skip

sys.path.append(str(Path(__file__).parents[1]))
from tests.recipe import weight

GOLDEN = Path(__file__).parent / "golden"
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "long_factor": [1.0, 2, 3, 4, 5, 6, 7, 8.5],
}  # fmt: skip
LENGTH = {"phi3_long": 40, "phi4_long": 40}  # tokens; the others have 17
CONFIGS = {
    "mistral": MistralConfig(**SIZES, head_dim=32, sliding_window=64),
    "llama_bias": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "qwen2": Qwen2Config(
        **SIZES, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    ),
    "qwen3": Qwen3Config(**SIZES, head_dim=32),
    "gemma": GemmaConfig(**SIZES | {"num_attention_heads": 2, "num_key_value_heads": 1}, head_dim=256),
    "phi3": Phi3Config(**SIZES | {"num_key_value_heads": 4}, sliding_window=100),
    "phi3_short": Phi3Config(**SIZES, original_max_position_embeddings=32, rope_parameters=dict(LONGROPE)),
    "phi3_long": Phi3Config(**SIZES, original_max_position_embeddings=32, rope_parameters=dict(LONGROPE)),
    # as Phi-4-mini: three quarters of each head rotate
    "phi4": Phi3Config(
        **SIZES, original_max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75},
    ),
    "phi4_long": Phi3Config(
        **SIZES, original_max_position_embeddings=32,
        rope_parameters=LONGROPE | {
            "partial_rotary_factor": 0.75, "short_factor": LONGROPE["short_factor"][:6],
            "long_factor": LONGROPE["long_factor"][:6],
        },
    ),
    "gpt2": GPT2Config(
        vocab_size=64, n_embd=64, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip


def golden(name: str, config: Any) -> tuple[dict, dict]:
    config.attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).double().eval()
    shapes = {key: list(value.shape) for key, value in model.named_parameters()}
    state = {key: torch.tensor(weight(key, shape).astype(np.float64)) for key, shape in shapes.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    for seed in range(1000):
        ids = np.random.default_rng(seed).integers(3, 64, LENGTH.get(name, 17)).tolist()
        logits, hidden, new, gap = run(model, ids)
        if gap > 0.1 and len(set(new)) > 3:
            break
    print(
        f"{name}: logits' deviation {logits.std():.2f}, hidden states' {hidden.std((1, 2))}, gap {gap:.3f}", seed, new
    )
    arrays = {"ids": np.array(ids, np.int32), "greedy": np.array(new, np.int32)}
    arrays |= {"logits": logits.astype(np.float32), "hidden": hidden.astype(np.float32)}
    said = json.loads(config.to_json_string())
    return {"config": said, "tensors": shapes}, {f"{name}.{key}": value for key, value in arrays.items()}


@torch.no_grad()
def run(model: Any, ids: list[int]) -> tuple[np.ndarray, np.ndarray, list[int], float]:
    """Logits, hidden states, greedy tokens, and the smallest distance of their logits to the next best's."""
    out = model(torch.tensor([ids]), use_cache=True, output_hidden_states=True)
    logits = out.logits[0].numpy()
    hidden = torch.stack(out.hidden_states[:-1])[:, 0].numpy()  # the last one has the last norm
    step, new, gap = logits[-1], [], 10.0
    for _ in range(8):
        first, second = np.argsort(-step)[:2]
        gap = min(gap, step[first] - step[second])
        new.append(int(first))
        out = model(torch.tensor([new[-1:]]), past_key_values=out.past_key_values, use_cache=True)
        step = out.logits[0, -1].numpy()
    return logits, hidden, new, float(gap)


if __name__ == "__main__":
    torch.set_num_threads(2)
    arrays: dict[str, Any] = {}
    models = {}
    for name, config in CONFIGS.items():
        models[name], more = golden(name, config)
        arrays |= more
    versions = {name: version(name) for name in ("torch", "transformers", "numpy")}
    text = json.dumps({"versions": versions, "models": models}, separators=(",", ":"))
    (GOLDEN / "decoders.json").write_text(text + "\n")
    np.savez_compressed(GOLDEN / "decoders.npz", **arrays)
