"""Text <-> token ids, and chat templates.

Every tokenizer is a tokenizer.json dictionary (a GGUF file's is converted to one), so there is one path. A backend
encodes and renders templates: native.py in CPython, browser.py in the tab. Decoding is our own: it goes token by token.
"""

import json
import re
import sys
from collections.abc import Callable
from itertools import chain
from typing import Any

from ..errors import Error
from ..formats import Checkpoint
from .decode import Decoder, Stream
from .gguf import from_gguf
from .surround import Surround
from .wordpiece import from_vocab
from .words import portable

WORDS = 1 << 16  # whose tokens are kept
HERE = "CONTINUE_FINAL_MESSAGE_TAG "  # marks the end of a message that is to be continued
SURROGATE = re.compile("[\ud800-\udfff]")
# The tokens that end a turn or a text in the chat formats in use.
ENDS = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "</s>",
}  # fmt: skip


def load_tokenizer(checkpoint: Checkpoint) -> "Tokenizer":
    """Returns the tokenizer of a model. Raises Error("bad_file") if it has none or one of an unsupported kind."""
    tokenizer, config = checkpoint.tokenizer, checkpoint.tokenizer_config
    if checkpoint.format == "gguf":
        tokenizer, config = from_gguf(checkpoint.metadata)
    elif tokenizer is None and checkpoint.vocab is not None:
        tokenizer = from_vocab(checkpoint.vocab, config)
    if tokenizer is None:
        raise Error("bad_file", "The model has no tokenizer.json: put it beside the model's weights.")
    return Tokenizer(tokenizer, config, checkpoint.config.get("eos_token_id", []))


