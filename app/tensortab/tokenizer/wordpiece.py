"""Converts BERT's vocab.txt (Devlin et al. 2018) to tokenizer.json, for a folder that does not have it."""

from typing import Any

from ..errors import Error

SPECIAL = ("pad", "unk", "cls", "sep", "mask")


def from_vocab(text: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns tokenizer.json, made from vocab.txt (a token per line) and tokenizer_config.json. Raises
    Error("bad_file")."""
    vocab = {token: id for id, token in enumerate(text.removesuffix("\n").split("\n"))}
    special = {}
    for name in SPECIAL:
        token = config.get(f"{name}_token", f"[{name.upper()}]")
        token = token.get("content") if isinstance(token, dict) else token
        if not isinstance(token, str) or token not in vocab:
            raise Error("bad_file", f"vocab.txt has no token {token!r}: download it and tokenizer_config.json again.")
        special[name] = token
    cls, sep = ([special[name], vocab[special[name]]] for name in ("cls", "sep"))
    return {
        "added_tokens": [
            {"id": vocab[token], "content": token, "special": True, "normalized": False}
            | {"single_word": False, "lstrip": False, "rstrip": False}
            for token in sorted(special.values(), key=vocab.__getitem__)
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "lowercase": config.get("do_lower_case", True),
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "strip_accents": config.get("strip_accents"),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": sep, "cls": cls},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": special["unk"], "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    }  # fmt: skip
