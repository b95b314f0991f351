"""One click begins: what needs a model downloads it, says its size on its button, and goes on when it is there."""

import pytest

from tests.studio.conftest import Page
from tests.studio.gestures import DEVICES, PNG, TASKS, TEXTS, WAV, drop, give, seen


def test_a_starter_says_its_cost_downloads_the_model_and_is_answered(page: Page) -> None:
    page.open()
    page.wait("document.querySelectorAll('.starters .cost').length === 4")
    assert page.text(".starters .cost") == "98 MB"
    question = page.js("document.querySelector('.starters button').firstChild.textContent")
    page.fake(pace=1)
    page.click(".starters button")
    page.answered(2)
    assert page.turns()[0] == question and page.turns()[1].startswith("The sky is blue")
    page.click("[data-act=new]")
    assert page.js("document.querySelectorAll('.starters .cost').length") == 0, "it is here now"


def test_a_dropped_recording_and_a_picture_begin_at_once(page: Page) -> None:
    page.open("#transcribe")
    page.wait("document.querySelector('#transcribe .primary .cost')?.innerText === '78 MB'")
    page.fake(pace=1)
    drop(page, f"[{WAV}(2, 'short.wav')]")
    page.wait(seen("#transcribe [data-act=save]"))
    page.click("#pages [href='#classify']")
    page.wait("document.querySelector('#classify .primary .cost')?.innerText === '19 MB'")
    drop(page, f"[{PNG}('a.png')]")
    page.wait("document.querySelectorAll('.bars li').length === 5")
    page.click("#pages [href='#search']")
    page.wait(seen("#search .primary .cost"))
    give(page, "#search input[multiple]:not([webkitdirectory])", TEXTS)
    page.wait("document.querySelector('.shelf small')?.innerText === '2 texts'")


def test_a_download_that_is_cancelled_costs_what_is_left_and_ends_the_job(page: Page) -> None:
    page.open("#transcribe")
    page.wait(seen("#transcribe .primary .cost"))
    page.fake(pace=100)
    drop(page, f"[{WAV}(2, 'short.wav')]")
    page.wait("document.querySelector('#transcribe progress')?.value > 0.2")
    page.click("#transcribe [data-act=cancel-load]")
    page.wait(seen("#transcribe .primary .cost"))
    left = int(page.text("#transcribe .primary .cost").split()[0])
    assert 7 < left < 70, "the part that has arrived is kept"
    page.wait(seen("[data-act=record]"))
    assert page.js("document.querySelectorAll('.said li').length") == 0
    assert page.js("document.querySelector('#transcribe [data-kind=error]')") is None


PRIMARY = """(() => { const yolk = getComputedStyle(document.querySelector('.hello-head'), '::before').backgroundColor;
    return [...document.querySelectorAll('main button')].filter((button) => button.checkVisibility() &&
        getComputedStyle(button).backgroundColor === yolk).map((button) => button.textContent); })()"""


@pytest.mark.parametrize("name", ["chat", *TASKS])
def test_a_screen_has_one_primary_button(page: Page, name: str) -> None:
    page.open("#" + name)
    page.wait("document.querySelector('#engine-gpu').innerText")
    page.wait(f"document.querySelector('#{name} .cost')")
    assert len(page.js(PRIMARY)) == 1, page.js(PRIMARY)
    if name == "chat":
        page.write("Hello")
        assert page.js(PRIMARY) == [""], "the one that sends"


def test_the_words_at_the_top_are_folded_away_once_there_is_something_of_the_users(page: Page) -> None:
    page.open("#transcribe")
    page.wait(seen("#transcribe .hello-head"))
    page.fake(pace=1)
    drop(page, f"[{WAV}(2, 'short.wav')]")
    page.wait(seen("#transcribe [data-act=save]"))
    assert page.js(seen("#transcribe .hello-head")) is False
    page.js("void (location.hash = 'search')")
    page.wait(seen("#search .hello-head"))
    give(page, "#search input[multiple]:not([webkitdirectory])", TEXTS)
    page.wait(f"!{seen('#search .hello-head')}")


def test_a_recording_microphone_has_a_sign_on_every_page(page: Page) -> None:
    page.open("#transcribe")
    page.wait(seen("#transcribe [data-act=record]"))
    page.js(DEVICES)
    page.fake(pace=1)
    page.click("[data-act=record]")
    page.wait(seen("#transcribe .recording"))
    page.click("#pages [href='#chat']")
    page.wait("document.querySelector('#chat').checkVisibility()")
    assert page.text("#pages [href='#transcribe'] .live") == "recording"
    assert page.js("document.title").startswith("🔴 ")
    page.click("#pages [href='#transcribe']")
    page.wait(seen("#transcribe [data-act=record-stop]"))
    page.click("[data-act=record-stop]")
    page.wait("!document.querySelector('#pages .live')")
    assert "🔴" not in page.js("document.title")
