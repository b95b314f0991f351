"""What is made on the pages is kept: it is listed, has an address, survives a reload, and is never lost silently."""

import json

import pytest
from selenium.webdriver.common.keys import Keys

from tests.studio.conftest import Page, press
from tests.studio.gestures import PNG, TEXTS, WAV, drop, loaded, saved, seen

TITLES = "[...document.querySelectorAll('#works .open')].map((e) => e.innerText)"
LEAVES = "(() => { const e = new Event('beforeunload', {cancelable: true}); return !dispatchEvent(e); })()"
# An Enter that ends a composition in Safari; one is dispatched at the element that has the focus.
ENTER_OF_AN_INPUT_METHOD = """document.activeElement.dispatchEvent(new KeyboardEvent('keydown',
    {key: 'Enter', keyCode: 229, bubbles: true, cancelable: true}))"""


def reload(page: Page) -> None:
    page.js("void document.documentElement.removeAttribute('data-ready')")
    page.js("void setTimeout(() => location.reload())")
    page.wait("document.documentElement.hasAttribute('data-ready')")


def entry(page: Page, title: str) -> None:
    """Clicks a work of the list."""
    page.wait(f"{TITLES}.includes({title!r})")
    page.js(f"[...document.querySelectorAll('#works .open')].find((e) => e.innerText === {title!r}).click()")


def full(page: Page, is_full: bool = True) -> None:
    """Lets every writing fail, as with a full disk."""
    if is_full:
        page.js("""void (globalThis.put = IDBObjectStore.prototype.put, IDBObjectStore.prototype.put = function () {
            const transaction = this.transaction;
            queueMicrotask(() => transaction.abort());
        })""")
    else:
        page.js("void (IDBObjectStore.prototype.put = globalThis.put)")


def test_a_transcript_is_kept_with_its_sound_and_is_there_after_a_reload(either: Page) -> None:
    loaded(either, "transcribe")
    drop(either, f"[{WAV}(3, 'moon.wav')]")
    either.wait(f"{TITLES}.length === 1 && document.querySelectorAll('#transcribe .said li').length === 4")
    either.wait("location.hash.startsWith('#transcribe/w')")
    assert either.js(TITLES) == ["moon"]
    assert either.js("document.title") == "moon · TensorTab"
    either.wait(seen("#transcribe [data-act=record]"))
    reload(either)
    either.wait("document.querySelectorAll('#transcribe .said li').length === 4")
    either.wait("document.querySelector('#transcribe audio').duration === 3")
    assert "moon.wav" in either.text("#transcribe .about")
    assert either.js("document.querySelector('#works .here').innerText") == "moon"


def test_a_crash_loses_no_more_than_seconds_of_a_transcript(page: Page) -> None:
    loaded(page, "transcribe")
    page.fake(pace=2500)
    drop(page, f"[{WAV}(8, 'long.wav')]")
    page.wait(f"{TITLES}.length === 1", 20)  # written while it grows
    reload(page)
    page.wait("document.querySelectorAll('#transcribe .said li').length >= 1")
    assert page.text("#transcribe .said li span").startswith("The first one")
    assert "of 0:08" in page.text("#transcribe .about")


def test_a_cancelled_transcript_says_how_far_it_came_and_is_kept(page: Page) -> None:
    loaded(page, "transcribe")
    page.fake(pace=300)
    drop(page, f"[{WAV}(8, 'long.wav')]")
    page.wait("document.querySelectorAll('#transcribe .said li').length === 2")
    page.click("#transcribe [data-act=cancel]")
    page.wait("document.querySelector('#transcribe .about').innerText.includes('stopped at')")
    said = page.text("#transcribe .about")
    assert said in ("long.wav  ·  stopped at 0:04 of 0:08", "long.wav  ·  stopped at 0:06 of 0:08")
    page.wait(f"{TITLES}.length === 1")
    reload(page)
    page.wait("document.querySelectorAll('#transcribe .said li').length >= 2")
    assert page.text("#transcribe .about") == said


def write(page: Page, text: str) -> None:
    page.js(f"""(() => {{ const box = document.querySelector('#document'); box.value = {json.dumps(text)};
        box.dispatchEvent(new Event('input')); }})()""")


def test_a_pasted_text_and_its_summary_are_kept(page: Page) -> None:
    page.open()
    page.load()
    page.js("void (location.hash = 'summarise')")
    page.wait(seen("#document"))
    write(page, "Whales are large. They sing.")
    page.wait(f"{TITLES}.length === 1", 10)
    reload(page)
    page.wait("document.querySelector('#document').value === 'Whales are large. They sing.'")
    page.js("void (location.hash = 'chat')")
    page.load()
    page.js("void (location.hash = 'summarise')")
    page.wait("!document.querySelector('[data-act=summarise]').disabled")
    page.click("[data-act=summarise]")
    page.wait("document.querySelector('#summarise .summary').innerText.startsWith('In short')")
    page.wait("!document.querySelector('#document').readOnly")
    write(page, "Another text.")  # the summary belongs to the first one, which stays
    page.wait(f"{TITLES}.length === 2", 10)
    entry(page, "Whales are large. They sing.")
    page.wait("document.querySelector('#summarise .summary').innerText.startsWith('In short: Whales')")
    assert page.js("document.querySelector('#document').value") == "Whales are large. They sing."


