"""The pipeline called as in transformers, and the generator under it."""

import asyncio

import pytest
import tensortab as tt
from tensortab.sampling import Sampling

from tests.tasks.conftest import TINY


def ids(pipe, prompt: list[int], count: int, **sampling) -> list[int]:
    async def run() -> list[int]:
        return [t.id async for t in pipe.generator.generate(prompt, Sampling(**sampling), count)]

    return asyncio.run(run())


def reused(pipe, prompt: list[int], expected: list[int]) -> int:
    """Returns how many tokens of a prompt were in the cache; the expected tokens must follow it."""

    async def run() -> int:
        tokens = pipe.generator.generate(prompt, Sampling(), len(expected))
        assert [token.id async for token in tokens] == expected
        return tokens.reused

    return asyncio.run(run())


PROMPT = [5, 9, 200, 31, 77, 8, 9, 10, 11, 250, 3, 4, 7]


def test_shape_of_the_answer(pipe):
    (whole,) = asyncio.run(pipe("ab cd", max_new_tokens=4))
    (rest,) = asyncio.run(pipe("ab cd", max_new_tokens=4, return_full_text=False))
    assert whole["generated_text"] == "ab cd" + rest["generated_text"]


def test_a_list_has_an_answer_for_each(pipe):
    texts = ["ab cd", "hello"]
    each = [asyncio.run(pipe(text, max_new_tokens=4)) for text in texts]
    assert asyncio.run(pipe(texts, max_new_tokens=4)) == each
    assert asyncio.run(pipe(tuple(texts[:1]), max_new_tokens=4)) == each[:1]
    chats = [[{"role": "user", "content": text}] for text in texts]
    answers = [asyncio.run(pipe(chat, max_new_tokens=4)) for chat in chats]
    assert asyncio.run(pipe(chats, max_new_tokens=4)) == answers
    assert [answer[0]["generated_text"][0] for answer in answers] == [chat[0] for chat in chats]


@pytest.mark.parametrize("wrong", [[], (), None, 5, [5], [None], [["a"]], [[]], {"role": "user"}])
def test_what_is_no_text_and_no_conversation_is_refused(pipe, wrong):
    with pytest.raises(tt.Error) as caught:
        asyncio.run(pipe(wrong))
    assert caught.value.code == "bad_request"


def test_an_assistants_last_message_goes_on(pipe):
    """As in transformers: its text is what the prompt ends with, and the answer becomes part of it."""
    user, begun = {"role": "user", "content": "hello there"}, {"role": "assistant", "content": "ab cd"}
    ((answer,), (rest,)) = (
        asyncio.run(pipe([user, begun], max_new_tokens=4, return_full_text=full)) for full in (True, False)
    )
    text = "<|im_start|>user\nhello there<|im_end|>\n<|im_start|>assistant\nab cd"
    (plain,) = asyncio.run(pipe(text, max_new_tokens=4, return_full_text=False))
    assert rest == plain
    assert answer["generated_text"] == [user, begun | {"content": "ab cd" + plain["generated_text"]}]
    assert begun["content"] == "ab cd"
    closed = asyncio.run(pipe([user, begun], max_new_tokens=4, continue_final_message=False))[0]["generated_text"]
    assert closed[:2] == [user, begun] and closed[2]["role"] == "assistant"


def test_the_cache_of_the_common_prefix_is_reused(pipe):
    whole = ids(pipe, [*PROMPT, 20, 21], 6)
    pipe.generator.forget()
    first = ids(pipe, PROMPT, 5)
    assert reused(pipe, [*PROMPT, 20, 21], whole) == len(PROMPT)
    assert reused(pipe, PROMPT, first) == len(PROMPT) - 1
    assert ids(pipe, [*PROMPT, *first], 3) == ids(pipe, [*PROMPT, *first], 3)


