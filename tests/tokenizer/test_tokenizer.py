"""Token ids against the references' (tests/golden/tokenizer.json), decoding, streams, templates, broken tokenizers."""

import asyncio
import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tensortab.errors import Error
from tensortab.formats import Checkpoint, open_checkpoint
from tensortab.tokenizer import Tokenizer, load_tokenizer
from tensortab.tokenizer.gguf import from_gguf
from tensortab.tokenizer.words import BY_NAME

from tests import recipe_text
from tests.corpus import CORPUS
from tests.tokenizer.conftest import CONVERSATIONS, GOLDEN

REFERENCE = json.loads((GOLDEN / "tokenizer.json").read_text())
HUB = json.loads((GOLDEN / "tiny_llama/tokenizer.json").read_text())
HUB_CONFIG = json.loads((GOLDEN / "tiny_llama/tokenizer_config.json").read_text())


@pytest.fixture(scope="module")
def spm() -> Tokenizer:
    return load_tokenizer(asyncio.run(open_checkpoint(GOLDEN / "tiny_spm.gguf")))


def test_the_reference_is_of_this_corpus() -> None:
    assert REFERENCE["corpus"] == CORPUS


def test_same_ids_as_llama_cpp(smollm2: Tokenizer) -> None:
    for text, ids in zip(CORPUS, REFERENCE["llama_cpp"], strict=True):
        assert smollm2.encode(text) == ids, text


def test_same_ids_as_transformers(smollm2: Tokenizer) -> None:
    """Except where its conversion of GGUF files forgets that ½ and ٣ are digits too."""
    different = [i for i, ids in enumerate(REFERENCE["transformers"]) if smollm2.encode(CORPUS[i]) != ids]
    assert all("½" in CORPUS[i] or "٣" in CORPUS[i] for i in different)
    assert len(different) == 2


@pytest.mark.parametrize("pre", BY_NAME)
def test_each_way_to_cut_words_is_llama_cpps(smollm2_checkpoint: Checkpoint, pre: str) -> None:
    tokenizer = Tokenizer(*from_gguf(smollm2_checkpoint.metadata | {"tokenizer.ggml.pre": pre}))
    for text, ids in zip(CORPUS, REFERENCE["pre"][pre], strict=True):
        if pre == "qwen2" and "e\u0301" in text:
            continue  # Qwen's own tokenizer composes characters first (NFC), llama.cpp doesn't
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text


def test_sentence_piece(spm: Tokenizer) -> None:
    for text, llama_cpp, sentencepiece in zip(CORPUS, *REFERENCE["spm"].values(), strict=True):
        assert spm.encode(text) == llama_cpp, text
        if "<s>" not in text:  # which sentencepiece itself reads as plain text
            assert spm.encode(text) == sentencepiece, text


def test_tokenizer_json_is_used_as_it_is() -> None:
    """Writing its shorthands out changes no id."""
    digits = {"type": "Digits", "individual_digits": True}
    for before in ([], [digits], [{"type": "Digits", "individual_digits": False}]):
        tokenizer = HUB | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*before, HUB["pre_tokenizer"]]}}
        reference = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
        ours = Tokenizer(tokenizer, HUB_CONFIG)
        for text in CORPUS:
            assert ours.encode(text) == reference.encode(text).ids, text


@pytest.mark.parametrize("which", ["smollm2", "spm", "hub"])
@pytest.mark.parametrize("skip", [True, False])
def test_decodes_as_the_tokenizers_package(
    request: pytest.FixtureRequest, spm: Tokenizer, which: str, skip: bool
) -> None:
    if which == "hub":
        config = HUB
    else:
        path = GOLDEN / "tiny_spm.gguf"
        checkpoint = request.getfixturevalue("smollm2_checkpoint") if which == "smollm2" else None
        config = from_gguf((checkpoint or asyncio.run(open_checkpoint(path))).metadata)[0]
    ours = Tokenizer(config, {})
    reference = tokenizers.Tokenizer.from_str(json.dumps(config))
    for text in CORPUS:
        ids = ours.encode(text)
        assert ours.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip), text


