"""What is kept in the browser survives closed connections, deleted databases and other tabs, in both browsers; and JSON
from outside is read as it was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studio.pages.chat.conversation import Conversation, exported
from studio.shell.parse import parse

from tests.studio.conftest import Page

TITLES = "[...document.querySelectorAll('#works .open')].map((e) => e.innerText)"
# Closes the connection under the page's next `count` transactions, as a browser does whose storage was cleared.
CLOSING = """void ((count) => { const transaction = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (...names) {
        if (count-- > 0) this.close();
        return transaction.apply(this, names);
    }; })(%d)"""


def say(page: Page, text: str, turns: int = 2) -> None:
    """Sends a message without a keyboard, which only Chromium's driver has."""
    page.js(f"void (document.querySelector('#prompt').value = {text!r})")
    page.js("void document.querySelector('#composer').requestSubmit()")
    page.answered(turns)


def kept(page: Page) -> list[str]:
    """The titles of the stored chats, as another page reads them."""
    return sorted(page.js("""new Promise((resolve) => indexedDB.open('tensortab', 1).onsuccess = ({target}) => {
        const database = target.result;
        database.transaction('conversations').objectStore('conversations').getAll().onsuccess = ({target}) => {
            database.close();
            resolve(target.result.map((record) => record.title));
        };
    })"""))


def wait_kept(page: Page, *titles: str) -> None:
    page.wait("new Promise((resolve) => setTimeout(() => resolve(true), 50))")
    for _ in range(100):
        if kept(page) == sorted(titles):
            return
    raise AssertionError(f"{kept(page)} are kept instead of {titles}")


def test_a_chat_is_kept_though_the_browser_closed_the_connection(either: Page) -> None:
    either.open()
    either.load()
    either.js(CLOSING % 1)
    say(either, "short and closed")
    wait_kept(either, "short and closed")
    assert either.js("document.querySelector('#chat .notice').hidden") is True
    either.open()
    either.answered(2)
    assert either.turns() == ["short and closed", "A short answer."]


def test_a_chat_is_kept_though_the_database_was_deleted_under_the_page(either: Page) -> None:
    """Both the open chat and its next message are there again; nothing is taken for deleted by another tab."""
    either.open()
    either.load()
    say(either, "short before")
    wait_kept(either, "short before")
    either.js("new Promise((resolve) => indexedDB.deleteDatabase('tensortab').onsuccess = resolve).then(() => true)")
    say(either, "short after", 4)
    wait_kept(either, "short before")
    either.open()
    either.answered(4)
    assert either.turns()[::2] == ["short before", "short after"]


def test_an_opening_that_fails_once_is_tried_again(either: Page) -> None:
    either.open()
    either.load()
    either.js(CLOSING % 1)
    either.js("""void (() => { const open = IDBFactory.prototype.open; IDBFactory.prototype.open = function () {
        IDBFactory.prototype.open = open;
        throw new DOMException('Internal error opening backing store', 'UnknownError');
    }; })()""")
    either.js("""void ((notice) => new MutationObserver(() => {
        globalThis.said ||= notice.dataset.code === 'not_kept'; })
        .observe(notice, {attributes: true}))(document.querySelector('#chat .notice'))""")
    say(either, "short and late")
    wait_kept(either, "short and late")
    assert not either.js("globalThis.said")


def test_a_connection_that_stays_closed_is_told_and_loses_nothing(either: Page) -> None:
    either.open()
    either.load()
    either.js(CLOSING % 1000)
    say(either, "short and unkept")
    either.wait("document.querySelector('#chat .notice').dataset.code === 'not_kept'")
    assert either.js(TITLES) == ["short and unkept"]
    assert either.turns() == ["short and unkept", "A short answer."]


def test_an_opening_that_does_not_answer_says_what_to_do(either: Page) -> None:
    """Another tab wants to delete the database, and a third one does not let go of it."""
    either.open()
    either.load()
    either.js("""new Promise((resolve) => indexedDB.open('tensortab', 1).onsuccess = ({target}) => {
        globalThis.kept = target.result;
        indexedDB.deleteDatabase('tensortab').onblocked = () => resolve(true);
    })""")
    either.js("""void (globalThis.late = setTimeout, globalThis.setTimeout = (then, ms, ...rest) =>
        late(then, ms === 10000 ? 100 : ms, ...rest))""")
    say(either, "short and blocked")
    either.wait("document.querySelector('#chat .notice').innerText.includes('close the other tabs of this site')")
    either.js("void (globalThis.setTimeout = late, globalThis.kept.close())")
    either.js("void document.querySelector('#chat .notice [data-act=save-again]').click()")
    wait_kept(either, "short and blocked")


