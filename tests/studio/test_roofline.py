"""The picture of a token, from its data: order, lengths, the floor inside, and what is said of it."""

import json
from typing import Any

import pytest
from studio.pages.lab.roofline import bars, name

from tests.studio.micropython import values


def kernel(part: str, count: int, us: float, floor_us: float, stem: str = "matvec") -> dict[str, Any]:
    return {"kernel": stem, "part": part, "count": count, "us": us, "floor_us": floor_us}


KERNELS = [
    kernel("mlp.down_proj", 30, 10, 5), kernel("embed_tokens", 1, 100, 90), kernel("norm", 1, 0.5, 0.1),
    kernel("embed_tokens", 1, 0.5, 0, "embedding.FORMAT=q8_0"), kernel("a new part", 10, 4, 60),
]  # fmt: skip


def roofline(expression: str) -> Any:
    """What the page's interpreter, which has the browser's numbers, makes of the kernels."""
    setup = f"import json\nfrom studio.pages.lab.roofline import *\nkernels = {KERNELS}"
    (value,) = values(setup, f"json.dumps({expression})")
    return json.loads(value)


def rects(parts: list) -> dict[str, list[dict]]:
    return {cls: [a for tag, a, _ in parts if tag == "rect" and a["class"] == cls] for cls in ("spent", "floor")}


def test_bars_are_times_of_a_token_and_the_short_ones_one_bar() -> None:
    assert roofline("bars(kernels)") == [
        ["Feed-forward, out", 30, 300, 150], ["Word scores", 1, 100, 90], ["a new part", 10, 40, 600],
        ["2 others", 1, 1.0, 0.1],
    ]  # fmt: skip
    assert bars(KERNELS[:3])[-1] == ("Last norm", 1, 0.5, 0.1), "one alone keeps its name"
    assert name(KERNELS[3]) == "Word’s vector", "the same weight as the head's, another kernel"


@pytest.mark.parametrize("width", [320, 900])
def test_lengths_are_in_proportion_and_stay_inside(width: float) -> None:
    height, parts = roofline(f"drawing(kernels, {width})")
    spent, floor = rects(parts).values()
    longest = spent[0]["width"]
    assert spent[1]["width"] == pytest.approx(longest / 3, abs=0.1)
    assert floor[0]["width"] == pytest.approx(longest / 2, abs=0.1)
    assert floor[2]["width"] == spent[2]["width"], "a floor that is beaten fills its bar"
    for tag, a, _ in parts:
        assert 0 <= a["x"] <= width and 0 <= a["y"] <= height
        if tag == "rect":
            assert a["x"] + a["width"] <= width and a["y"] + a["height"] <= height


def test_a_clock_that_saw_nothing_gives_no_division_by_zero() -> None:
    slow = [kernel("norm", 1, 0.0, 0.1), kernel("lm_head", 1, 5.0, 0.1)]
    assert len(roofline(f"drawing({slow}, 600)")[1]) == 14


def test_the_picture_in_words() -> None:
    said = roofline("in_words(kernels)")
    assert "Feed-forward, out 300 µs, of which the floor is 50%" in said
    assert said.count("floor") == 4
