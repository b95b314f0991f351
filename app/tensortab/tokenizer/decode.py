"""From tokens back to text, one token at a time: a token may be part of a character, so bytes wait for the rest."""

import codecs
from collections.abc import Collection
from typing import Any

from ..errors import Error


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: each byte is a printable character, its own in Latin-1 or else one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    for byte in range(256):
        if chr(byte) not in table:
            table[chr(256 + len(table) - len(printable))] = byte
    return table


BYTES = _byte_of_character()
CLEANUP = [  # for WordPiece tokens that follow a space
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
]  # fmt: skip


class Decoder:
    """tokenizer.json's "decoder": turns a token as the vocabulary writes it into bytes.

    It supports the byte-level decoder, WordPiece's and the parts of SentencePiece's; others raise Error("bad_file").
    """

    def __init__(self, config: Any):
        parts = (
            config.get("decoders", []) if isinstance(config, dict) and config.get("type") == "Sequence" else [config]
        )
        self.byte_level = False
        self.byte_fallback = False
        self.replace: list[tuple[str, str]] = []
        self.strip = 0  # how many leading spaces are removed from the text
        self.within = ""  # the prefix of a WordPiece within a word; other tokens have a space before them
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "ByteLevel":
                self.byte_level = True
            elif kind == "ByteFallback":
                self.byte_fallback = True
            elif kind == "Replace" and isinstance(part["pattern"].get("String"), str):
                self.replace.append((part["pattern"]["String"], part["content"]))
            elif kind == "Metaspace":
                self.replace.append((part["replacement"], " "))
                self.strip = int(part.get("prepend_scheme", "always") != "never" and part.get("add_prefix_space", True))
            elif kind == "WordPiece" and part["prefix"]:
                self.within = part["prefix"]
                self.replace += CLEANUP if part.get("cleanup", True) else []
            elif kind == "Strip" and part["content"] == " " and part["stop"] == 0:
                self.strip = part["start"]
            elif kind != "Fuse":
                raise Error(
                    "bad_file", f"The tokenizer's decoder {kind} is not supported yet: use another model."
                )

    def bytes(self, piece: str, first: bool = False) -> bytes:
        """Returns the bytes of a token; `first`: whether the text begins with it."""
        if self.byte_level:
            try:
                return bytes([BYTES[character] for character in piece])
            except KeyError:  # an added token, which the vocabulary has as plain text
                return piece.encode()
        if self.byte_fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes.fromhex(piece[3:5])
        if self.within and not first:
            piece = piece[len(self.within) :] if piece.startswith(self.within) else f" {piece}"
        for old, new in self.replace:
            piece = piece.replace(old, new)
        return piece.encode()


class Stream:
    """Returns the text that each token id completes: whole characters only. Each token is decoded once."""

    def __init__(self, decoder: Decoder, pieces: list[str], added: Collection[int], skip: Collection[int]):
        self._decoder, self._pieces, self._added, self._skip = decoder, pieces, added, skip
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = decoder.strip
        self._first = True

    def feed(self, id: int) -> str:
        """Returns the text that this token completes, which may be ""."""
        # a vocabulary padded to a round size has ids without a token
        if id in self._skip or not 0 <= id < len(self._pieces):
            return ""
        piece, first, self._first = self._pieces[id], self._first, False
        as_it_is = id in self._added and not self._decoder.within
        return self._begin(self._utf8.decode(piece.encode() if as_it_is else self._decoder.bytes(piece, first)))

    def end(self) -> str:
        """Returns the rest: U+FFFD for an unfinished character, or ""."""
        return self._begin(self._utf8.decode(b"", final=True))

    def _begin(self, text: str) -> str:
        """Removes the spaces that SentencePiece has put before the text."""
        while self._strip and text:
            if text[0] != " ":
                self._strip = 0
                break
            text = text[1:]
            self._strip -= 1
        return text
