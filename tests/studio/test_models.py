"""One state for every model, and one lock for all models between the browser's tabs."""

from collections.abc import Iterator

import pytest

from tests.studio.conftest import Page
from tests.studio.gestures import PNG, WAV, drop, loaded, seen


@pytest.fixture
def tabs(page: Page) -> Iterator[Page]:
    """The page; what else was opened is closed again."""
    first = page.browser.driver.current_window_handle
    yield page
    for handle in page.browser.driver.window_handles:
        page.browser.driver.switch_to.window(handle)
        if handle != first:
            page.browser.driver.close()
    page.browser.driver.switch_to.window(first)


def test_the_models_of_all_pages_are_in_one_browser_tab(tabs: Page) -> None:
    driver = tabs.browser.driver
    loaded(tabs, "transcribe")
    tabs.js("void (location.hash = 'chat')")
    tabs.load()
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    tabs.open("#classify")
    tabs.wait(seen("#classify [data-act=load-default]"))
    tabs.fake(pace=1)
    drop(tabs, f"[{PNG}('a.png')]")
    tabs.wait("document.querySelector('#classify [data-code=two_tabs]')")
    assert tabs.js("document.querySelectorAll('.bars li').length") == 0
    tabs.click("#classify [data-act=use-here]")
    tabs.wait("document.querySelectorAll('.bars li').length === 5"), "the picture has waited"
    driver.switch_to.window(first)
    tabs.wait("document.querySelector('#chat .notice').dataset.code === 'two_tabs'")
    tabs.js("void (location.hash = 'transcribe')")
    tabs.wait(seen("#transcribe [data-code=two_tabs]"))


def test_the_lock_is_let_go_with_the_last_model(tabs: Page) -> None:
    driver = tabs.browser.driver
    loaded(tabs, "transcribe")
    loaded_here = driver.current_window_handle
    tabs.click("[data-act=pick-model][data-task=automatic-speech-recognition]")
    tabs.wait("document.querySelector('#picker [data-act=unload]')")
    tabs.click("#picker [data-act=unload]")
    tabs.wait(seen("#transcribe [data-act=load-default]"))
    driver.switch_to.new_window("tab")
    tabs.open()
    tabs.load()
    driver.switch_to.window(loaded_here)
    drop(tabs, f"[{WAV}(2, 'a.wav')]")
    tabs.wait("document.querySelector('#transcribe [data-code=two_tabs]')")
