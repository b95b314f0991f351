"""What the pages beside the chat have in common, in Chromium with the fake engine."""


import pytest
from selenium.webdriver.common.keys import Keys

from tests.conftest import Site
from tests.studio.conftest import Page, press
from tests.studio.gestures import PNG, TASKS, WAV, drop, give, loaded, seen, unload


@pytest.mark.parametrize("name", TASKS)
def test_a_page_has_its_link_its_title_and_fits_every_screen(page: Page, name: str) -> None:
    page.open()
    page.click(f"#pages [href='#{name}']")
    page.wait(seen(f"#{name}"))
    assert page.js("[...document.querySelectorAll('main')].filter((e) => e.checkVisibility()).length") == 1
    assert page.js("document.title") == f"{name.capitalize()} · TensorTab"
    assert page.js("document.activeElement.id") == f"{name}-title"
    assert page.js("[...document.querySelectorAll('#pages [aria-current=page]')].map((e) => e.hash)") == [f"#{name}"]
    page.wait("document.querySelector('#engine-gpu').innerText")
    colours = []
    for theme in ("light", "dark"):
        page.js(f"void (document.documentElement.dataset.theme = {theme!r})")
        colours.append(page.js(f"getComputedStyle(document.querySelector('#{name}')).backgroundColor"))
    assert colours[0] != colours[1]
    named = "button, input, select, textarea, a, audio, progress, section"
    nameless = f"""[...document.querySelectorAll('#{name} :is({named})')]
        .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.ariaHidden === 'true'))
        .filter((e) => e.checkVisibility()).map((e) => e.outerHTML)"""
    assert page.js(nameless) == []
    try:
        page.browser.resize(360, 740)
        assert page.js(f"document.querySelector('#{name} .scroll').scrollWidth <= 360")
        page.click(f"#{name} .drawer-button")
        page.wait("document.querySelector('#side').classList.contains('open')")
        press(page, Keys.ESCAPE)
        page.wait("document.querySelector('#side').inert")
        assert page.js("document.activeElement.matches('.drawer-button')")
    finally:
        page.browser.resize(1280, 800)
    press(page, Keys.CONTROL, "k")
    page.wait("location.hash.startsWith('#chat') && document.activeElement.id === 'prompt'")


@pytest.mark.parametrize("name", ["transcribe", "classify"])
def test_a_model_is_offered_cancelled_loaded_and_unloaded(page: Page, name: str) -> None:
    page.open("#" + name)
    card = f"#{name} .notice[data-task={TASKS[name]}]"
    page.wait(seen(f"{card} [data-act=load-default]"))
    assert " MB" in page.text(card + " .primary") and "nothing is uploaded" in page.text(card)
    page.fake(pace=100)
    page.click(f"{card} [data-act=load-default]")
    page.wait(f"document.querySelector('{card} .amount')?.innerText.includes(' MB of ')")
    page.wait("document.querySelector('#engine-state').innerText.startsWith('Loading, ')")
    page.wait(f"document.querySelector('{card} progress').value > 0.1")
    page.click(f"{card} [data-act=cancel-load]")
    page.wait(f"document.querySelector('{card}').innerText.includes('Resume the download')")
    page.fake(pace=1)
    page.click(f"{card} [data-act=load-default]")
    page.wait(seen(f"#{name} .pick[data-state=ready]"))
    assert page.js(f"document.querySelector('{card}').checkVisibility()") is False
    page.click("#engine-line")
    page.wait("document.querySelectorAll('#settings .model .tag').length === 1")
    page.click("#settings [data-act=close-dialog]")
    unload(page, name)
    page.wait(f"document.querySelector('{card}').innerText.includes('On this device already')")
    assert page.js(f"document.querySelector('#{name} .pick').dataset.state") == "idle"


