"""The tab's backend (JavaScript, in Pyodide) says exactly what CPython's says."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tensortab.errors import Error
from tensortab.formats import Checkpoint
from tensortab.tokenizer import Tokenizer, native
from tensortab.tokenizer.gguf import from_gguf
from tensortab.tokenizer.words import BY_NAME

from tests.corpus import CORPUS
from tests.tokenizer.conftest import CONVERSATIONS, GOLDEN, TEMPLATES, TOOLS

InTheTab = Callable[[str, Any], Any]

ENCODE = """
from tensortab.tokenizer import Tokenizer
result = []
for tokenizer_json, config in given["tokenizers"]:
    tokenizer = Tokenizer(tokenizer_json, config)
    ids = [tokenizer.encode(text) for text in given["corpus"]]
    bare = [tokenizer.encode(text, add_special_tokens=False) for text in given["corpus"]]
    result.append([ids, bare, [tokenizer.decode(i, skip_special_tokens=False) for i in ids]])
"""


def test_same_ids(in_the_tab: InTheTab, smollm2_checkpoint: Checkpoint) -> None:
    """Every way to cut words, SentencePiece with byte fallback, and a tokenizer.json with its shorthands."""
    metadata = smollm2_checkpoint.metadata
    ways = {way: pre for pre, way in BY_NAME.items()}.values()
    given = [from_gguf(metadata | {"tokenizer.ggml.pre": pre}) for pre in ways]
    given.append(sentence_piece())
    hub = json.loads((GOLDEN / "tiny_llama/tokenizer.json").read_text())
    digits = {"type": "Digits", "individual_digits": True}
    shorthands = {"type": "Sequence", "pretokenizers": [digits, hub["pre_tokenizer"]]}
    given += [(hub, {}), (hub | {"pre_tokenizer": shorthands}, {})]
    got = in_the_tab(ENCODE, {"tokenizers": given, "corpus": CORPUS})
    for number, ((tokenizer_json, config), (ids, bare, texts)) in enumerate(zip(given, got, strict=True)):
        tokenizer = Tokenizer(tokenizer_json, config)
        for text, i, b, t in zip(CORPUS, ids, bare, texts, strict=True):
            assert i == tokenizer.encode(text), (number, text)
            assert b == tokenizer.encode(text, add_special_tokens=False), (number, text)
            assert t == tokenizer.decode(i, skip_special_tokens=False), (number, text)


def sentence_piece() -> tuple[dict, dict]:
    import asyncio

    from tensortab.formats import open_checkpoint

    return from_gguf(asyncio.run(open_checkpoint(GOLDEN / "tiny_spm.gguf")).metadata)


RENDER = """
from tensortab.errors import Error
result = []
for text, variables in given:
    try:
        result.append(browser.template(text)(variables))
    except Error as error:
        result.append([error.code, str(error)])
"""


def cases(templates: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    common = {"bos_token": "<s>", "eos_token": "</s>", "documents": None}
    return [
        (template, {"messages": messages, "add_generation_prompt": prompt, "tools": tools, **common, **more})
        for template in templates.values()
        for messages in CONVERSATIONS.values()
        for prompt, tools, more in ((True, None, {}), (False, TOOLS, {}), (True, TOOLS, {"thinking": False}))
    ]


def test_same_prompts(in_the_tab: InTheTab, smollm2_checkpoint: Checkpoint) -> None:
    given = cases({**TEMPLATES, "smollm2": smollm2_checkpoint.metadata["tokenizer.chat_template"]})
    got = in_the_tab(RENDER, given)
    refused = 0
    for (template, variables), text in zip(given, got, strict=True):
        try:
            expected = native.template(template)(variables)
        except Error as error:
            refused += 1
            assert text[0] == error.code == "bad_request"
        else:
            assert text == expected, variables
    assert 0 < refused < len(given) / 3


def test_same_errors(in_the_tab: InTheTab) -> None:
    broken = [("{% for %}", {}), ("{{ raise_exception('Say please') }}", {}), ("{{ messages[0].content + 1 }}", {})]
    got = in_the_tab(RENDER, broken)
    for (template, variables), (code, message) in zip(broken, got, strict=True):
        with pytest.raises(Error) as caught:
            native.template(template)(variables)
        assert code == caught.value.code
        assert ("Say please" in message) == ("Say please" in str(caught.value))


def test_broken_tokenizer(in_the_tab: InTheTab) -> None:
    code = """
from tensortab.errors import Error
result = []
for text in given:
    try:
        browser.encoder(text)
    except Error as error:
        result.append(error.code)
"""
    assert in_the_tab(code, ["{}", '{"model": {"type": "What"}}']) == ["bad_file"] * 2
