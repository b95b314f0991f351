"""Summaries by the tiny BART and the tiny Llama: short texts, long ones in parts, and stopping."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensortab as tt
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice
from tensortab.tasks.summarization import border, split

from tests.models.seq import folder
from tests.tasks.conftest import TINY

SETTINGS = {"num_beams": 2, "max_length": 12, "min_length": 3, "no_repeat_ngram_size": 3, "prefix": "sum: "}
SHORT = "A boat went out to sea. It came back."
PARAGRAPHS = [f"Paragraph {n} says this. It has {n * n} words, or so! Does it?" for n in range(12)]
LONG = "\n\n".join(PARAGRAPHS)


def opened(kind: str, to: Path, **more: Any) -> Any:
    if kind == "chat":
        return asyncio.run(tt.pipeline("summarization", model=TINY, context=320))
    path = folder("bart", to, is_encoder_decoder=True, task_specific_params={"summarization": SETTINGS | more})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, path)
    (path / "generation_config.json").write_text(json.dumps({"length_penalty": 2.0, "eos_token_id": 2}))
    return asyncio.run(tt.pipeline("summarization", model=path))


@pytest.fixture(params=["encoder-decoder", "chat"])
def pipe(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    device = CPUDevice()
    devices.use(device)
    made = opened(request.param, tmp_path)
    yield made
    made.free()
    assert device.counters()["bytes"] == 0, "free() gives everything back"
    devices.use(None)


@pytest.fixture
def asked(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The parts that were summarised, and whether they were summaries already."""
    seen: list[tuple[str, bool]] = []
    write = pipe.writer.write

    def noted(text: str, again: bool, *lengths: Any) -> Any:
        seen.append((text, again))
        return write(text, again, *lengths)

    monkeypatch.setattr(pipe.writer, "write", noted)
    return seen


def states(pipe: Any, text: str, **lengths: int) -> list[dict]:
    async def run() -> list[dict]:
        return [state async for state in pipe.stream(text, **lengths)]

    return asyncio.run(run())


def bare(*texts: str) -> str:
    """Without spaces and breaks."""
    return "".join("".join(texts).split())


def test_a_short_text_is_one_part(pipe, asked):
    said = states(pipe, f"  {SHORT}\n", max_length=8)
    assert asked == [(SHORT, False)]
    assert [state["done"] for state in said] == [0] * (len(said) - 1) + [1]
    assert all(state["total"] == 1 for state in said)
    assert asyncio.run(pipe(SHORT, max_length=8)) == [{"summary_text": said[-1]["text"]}]
    assert said[-1]["text"]


def test_an_encoder_decoder_reads_its_prefix(tmp_path):
    devices.use(CPUDevice())
    pipe = opened("encoder-decoder", tmp_path)
    ids = asyncio.run(pipe.writer.generator.generate(pipe.writer.tokenizer.encode("sum: " + SHORT)))
    assert 3 <= len(ids) <= 12
    assert asyncio.run(pipe(SHORT)) == [{"summary_text": pipe.writer.tokenizer.decode(ids).strip()}]
    assert pipe.writer.generator.config.length_penalty == 2.0
    devices.use(None)


def test_a_long_text_is_summarised_in_parts_and_their_summaries_again(pipe, asked):
    said = states(pipe, LONG, max_length=8)
    parts = [text for text, again in asked if not again]
    assert bare(*parts) == bare(LONG), "every part once, in order"
    assert len(parts) > 2
    assert max(pipe.writer.size(part, False) for part in parts) <= pipe.writer.room(8)
    assert [again for _, again in asked] == sorted(again for _, again in asked)
    first = next(state["text"] for state in said if state["done"] == len(parts))
    assert bare(*(text for text, again in asked if again)).startswith(bare(first)), "so are their summaries"
    assert said[-1]["done"] == said[-1]["total"] == len(asked)
    assert [state["done"] for state in said] == sorted(state["done"] for state in said)
    assert asyncio.run(pipe(LONG, max_length=8)) == [{"summary_text": said[-1]["text"]}]


def test_abort_stops_after_the_step(pipe, asked):
    async def run() -> list[dict]:
        said = []
        async for state in pipe.stream(LONG, max_length=8):
            said.append(state)
            if state["done"] == 1:
                pipe.abort()
        return said

    said = asyncio.run(run())
    assert said[-1]["done"] == 1 < said[-1]["total"]
    assert len(asked) == 2
    assert states(pipe, SHORT, max_length=8)[-1]["done"] == 1


