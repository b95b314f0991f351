"""The Lab in Chromium, with the fake engine."""

import json

from selenium.webdriver.common.keys import Keys

from tests.studio.conftest import Page, press


def measure(page: Page) -> None:
    page.click("[data-act=measure]")
    page.wait("document.querySelector('[data-act=copy-lab]').checkVisibility()")


def test_the_lab_measures_the_gpu_alone_and_then_with_a_model(page: Page) -> None:
    page.open("#lab")
    page.wait("document.querySelector('[data-act=measure]')?.disabled === false")
    assert page.js("document.activeElement.id") == "lab-title"
    assert page.js("document.querySelector('#chat').checkVisibility()") is False
    assert page.js("document.title") == "Lab · TensorTab"
    assert "No model is loaded" in page.text(".lab-note")
    assert "subgroups" in page.text(".tags") and "2.1 GB" in page.text(".lab-device dl")
    measure(page)
    assert "402 GB/s" in page.text(".figures-list")
    assert "17.2 TFLOP/s in 16 bits" in page.text(".figures-list")
    assert "tokens/s" not in page.text(".figures-list") and page.js("document.querySelector('.roofline')") is None
    page.click("#pages [href='#chat']")
    page.wait("document.querySelector('#chat').checkVisibility() && document.activeElement.id === 'prompt'")
    page.load()
    page.click("#pages [href='#lab']")
    page.wait("document.querySelector('#lab')?.checkVisibility()")
    assert page.js("document.querySelector('#pages [aria-current=page]').hash") == "#lab"
    measure(page)
    assert "812 tokens/s" in page.text(".figures-list") and "20% of the 4,166" in page.text(".figures-list")
    assert "Feed-forward, in 426 µs" in page.js("document.querySelector('.roofline').getAttribute('aria-label')")
    rows = page.js("[...document.querySelectorAll('.lab tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    assert len(rows) == 10
    assert rows[0][:5] == ["Feed-forward, in", "30", "14.2", "2.78", "20%"]
    assert rows[0][-1] == "matvec_subgroup.FORMAT=q4_1.GATED=True.NORM=True"
    assert page.js("document.querySelector('#said').textContent") == "Measured in 1 sec."


def test_the_lab_can_be_cancelled(page: Page) -> None:
    page.open("#lab")
    page.fake(pace=500)
    page.wait("document.querySelector('[data-act=measure]')?.disabled === false")
    for cancel in (lambda: page.click(".lab [data-act=cancel]"), lambda: press(page, Keys.ESCAPE)):
        page.click("[data-act=measure]")
        page.wait("document.querySelector('.lab progress').value > 0.3")
        assert page.js("document.activeElement.dataset.act") == "cancel"
        assert page.text(".lab h3") in ("Multiplying matrices", "Starting kernels")
        cancel()
        page.wait("document.querySelector('.lab-note').innerText.includes('was stopped')")
        assert page.js("document.activeElement.dataset.act") == "measure"
    assert page.js("document.querySelector('.figures-list')") is None


def test_the_lab_says_what_went_wrong(page: Page) -> None:
    page.open("#lab")
    page.fake(fault={"code": "out_of_memory", "message": "Said by the test."})
    page.wait("document.querySelector('[data-act=measure]')?.disabled === false")
    page.click("[data-act=measure]")
    page.wait("document.querySelector('.lab [data-kind=error]')?.checkVisibility()")
    said = page.text(".lab [role=alert]")
    assert "Not enough memory" in said and "Said by the test." in said
    measure(page)
    assert page.js("document.querySelector('.lab .notice').checkVisibility()") is False


def test_the_lab_and_an_answer_wait_for_each_other(page: Page) -> None:
    page.open()
    page.load()
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text').innerText.length > 20")
    page.click("#pages [href='#lab']")
    page.wait("document.querySelector('[data-act=measure]')?.disabled")
    assert "when it is done" in page.text(".lab-note")
    page.click("#pages [href='#chat']")
    page.click("#stop")
    page.answered(2)
    page.click("#pages [href='#lab']")
    page.fake(pace=200)
    page.wait("document.querySelector('[data-act=measure]')?.disabled === false")
    page.click("[data-act=measure]")
    press(page, Keys.CONTROL, "k")
    page.wait("location.hash === '#chat/new' && document.activeElement.id === 'prompt'")
    page.send("short now")
    page.wait("document.querySelector('.pending')?.innerText.includes('Lab')")
    page.answered(2)
    assert page.turns() == ["short now", "A short answer."]


def test_the_lab_without_times_of_kernels_and_with_rounded_ones(page: Page) -> None:
    page.open()
    page.load()
    page.fake(untimed=True)
    page.js("void (location.hash = 'lab')")
    page.wait("document.querySelector('#lab')?.checkVisibility()")
    measure(page)
    assert "timestamp-query" in page.text(".lab-body section:not(.lab-head)")
    assert page.js("document.querySelector('.roofline')") is None
    page.fake(untimed=False, clock=100)
    page.click("[data-act=measure]")
    page.wait("document.querySelector('.roofline')")
    assert "rounds GPU times to 100 µs" in page.text(".lab .small")


def test_the_lab_is_copied_as_json_and_fits_every_screen(page: Page) -> None:
    page.open()
    page.load()
    page.click("#pages [href='#lab']")
    page.wait("document.querySelector('#lab')?.checkVisibility()")
    measure(page)
    page.js("void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })")
    page.click("[data-act=copy-lab]")
    page.wait("globalThis.copied")
    copied = json.loads(str(page.js("globalThis.copied")))
    assert copied["read_gb_s"] == 402.3 and copied["model"] == "SmolLM2-135M-Instruct"
    assert len(copied["kernels"]) == 10 and "Chrome" in copied["browser"]
    colours = {}
    for theme in ("light", "dark"):
        page.js(f"void (document.documentElement.dataset.theme = {theme!r})")
        colours[theme] = page.js("getComputedStyle(document.querySelector('.roofline .name')).fill")
    assert colours["light"] != colours["dark"]
    try:
        page.browser.resize(360, 740)
        page.wait("document.querySelector('.roofline').getAttribute('width') < 360")
        assert page.js("document.querySelector('#lab .scroll').scrollWidth <= 360")
        page.click("#lab .drawer-button")
        page.wait("document.querySelector('#side').classList.contains('open')")
        page.click("#pages [href='#lab']")
        page.wait("!document.querySelector('#side').classList.contains('open')")
    finally:
        page.browser.resize(1280, 800)
