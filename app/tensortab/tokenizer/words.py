"""Where words begin: pre-tokenizers, the regular expressions that cut a text before byte pairs are merged."""

from typing import Any

CONTRACTIONS = r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"  # (?i:...) isn't in every browser
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{REST_SLASH}"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?:{CONTRACTIONS})?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?:{CONTRACTIONS})?|\p{{N}}{{1,3}}|{REST_SLASH}"
)
DIGIT = r"\p{N}"

# tokenizer.ggml.pre -> the expressions; each is applied to the texts that the ones before have not matched
BY_NAME = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4"), (GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), (DIGIT, GPT2)),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "dbrx", "smaug-bpe"), (LLAMA3,)),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen"), (QWEN2,)),
    "tekken": (TEKKEN,),
    **dict.fromkeys(("gpt-4o", "llama4"), (GPT4O,)),
}
# those that look up whole words in the vocabulary before any merge
WHOLE_WORDS = {"llama3", "llama-v3", "llama-bpe", "falcon3", "tekken", "dbrx", "smaug-bpe"}


def split(regex: str) -> dict[str, Any]:
    """A pre-tokenizer: each match of `regex` is a word, and so is each text between two matches."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def byte_level(*regexes: str) -> dict[str, Any]:
    """A pre-tokenizer: cuts at the expressions, then writes bytes as characters."""
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*map(split, regexes), to_bytes]}


def portable(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """tokenizer.json with every part present.

    Shorthands whose meaning differs between the backends (digits and spaces beyond ASCII) become regular expressions. A
    capital sigma becomes a small one before letters are lowered, since JavaScript lowers it by the letters around it.
    """
    parts = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    result = {
        "version": "1.0",
        "added_tokens": [],
        **dict.fromkeys(parts),
        **tokenizer,
        "truncation": None,
        "padding": None,
    }
    result["pre_tokenizer"] = _spelled_out(result["pre_tokenizer"])
    result["normalizer"] = _small_sigma(result["normalizer"])
    return result


def _spelled_out(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind == "Sequence":
        return node | {"pretokenizers": [_spelled_out(part) for part in node.get("pretokenizers", [])]}
    if kind == "Digits":
        return split(r"\p{N}" if node.get("individual_digits") else r"\p{N}+")
    if kind == "ByteLevel" and node.get("use_regex", True) and not node.get("add_prefix_space", True):
        return byte_level(GPT2)
    return node


def _small_sigma(node: Any) -> Any:
    kind = node.get("type") if isinstance(node, dict) else None
    if kind == "Sequence":
        return node | {"normalizers": [_small_sigma(part) for part in node.get("normalizers", [])]}
    if kind == "Lowercase" or (kind == "BertNormalizer" and node.get("lowercase")):
        sigma = {"type": "Replace", "pattern": {"String": "Σ"}, "content": "σ"}
        return {"type": "Sequence", "normalizers": [sigma, node]}
    return node
