"""The picture of a token, from its data: order, lengths, the floor inside, and what is said of it."""

from typing import Any

import pytest
from studio.pages.lab.roofline import bars, drawing, in_words, name
from studio.shell.wording import amount, digits, share


def kernel(part: str, count: int, us: float, floor_us: float, stem: str = "matvec") -> dict[str, Any]:
    return {"kernel": stem, "part": part, "count": count, "us": us, "floor_us": floor_us}


KERNELS = [
    kernel("mlp.down_proj", 30, 10, 5), kernel("embed_tokens", 1, 100, 90), kernel("norm", 1, 0.5, 0.1),
    kernel("embed_tokens", 1, 0.5, 0, "embedding.FORMAT=q8_0"), kernel("a new part", 10, 4, 60),
]  # fmt: skip


def rects(width: float) -> dict[str, list[dict]]:
    _, parts = drawing(KERNELS, width)
    return {cls: [a for tag, a, _ in parts if tag == "rect" and a["class"] == cls] for cls in ("spent", "floor")}


def test_bars_are_times_of_a_token_and_the_short_ones_one_bar() -> None:
    assert bars(KERNELS) == [
        ("Feed-forward, out", 30, 300, 150), ("Word scores", 1, 100, 90), ("a new part", 10, 40, 600),
        ("2 others", 1, 1.0, 0.1),
    ]  # fmt: skip
    assert bars(KERNELS[:3])[-1] == ("Last norm", 1, 0.5, 0.1), "one alone keeps its name"
    assert name(KERNELS[3]) == "Word’s vector", "the same weight as the head's, another kernel"


@pytest.mark.parametrize("width", [320, 900])
def test_lengths_are_in_proportion_and_stay_inside(width: float) -> None:
    spent, floor = rects(width).values()
    longest = spent[0]["width"]
    assert spent[1]["width"] == pytest.approx(longest / 3, abs=0.1)
    assert floor[0]["width"] == pytest.approx(longest / 2, abs=0.1)
    assert floor[2]["width"] == spent[2]["width"], "a floor that is beaten fills its bar"
    height, parts = drawing(KERNELS, width)
    for tag, a, _ in parts:
        assert 0 <= a["x"] <= width and 0 <= a["y"] <= height
        if tag == "rect":
            assert a["x"] + a["width"] <= width and a["y"] + a["height"] <= height


def test_a_clock_that_saw_nothing_gives_no_division_by_zero() -> None:
    drawing([kernel("norm", 1, 0.0, 0.1), kernel("lm_head", 1, 5.0, 0.1)], 600)


def test_the_picture_in_words() -> None:
    said = in_words(KERNELS)
    assert "Feed-forward, out 300 µs, of which the floor is 50 %" in said
    assert said.count("floor") == 4


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (2.1e-6, "s", "2.10 µs"), (0.0123, "s", "12.3 ms"), (3.2e-8, "s", "32.0 ns"), (0.99999, "s", "1.00 s"),
        (75, "s", "75.0 s"), (2.954e12, "B/s", "2.95 TB/s"), (999.9e6, "B/s", "1.00 GB/s"),
        (7e8, "FLOP/s", "700 MFLOP/s"),
    ],
)  # fmt: skip
def test_amounts(value: float, unit: str, words: str) -> None:
    assert amount(value, unit) == words


def test_digits_and_shares() -> None:
    numbers = (31400.4, 1234567, 999.6, 99.96, 9.996, 0.5, 0.0052, 0.0004)
    assert [digits(n) for n in numbers] == ["31,400", "1,234,567", "1,000", "100", "10.0", "0.50", "0.005", "0"]
    assert [share(n) for n in (0.0042, 0.0996, 0.43, 1.2)] == ["0.4 %", "10 %", "43 %", "120 %"]
