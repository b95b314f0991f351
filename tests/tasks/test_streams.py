"""Streams that are abandoned, read in turn, closed or aborted: nothing waits for them, and none loses a token."""

import asyncio
from typing import Any

import pytest
from tensortab.errors import Error
from tensortab.sampling import Sampling

HELLO = [{"role": "user", "content": "hello there"}]
OTHER = [{"role": "user", "content": "and now something else"}]
SETTINGS: list[dict[str, Any]] = [{"temperature": 0}, {"temperature": 1.5, "seed": 5}, {"repetition_penalty": 3.0}]


async def ask(pipe: Any, messages: list[dict[str, str]], **request: Any) -> Any:
    return await pipe.chat.completions.create(**{"messages": messages, "temperature": 0, "max_tokens": 12} | request)


async def text(pipe: Any, messages: list[dict[str, str]], **request: Any) -> str:
    return (await ask(pipe, messages, **request))["choices"][0]["message"]["content"]


def content(chunk: dict[str, Any]) -> str:
    return chunk["choices"][0]["delta"].get("content", "")


def run(coroutine: Any) -> Any:
    """Fails the test instead of waiting for ever for a stream."""
    return asyncio.run(asyncio.wait_for(coroutine, 120))


async def begun(pipe: Any, messages: list[dict[str, str]] = HELLO, **request: Any) -> tuple[Any, str]:
    """A stream that was left after some text, and that text."""
    stream, read = await ask(pipe, messages, stream=True, **request), ""
    async for chunk in stream:
        read += content(chunk)
        if read:
            break
    return stream, read


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_stream_that_was_left_goes_on_where_it_was(pipe, settings):
    async def leave() -> None:
        alone, other = await text(pipe, HELLO, **settings), await text(pipe, OTHER)
        stream, read = await begun(pipe, **settings)
        assert await text(pipe, OTHER) == other, "the next request does not wait"
        assert read + "".join([content(chunk) async for chunk in stream]) == alone

    run(leave())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_two_streams_read_in_turn(pipe, settings):
    async def both() -> None:
        want = [await text(pipe, messages, **settings) for messages in (HELLO, OTHER)]
        streams = [await ask(pipe, messages, stream=True, **settings) for messages in (HELLO, OTHER)]
        got, open_ = ["", ""], [0, 1]
        while open_:
            for n in list(open_):
                chunk = await anext(streams[n], None)
                if chunk is None:
                    open_.remove(n)
                else:
                    got[n] += content(chunk)
        assert got == want

    run(both())


def test_a_text_that_has_ended_does_not_go_on(pipe):
    """Another text is written between a stream's last token and the request for more."""

    async def leave() -> None:
        generator = pipe.generator
        alone = [token.id async for token in generator.generate([5, 9, 31], Sampling(), 12)]
        for stops, limit in ((frozenset(alone[3:4]), 12), (frozenset(), 4)):
            expected = alone[: min(limit, alone.index(alone[3]) + 1)]
            tokens = generator.generate([5, 9, 31], Sampling(stop_ids=stops), limit)
            assert [(await anext(tokens)).id for _ in expected] == expected
            assert [token.id async for token in generator.generate([1, 2], Sampling(), 3)]
            assert [token async for token in tokens] == []

    run(leave())


def test_readers_that_do_something_else_in_between(pipe):
    async def slow(messages: list[dict[str, str]]) -> str:
        read = ""
        async for chunk in await ask(pipe, messages, stream=True):
            read += content(chunk)
            await asyncio.sleep(0)
        return read

    async def both() -> None:
        want = [await text(pipe, messages) for messages in (HELLO, OTHER)]
        assert await asyncio.gather(slow(HELLO), slow(OTHER)) == want

    run(both())


def test_readers_that_do_not_are_served_one_after_the_other(pipe):
    """A text is brought into the cache once: whoever asks for the next token at once keeps the turn."""

    async def both() -> list[int]:
        order: list[int] = []

        async def one(n: int) -> None:
            async for _ in pipe.generator.generate([1 + n, 2, 3], Sampling(), 5):
                order.append(n)

        await asyncio.gather(*map(one, range(3)))
        return order

    assert run(both()) == [n for n in range(3) for _ in range(5)]


def test_an_error_of_the_reader_whose_traceback_is_kept(pipe):
    async def fail() -> Any:
        try:
            async for chunk in await ask(pipe, HELLO, stream=True):
                if content(chunk):
                    raise ValueError("the reader's")
        except ValueError as error:
            return error

    async def both() -> None:
        other = await text(pipe, OTHER)
        kept = await fail()
        assert await text(pipe, OTHER) == other
        assert kept.__traceback__

    run(both())


def test_close_ends_a_stream(pipe):
    async def close() -> None:
        stream, _ = await begun(pipe)
        submits = pipe.generator.device.counters()["submits"]
        await stream.close()
        await stream.close()
        assert [chunk async for chunk in stream] == []
        assert pipe.generator.device.counters()["submits"] == submits
        async with await ask(pipe, HELLO, stream=True) as stream:
            async for chunk in stream:
                if content(chunk):
                    break
        assert await anext(stream, None) is None
        unread = await ask(pipe, HELLO, stream=True)
        await unread.close()

    run(close())


def test_a_stream_that_another_task_reads_is_ended_by_abort(pipe):
    async def close() -> None:
        stream = await ask(pipe, HELLO, stream=True, max_tokens=60)

        async def read() -> list[dict]:
            return [chunk async for chunk in stream]

        reading = asyncio.ensure_future(read())
        before = pipe.generator.device.counters()["submits"]
        while pipe.generator.device.counters()["submits"] == before:
            await asyncio.sleep(0)
        with pytest.raises(Error, match="abort"):
            await stream.close()
        pipe.abort()
        assert (await reading)[-1]["choices"][0]["finish_reason"] == "abort"

    run(close())


def test_abort_ends_streams_that_nobody_reads(pipe):
    async def abort() -> list[str]:
        streams = [(await begun(pipe))[0], (await begun(pipe, OTHER))[0], await ask(pipe, HELLO, stream=True)]
        pipe.abort()
        assert await text(pipe, OTHER)
        return [[chunk async for chunk in stream][-1]["choices"][0]["finish_reason"] for stream in streams]

    assert run(abort()) == ["abort"] * 3


def test_others_run_at_least_once_a_submission(pipe):
    async def count() -> tuple[int, int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(others())
        before = pipe.generator.device.counters()["submits"]
        await text(pipe, HELLO, max_tokens=40)
        other.cancel()
        return turns, pipe.generator.device.counters()["submits"] - before

    turns, submits = run(count())
    assert turns >= submits > 2


@pytest.mark.parametrize("how", ["abort", "cancel", "wait_for"])
def test_another_task_stops_an_answer(pipe, how):
    async def stop() -> None:
        alone = await text(pipe, HELLO)
        made, before = pipe.generator.device.counters()["created"], pipe.generator.device.counters()["submits"]
        answer = asyncio.ensure_future(ask(pipe, HELLO, max_tokens=60))
        if how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(answer, 1e-9)  # the first turn of the loop is after it
        else:
            while pipe.generator.device.counters()["submits"] < before + 2:
                await asyncio.sleep(0)
            pipe.abort() if how == "abort" else answer.cancel()
            (result,) = await asyncio.gather(answer, return_exceptions=True)
            if how == "abort":
                assert result["choices"][0]["finish_reason"] == "abort"
            else:
                assert isinstance(result, asyncio.CancelledError)
        assert await text(pipe, HELLO) == alone
        assert pipe.generator.device.counters()["created"] == made, "no staging buffer was lost"

    run(stop())