def test_a_search_is_kept_with_what_it_found(page: Page) -> None:
    page.open("#search")
    page.wait(seen("#search [data-act=pick-files]"))
    drop(page, TEXTS)
    page.wait(seen("#search .query"))
    page.wait("document.querySelector('#search .pick')?.dataset.state === 'ready'", 20)
    page.js("void (document.querySelector('#query').value = 'the tide')")
    page.wait("document.querySelector('.shelf small').innerText === '2 texts'")
    page.click("#search .query button")
    page.wait("document.querySelectorAll('.passages li').length > 0")
    page.wait(f"{TITLES}.length === 1")
    first = page.text(".passages b")
    reload(page)
    page.wait("document.querySelectorAll('.passages li').length > 0")
    assert page.text(".passages b") == first
    assert page.js("document.querySelector('#query').value") == "the tide"
    page.click("[data-act=new]")
    page.wait("document.querySelector('.found').hidden && document.querySelector('#query').value === ''")


def test_a_picture_and_what_was_seen_in_it_are_kept(page: Page) -> None:
    loaded(page, "classify")
    drop(page, f"[{PNG}('cat.png')]")
    page.wait(f"{TITLES}.includes('cat.png')")
    reload(page)
    page.wait("document.querySelectorAll('#classify .bars li').length === 5")
    page.wait("document.querySelector('#classify img').naturalWidth > 0")


def test_the_labels_of_a_user_are_kept(page: Page) -> None:
    page.open("#classify")
    page.wait("document.querySelector('#labels')")
    page.js("""(() => { const box = document.querySelector('#labels'); box.value = 'a fox, a hen';
        box.dispatchEvent(new Event('input')); })()""")
    reload(page)
    page.wait("document.querySelector('#labels')?.value === 'a fox, a hen'")


def test_a_work_is_renamed_exported_deleted_and_brought_back(page: Page) -> None:
    loaded(page, "transcribe")
    drop(page, f"[{WAV}(3, 'moon.wav')]")
    page.wait(f"{TITLES}.length === 1")
    page.wait(seen("#transcribe [data-act=record]"))
    page.click("#works [data-act=menu]")
    page.click("#menu [data-act=rename]")
    page.wait("document.activeElement.matches('.rename')")
    press(page, "日")
    press(page, Keys.ENTER)
    page.wait(f"{TITLES}[0] === '日'")
    page.click("#works [data-act=menu]")
    name, text = saved(page, "#menu [data-act=export]")
    assert name == "日.txt" and text.startswith("The first one is of the moon.")
    page.click("#works [data-act=menu]")
    page.click("#menu [data-act=delete]")
    page.wait(f"{TITLES}.length === 0 && document.querySelector('#transcribe .said').childElementCount === 0")
    page.click("#toast [data-act=undo-delete]")
    page.wait("document.querySelectorAll('#transcribe .said li').length === 4")
    page.wait(seen("#transcribe audio"))
    reload(page)
    page.wait(f"{TITLES}.length === 1 && document.querySelectorAll('#transcribe .said li').length === 4")


def test_every_chat_has_an_address_and_back_and_forward_work(page: Page) -> None:
    page.open()
    page.load()
    page.send("short one")
    page.answered(2)
    first = page.js("location.hash")
    assert first.startswith("#chat/c")
    assert page.js("document.title") == "short one · TensorTab"
    press(page, Keys.CONTROL, "k")
    page.wait("location.hash === '#chat/new'")
    page.send("short two")
    page.answered(2)
    assert page.js("document.title") == "short two · TensorTab"
    second = page.js("location.hash")
    entry(page, "short one")
    page.wait("document.querySelector('#title').innerText === 'short one'")
    assert page.js("location.hash") == first
    page.js("void history.back()")
    page.wait("document.querySelector('#title').innerText === 'short two'")
    assert page.js("location.hash") == second
    page.js("void history.forward()")
    page.wait("document.querySelector('#title').innerText === 'short one'")
    reload(page)
    page.answered(2)
    assert page.turns() == ["short one", "A short answer."]
    page.open("#chat/c0")
    page.wait("document.querySelector('#toast').innerText.includes('not in this browser any more')")


