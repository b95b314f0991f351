"""BERT's WordPiece from a vocab.txt: ids, pairs and cuts as transformers makes them, and text from ids again."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis
import pytest
import tokenizers
from hypothesis import strategies as st
from tensortab.errors import Error
from tensortab.formats import open_checkpoint
from tensortab.tokenizer import Tokenizer, load_tokenizer
from tensortab.tokenizer.wordpiece import from_vocab

from tests.corpus import CORPUS
from tests.recipe_text import GOLDEN, TOKENIZER, write

VOCAB = (GOLDEN / "bert_vocab.txt").read_text()
GOLD = json.loads((GOLDEN / "bert.json").read_text())
REFERENCE = GOLD["tokenizer"]
PAIRS = [*pairwise(CORPUS), tuple(GOLD["pair"])]
BERT = Tokenizer(from_vocab(VOCAB, TOKENIZER), TOKENIZER)
MASKED = ["[MASK] is[MASK] the [mask].", "a [SEP] b [CLS][PAD] ##s"]


def test_same_ids_as_transformers() -> None:
    assert REFERENCE["corpus"] == CORPUS
    for text, ids in zip(CORPUS, REFERENCE["ids"], strict=True):
        assert BERT.encode(text) == BERT.inputs(text)[0] == ids, text
        assert BERT.encode(text, add_special_tokens=False) == ids[1:-1], text


ODD = st.sampled_from("  \t\n\u0301\u3000\x1c#[MASK]Σİ")


@hypothesis.given(st.text(st.characters(exclude_categories=["Cs"]) | ODD))
def test_what_stands_between_spaces_is_encoded_by_itself(text: str) -> None:
    assert BERT.encode(text, add_special_tokens=False) == BERT.encode(text)[1:-1]


def test_pairs_and_cuts() -> None:
    for pair, whole, cut in zip(PAIRS, REFERENCE["pairs"], REFERENCE["cut to 20"], strict=True):
        assert [*BERT.inputs(*pair)] == whole, pair
        assert [*BERT.inputs(*pair, max_length=20)] == cut, pair
    for text, ids in zip(CORPUS, REFERENCE["texts cut to 9"], strict=True):
        assert BERT.inputs(text, max_length=9)[0] == ids, text


def template(kind: str) -> dict[str, Any]:
    """The same tokens around texts, in the other ways to say so."""
    cls, sep = ["[CLS]", 2], ["[SEP]", 3]
    text = {name: {"Sequence": {"id": name, "type_id": int(name == "B")}} for name in "AB"}
    special = {token: {"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]")}
    end = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    tokens = {token: {"id": token, "ids": [id], "tokens": [token]} for token, id in (cls, sep)}
    single = [special["[CLS]"], text["A"], special["[SEP]"]]
    return {
        "Template": {
            "type": "TemplateProcessing", "single": single, "pair": [*single, text["B"], end], "special_tokens": tokens
        },
        "Bert": {"type": "BertProcessing", "cls": cls, "sep": sep},
        "Roberta": {
            "type": "RobertaProcessing", "cls": cls, "sep": sep, "trim_offsets": True, "add_prefix_space": False
        },
        "ByteLevel": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kinds", [["Template"], ["Bert"], ["Roberta"], ["ByteLevel", "Template"], []])
def test_what_stands_around_texts_is_the_tokenizers_packages(kinds: list[str]) -> None:
    processors = [template(kind) for kind in kinds]
    sequence = {"type": "Sequence", "processors": processors}
    processor = sequence if len(kinds) > 1 else processors[0] if kinds else None
    description = from_vocab(VOCAB, TOKENIZER) | {"post_processor": processor}
    assert description["model"]["vocab"]["[CLS]"] == 2 and description["model"]["vocab"]["[SEP]"] == 3
    ours, reference = Tokenizer(description, {}), tokenizers.Tokenizer.from_str(json.dumps(description))
    for length in (None, 4, 11, 12, 30):
        if length:
            reference.enable_truncation(length)
        for given in (*((text,) for text in CORPUS), *PAIRS):
            expected = reference.encode(*given)
            assert ours.inputs(*given, max_length=length) == (expected.ids, expected.type_ids), (length, given)


@pytest.mark.parametrize("skip", [True, False])
def test_decodes_as_the_tokenizers_package(skip: bool) -> None:
    reference = tokenizers.Tokenizer.from_str(json.dumps(from_vocab(VOCAB, TOKENIZER)))
    for text in [*CORPUS, *MASKED, "It's John's, isn't it? (We've; they're.) Do not!"]:
        ids = BERT.encode(text)
        assert BERT.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip), text
        assert BERT.decode(ids[2:], skip) == reference.decode(ids[2:], skip_special_tokens=skip), text
    for id in range(BERT.size):
        assert BERT.decode([id], skip) == reference.decode([id], skip_special_tokens=skip)


def test_a_folder_with_only_a_vocabulary(tmp_path: Any) -> None:
    tokenizer = load_tokenizer(asyncio.run(open_checkpoint(write(tmp_path, "bert"))))
    assert tokenizer.inputs("Hello, world!") == BERT.inputs("Hello, world!")
    assert tokenizer.mask == 4
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    with pytest.raises(Error, match=r"vocab\.txt has no token '\[MASK\]'") as caught:
        load_tokenizer(asyncio.run(open_checkpoint(tmp_path)))
    assert caught.value.code == "bad_file"


def test_settings_of_the_tokenizer() -> None:
    cased = Tokenizer(from_vocab(VOCAB, {"do_lower_case": False}), {})
    assert cased.encode("Hello") != BERT.encode("Hello") == BERT.encode("HÉLLO")
    assert cased.encode("hello") == BERT.encode("hello")
    with pytest.raises(Error, match="has no token '<mask>'"):
        from_vocab(VOCAB, {"mask_token": {"content": "<mask>"}})


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "What"}, {"type": "BertProcessing"}, {"type": "TemplateProcessing", "single": [], "pair": []},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "special_tokens": {}},
    ],
)  # fmt: skip
def test_a_broken_post_processor_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Error, match=r"tokenizer\.json|post-processor") as caught:
        Tokenizer(from_vocab(VOCAB, TOKENIZER) | {"post_processor": broken}, {}).inputs("a", "b")
    assert caught.value.code == "bad_file"


INPUTS = """
from tensortab.tokenizer import Tokenizer
from tensortab.tokenizer.wordpiece import from_vocab
tokenizer = Tokenizer(from_vocab(given["vocab"], given["config"]), given["config"])
result = [tokenizer.inputs(*texts, max_length=20) for texts in given["texts"]]
result += [tokenizer.encode(text) for (text, *_) in given["texts"]]
"""


def test_same_in_the_tab(in_the_tab: Callable[[str, Any], Any]) -> None:
    texts = [*([text] for text in [*CORPUS, *MASKED]), *([*pair] for pair in PAIRS)]
    got = in_the_tab(INPUTS, {"vocab": VOCAB, "config": TOKENIZER, "texts": texts})
    expected = [[*BERT.inputs(*given, max_length=20)] for given in texts] + [BERT.encode(text) for text, *_ in texts]
    for given, have, want in zip([*texts, *texts], got, expected, strict=True):
        assert have == want, given