def test_a_models_error_says_what_to_do_and_retrying_works(page: Page) -> None:
    page.open("#classify")
    page.wait(seen("#classify [data-act=load-default]"))
    page.fake(fault={"code": "offline", "message": "Said by the test."}, pace=1)
    page.click("#classify [data-act=load-default]")
    page.wait("document.querySelector('#classify [data-code=offline]')")
    assert "Said by the test." in page.text("#classify .detail")
    page.js("dispatchEvent(new Event('online'))")
    page.wait(seen("#classify .pick[data-state=ready]"))
    unload(page, "classify")
    page.wait(seen("#classify [data-act=load-default]"))
    page.fake(fault={"code": "out_of_memory", "message": ""})
    page.click("#classify [data-act=load-default]")
    page.wait("document.querySelector('#classify [data-code=out_of_memory]')")
    page.click("#classify [data-act=retry]")
    page.wait(seen("#classify .pick[data-state=ready]"))


def test_own_files_become_the_model_of_the_page_that_is_shown(page: Page) -> None:
    page.open("#transcribe")
    page.wait(seen("#transcribe [data-act=load-default]"))
    drop(page, "[new File(['x'], 'broken.gguf')]")
    page.wait("document.querySelector('#transcribe [data-code=bad_file]')")
    drop(page, "[new File(['x'], 'mine.safetensors'), new File(['{}'], 'config.json')]")
    page.wait("document.querySelector('#transcribe .pick[data-state=ready] b')?.innerText === 'mine.safetensors'")
    assert page.js("document.documentElement.dataset.engine") == "idle", "the chat has no model yet"
    assert page.text("#engine-state") == "mine.safetensors"
    drop(page, "[new File(['x'], 'broken.gguf')]")
    page.wait("document.querySelector('#transcribe [data-code=bad_file]')?.checkVisibility()")
    assert page.text("#transcribe .pick b") == "mine.safetensors", "it stays where another one can't be loaded"
    drop(page, f"[{WAV}(3, 'a.wav')]")
    page.wait("document.querySelectorAll('.said li').length === 4")
    assert page.js(seen("#transcribe [data-code=bad_file]")) is False


def test_the_header_loads_a_model_into_its_page(page: Page) -> None:
    page.open()
    page.fake(pace=1)
    page.js("void (location.hash = 'transcribe')")
    page.wait(seen("#transcribe .pick"))
    page.click("#transcribe .pick")
    page.wait("document.querySelector('[data-act=use-model][data-name=\"whisper-tiny.en\"]')")
    page.click('[data-act=use-model][data-name="whisper-tiny.en"]')
    page.wait(seen("#transcribe .pick[data-state=ready]"))


def test_without_webgpu_every_page_says_so(page: Page) -> None:
    hide = "delete Navigator.prototype.gpu"
    script = page.browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hide})
    try:
        for name in ("transcribe", "classify", "summarise"):
            page.open("?without#" + name)
            page.wait(f"document.querySelector('#{name} [data-code=no_webgpu]')?.checkVisibility()")
    finally:
        page.browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_a_crash_is_told_and_the_next_job_works(page: Page) -> None:
    loaded(page, "classify")
    page.fake(crash=True)
    give(page, "#classify input[type=file]", f"[{PNG}('a.png')]")
    page.wait("document.querySelector('#classify [data-code=crashed]')?.checkVisibility()")
    page.click("#classify [data-act=restart]")
    page.wait(seen("#classify .pick[data-state=ready]"))
    give(page, "#classify input[type=file]", f"[{PNG}('a.png')]")
    page.wait("document.querySelectorAll('.bars li').length === 5")


def test_the_policy_is_strict_and_nothing_is_asked_of_another_origin(page: Page, fake: Site) -> None:
    page.browser.console()
    loaded(page, "classify")
    drop(page, f"[{PNG}('a.png')]")
    page.wait("document.querySelectorAll('.bars li').length === 5")
    for name in ("transcribe", "search", "summarise"):
        page.click(f"#pages [href='#{name}']")
        page.wait(seen(f"#{name}"))
    names = page.js("performance.getEntriesByType('resource').map((e) => e.name).filter((e) => !e.startsWith('blob:'))")
    assert names and all(name.startswith(fake.url) for name in names)
    assert [line for line in page.browser.console() if line.startswith("severe") and "404" not in line] == []