def test_the_search_index_is_kept_though_the_browser_closed_the_connection(either: Page) -> None:
    either.open("#search")
    either.wait("document.querySelector('#search [data-act=pick-files]')?.checkVisibility()")
    either.js(CLOSING % 1)
    either.js("""(() => { const list = new DataTransfer(); list.items.add(new File(['The sea.'], 'sea.txt'));
        document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: list, bubbles: true})); })()""")
    either.wait("document.querySelector('.shelf small')?.innerText.startsWith('1 text')")
    assert "could not keep" not in either.text("#search")
    either.open("#search")
    either.wait("document.querySelector('.shelf small')?.innerText.startsWith('1 text')")


def test_a_chat_that_another_tab_deleted_is_not_written_again(either: Page) -> None:
    either.open()
    either.load()
    say(either, "short here")
    wait_kept(either, "short here")
    either.js("""new Promise((resolve) => indexedDB.open('tensortab', 1).onsuccess = ({target}) => {
        const database = target.result, transaction = database.transaction('conversations', 'readwrite');
        transaction.objectStore('conversations').clear();
        transaction.oncomplete = () => { database.close(); resolve(1); };
    })""")
    either.js("void (document.querySelector('#prompt').value = 'short again')")
    either.js("void document.querySelector('#composer').requestSubmit()")
    either.wait("document.querySelector('#toast').innerText.includes('was deleted in another tab')")
    assert kept(either) == []
    either.js("void document.querySelector('#toast [data-act=undo-delete]').click()")
    wait_kept(either, "short here")


def test_a_page_of_a_newer_version_may_change_the_database(either: Page) -> None:
    either.open()
    either.load()
    say(either, "short and old")
    wait_kept(either, "short and old")
    assert either.js("""new Promise((resolve) => { const request = indexedDB.open('tensortab', 2);
        request.onsuccess = () => resolve('opened'); request.onblocked = () => resolve('blocked'); })""") == "opened"
    say(either, "short and new", 4)
    either.wait("document.querySelector('#chat .notice').innerText.includes('reload this page')")


texts = st.text(max_size=6)  # without lone surrogates, of which no text has any
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_json_is_read_as_it_was_written(value: object, escaped: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=escaped)) == value


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\uD83D\uDE00\ud83d\ude00 and \u00e9"', "\U0001f600\U0001f600 and é"),
        (r'"\ud83d alone"', "\ufffd alone"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (r'"\\ud83d\\ude00"', r"\ud83d\ude00"),
        (r'"\\\ud83d\ude00\\"', "\\\U0001f600\\"),
    ],
)
def test_surrogates_become_characters(written: str, text: str) -> None:
    assert parse(written) == text


@pytest.mark.parametrize("text", ["", "{", r'"\ud83"', r'"\ud83d\ude0"', r'"\ud83d', r'"\udddg"'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_an_import_keeps_every_emoji() -> None:
    conversation = Conversation.new("c1", 1.0)
    conversation.add("user", "Grüße \U0001f600 漢字", 1.0)
    (found,) = exported(json.dumps(conversation.data))
    assert found["nodes"]["m1"]["content"] == "Grüße \U0001f600 漢字"
    with pytest.raises(ValueError, match="not JSON"):
        exported("no JSON")


def test_an_import_keeps_every_emoji_in_the_page(either: Page) -> None:
    """Here MicroPython reads it."""
    conversation = Conversation.new("c1", 1.0)
    conversation.add("user", "Grüße \U0001f600 漢字", 1.0)
    either.open()
    either.js(f"""((text) => {{ const box = document.getElementById('import-file'), list = new DataTransfer();
        list.items.add(new File([text], 'x.json')); box.files = list.files; box.dispatchEvent(new Event('change'));
        }})({json.dumps(json.dumps(conversation.data))})""")
    either.wait(f"{TITLES}.length === 1")
    either.js("void document.querySelector('#works .open').click()")
    either.wait("document.querySelector('.turn .text')?.innerText === 'Grüße \U0001f600 漢字'")
