"""A GGUF file's tokenizer (tokenizer.ggml.* in its metadata) as tokenizer.json and tokenizer_config.json."""

from typing import Any

from ..errors import Error
from .words import BY_NAME, WHOLE_WORDS, byte_level

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # tokenizer.ggml.token_type; 5 is unused, 6 a byte
SPACE = "\u2581"  # SentencePiece's


def from_gguf(metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tokenizer.json, tokenizer_config.json) of a GGUF file. Raises Error("bad_file")."""
    model = metadata.get("tokenizer.ggml.model")
    tokens = _list(metadata, "tokens", str)
    types = _list(metadata, "token_type", int) if "tokenizer.ggml.token_type" in metadata else [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise _bad(f"has {len(tokens)} tokens but {len(types)} token types")
    vocab = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(vocab) < len(tokens):  # if tokens are equal, the first one counts
        vocab |= dict(zip(reversed(tokens), reversed(range(len(tokens))), strict=True))
    if model == "gpt2":
        tokenizer = _byte_pairs(metadata, vocab)
    elif model == "llama":
        tokenizer = _sentence_pieces(metadata, vocab, types)
    else:
        raise _bad(
            f"is of the kind {model!r}, but TensorTab supports gpt2 and llama only",
            "use the model's Hugging Face folder",
        )
    tokenizer["added_tokens"] = [
        {"id": id, "content": token, "special": kind != USER_DEFINED, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for id, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and token and vocab[token] == id
    ]
    config = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        token = _id(metadata, name, len(tokens), used=name == "eos")
        if token is not None:
            config[f"{key}_token"] = tokens[token]
    if isinstance(metadata.get("tokenizer.chat_template"), str):
        config["chat_template"] = metadata["tokenizer.chat_template"]
    tokenizer["post_processor"] = _post_processor(metadata, model, len(tokens), tokens)
    return tokenizer, config


def _bad(problem: str, advice: str = "download the file again, or convert the model again with llama.cpp") -> Error:
    return Error("bad_file", f"The file's tokenizer {problem}: {advice}.")


def _list(metadata: dict[str, Any], key: str, kind: type) -> list:
    values = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not values or type(values[0]) is not kind:
        raise _bad(f"has no tokenizer.ggml.{key}")
    return values


def _id(metadata: dict[str, Any], name: str, size: int, used: bool = True) -> int | None:
    """Returns the id of a special token, or None. An impossible id raises Error("bad_file") only if it is `used`."""
    id = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if id in (None, -1, 0xFFFFFFFF):  # ways in which writers say none
        return None
    if type(id) is int and 0 <= id < size:
        return id
    if used:
        raise _bad(f"has the {name}_token_id {id!r}, but {size} tokens")
    return None


def _byte_pairs(metadata: dict[str, Any], vocab: dict[str, int]) -> dict[str, Any]:
    """Byte-level BPE like GPT-2's; tokenizer.ggml.pre names the rule by which words begin."""
    merges = []
    for merge in _list(metadata, "merges", str):
        pair = merge.split(" ")
        if len(pair) != 2 or not pair[0]:  # a token contains a space, perhaps as its first character
            left, _, right = merge[1:].partition(" ")
            pair = [merge[:1] + left, right]
        if pair[0] not in vocab or pair[1] not in vocab or pair[0] + pair[1] not in vocab:
            raise _bad(f"merges {merge!r}, which is not in its vocabulary")
        merges.append(pair)
    pre = metadata.get("tokenizer.ggml.pre")  # files from before May 2024 don't say, and guessing spoils the ids
    if not isinstance(pre, str) or pre not in BY_NAME:
        raise _bad(
            f"has the pre-tokenizer {pre!r}, which is not supported yet", "use the model's Hugging Face folder"
        )
    return {
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": byte_level(*BY_NAME[pre]),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": pre in WHOLE_WORDS}
        | {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
        | {"fuse_unk": False, "byte_fallback": False},
    }


def _sentence_pieces(metadata: dict[str, Any], vocab: dict[str, int], types: list[int]) -> dict[str, Any]:
    """SentencePiece BPE: a piece is merged from any two pieces, the piece with the best score first."""
    scores = _list(metadata, "scores", float)
    if len(scores) != len(types):
        raise _bad(f"has {len(types)} tokens but {len(scores)} scores")
    merges = []
    for piece, id in vocab.items():
        if types[id] in (NORMAL, USER_DEFINED):
            for cut in range(1, len(piece)):
                if piece[:cut] in vocab and piece[cut:] in vocab:
                    merges.append((scores[id], cut, piece))
    # if scores are equal (runs of spaces), the longer left part comes first, so that a run is merged from its left end
    merges.sort(key=lambda merge: (merge[0], merge[1], len(merge[2])), reverse=True)
    prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    unknown = _id(metadata, "unknown", len(types))
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    text = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    before = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*before, spaces]},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [text, {"type": "ByteFallback"}, {"type": "Fuse"}, *([strip] if prefix else [])],
        },
        "model": {"type": "BPE", "vocab": vocab, "merges": [[piece[:cut], piece[cut:]] for _, cut, piece in merges]}
        | {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": False}
        | {"unk_token": next((token for token, id in vocab.items() if id == unknown), None)}
        | {"fuse_unk": True, "byte_fallback": True},
    }


def _post_processor(metadata: dict[str, Any], model: str, size: int, tokens: list[str]) -> dict[str, Any] | None:
    """Adds the begin and the end of text if the file asks for them, or if its kind always has them."""
    default = model == "llama" or metadata.get("tokenizer.ggml.pre") in ("llama3", "llama-v3", "llama-bpe", "tekken")
    bos = _id(metadata, "bos", size) if metadata.get("tokenizer.ggml.add_bos_token", default) else None
    eos = _id(metadata, "eos", size) if metadata.get("tokenizer.ggml.add_eos_token", False) else None
    if bos is None and eos is None:
        return None
    text: list[dict[str, Any]] = [{"Sequence": {"id": "A", "type_id": 0}}]
    first = [{"SpecialToken": {"id": tokens[bos], "type_id": 0}}] if bos is not None else []
    last = [{"SpecialToken": {"id": tokens[eos], "type_id": 0}}] if eos is not None else []
    special = {tokens[i]: {"id": tokens[i], "ids": [i], "tokens": [tokens[i]]} for i in (bos, eos) if i is not None}
    return {
        "type": "TemplateProcessing",
        "single": first + text + last,
        "pair": first + text + last + first + [{"Sequence": {"id": "B", "type_id": 1}}] + last,
        "special_tokens": special,
    }
