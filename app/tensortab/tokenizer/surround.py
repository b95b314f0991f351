"""The special tokens around a text or a pair of texts (tokenizer.json's "post_processor"), and truncation."""

from typing import Any

from ..errors import Error

Part = tuple[str | list[int], int]  # "A" or "B" (a text) or ids, and the token type


class Surround:
    """Supports TemplateProcessing, BertProcessing and RobertaProcessing; others raise Error("bad_file")."""

    def __init__(self, config: Any) -> None:
        self.single: list[Part] = [("A", 0)]
        self.pair: list[Part] = [("A", 0), ("B", 1)]
        parts = config.get("processors", []) if config and config["type"] == "Sequence" else [config]
        for part in parts:
            kind = part["type"] if part else "ByteLevel"
            if kind == "TemplateProcessing":
                self.single, self.pair = (_template(part, name) for name in ("single", "pair"))
            elif kind in ("BertProcessing", "RobertaProcessing"):
                begin, end = [part["cls"][1]], [part["sep"][1]]
                self.single = [(begin, 0), ("A", 0), (end, 0)]
                bert = kind == "BertProcessing"
                self.pair = [*self.single, ("B", 1), (end, 1)] if bert else [*self.single, (end, 0), ("B", 0), (end, 0)]
            elif kind != "ByteLevel":
                raise Error(
                    "bad_file", f"The tokenizer's post-processor {kind} is not supported yet: use another model."
                )

    def __call__(self, texts: list[list[int]], max_length: int | None = None) -> tuple[list[int], list[int]]:
        """Returns (ids, token types) of one text or two, truncated to max_length, the longer text first."""
        parts = self.single if len(texts) == 1 else self.pair
        if max_length is not None:
            texts = _cut(texts, max(0, max_length - sum(len(part) for part, _ in parts if isinstance(part, list))))
        named = dict(zip("AB", texts, strict=False))
        ids: list[int] = []
        kinds: list[int] = []
        for part, kind in parts:
            some = named[part] if isinstance(part, str) else part
            ids += some
            kinds += [kind] * len(some)
        return ids, kinds


def _template(config: dict[str, Any], name: str) -> list[Part]:
    special = {key: token["ids"] for key, token in config["special_tokens"].items()}
    return [
        (entry["id"] if kind == "Sequence" else special[entry["id"]], entry["type_id"])
        for part in config[name]
        for kind, entry in part.items()
    ]


def _cut(texts: list[list[int]], room: int) -> list[list[int]]:
    if sum(map(len, texts)) <= room:
        return texts
    shorter = min(*map(len, texts), room // 2) if len(texts) == 2 else 0
    a, *rest = texts
    lengths = [shorter, room - shorter] if rest and len(a) <= len(rest[0]) else [room - shorter, shorter]
    return [text[:length] for text, length in zip(texts, lengths, strict=False)]