def test_a_seed_repeats_and_other_seeds_differ(pipe):
    draws = [tuple(ids(pipe, PROMPT, 12, temperature=1.5, seed=seed)) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_repetition_penalty_counts_the_prompt_and_the_answer(pipe):
    free = ids(pipe, PROMPT, 20)
    held = ids(pipe, PROMPT, 20, repetition_penalty=5.0)
    assert len(set(held)) == 20 > len(set(free))
    assert not set(held) & set(PROMPT)
    assert ids(pipe, PROMPT, 20) == free, "the penalties are reset"


def test_stop_ids_end_the_text(pipe):
    free = ids(pipe, PROMPT, 8)
    stop = free[3]
    assert ids(pipe, PROMPT, 8, stop_ids=frozenset({stop})) == free[: free.index(stop) + 1]


def test_an_iterator_left_early_leaves_a_sound_cache(pipe):
    free = ids(pipe, PROMPT, 10)

    async def leave() -> None:
        tokens = pipe.generator.generate(PROMPT, Sampling(), 10)
        async for _ in tokens:
            break
        await tokens.aclose()

    asyncio.run(leave())
    assert ids(pipe, PROMPT, 10) == free


def test_abort_stops_within_a_token(pipe):
    async def run() -> int:
        count = 0
        async for _ in pipe.generator.generate(PROMPT, Sampling(), 100):
            count += 1
            if count == 3:
                pipe.abort()
        return count

    assert asyncio.run(run()) == 3
    assert len(ids(pipe, PROMPT, 10)) == 10


def test_two_requests_wait_for_one_another(pipe):
    alone = ids(pipe, PROMPT, 6)

    async def both() -> list[list[int]]:
        async def one(prompt: list[int]) -> list[int]:
            return [t.id async for t in pipe.generator.generate(prompt, Sampling(), 6)]

        return await asyncio.gather(one(PROMPT), one(PROMPT[::-1]), one(PROMPT))

    first, _, third = asyncio.run(both())
    assert first == third == alone


def test_a_text_ends_where_the_context_does(pipe):
    assert len(ids(pipe, PROMPT * 9, 100)) == 128 - 9 * len(PROMPT)


def test_a_prompt_beyond_the_context_is_refused_and_nothing_lost(pipe):
    free = ids(pipe, PROMPT, 4)
    with pytest.raises(tt.Error, match=r"130 tokens.*128.*shorten") as caught:
        ids(pipe, PROMPT * 10, 4)
    assert caught.value.code == "context_exceeded"
    assert ids(pipe, PROMPT, 4) == free


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 2}, {"min_p": float("nan")}, {"repetition_penalty": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(tt.Error, match=next(iter(wrong))) as caught:
        Sampling(**wrong)
    assert caught.value.code == "bad_request"


def test_decoding_creates_no_gpu_object(pipe):
    ids(pipe, PROMPT, 8)
    before = pipe.generator.device.counters()["created"]
    ids(pipe, PROMPT, 30)
    assert pipe.generator.device.counters()["created"] == before


def test_one_submission_a_token_or_fewer(pipe):
    ids(pipe, PROMPT, 4)
    before = pipe.generator.device.counters()["submits"]
    assert len(ids(pipe, PROMPT, 30)) == 30
    assert pipe.generator.device.counters()["submits"] - before <= 30


def test_unknown_tasks_and_models_say_what_there_is(monkeypatch):
    monkeypatch.setenv("DEVICE", "cpu")
    with pytest.raises(tt.Error, match="text-generation"):
        asyncio.run(tt.pipeline("mind-reading"))
    with pytest.raises(tt.Error, match="SmolLM2"):
        asyncio.run(tt.pipeline("text-generation", model="nowhere"))


def test_a_load_that_is_stopped_gives_everything_back(pipe):
    device = pipe.generator.device
    before = {k: device.counters()[k] for k in ("buffers", "bytes", "bindGroups")}

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "load":
            raise tt.Error("aborted", "stopped")

    with pytest.raises(tt.Error, match="stopped"):
        asyncio.run(tt.pipeline("text-generation", model=TINY, context=128, on_progress=stop))
    assert {k: device.counters()[k] for k in before} == before