def test_text_comes_back(smollm2: Tokenizer, spm: Tokenizer) -> None:
    for text in CORPUS:
        assert smollm2.decode(smollm2.encode(text), skip_special_tokens=False) == text
        if "<s>" not in text:
            assert spm.decode(spm.encode(text)) == text


@settings(max_examples=200, deadline=2000)
@given(st.text(max_size=60))
def test_any_text_comes_back(text: str) -> None:
    for tokenizer in (TINY, TINY_SPM):
        if "<" not in text:
            assert tokenizer.decode(tokenizer.encode(text)) == text


TINY = Tokenizer(HUB, HUB_CONFIG)
TINY_SPM = load_tokenizer(asyncio.run(open_checkpoint(GOLDEN / "tiny_spm.gguf")))


@settings(max_examples=200, deadline=2000)
@given(st.lists(st.integers(-1, 700), max_size=40), st.booleans())
def test_a_stream_gives_what_decoding_gives(ids: list[int], skip: bool) -> None:
    """For any ids, also such that make no characters; and what it gave it never takes back."""
    for tokenizer in (TINY, TINY_SPM):
        stream = tokenizer.stream(skip)
        pieces = [stream.feed(id) for id in ids]
        assert "".join(pieces) + stream.end() == tokenizer.decode(ids, skip)
        raw = b"".join(tokenizer.token_bytes(id) for id in ids if not (skip and id in tokenizer.special))
        text = raw.decode(errors="replace")
        if tokenizer is TINY_SPM and text.startswith(" "):
            text = text[1:]
        assert tokenizer.decode(ids, skip) == text


def test_a_stream_waits_for_whole_characters(smollm2: Tokenizer) -> None:
    ids = smollm2.encode("a🦙é")
    stream = smollm2.stream()
    pieces = [stream.feed(id) for id in ids]
    assert "" in pieces  # the llama takes several tokens
    assert "�" not in "".join(pieces)
    assert "".join(pieces) == "a🦙é"
    assert stream.end() == ""
    stream = smollm2.stream()
    assert [stream.feed(id) for id in smollm2.encode("🦙")[:-1]] == [""] * (len(smollm2.encode("🦙")) - 1)
    assert stream.end() == "�"


def test_special_tokens(smollm2: Tokenizer) -> None:
    assert (smollm2.size, smollm2.bos, smollm2.eos) == (49152, 1, {0, 2})
    assert smollm2.special == set(range(17))
    assert smollm2.encode("<|im_start|>hi<|im_end|>") == [1, *smollm2.encode("hi"), 2]
    assert smollm2.decode([1, 28120, 2]) == smollm2.token(28120).replace("Ġ", " ")
    assert smollm2.decode([1, 2], skip_special_tokens=False) == "<|im_start|><|im_end|>"
    assert smollm2.decode([-1, 49152, 10**9]) == ""
    assert (TINY.bos, TINY.eos) == (0, {0, 2})
    assert Tokenizer(HUB, {}, eos=[5]).eos == {0, 2, 5}  # by their names
    assert TINY_SPM.encode("") == [1]


def test_chat_template(smollm2: Tokenizer) -> None:
    prompt = smollm2.apply_chat_template([{"role": "user", "content": "Hi"}])
    assert prompt == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    golden = json.loads((GOLDEN / "smollm2.json").read_text())
    for case in golden["prompts"]:
        text = case.get("text") or smollm2.apply_chat_template(case["messages"])
        assert text == case["rendered"]
        assert smollm2.encode(text) == case["ids"]
        assert smollm2.decode(case["transformers"]["ids"], skip_special_tokens=False) == case["transformers"]["text"]


