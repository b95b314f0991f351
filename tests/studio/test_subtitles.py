"""Subtitle files and what settles of a growing transcript."""

from typing import Any

import pytest
from studio.pages.transcribe.subtitles import clock, later, plain, settled, srt, vtt


def chunk(start: float, end: float | None, text: str) -> dict[str, Any]:
    return {"timestamp": [start, end], "text": text}


CHUNKS = [
    chunk(0, 1.2346, " Hello <b>there</b> & you."),
    chunk(3599.9996, 3661.5, "One\n\n--> two"),
    chunk(7200, None, "End"),
    chunk(7300, 7301, "  "),
]


def test_srt_counts_its_cues_and_rounds_to_milliseconds() -> None:
    assert srt(CHUNKS) == (
        "1\n00:00:00,000 --> 00:00:01,235\nHello <b>there</b> & you.\n\n"
        "2\n01:00:00,000 --> 01:01:01,500\nOne --> two\n\n"
        "3\n02:00:00,000 --> 02:00:01,000\nEnd\n"
    )


def test_vtt_escapes_what_would_be_a_tag_or_an_arrow() -> None:
    assert vtt(CHUNKS) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.235\nHello &lt;b&gt;there&lt;/b&gt; &amp; you.\n\n"
        "01:00:00.000 --> 01:01:01.500\nOne --&gt; two\n\n"
        "02:00:00.000 --> 02:00:01.000\nEnd\n"
    )


def test_nothing_said_gives_empty_files() -> None:
    assert (srt([]), vtt([]), plain([])) == ("", "WEBVTT\n", "")


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (5, 4, "00:00:03,000 --> 00:00:04,000"),
        (1.3, 1.3, "00:00:00,300 --> 00:00:01,300"),
        (0.2, 0.2, "00:00:00,000 --> 00:00:00,200"),
    ],
)
def test_a_cue_without_a_duration_is_shown_for_the_second_before_its_end(start: float, end: float, shown: str) -> None:
    """A time at the end of the sound stays there."""
    assert shown in srt([chunk(start, end, "x")])
    assert shown.replace(",", ".") in vtt([chunk(start, end, "x")])


def test_a_day_has_more_than_99_hours_in_no_subtitle_but_a_long_one_may() -> None:
    assert srt([chunk(360000, 360001, "late")]).splitlines()[1] == "100:00:00,000 --> 100:00:01,000"


def test_the_plain_text_is_a_line_a_part() -> None:
    assert plain(CHUNKS) == "Hello <b>there</b> & you.\nOne --> two\nEnd"


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59.99, "0:59"), (187, "3:07"), (3729, "1:02:09")])
def test_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_later_moves_all_but_an_unknown_end() -> None:
    assert later([chunk(0, 1, "a"), chunk(1, None, "b")], 10.5) == [chunk(10.5, 11.5, "a"), chunk(11.5, None, "b")]


@pytest.mark.parametrize(
    ("ends", "window", "count"),
    [([5, 10, 20], 20, 0), ([5, 10, 24], 25, 2), ([24], 25, 1), ([], 25, 0), ([None], 25, 0), ([5, None], 25, 1)],
)
def test_what_settles_of_a_window_is_all_but_its_last_part(ends: list[float | None], window: float, count: int) -> None:
    chunks = [chunk(0, end, "x") for end in ends]
    assert settled(chunks, window, 24) == count
