"""Writes tests/golden/: what the reference implementations say. The only file that imports them.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.23.0, tokenizers 0.23.3, llama-cpp-python 0.3.36, gguf 0.19.0,
safetensors 0.8.0, sentencepiece 0.2.3, numpy 2.4.6, in an environment of its own:

    python tests/make_golden.py <SmolLM2-135M-Instruct.Q4_1.gguf>        (2 minutes on two cores)

smollm2.json     prompts, their ids, and 32 greedy tokens with each step's two highest logits, from: transformers (f32,
                 the file's dequantised weights); llama_cpp_f32 (the same weights in a file of f32); llama_cpp (the file
                 itself: it rounds activations to 8 bits, so it differs where a gap is small). None stops at an end.
smollm2.npz      transformers' 50 highest logits at three positions of each prompt; for the first prompt 16 channels and
                 the norm after the embedding, each block and the last norm
tiny_llama/      a random Llama as a Hugging Face folder (f32); tiny_llama3/: bf16, Llama 3's rope scaling, tied head
tiny_*.gguf      the same weights in the formats of GGUF; tiny_k.gguf: another model, of random K blocks
tiny.npz         the ids of a text, and for each of these models logits at every position and greedy tokens after it
tokenizer.json   ids of tests/corpus.py by transformers and llama.cpp for SmolLM2's vocabulary, by llama.cpp for each
                 way to cut words that it knows by name, and for tiny_spm.gguf, a SentencePiece vocabulary
"""

import io
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import sentencepiece
import torch
from corpus import CORPUS
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

GOLDEN = Path(__file__).parent / "golden"
STEPS = 32
PACKAGES = ("torch", "transformers", "tokenizers", "llama-cpp-python", "gguf", "safetensors", "sentencepiece", "numpy")
LONG = """Write one sentence that sums up this text.

The lighthouse at the end of the pier was built in 1874, after three ships had been lost in a single winter. Its first
keeper, a retired sailor called Amos Reed, lit the lamp every evening for thirty-one years and wrote down the weather,
the ships that passed and the number of gulls on the railing. His notebooks were found in 1962 behind a loose board in
the kitchen. Scientists use them today: no other record of the coast's weather goes back so far without a gap."""
PROMPTS: list[dict[str, Any]] = [
    {"name": "capital", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
    {
        "name": "turns",
        "messages": [
            {"role": "system", "content": "You are a terse assistant."},
            {"role": "user", "content": "Name a prime number above 10."},
            {"role": "assistant", "content": "11"},
            {"role": "user", "content": "And the next two?"},
        ],
    },
    {"name": "story", "text": "Once upon a time, in a small village by the sea,"},
    {"name": "code", "text": 'def fibonacci(n):\n    """Returns the n-th Fibonacci number."""\n'},
    {"name": "long", "messages": [{"role": "user", "content": LONG}]},
    {"name": "languages", "text": "Bonjour, je m'appelle Zoé. 日本語と한국어, Привет мир, ¿qué tal? 👋🏽 —"},
]


def weights(path: str) -> dict[str, np.ndarray]:
    """A GGUF file's tensors in f32, under GGUF's names, row-major."""
    reader = gguf.GGUFReader(path)
    shape = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
    return {t.name: gguf.dequantize(t.data, t.tensor_type).reshape(shape[t.name]) for t in reader.tensors}


def write_f32(path: str, target: str) -> None:
    """The same model with all its tensors in f32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kinds = field.types
            writer.add_key_value(name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None)
    for name, weight in weights(path).items():
        writer.add_tensor(name, weight)
    finish(writer)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """q or k rows from GGUF's order (neighbours rotate together) to Hugging Face's (halves do)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """The way back."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def names(config: LlamaConfig) -> dict[str, str]:
    """Hugging Face's name of each weight -> GGUF's."""
    result = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if not config.tie_word_embeddings:
        result["lm_head.weight"] = "output.weight"
    for layer in range(config.num_hidden_layers):
        for ours, theirs in PARTS.items():
            result[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{theirs}.weight"
    return result


def llama(config: LlamaConfig, tensors: dict[str, np.ndarray]) -> LlamaForCausalLM:
    """transformers' model with a GGUF file's weights."""
    state = {}
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for ours, theirs in names(config).items():
        part = theirs.split(".")[-2]
        weight = unpermute(tensors[theirs], heads[part]) if part in heads else tensors[theirs]
        state[ours] = torch.tensor(weight)
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    model.tie_weights()
    return model


def top2(logits: np.ndarray) -> list:
    """[id, logit, next id, its logit]"""
    first, second = (int(i) for i in np.argsort(-logits, kind="stable")[:2])
    return [first, round(float(logits[first]), 5), second, round(float(logits[second]), 5)]


@torch.no_grad()
def greedy(model: LlamaForCausalLM, ids: list[int], steps: int) -> tuple[np.ndarray, list[int], list]:
    """Logits of the prompt [T, V], then `steps` greedy ids and each one's top2."""
    out = model(torch.tensor([ids]), use_cache=True)
    logits = out.logits[0].numpy()
    step, new, tops = logits[-1], [], []
    for _ in range(steps):
        tops.append(top2(step))
        new.append(tops[-1][0])
        out = model(torch.tensor([[new[-1]]]), past_key_values=out.past_key_values, use_cache=True)
        step = out.logits[0, -1].numpy()
    return logits, new, tops


def greedy_llama_cpp(llm: llama_cpp.Llama, ids: list[int], steps: int) -> tuple[list[int], list]:
    llm.reset()
    llm.eval(ids)
    new, tops = [], []
    for _ in range(steps):
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llm.ctx, -1), (llm.n_vocab(),))
        tops.append(top2(logits))
        new.append(tops[-1][0])
        llm.eval(new[-1:])
    return new, tops