@pytest.mark.parametrize("name", ["transcribe", "summarise"])
def test_full_storage_is_said_on_every_page_and_nothing_is_lost(page: Page, name: str) -> None:
    page.open()
    page.load()
    page.js(f"void (location.hash = '{name}')")
    page.wait(seen(f"#{name} h1"))
    full(page)
    if name == "summarise":
        write(page, "A text that does not fit.")
    else:
        page.wait(seen("#transcribe [data-task] [data-act=load-default]"))
        page.click("#transcribe [data-task] [data-act=load-default]")
        drop(page, f"[{WAV}(3, 'moon.wav')]")
    page.wait(f"document.querySelector('#{name} .notice[data-code=not_kept]')", 20)
    assert page.js(f"{TITLES}.length") == 1
    assert page.js(LEAVES) is True, "the browser asks"
    exported = saved(page, f"#{name} [data-code=not_kept] [data-act=export-unsaved]")[1]
    assert exported.startswith("A text" if name == "summarise" else "The first one")
    page.click(f"#{name} [data-code=not_kept] [data-act=go-on-unsaved]")
    page.wait(f"!document.querySelector('#{name} .notice[data-code=not_kept]')?.checkVisibility()")
    assert page.js(LEAVES) is False
    full(page, False)


def test_another_tabs_works_are_listed_and_a_deleted_one_can_be_kept(page: Page) -> None:
    page.open()
    page.load()
    page.send("short here")
    page.answered(2)
    first = page.browser.driver.current_window_handle
    page.browser.driver.switch_to.new_window("tab")
    try:
        page.open()
        page.wait(f"{TITLES}.length === 1")
        page.click("#works [data-act=menu]")
        page.click("#menu [data-act=delete]")
        page.wait(f"{TITLES}.length === 0")
        page.browser.driver.switch_to.window(first)
        page.wait(f"{TITLES}.length === 0")
        page.send("short again")
        page.wait("document.querySelector('#toast').innerText.includes('was deleted in another tab')")
        page.click("#toast [data-act=undo-delete]")
        page.wait(f"{TITLES}.length === 1")
        page.wait("document.querySelectorAll('.turn').length >= 3")
        assert page.turns()[0] == "short here"
    finally:
        for handle in page.browser.driver.window_handles:
            if handle != first:
                page.browser.driver.switch_to.window(handle)
                page.browser.driver.close()
        page.browser.driver.switch_to.window(first)


def test_a_message_that_is_sent_while_an_answer_is_written_is_answered_next(page: Page) -> None:
    page.open()
    page.load()
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text')?.innerText.length > 20")
    page.send("short next")
    page.wait("document.querySelector('.pending')?.innerText === 'Waits for the answer above'")
    page.click("#stop")
    page.write("short last")  # right after Stop
    press(page, Keys.ENTER)
    page.answered(6)
    assert page.turns()[2:] == ["short next", "A short answer.", "short last", "A short answer."]
    assert [message["content"] for message in page.requests()[-1]["messages"]][-3:] == [
        "short next", "A short answer.", "short last",
    ]  # fmt: skip


def test_an_enter_of_an_input_method_sends_and_ends_nothing(page: Page) -> None:
    page.open()
    page.load()
    page.write("short 日本")
    page.js(ENTER_OF_AN_INPUT_METHOD)
    assert page.turns() == []
    press(page, Keys.ENTER)
    page.answered(2)
    page.click(".turn.mine [data-act=edit]")
    page.wait("document.activeElement.closest('.editor')")
    page.js(ENTER_OF_AN_INPUT_METHOD)
    assert page.js("document.activeElement.closest('.editor') !== null")
    press(page, Keys.ESCAPE)
    page.click("#chat header [data-act=menu]")
    page.click("#menu [data-act=rename]")
    page.wait("document.activeElement.matches('.rename')")
    page.js(ENTER_OF_AN_INPUT_METHOD)
    assert page.js("document.activeElement.matches('.rename')")
    press(page, Keys.ESCAPE)


@pytest.mark.parametrize("first", ["lab", "search"])
def test_the_message_box_has_its_height_whatever_page_was_first(page: Page, first: str) -> None:
    page.open("#" + first)
    page.wait(seen(f"#{first} h1"))
    page.js("void (location.hash = 'chat')")
    page.wait(seen("#prompt"))
    assert page.js("document.querySelector('#prompt').getBoundingClientRect().height") > 20


def test_a_phone_begins_at_the_top_of_every_page(page: Page) -> None:
    page.browser.resize(360, 740)
    try:
        for name in ("chat", "transcribe", "search", "classify", "summarise"):
            page.open("#" + name)
            page.wait(seen(f"#{name} .hello-head"))
            page.wait(f"document.querySelector('#{name} [data-act=load-default], #{name} .row')")
            assert page.js(f"document.querySelector('#{name} .scroll').scrollTop") == 0, name
            assert page.js(f"document.querySelector('#{name} .hello-head').getBoundingClientRect().top") > 0, name
    finally:
        page.browser.resize(1200, 800)
