"""Chat completions: OpenAI's requests and answers."""

import asyncio
from typing import Any

import numpy as np
import pytest
import tensortab as tt
from tensortab.tasks.chat import cut

HELLO = [{"role": "user", "content": "hello there"}]


def create(pipe: Any, **request: Any) -> Any:
    async def run() -> Any:
        answer = await pipe.chat.completions.create(**{"messages": HELLO, "temperature": 0, "max_tokens": 8, **request})
        return [chunk async for chunk in answer] if request.get("stream") else answer

    return asyncio.run(run())


def text(chunks: list[dict]) -> str:
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)


def test_an_answer(pipe):
    answer = create(pipe)
    assert answer["object"] == "chat.completion"
    choice = answer["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_a_stream_is_the_same_text(pipe):
    chunks = create(pipe, stream=True)
    assert text(chunks) == create(pipe)["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert len({c["id"] for c in chunks}) == 1
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["timings"]["ttft_ms"] > 0


def test_the_next_turn_reuses_the_cache(pipe):
    first = create(pipe)["choices"][0]["message"]
    turns = [*HELLO, first, {"role": "user", "content": "and then?"}]
    usage = create(pipe, messages=turns)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] // 3


def test_stop_texts_are_cut_and_not_shown(pipe):
    whole = create(pipe)["choices"][0]["message"]["content"]
    assert len(whole) > 4
    stop = whole[3:5]
    answer = create(pipe, stop=[stop, "never to be seen"])["choices"][0]
    assert answer["message"]["content"] == whole[: whole.index(stop)]
    assert answer["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("given", "stops", "want"),
    [
        ("abc", ["c"], ("ab", "", True)),
        ("abc", ["cd"], ("ab", "c", False)),
        ("abab", ["abc"], ("ab", "ab", False)),
        ("xx--", ["---", "-!"], ("xx", "--", False)),
        ("abc", [], ("abc", "", False)),
        ("a b c", ["b", "a b"], ("", "", True)),
    ],
)
def test_cut(given, stops, want):
    assert cut(given, stops) == want


def test_log_probabilities(pipe):
    answer = create(pipe, logprobs=True, top_logprobs=3)["choices"][0]
    entries = answer["logprobs"]["content"]
    assert "".join(bytes(e["bytes"]).decode(errors="replace") for e in entries)
    for entry in entries:
        values = [e["logprob"] for e in entry["top_logprobs"]]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert np.isclose(entry["logprob"], values[0], atol=1e-5), "greedy takes the likeliest"
        assert entry["logprob"] < 0


def test_abort_is_a_finish_reason(pipe):
    async def run() -> str:
        reason = ""
        async for chunk in await pipe.chat.completions.create(messages=HELLO, stream=True, temperature=0):
            reason = chunk["choices"][0]["finish_reason"]
            if chunk["choices"][0]["delta"].get("content"):
                pipe.chat.completions.abort()
        return reason

    assert asyncio.run(run()) == "abort"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"messages": []}, "messages must be a list"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role 'wizard'"),
        ({"messages": [{"content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "part of a message has no text"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "part of a message has no text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n is 2"),
        ({"presence_penalty": 0.5}, "presence_penalty is 0.5"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temprature": None}, "temprature"),
        ({"top_k": -2}, "top_k"),
        ({"temprature": 1}, "temprature"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": "x"}, "top_logprobs"),
        ({"stop": 5}, "stop"),
        ({"temperature": "0.7"}, "temperature"),
        ({"top_k": 4.5}, "top_k"),
        ({"seed": "x"}, "seed"),
        ({"max_tokens": 2.0}, "max_tokens"),
        ({"temperature": 1000}, "temperature"),
    ],
)
def test_bad_requests_say_what_is_wrong(pipe, wrong, message):
    with pytest.raises(tt.Error, match=message) as caught:
        create(pipe, **wrong)
    assert caught.value.code == "bad_request"


def test_content_in_parts_is_joined(pipe):
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]}]
    assert create(pipe, messages=parts)["choices"] == create(pipe)["choices"]


def test_a_text_that_ends_within_a_character_counts_its_tokens_once(pipe):
    for limit in range(3, 9):
        answer = create(pipe, max_tokens=limit, logprobs=True)
        assert answer["usage"]["completion_tokens"] <= limit
        stopped = answer["choices"][0]["finish_reason"] == "stop"
        entries = answer["choices"][0]["logprobs"]["content"]
        assert len(entries) == answer["usage"]["completion_tokens"] - stopped


def test_abort_before_the_first_token(pipe):
    async def run() -> list[dict]:
        chunks = []
        async for chunk in await pipe.chat.completions.create(messages=HELLO, stream=True, temperature=0):
            if not chunks:
                pipe.chat.completions.abort()
            chunks.append(chunk)
        return chunks

    chunks = asyncio.run(run())
    assert text(chunks) == ""
    assert chunks[-1]["choices"][0]["finish_reason"] == "abort"
    assert create(pipe)["choices"][0]["finish_reason"] != "abort"


@pytest.mark.parametrize(
    "neutral",
    [
        {"presence_penalty": 0, "frequency_penalty": 0.0, "n": 1, "logit_bias": {}, "tools": [], "tool_choice": "auto"},
        {"response_format": {"type": "text"}, "top_k": -1, "parallel_tool_calls": True, "stream_options": None},
        dict.fromkeys(["tools", "tool_choice", "logit_bias", "response_format", "n", "presence_penalty", "stop", "seed",
                       "top_k", "top_p", "min_p", "repetition_penalty", "logprobs", "top_logprobs", "audio"]),
        {"user": "me", "store": True, "metadata": {"a": "b"}, "service_tier": "auto", "model": "another"},
    ],
)  # fmt: skip
def test_what_changes_nothing_is_accepted(pipe, neutral):
    assert create(pipe, **neutral)["choices"] == create(pipe)["choices"]


def test_half_a_character_is_a_replacement_character(pipe):
    """JSON may have it: "\\ud83d" is the first half of an emoji, as is left where a text is cut in JavaScript."""
    cut, whole = ([{"role": "user", "content": f"hi {c} there"}] for c in ("\ud83d", "\ufffd"))
    assert create(pipe, messages=cut)["choices"] == create(pipe, messages=whole)["choices"]
    pair, emoji = ([{"role": "user", "content": c}] for c in ("\ud83d\ude00", "\U0001f600"))
    assert create(pipe, messages=pair)["choices"] == create(pipe, messages=emoji)["choices"]


def test_an_assistants_last_message_is_answered_by_another_one(pipe):
    """As OpenAI's; the pipeline itself goes on with it, as transformers'."""
    messages = [*HELLO, {"role": "assistant", "content": "I am"}]
    usage = create(pipe, messages=messages)["usage"]
    turns = pipe.prompt(messages)
    assert usage["prompt_tokens"] == len(turns) > len(pipe.prompt(messages, continue_final_message=True))