def test_template_variables() -> None:
    def prompt(template: Any, **variables: Any) -> str:
        return Tokenizer(HUB, HUB_CONFIG | {"chat_template": template}).apply_chat_template([], **variables)

    assert prompt("{{ bos_token }}{{ add_generation_prompt }}{{ tools }}") == "<|endoftext|>TrueNone"
    assert prompt("{{ tools | tojson }}", tools=[{"a": "é<"}]) == '[{"a": "é<"}]'
    assert prompt("{{ thinking }}", thinking=False) == "False"
    assert prompt([{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]) == "b"
    with pytest.raises(Error, match="has no chat template") as caught:
        Tokenizer(HUB, {}).apply_chat_template(CONVERSATIONS["one"])
    assert caught.value.code == "bad_request"
    with pytest.raises(Error, match="Say please") as caught:
        prompt("{{ raise_exception('Say please') }}")
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    "attack",
    [
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ messages[0].content.x.y }}",
        "{{ '{x}'.format_map(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__.x }}",
    ],
)
def test_a_template_stays_in_its_sandbox(attack: str) -> None:
    with pytest.raises(Error, match="refuses"):
        Tokenizer(HUB, HUB_CONFIG | {"chat_template": attack}).apply_chat_template([])


def test_a_template_that_is_nested_too_deeply_is_told() -> None:
    with pytest.raises(Error, match="broken"):
        Tokenizer(HUB, HUB_CONFIG | {"chat_template": "{{ " + "(" * 5000 + ")" * 5000 + " }}"}).apply_chat_template([])


CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}"
CHATML += "{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.mark.parametrize(
    ("template", "content", "expected"),
    [
        (CHATML, "The capital is", "<assistant>The capital is"),
        (CHATML, " two \n lines \n", "<assistant> two \n lines \n"),
        (CHATML, "</>", "<assistant></>"),
        (CHATML, "Hi", "<assistant>Hi"),
        (CHATML, "", "<assistant>"),
        (CHATML.replace("m.content", "m.content | trim"), " trailing  ", "<assistant>trailing"),
    ],
)
def test_a_message_that_goes_on_ends_the_prompt(template: str, content: str, expected: str) -> None:
    """As transformers' apply_chat_template(continue_final_message=True)."""
    tokenizer = Tokenizer(HUB, HUB_CONFIG | {"chat_template": template})
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    prompt = tokenizer.apply_chat_template(messages, continue_final_message=True)
    assert prompt == f"<user>Hi</>\n{expected}"
    assert messages[1]["content"] == content
    with pytest.raises(Error, match="leaves it out"):
        tokenizer = Tokenizer(HUB, HUB_CONFIG | {"chat_template": "{{ messages[0].content }}"})
        tokenizer.apply_chat_template(messages, continue_final_message=True)


@pytest.mark.parametrize("which", ["smollm2", "spm", "wordpiece"])
def test_half_a_surrogate_pair(smollm2: Tokenizer, spm: Tokenizer, which: str) -> None:
    wordpiece = load_tokenizer(Checkpoint("safetensors", {}, {}, vocab="\n".join(recipe_text.VOCAB)))
    tokenizer = {"smollm2": smollm2, "spm": spm, "wordpiece": wordpiece}[which]
    pairs = [("a\ud83d b", "a\ufffd b"), ("\ude00\ud83d", "\ufffd\ufffd"), ("\ud83d\ude00", "\U0001f600")]
    for cut, text in pairs:
        assert tokenizer.encode(cut) == tokenizer.encode(text)
        assert tokenizer.encode(cut, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False)
        if which == "wordpiece":
            assert tokenizer.inputs(cut, cut) == tokenizer.inputs(text, text)


GGUF = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 3,
}
SPM = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "a", "b", "ab", "▁"],
    "tokenizer.ggml.token_type": [2, 1, 1, 1, 1],
    "tokenizer.ggml.scores": [0.0, -1.0, -2.0, -3.0, -4.0],
    "tokenizer.ggml.unknown_token_id": 0,
}