def smollm2(path: str) -> None:
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = llama(config, weights(path))
    tokenizer = AutoTokenizer.from_pretrained(str(Path(path).parent), gguf_file=Path(path).name)
    llm = llama_cpp.Llama(path, n_ctx=1024, n_threads=2, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        whole = str(Path(folder) / "f32.gguf")
        write_f32(path, whole)
        llm_f32 = llama_cpp.Llama(whole, n_ctx=1024, n_threads=2, verbose=False, type_k=0, type_v=0)  # cache in f32
    prompts, arrays = [], {}
    for number, prompt in enumerate(PROMPTS):
        text = prompt.get("text")
        if text is None:
            text = tokenizer.apply_chat_template(prompt["messages"], tokenize=False, add_generation_prompt=True)
        ids = llm.tokenize(text.encode(), add_bos=False, special=True)
        assert ids == tokenizer(text, add_special_tokens=False).input_ids, prompt["name"]
        logits, new, tops = greedy(model, ids, STEPS)
        by_llama = [greedy_llama_cpp(each, ids, STEPS) for each in (llm_f32, llm)]
        positions = [0, len(ids) // 2, len(ids) - 1]
        best = np.argsort(-logits[positions], axis=1, kind="stable")[:, :50]
        arrays[f"logits.{prompt['name']}.positions"] = np.array(positions, np.int32)
        arrays[f"logits.{prompt['name']}.ids"] = best.astype(np.int32)
        arrays[f"logits.{prompt['name']}.values"] = np.take_along_axis(logits[positions], best, 1).astype(np.float32)
        said = dict(zip(("transformers", "llama_cpp_f32", "llama_cpp"), [(new, tops), *by_llama], strict=True))
        prompts.append(
            {**prompt, "rendered": text, "ids": ids}
            | {who: {"ids": i, "text": tokenizer.decode(i), "top2": t} for who, (i, t) in said.items()}
        )
        for who, (other, other_tops) in said.items():
            agree = next((i for i, (a, b) in enumerate(zip(new, other, strict=True)) if a != b), STEPS)
            gap = f"then {tops[agree]} and {other_tops[agree]}" if agree < STEPS else ""
            print(f"{prompt['name']}, {len(ids)} tokens: {who} agrees on {agree} of {STEPS}", gap)
        if number == 0:
            arrays |= hidden(model, ids)
    write_json("smollm2.json", {"file": Path(path).name, "versions": versions(), "prompts": prompts})
    np.savez_compressed(GOLDEN / "smollm2.npz", **arrays)
    tokenizer_golden(path, tokenizer, llm)


@torch.no_grad()
def hidden(model: LlamaForCausalLM, ids: list[int]) -> dict[str, np.ndarray]:
    """After the embedding, each block and the last norm: [layers + 2, T, 16] channels and [layers + 2, T] norms."""
    states: list[torch.Tensor] = []

    def keep(_: Any, __: Any, out: Any) -> None:
        states.append(out[0] if isinstance(out, tuple) else out)

    hooks = [m.register_forward_hook(keep) for m in (model.model.embed_tokens, *model.model.layers, model.model.norm)]
    model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    all_states = torch.stack([state.reshape(len(ids), -1) for state in states]).numpy()
    channels = np.arange(0, all_states.shape[2], all_states.shape[2] // 16)[:16]
    return {
        "hidden.channels": channels.astype(np.int32),
        "hidden.values": all_states[:, :, channels],
        "hidden.norms": np.linalg.norm(all_states, axis=2),
    }


def tokenizer_golden(path: str, tokenizer: Any, llm: llama_cpp.Llama) -> None:
    """The corpus for SmolLM2; and for its vocabulary with each other way to cut words, by llama.cpp."""
    result: dict[str, Any] = {"versions": versions(), "corpus": CORPUS}
    result["transformers"] = [tokenizer(text, add_special_tokens=False).input_ids for text in CORPUS]
    result["llama_cpp"] = [llm.tokenize(text.encode(), add_bos=False, special=True) for text in CORPUS]
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    result["pre"] = {}
    for pre in ("gpt-2", "phi-2", "mpt", "olmo", "starcoder", "refact", "command-r", "codeshell", "smollm", "llama-bpe",
                "llama3", "llama-v3", "qwen2", "deepseek-r1-qwen", "stablelm2", "tekken", "gpt-4o", "llama4", "dbrx",
                "smaug-bpe", "falcon3", "jais", "exaone4"):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "vocab.gguf")
            writer = gguf.GGUFWriter(file, "llama")
            for key in ("context_length", "embedding_length", "block_count", "feed_forward_length"):
                writer.add_uint32(f"llama.{key}", fields[f"llama.{key}"])
            writer.add_head_count(9)
            writer.add_head_count_kv(3)
            writer.add_layer_norm_rms_eps(1e-5)
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(pre)
            writer.add_token_list(fields["tokenizer.ggml.tokens"])
            writer.add_token_types(fields["tokenizer.ggml.token_type"])
            writer.add_token_merges(fields["tokenizer.ggml.merges"])
            writer.add_bos_token_id(1)
            writer.add_eos_token_id(2)
            finish(writer)
            vocabulary = llama_cpp.Llama(file, vocab_only=True, verbose=False)
            result["pre"][pre] = [vocabulary.tokenize(text.encode(), add_bos=False, special=True) for text in CORPUS]
    result["spm"] = sentence_pieces()
    write_json("tokenizer.json", result)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def sentence_pieces() -> dict[str, list[list[int]]]:
    """Trains a SentencePiece model of 640 pieces, writes tiny_spm.gguf, and gives its ids of the corpus."""
    model = io.BytesIO()
    known = [text for text in CORPUS if text.isascii() and "\0" not in text]  # the others fall back to bytes
    texts = [line for text in [*known, LONG] for line in text.split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="bpe", vocab_size=640, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    file = str(GOLDEN / "tiny_spm.gguf")
    writer = gguf.GGUFWriter(file, "llama")
    for key in ("context_length", "embedding_length", "block_count", "feed_forward_length"):
        writer.add_uint32(f"llama.{key}", 64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    ids = range(pieces.get_piece_size())
    writer.add_token_list([pieces.id_to_piece(i) for i in ids])
    writer.add_token_scores([pieces.get_score(i) for i in ids])
    kinds = ((pieces.is_unknown, 2), (pieces.is_control, 3), (pieces.is_byte, 6))
    writer.add_token_types([next((kind for test, kind in kinds if test(i)), 1) for i in ids])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    finish(writer)
    vocabulary = llama_cpp.Llama(file, vocab_only=True, verbose=False)
    return {
        "llama_cpp": [vocabulary.tokenize(text.encode(), add_bos=True, special=True) for text in CORPUS],
        "sentencepiece": [[1, *pieces.encode(text)] for text in CORPUS],
    }


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer of 320 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS * 2 + [LONG] * 2,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    assert tokenizer.get_vocab_size() == 320
    return tokenizer


def tiny_config(**changes: Any) -> LlamaConfig:
    settings: dict[str, Any] = {
        "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    return LlamaConfig(**settings | changes)


def tiny_weights(config: LlamaConfig, seed: int) -> dict[str, np.ndarray]:
    """Random weights under GGUF's names that keep activations near 1, so that each of them matters to the logits."""
    random = np.random.default_rng(seed)
    result = {}
    shapes = {name: tuple(p.shape) for name, p in LlamaForCausalLM(config).named_parameters()}
    for ours, theirs in names(config).items():
        shape = shapes[ours]
        scale = 1.0 if ours.endswith("embed_tokens.weight") and not config.tie_word_embeddings else shape[-1] ** -0.5
        value = random.normal(0, scale, shape) if len(shape) > 1 else random.uniform(0.5, 1.5, shape)
        result[theirs] = value.astype(np.float32)
    return result


def write_folder(
    name: str, config: LlamaConfig, model: LlamaForCausalLM, dtype: torch.dtype, tokenizer: Tokenizer
) -> None:
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    keep = names(config)
    state = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items() if key in keep}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["LlamaForCausalLM"]
    config.dtype = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(config.to_json_string())
    write_json(f"{name}/generation_config.json", {"bos_token_id": 0, "eos_token_id": [2, 0]})
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    write_json(
        f"{name}/tokenizer_config.json",
        {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "chat_template": CHAT, "model_max_length": 512}
        | {"tokenizer_class": "PreTrainedTokenizerFast"},
    )


def write_gguf(name: str, config: LlamaConfig, tensors: dict[str, Any], tokenizer: Tokenizer) -> None:
    """`tensors`: (raw data, type) under GGUF's names."""
    writer = gguf.GGUFWriter(str(GOLDEN / name), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT)
    for key, (raw, kind) in tensors.items():
        writer.add_tensor(key, raw, raw_dtype=kind)
    finish(writer)


def check_with_llama_cpp(name: str, ids: list[int], logits: np.ndarray) -> None:
    """Prints how far llama.cpp's logits are from transformers': the file must mean the same to both."""
    llm = llama_cpp.Llama(str(GOLDEN / name), n_ctx=256, n_threads=2, logits_all=True, verbose=False)
    llm.eval(ids)
    distance = np.abs(llm.scores[: len(ids)] - logits)
    print(f"{name}: llama.cpp's logits differ by {distance.mean():.4f} in the mean, {distance.max():.3f} at most")


def random_k_blocks(shape: tuple[int, ...], kind: Type, random: np.random.Generator) -> np.ndarray:
    """Random bytes with scales such that the elements have about the deviation of a random weight."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (*shape[:-1], shape[-1] // block, size), dtype=np.uint8)
    spread = {Type.Q4_K: 32 * 7.5 * 0.8, Type.Q5_K: 32 * 15 * 0.8, Type.Q6_K: 74 * 18}[kind]
    scale = random.uniform(0.7, 1.3, raw.shape[:-1]) * shape[-1] ** -0.5 / spread
    if kind == Type.Q6_K:
        raw[..., 208:210] = scale.astype("<f2")[..., None].view(np.uint8)
    else:
        raw[..., 0:2] = scale.astype("<f2")[..., None].view(np.uint8)
        centre = 7.5 if kind == Type.Q4_K else 15.5
        raw[..., 2:4] = (scale * centre).astype("<f2")[..., None].view(np.uint8)
    return raw.reshape(*shape[:-1], -1)


def tiny() -> None:
    tokenizer = tiny_tokenizer()
    text = "The lighthouse was built in 1874; é 日本 👋🏽"
    ids = tokenizer.encode(text).ids
    arrays: dict[str, Any] = {"text": np.array(text), "ids": np.array(ids, np.int32)}

    def record(name: str, model: LlamaForCausalLM) -> None:
        logits, new, tops = greedy(model.double(), ids, 16)  # f32 differs by up to 5e-5 from processor to processor
        arrays[f"{name}.logits"], arrays[f"{name}.greedy"] = logits.astype(np.float32), np.array(new, np.int32)
        gap = min(t[1] - t[3] for t in tops)
        print(f"{name}: logits' deviation {logits.std():.2f}, smallest gap {gap:.3f}", new[:8])

    config = tiny_config()
    tensors = tiny_weights(config, 1)
    model = llama(config, tensors)
    record("tiny_llama", model)
    write_folder("tiny_llama", config, model, torch.float32, tokenizer)

    formats = (Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1)
    for kind in formats:
        packed: dict[str, Any] = {}
        for name, weight in tensors.items():
            if weight.ndim == 1:
                packed[name] = (weight, Type.F32)
            else:
                packed[name] = (gguf.quantize(weight, kind), kind)
        name = f"tiny_{kind.name.lower()}"
        write_gguf(f"{name}.gguf", config, packed, tokenizer)
        record(name, llama(config, weights(str(GOLDEN / f"{name}.gguf"))))
        check_with_llama_cpp(f"{name}.gguf", ids, arrays[f"{name}.logits"])

    config = tiny_config(
        tie_word_embeddings=True,
        num_hidden_layers=1,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        },
    )  # fmt: skip
    tensors = {k: torch.tensor(v).bfloat16().float().numpy() for k, v in tiny_weights(config, 2).items()}
    model = llama(config, tensors)
    record("tiny_llama3", model)
    write_folder("tiny_llama3", config, model, torch.bfloat16, tokenizer)
    packed = {k: (v, Type.F32) if v.ndim == 1 else (gguf.quantize(v, Type.BF16), Type.BF16) for k, v in tensors.items()}
    # GGUF has Llama 3's scaling as a tensor: what each frequency is divided by
    plain = 500000.0 ** -(np.arange(0, 16, 2) / 16)
    packed["rope_freqs.weight"] = ((plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32), Type.F32)
    write_gguf("tiny_llama3.gguf", config, packed, tokenizer)
    check_with_llama_cpp("tiny_llama3.gguf", ids, arrays["tiny_llama3.logits"])

    config = tiny_config(hidden_size=256, intermediate_size=256, num_hidden_layers=1)
    random = np.random.default_rng(3)
    kinds = {
        "token_embd": Type.Q4_K,
        "output": Type.Q6_K,
        "attn_v": Type.Q6_K,
        "ffn_down": Type.Q5_K,
        "attn_output": Type.Q5_K,
    }
    packed = {}
    for name, weight in tiny_weights(config, 3).items():
        kind = kinds.get(name.split(".")[-2], Type.Q4_K)
        packed[name] = (weight, Type.F32) if weight.ndim == 1 else (random_k_blocks(weight.shape, kind, random), kind)
    write_gguf("tiny_k.gguf", config, packed, tokenizer)
    record("tiny_k", llama(config, weights(str(GOLDEN / "tiny_k.gguf"))))
    check_with_llama_cpp("tiny_k.gguf", ids, arrays["tiny_k.logits"])
    np.savez_compressed(GOLDEN / "tiny.npz", **arrays)


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def write_json(name: str, value: Any) -> None:
    (GOLDEN / name).write_text(json.dumps(value, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(2)
    GOLDEN.mkdir(exist_ok=True)
    tiny()
    smollm2(sys.argv[1])
    large = [str(path) for path in GOLDEN.rglob("*") if path.is_file() and path.stat().st_size >= 1 << 20]
    assert not large, f"over 1 MB: {large}"