def test_a_stream_that_is_left_early_leaves_a_sound_pipe(pipe):
    before = asyncio.run(pipe(SHORT, max_length=8))

    async def leave() -> None:
        said = pipe.stream(LONG, max_length=8)
        async for _ in said:
            break
        await said.aclose()

    asyncio.run(leave())
    assert asyncio.run(pipe(SHORT, max_length=8)) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((" \n",), "bad_request"),
        ((["a", ""],), "bad_request"),
        ((5,), "bad_request"),
        ((None,), "bad_request"),
        (("a", "8"), "bad_request"),
        (("a", -1), "bad_request"),
    ],
)
def test_requests_that_cannot_be(pipe, arguments, code):
    with pytest.raises(tt.Error) as caught:
        asyncio.run(pipe(*arguments))
    assert caught.value.code == code


def test_a_list_has_a_summary_for_each(pipe):
    texts = [SHORT, PARAGRAPHS[3]]
    each = [asyncio.run(pipe(text, max_length=8))[0] for text in texts]
    assert asyncio.run(pipe(texts, max_length=8)) == each


def test_a_stream_that_nobody_reads_holds_nobody_up(pipe):
    async def run() -> None:
        alone = await pipe(LONG, max_length=8)
        stream = pipe.stream(LONG, max_length=8)
        await anext(stream)
        assert await pipe(SHORT, max_length=8)
        *_, last = [state async for state in stream]
        assert [{"summary_text": last["text"]}] == alone
        async with pipe.stream(LONG, max_length=8) as stream:
            await anext(stream)
        assert await anext(stream, None) is None

    asyncio.run(asyncio.wait_for(run(), 300))


def test_a_chat_model_is_asked_for_the_length(tmp_path):
    devices.use(CPUDevice())
    pipe = opened("chat", tmp_path)
    asked = pipe.writer.pipe.tokenizer.decode(pipe.writer._prompt(SHORT, False, 40))
    assert "at least 30 words" in asked
    assert asked.count(SHORT) == 1
    with pytest.raises(tt.Error, match="shorter summary"):
        asyncio.run(pipe(SHORT, max_length=300))
    devices.use(None)


def test_a_chats_pipeline_can_be_lent(tmp_path):
    """A lent chat model writes the same as a pipeline of its own, and can chat afterwards."""
    devices.use(CPUDevice())
    own = opened("chat", tmp_path)
    chat = asyncio.run(tt.pipeline("text-generation", model=TINY, context=320))
    try:
        before = asyncio.run(chat("Once", max_new_tokens=4, do_sample=False))
        lent = asyncio.run(tt.pipeline("summarization", model=chat))
        assert lent.writer.pipe is chat and lent.name == chat.name
        summary = asyncio.run(lent(SHORT, max_length=8))
        assert summary == asyncio.run(own(SHORT, max_length=8))
        assert summary[0]["summary_text"].strip()
        assert asyncio.run(chat("Once", max_new_tokens=4, do_sample=False)) == before
    finally:
        chat.free()
        own.free()
        devices.use(None)


def words(text: str) -> int:
    return 2 + len(text.split())


@pytest.mark.parametrize("room", [7, 30, 200])
def test_parts_are_whole_sentences_where_these_fit(room):
    text = " ".join(f"Sentence number {n} is this." for n in range(40))
    parts = split(text, words, room)
    assert " ".join(parts) == text
    assert max(map(words, parts)) <= room
    if room >= 30:
        assert all(part.endswith("this.") for part in parts)
        assert len(parts) <= 1.5 * -(-words(text) // (room - 2))


def test_a_text_without_borders_is_cut_anyway():
    parts = split("x" * 1000, len, 64)
    assert "".join(parts) == "x" * 1000
    assert max(map(len, parts)) <= 64


def test_paragraphs_come_before_sentences_and_these_before_words():
    assert border("One. Two. Three.\n\nFour. Five.", 12, 10) == 18
    assert border("One. Two. Three words. Four", 11, 6) == 10
    assert border("one two three four", 9, 5) == 8
    assert border("一二三。四五六。七", 5, 4) == 4