def test_small_gguf_tokenizers() -> None:
    assert Tokenizer(*from_gguf(GGUF)).encode("aab<end>") == [0, 2, 3]
    added = GGUF | {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_bos_token": True}
    added["tokenizer.ggml.add_eos_token"] = True
    assert Tokenizer(*from_gguf(added)).encode("ab") == [0, 2, 3]
    assert Tokenizer(*from_gguf(added)).encode("ab", add_special_tokens=False) == [2]
    assert Tokenizer(*from_gguf(SPM)).encode("ab?") == [4, 3, 0]
    without = from_gguf(SPM | {"tokenizer.ggml.add_space_prefix": False})
    assert Tokenizer(*without).encode("ab") == [3]
    assert Tokenizer(*from_gguf(SPM)).decode([4, 3, 4, 1]) == "ab a"
    user = from_gguf(GGUF | {"tokenizer.ggml.token_type": [1, 1, 1, 4]})
    assert Tokenizer(*user).decode([0, 3]) == "a<end>"


@pytest.mark.parametrize("id", [0xFFFFFFFF, -1, 4, 320, "x", None])
def test_an_id_that_nothing_uses_is_ignored(id: Any) -> None:
    """Only the end of a text is needed, and the beginning where the file wants it before each text."""
    ids = {f"tokenizer.ggml.{name}_token_id": id for name in ("bos", "padding", "unknown", "separator")}
    tokenizer = Tokenizer(*from_gguf(GGUF | ids))
    assert (tokenizer.bos, tokenizer.eos, tokenizer.encode("ab")) == (None, {3}, [2])
    if id in (4, 320, "x"):
        with pytest.raises(Error, match=f"bos_token_id {id!r}"):
            from_gguf(GGUF | ids | {"tokenizer.ggml.add_bos_token": True})
        with pytest.raises(Error, match="unknown_token_id 5"):
            from_gguf(SPM | ids | {"tokenizer.ggml.unknown_token_id": 5})
    else:
        assert Tokenizer(*from_gguf(GGUF | ids | {"tokenizer.ggml.add_bos_token": True})).encode("ab") == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "bert"}, "is of the kind 'bert'"),
        ({"model": None}, "is of the kind None"),
        ({"pre": "unheard-of"}, "the pre-tokenizer 'unheard-of'"),
        ({"pre": [1]}, "the pre-tokenizer"),
        ({"pre": None}, "the pre-tokenizer None"),
        ({"tokens": None}, "no tokenizer.ggml.tokens"),
        ({"tokens": []}, "no tokenizer.ggml.tokens"),
        ({"tokens": [1, 2]}, "no tokenizer.ggml.tokens"),
        ({"merges": None}, "no tokenizer.ggml.merges"),
        ({"merges": ["a c"]}, "merges 'a c'"),
        ({"merges": ["ab"]}, "merges 'ab'"),
        ({"merges": [""]}, "merges ''"),
        ({"token_type": [1]}, "4 tokens but 1 token types"),
        ({"eos_token_id": 4}, "eos_token_id 4"),
        ({"eos_token_id": "x"}, "eos_token_id 'x'"),
        ({"model": "llama"}, "no tokenizer.ggml.scores"),
        ({"model": "llama", "scores": [1.0]}, "4 tokens but 1 scores"),
    ],
)
def test_a_broken_gguf_tokenizer_is_refused(change: dict[str, Any], message: str) -> None:
    metadata = GGUF | {f"tokenizer.ggml.{key}": value for key, value in change.items()}
    with pytest.raises(Error, match=message) as caught:
        from_gguf(metadata)
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"model": {}},
        {"model": []},
        {"model": {"type": "BPE", "vocab": {"a": 0}}},
        {"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}},
        {"model": {"type": "BPE", "vocab": {"a": 1 << 40}, "merges": []}},
        {"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}},
        {"model": {"type": "What", "vocab": {"a": 0}}},
        HUB | {"added_tokens": [{}]},
        HUB | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": 1}},
        HUB | {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}},
    ],
)
def test_a_broken_tokenizer_json_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Error, match=r"tokenizer\.json") as caught:
        Tokenizer(broken, {})
    assert caught.value.code == "bad_file"


def test_a_decoder_we_do_not_know_is_refused_when_used() -> None:
    tokenizer = Tokenizer(
        HUB | {"decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": True}}, {}
    )
    assert tokenizer.encode("a")
    with pytest.raises(Error, match="decoder CTC is not supported"):
        tokenizer.decode([1])


def test_no_tokenizer() -> None:
    with pytest.raises(Error, match=r"no tokenizer\.json"):
        load_tokenizer(Checkpoint("safetensors", {}, {}))