class Tokenizer:
    """Built from tokenizer.json and tokenizer_config.json, as dictionaries, and the ids that end a text.

    bos   the id that begins a text, or None
    eos   the set of ids that end a text or a turn
    mask  the id of the mask token, or None
    special   the set of ids that are not text (bos, eos, <|im_start|> ...)
    size   the number of ids
    """

    def __init__(self, tokenizer: dict[str, Any], config: dict[str, Any], eos: list[int] | None = None):
        if sys.platform == "emscripten":
            from . import browser as backend
        else:
            from . import native as backend

        try:
            added = {entry["id"]: entry["content"] for entry in tokenizer.get("added_tokens", [])}
            self.special = {entry["id"] for entry in tokenizer.get("added_tokens", []) if entry["special"]}
            self._pieces = _pieces(tokenizer["model"]["vocab"], added)
            text = json.dumps(portable(tokenizer))
            bert = (tokenizer.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
            apart = bert and not any(" " in name for name in added.values())
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Error("bad_file", f"tokenizer.json is not as expected ({error!r}): download it again.") from error
        self.size = len(self._pieces)
        self._added = added.keys()
        self._decoder_config = tokenizer.get("decoder")
        self._surround_config = tokenizer.get("post_processor")
        self._surround: Surround | None = None
        self._decoder: Decoder | None = None
        self._names = _token_names(config)
        ids = {name: id for id, name in added.items()}
        self.bos: int | None = ids.get(self._names.get("bos_token", ""))
        self.mask: int | None = ids.get(self._names.get("mask_token", "[MASK]"))
        ends = {ids[name] for name in ids if name in ENDS or name == self._names.get("eos_token")}
        self.eos: set[int] = {*(eos or []), *ends}
        self._template_text = _chat_template(config)
        self._template: Callable[[dict[str, Any]], str] | None = None
        self._render = backend.template
        self._encode: Callable[[str, bool], list[int]] = backend.encoder(text)
        # BERT's words end at a space whatever follows, so each word is encoded only once
        self._words = _Words(self._encode) if apart else None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Returns the token ids of `text`. Names of special tokens in it become those tokens. The model's own begin of
        text is added if `add_special_tokens` (not after a chat template, which writes it itself). Half a surrogate
        pair, which is not a character, becomes U+FFFD."""
        if SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if self._words is not None and not add_special_tokens:
            return list(chain.from_iterable(map(self._words.__getitem__, text.split(" "))))
        return self._encode(text, add_special_tokens)

    def inputs(self, *texts: str, max_length: int | None = None) -> tuple[list[int], list[int]]:
        """Returns (ids, token types) of a text or a pair of texts as an encoder reads them, with the special tokens.
        Longer inputs are truncated to max_length, the longer text of a pair first."""
        if self._surround is None:
            try:
                self._surround = Surround(self._surround_config)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise Error(
                    "bad_file",
                    f"The post_processor in tokenizer.json is not as expected ({error!r}): download it again.",
                ) from error
        return self._surround([self.encode(text, add_special_tokens=False) for text in texts], max_length)

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        """Returns the text of `ids`. Bytes that are not UTF-8 become U+FFFD."""
        stream = self.stream(skip_special_tokens)
        return "".join([stream.feed(id) for id in ids]) + stream.end()

    def stream(self, skip_special_tokens: bool = True) -> Stream:
        """Returns a detokenizer, which is fed with the ids one by one as they are generated."""
        if self._decoder is None:
            self._decoder = Decoder(self._decoder_config)
        return Stream(self._decoder, self._pieces, self._added, self.special if skip_special_tokens else set())

    def token(self, id: int) -> str:
        """Returns the token as the vocabulary writes it ("" for an id beyond it)."""
        return self._pieces[id] if 0 <= id < self.size else ""

    def token_bytes(self, id: int) -> bytes:
        """Returns the bytes of a token's text, special or not; they may be a part of a character."""
        if self._decoder is None:
            self._decoder = Decoder(self._decoder_config)
        return self.token(id).encode() if id in self._added else self._decoder.bytes(self.token(id))

    def apply_chat_template(
        self,
        messages: list[dict[str, Any]],
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> str:
        """Returns the prompt of a conversation [{"role", "content"}, ...]; `variables` (tools ...) go to the template.
        With continue_final_message it ends with the content of the last message, which the model then continues.

        Raises Error("bad_request") if the model has no template or its template refuses the conversation.
        """
        if self._template_text is None:
            raise Error(
                "bad_request", "This model has no chat template: call it with a text, or use an instruct model."
            )
        if self._template is None:
            self._template = self._render(self._template_text)
        names = {key: value for key, value in self._names.items() if key not in variables}
        variables = {"tools": None, "documents": None} | variables
        if continue_final_message:
            *before, last = messages
            messages, add_generation_prompt = [*before, {**last, "content": last["content"] + HERE}], False
        text = self._template(
            {"messages": messages, "add_generation_prompt": add_generation_prompt, **variables, **names}
        )
        if not continue_final_message:
            return text
        end = text.rfind(HERE.strip())
        if end < 0:
            raise Error("bad_request", "The last message can't be continued: the model's chat template leaves it out.")
        return text[:end] if text.startswith(HERE, end) else text[:end].rstrip()  # because the template strips messages


class _Words(dict):
    """The tokens of each word, encoded when it first occurs."""

    def __init__(self, encode: Callable[[str, bool], list[int]]) -> None:
        self._encode = encode

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= WORDS:
            self.clear()
        tokens = self[word] = self._encode(word, False)
        return tokens


def _pieces(vocab: Any, added: dict[int, str]) -> list[str]:
    """The vocabulary as a list by id, with "" for ids without a token."""
    entries = vocab.items() if isinstance(vocab, dict) else ((piece, id) for id, (piece, _) in enumerate(vocab))
    by_id = {id: piece for piece, id in entries} | added
    highest = max(by_id, default=-1)
    if min(by_id, default=0) < 0 or highest > 1 << 22:
        raise ValueError(f"token ids go up to {highest}")
    return [by_id.get(id, "") for id in range(highest + 1)]


def _token_names(config: dict[str, Any]) -> dict[str, str]:
    """bos_token, eos_token ... as text."""
    names = {}
    for key, value in config.items():
        if isinstance(value, dict):
            value = value.get("content")
        if key.endswith("_token") and isinstance(value, str):
            names[key] = value
    return names


def _chat_template(config: dict[str, Any]) -> str | None:
    """Returns the template, or the default one of several."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None
