"""The Summarise page in Chromium, with the fake engine."""

import json

from selenium.webdriver.common.keys import Keys

from tests.studio.conftest import Page, press
from tests.studio.gestures import LAST, drop, give, seen


def write(page: Page, text: str) -> None:
    page.js(f"(() => {{ const box = document.querySelector('#document'); box.value = {json.dumps(text)};"
            " box.dispatchEvent(new Event('input')); })()")  # fmt: skip


def test_a_text_is_summarised_by_the_chats_model_part_by_part(page: Page) -> None:
    page.open("#summarise")
    page.wait(seen("#summarise .notice [data-act=load-default]"))
    assert page.js("document.querySelector('[data-act=summarise]').disabled")
    page.fake(pace=400)
    write(page, "<b>one</b> two three four five " * 80)
    assert page.text("#summarise .row .about") == "400 words"
    page.click("[data-act=summarise]")
    page.wait(f"{LAST.replace('NAME', 'summarise')} === 'Waits for the model'")
    page.fake(pace=100)
    page.wait(f"{LAST.replace('NAME', 'summarise')} === '2 of 4 parts'")
    page.wait(seen("#summarise [data-act=copy-result]"))
    assert (
        page.text(".summary").startswith("In short: <b>one</b> two three")
        and page.js("document.querySelector('.summary b')") is None
    )
    assert page.text(".summary + .about") == "22 words instead of 400 words"
    assert page.requests()[-1]["task"] == "summarization"
    press(page, Keys.CONTROL, "k")
    page.wait("document.activeElement.id === 'prompt'")
    page.send("short one")
    page.answered(2)
    card = "document.querySelector('.notice[data-task=text-generation]')"
    assert page.js(f"{card}.closest('.dock') !== null"), "the card is the chat's again"


def test_a_document_is_read_and_summarising_is_cancelled(page: Page) -> None:
    page.open()
    page.load()
    page.click("#pages [href='#summarise']")
    page.wait(seen("#summarise"))
    drop(page, "[new File(['\\0'], 'a.exe')]")
    page.wait(seen("#summarise [data-kind=error]"))
    assert "Not read: a.exe." in page.text("#summarise [role=alert]")
    drop(page, "[new File(['word '.repeat(900)], 'a.md'), new File(['\\0'], 'b.zip'), new File(['The end.'], 'c')]")
    page.wait("document.querySelector('#document').value.startsWith('word word')")
    assert str(page.js("document.querySelector('#document').value")).endswith("word \n\nThe end."), "all are taken"
    assert page.text("#toast").startswith("Not read: b.zip.")
    page.fake(pace=500)
    page.js("document.querySelector('[data-act=summarise]').focus()")
    page.click("[data-act=summarise]")
    page.wait("document.querySelector('.summary')?.innerText.startsWith('In short')")
    assert page.js("document.activeElement.dataset.act") == "cancel"
    press(page, Keys.ESCAPE)
    page.wait(seen("[data-act=summarise]"))
    assert page.text(".summary").startswith("In short")
    page.wait("document.activeElement.dataset.act === 'summarise'")


def test_a_model_made_for_summaries_is_used_if_it_is_loaded(page: Page) -> None:
    page.open("#summarise")
    page.wait(seen("#summarise .notice"))
    page.fake(pace=1)
    page.js("void (HTMLInputElement.prototype.click = () => {})")
    page.click("#summarise .small [data-act=pick-file]")
    give(page, "#model-file", "[new File(['x'], 'bart.safetensors')]")
    page.wait("document.querySelector('#summarise .pick[data-state=ready] b')?.innerText === 'bart.safetensors'")
    assert page.js(seen(".notice[data-task=text-generation]")) is False
    write(page, "one two three")
    page.click("[data-act=summarise]")
    page.wait(seen("#summarise [data-act=copy-result]"))
