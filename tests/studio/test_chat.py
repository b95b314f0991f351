"""The Chat page in Chromium, with the fake engine: everything that a user does."""

import json

import pytest
from selenium.webdriver.common.keys import Keys
from studio.pages.chat.conversation import Conversation

from tests.conftest import Site
from tests.studio.conftest import Page, press


def test_a_chat_with_figures_and_markdown(page: Page) -> None:
    page.open()
    page.load()
    page.send("Why is the sky blue?")
    page.answered(2)
    shape = page.js("[...document.querySelector('.turn:last-child .text').children].map((e) => e.tagName)")
    assert shape == ["P", "OL", "FIGURE", "DIV", "P"]
    assert page.js("document.querySelector('.turn:last-child pre').textContent").startswith("def scattering")
    assert page.js("document.querySelectorAll('.turn:last-child td')[2].dataset.align") == "right"
    assert page.text(".turn:last-child .figures").startswith("41.7 tokens/s")
    assert page.text("#title") == "Why is the sky blue?"
    assert page.text("#works .here") == "Why is the sky blue?"
    assert "The sky is blue" in page.js("document.querySelector('#said').textContent")
    request = page.requests()[-1]
    assert request["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]
    assert request["temperature"] == 0.6 and request["max_tokens"] == 512 and isinstance(request["seed"], int)


def test_hostile_answers_stay_text(page: Page) -> None:
    page.open()
    page.load()
    page.send("hostile")
    page.answered(2)
    assert page.js("globalThis.hacked ?? null") is None
    assert page.js("document.querySelectorAll('.turn script, .turn img, .turn .text div').length") == 0
    assert page.js("[...document.querySelectorAll('.turn a')].map((a) => a.href)") == [
        "https://example.org/a", "https://example.org/p.png"]  # fmt: skip
    assert page.js("document.querySelector('.turn a').rel") == "noopener noreferrer nofollow"
    text = page.text(".turn:last-child .text")
    assert "<script>globalThis.hacked = 1</script>" in text
    assert "<b>" in text, "an entity is its character"
    assert "Image: a picture" in text


@pytest.mark.parametrize("piece", [">", "> ", "- ", "1. ", "[", "**a", "`", "![", "<div>", "|"])
def test_absurd_nesting_is_shown_all_the_same(page: Page, piece: str) -> None:
    page.open()
    page.load()
    page.send("deep " + json.dumps(piece))
    page.answered(2)
    assert page.turns()[1]
    assert [line for line in page.browser.console() if "RangeError" in line or "PythonError" in line] == []


def test_text_beyond_ascii_survives(page: Page) -> None:
    page.open()
    page.load()
    page.js("document.querySelector('#prompt').value = 'emoji 👩‍🚀 ü'")
    page.click("#send")
    page.answered(2)
    assert page.turns() == ["emoji 👩‍🚀 ü", "Grüße 😀 漢字"]
    assert page.requests()[-1]["messages"][-1]["content"] == "emoji 👩‍🚀 ü"
    page.open()
    page.answered(2)
    assert page.turns() == ["emoji 👩‍🚀 ü", "Grüße 😀 漢字"]


def test_a_message_downloads_the_model_that_is_offered_and_is_answered(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.fake(pace=50)
    page.send("short please")
    page.wait("document.querySelector('.pending')")
    assert "Waits for the model" in page.text(".pending")
    page.answered(2)
    assert page.turns() == ["short please", "A short answer."]


def test_a_message_sent_before_python_is_up_is_not_lost(page: Page, fake: Site) -> None:
    page.browser.driver.set_page_load_timeout(20)
    page.js(f"location.assign({page.url!r})")
    page.wait("document.readyState !== 'loading' && document.querySelector('#prompt')")
    page.js("""(() => {
        const prompt = document.querySelector('#prompt');
        prompt.value = 'short and early';
        prompt.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true}));
    })()""")
    page.wait("document.documentElement.hasAttribute('data-ready')")
    page.wait("document.querySelectorAll('.turn').length === 2 || document.querySelector('#prompt').value")
    assert page.turns()[:1] == ["short and early"]


def test_stop_by_escape_keeps_what_was_written(page: Page) -> None:
    page.open()
    page.load()
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text').innerText.length > 20")
    assert page.js("getComputedStyle(document.querySelector('#stop')).display") != "none"
    press(page, Keys.ESCAPE)
    page.answered(2)
    assert page.text(".turn:last-child .figures").startswith("stopped")
    assert page.turns()[1].startswith("The sky is blue")
    assert page.js("document.querySelector('#send').hidden") is False


def test_regenerate_and_edit_branch(page: Page) -> None:
    page.open()
    page.load()
    page.send("short one")
    page.answered(2)
    page.click(".turn:last-child [data-act=again]")
    page.wait("document.querySelector('.turn:last-child .count')?.innerText === '2 of 2'")
    press(page, Keys.ARROW_UP)
    page.wait("document.activeElement.matches('.editor textarea')")
    press(page, "!")
    press(page, Keys.ENTER)
    page.wait("document.querySelector('.turn.mine .count')?.innerText === '2 of 2'")
    page.answered(2)
    assert page.turns()[0] == "short one!"
    assert page.requests()[-1]["messages"] == [{"role": "user", "content": "short one!"}]
    page.click(".turn.mine [data-act=branch]")
    page.wait("document.querySelector('.turn.mine .count').innerText === '1 of 2'")
    assert page.turns()[0] == "short one"
    page.open()
    page.answered(2)
    assert page.turns()[0] == "short one", "the shown branch is kept"


def test_enter_sends_and_shift_enter_does_not(page: Page) -> None:
    page.open()
    page.write("first")
    press(page, Keys.SHIFT, Keys.ENTER)
    page.write("second")
    assert page.js("document.querySelector('#prompt').value") == "first\nsecond"
    assert page.js("document.querySelectorAll('.turn').length") == 0


def test_conversations_are_kept_renamed_deleted_and_brought_back(page: Page) -> None:
    page.open()
    page.load()
    page.send("short alpha")
    page.answered(2)
    press(page, Keys.CONTROL, "k")
    page.wait("!document.querySelector('#hello').hidden")
    page.send("short beta")
    page.answered(2)
    titles = "[...document.querySelectorAll('#works .open')].map((e) => e.innerText)"
    page.wait(f"{titles}.length === 2")
    assert page.js(titles) == ["short beta", "short alpha"]
    page.js("document.querySelectorAll('#works .open')[1].click()")
    page.wait("document.querySelector('#title').innerText === 'short alpha'")
    page.click("header.top [data-act=menu]")
    page.click("#menu [data-act=rename]")
    page.wait("document.activeElement.matches('.rename')")
    press(page, "Γ")
    press(page, Keys.ENTER)
    page.wait(f"{titles}.includes('Γ')")
    page.click("header.top [data-act=menu]")
    page.click("#menu [data-act=delete]")
    page.wait(f"{titles}.length === 1")
    page.wait("document.querySelector('#toast').innerText.includes('Undo')")
    page.click("#toast [data-act=undo-delete]")
    page.wait(f"{titles}.length === 2")
    page.wait("document.querySelector('#title').innerText === 'Γ'")
    assert page.turns() == ["short alpha", "A short answer."]
    page.open()
    page.wait(f"{titles}.length === 2")


def test_the_next_visit_loads_by_itself_and_reopens_the_chat(page: Page) -> None:
    page.open()
    page.load()
    page.send("short hello")
    page.answered(2)
    page.js("document.querySelector('#prompt').value = 'a draft'")
    page.js("document.querySelector('#prompt').dispatchEvent(new Event('input'))")
    page.wait("Object.keys(localStorage).some((k) => k.startsWith('tensortab.draft.'))")
    page.open()
    page.wait("document.querySelectorAll('.turn').length === 2")
    assert page.js("document.querySelector('#prompt').value") == "a draft"
    # The fake engine forgets what it kept: the card offers the download again, and nothing is fetched unasked.
    page.wait("document.querySelector('[data-act=load-default]')")


def test_instructions_and_sampling_reach_the_engine(page: Page) -> None:
    page.open()
    page.load()
    page.click("#tune-button")
    page.js("""(() => {
        const set = (id, value) => { const e = document.getElementById(id); e.value = value;
            e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); };
        set('system', 'Speak like a pirate.'); set('knob-temperature', '0'); set('knob-top_k', '7');
        set('knob-seed', '1234'); set('knob-max_tokens', '64');
    })()""")
    page.click("#tune [data-act=close-dialog]")
    page.send("short")
    page.answered(2)
    request = page.requests()[-1]
    assert request["messages"][0] == {"role": "system", "content": "Speak like a pirate."}
    assert (request["temperature"], request["top_k"], request["seed"], request["max_tokens"]) == (0, 7, 1234, 64)
    assert page.js("document.querySelector('.turn:last-child .figures').title") == "Seed 1234"


def test_a_long_chat_can_leave_out_its_oldest(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.send("too long")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'context_exceeded'")
    page.click("[data-act=shorten]")
    page.wait("document.querySelectorAll('.turn').length === 4 && document.querySelector('#chat .notice').hidden")
    page.answered(4)
    assert page.js("document.querySelectorAll('.cut').length") == 1
    assert [m["content"] for m in page.requests()[-1]["messages"]] == ["too long"]


GIVE = """(text) => { const box = document.getElementById('import-file'), list = new DataTransfer();
    list.items.add(new File([text], 'x.json')); box.files = list.files; box.dispatchEvent(new Event('change')); }"""
TITLES = "[...document.querySelectorAll('#works .open')].map((e) => e.innerText)"


def test_answering_an_empty_answer_again_keeps_what_follows(page: Page) -> None:
    page.open()
    page.load()
    conversation = Conversation.new("c1", 1.0)
    parent = None
    for role, text in (("user", "short"), ("assistant", ""), ("user", "go on"), ("assistant", "Kept.")):
        parent = conversation.add(role, text, 1.0, parent)
    page.js(f"({GIVE})({json.dumps(json.dumps(conversation.data))})")
    page.wait(f"{TITLES}.length === 1")
    page.click("#works .open")
    page.answered(4)
    page.click(".turn:nth-child(2) [data-act=again]")
    page.answered(2)
    assert page.turns() == ["short", "A short answer."]
    page.click(".turn:nth-child(2) [data-act=branch]")
    page.answered(4)
    assert page.turns() == ["short", "", "go on", "Kept."]


def test_a_chat_deleted_while_it_is_answered_stays_deleted(page: Page) -> None:
    page.open()
    page.load()
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text').innerText.length > 20")
    press(page, Keys.CONTROL, "k")
    page.send("short other")
    page.wait(f"{TITLES}.length === 2")
    page.click("#works li:last-child [data-act=menu]")
    page.click("#menu [data-act=delete]")
    page.answered(2)
    assert page.turns() == ["short other", "A short answer."], "the queue goes on"
    page.wait(f"{TITLES}.length === 1 && document.documentElement.dataset.engine === 'ready'")
    page.open()
    page.wait(f"{TITLES}.length > 0")
    assert page.js(TITLES) == ["short other"]


def test_deleting_all_ends_the_answer_and_can_be_undone(page: Page) -> None:
    page.open()
    page.load()
    page.send("slowly")
    page.wait("document.querySelector('.streaming .text').innerText.length > 20")
    page.click("#engine-line")
    page.click("[data-act=delete-all]")
    page.wait("document.querySelector('#toast [data-act=undo-delete]')")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    assert page.js(TITLES) == []
    page.click("#toast [data-act=undo-delete]")
    page.answered(2)
    assert page.turns()[1].startswith("The sky is")


def test_an_answer_is_written_into_its_own_chat(page: Page) -> None:
    page.open()
    page.load()
    page.send("endlessly")
    page.wait("document.querySelector('.streaming .text').innerText.length > 20")
    press(page, Keys.CONTROL, "k")
    page.send("short other")
    page.wait(f"{TITLES}.length === 2")
    assert page.turns() == ["short other", ""]
    assert "another chat" in page.text(".pending")
    page.js("new Promise((resolve) => setTimeout(resolve, 500))")
    assert page.turns() == ["short other", ""]
    page.js("document.querySelectorAll('#works .open')[1].click()")
    page.wait("document.querySelector('#title').innerText === 'endlessly'")
    page.click("#stop")
    page.answered(2)
    page.js("[...document.querySelectorAll('#works .open')].find((e) => e.innerText === 'short other').click()")
    page.wait("document.querySelector('#title').innerText === 'short other'")
    page.answered(2)
    assert page.turns() == ["short other", "A short answer."]


def test_a_lost_gpu_is_loaded_again_and_the_answer_written_anew(page: Page) -> None:
    page.open()
    page.load()
    page.send("fault device_lost")
    page.answered(2)
    assert page.turns()[1].startswith("The sky is blue")
    assert page.js("document.querySelector('#chat .notice').hidden") is True
    assert len(page.requests()) == 2


def test_a_crash_keeps_the_queue_and_loads_an_own_file_again(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.js(f"({GIVE.replace('import-file', 'model-file').replace('x.json', 'mine.gguf')})('weights')")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    page.send("crash slowly")
    press(page, Keys.CONTROL, "k")
    page.send("short now")
    page.wait("document.querySelector('#engine-line').dataset.state === 'failed'")
    assert page.turns() == ["short now", ""]
    page.click("[data-act=restart]")
    page.answered(2)
    assert page.turns() == ["short now", "A short answer."]
    assert page.text("#engine-state") == "mine.gguf"


def test_what_is_typed_or_edited_stays(page: Page) -> None:
    page.open()
    page.load()
    page.send("short one")
    page.answered(2)
    page.write("half a thought")
    page.click(".turn [data-act=edit]")
    page.wait("document.activeElement.matches('.editor textarea')")
    press(page, "!")
    page.click(".turn [data-act=again]")
    page.wait("document.querySelector('.turn:last-child .count')?.innerText === '2 of 2'")
    page.answered(2)
    assert page.js("document.querySelector('#prompt').value") == "half a thought"
    assert page.js("document.querySelector('.editor textarea').value") == "short one!"
    press(page, Keys.CONTROL, "k")
    page.wait("!document.querySelector('#hello').hidden")
    assert page.js("document.querySelector('#prompt').value") == ""
    page.write("for another chat")
    page.click("#works .open")
    page.wait("document.querySelector('.editor textarea')")
    assert page.js("document.querySelector('.editor textarea').value") == "short one!"
    assert page.js("document.querySelector('#prompt').value") == "half a thought"
    page.click(".editor [type=submit]")
    page.answered(2)
    assert page.turns() == ["short one!", "A short answer."]
    press(page, Keys.CONTROL, "k")
    assert page.js("document.querySelector('#prompt').value") == "for another chat"
    page.click("#starters button")
    page.answered(2)
    assert page.js("document.querySelector('#prompt').value") == "for another chat"
    press(page, Keys.CONTROL, "k")
    assert page.js("document.querySelector('#prompt').value") == ""


def test_storage_full_is_said_and_nothing_is_lost(page: Page) -> None:
    page.open()
    page.load()
    page.js("""void (globalThis.put = IDBObjectStore.prototype.put, IDBObjectStore.prototype.put = function () {
        const transaction = this.transaction;
        queueMicrotask(() => transaction.abort());
    })""")
    page.send("short")
    page.answered(2)
    page.wait("document.querySelector('#chat .notice').dataset.code === 'not_kept'")
    assert "short" in page.text("#works")
    page.click("[data-act=new]")
    page.wait("!document.querySelector('#hello').hidden")
    page.js("document.querySelector('#works .open').click()")
    page.wait("document.querySelectorAll('.turn').length === 2")
    assert page.turns() == ["short", "A short answer."]
    leave = "(() => { const e = new Event('beforeunload', {cancelable: true}); return !dispatchEvent(e); })()"
    assert page.js(leave) is True, "the browser asks"
    page.click("[data-act=new]")
    page.send("short too")
    page.answered(2)
    page.js("void (globalThis.saved = [], URL.createObjectURL = (blob) => (saved.push(blob), 'about:blank#'))")
    page.js("void (HTMLAnchorElement.prototype.click = function () { saved.name = this.download; })")
    page.click("#chat .notice [data-act=export-unsaved]")
    page.wait("saved.length === 1")
    exported = json.loads(str(page.js("saved[0].text()")))["conversations"]
    assert sorted(c["title"] for c in exported) == ["short", "short too"]
    page.js("void (IDBObjectStore.prototype.put = globalThis.put)")
    page.click("#chat .notice [data-act=save-again]")
    page.wait("document.querySelector('#chat .notice').hidden")
    assert page.js(leave) is False
    page.open()
    page.wait(f"{TITLES}.length === 2")


def test_what_another_tab_wrote_is_not_overwritten(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.js("""new Promise((resolve) => indexedDB.open('tensortab').onsuccess = ({target}) => {
        const place = target.result.transaction('conversations', 'readwrite').objectStore('conversations');
        place.getAll().onsuccess = ({target}) => {
            const [record] = target.result, data = JSON.parse(record.data);
            data.nodes.m3 = {parent: 'm2', role: 'user', content: 'from there', time: 1};
            place.put({...record, tab: 'another', data: JSON.stringify(data)}).onsuccess = () => resolve(1);
        };
    })""")
    page.send("short from here")
    page.answered(4)
    page.js("new Promise((resolve) => setTimeout(resolve, 300))")
    page.open()
    page.answered(4)
    assert page.text(".turn:nth-child(3) .count") in ("1 of 2", "2 of 2")
    page.click(".turn:nth-child(3) [data-act=branch]:not([disabled])")
    page.wait("document.querySelectorAll('.turn .text')[2].innerText === 'from there'")


def test_without_webgpu_old_chats_stay_readable(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    hide = "delete Navigator.prototype.gpu"
    script = page.browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hide})
    try:
        page.open()
        page.wait("document.querySelector('#chat .notice').dataset.code === 'no_webgpu'")
        page.answered(2)
        assert page.turns() == ["short", "A short answer."]
        page.click("#pages [href='#lab']")
        page.wait("document.querySelector('.lab-note')?.innerText.startsWith('This browser has no WebGPU')")
        assert page.js("document.querySelector('[data-act=measure]').disabled") is True
    finally:
        page.browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_export_and_import(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.js("void (globalThis.saved = [], URL.createObjectURL = (blob) => (saved.push(blob), 'about:blank#'))")
    page.js("void (HTMLAnchorElement.prototype.click = function () { saved.name = this.download; })")
    page.click("header.top [data-act=menu]")
    page.click("#menu [data-act=export]")
    page.wait("saved.length === 1")
    assert page.js("saved[0].text()") == "# short\n\n**You**\n\nshort\n\n**SmolLM2-135M-Instruct**\n\nA short answer.\n"
    page.click("#engine-line")
    page.click("[data-act=export-all]")
    page.wait("saved.length === 2")
    exported = json.loads(str(page.js("saved[1].text()")))
    assert [c["title"] for c in exported["conversations"]] == ["short"]
    exported["conversations"][0]["title"] = "imported"
    give = """(text) => { const box = document.getElementById('import-file'), list = new DataTransfer();
        list.items.add(new File([text], 'x.json')); box.files = list.files; box.dispatchEvent(new Event('change')); }"""
    for text in ("[1]", '{"conversations": 7}', "no JSON"):
        page.js("document.querySelector('#toast').replaceChildren()")
        page.js(f"({give})({text!r})")
        page.wait("document.querySelector('#toast').innerText.includes('Nothing was imported')")
    page.js(f"({give})({json.dumps(json.dumps(exported))})")
    page.wait("document.querySelectorAll('#works .open').length === 2")
