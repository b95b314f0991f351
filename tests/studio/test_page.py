"""The page in Chromium with a fake engine: everything that a user does, and each fault."""

import json
import shutil
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from studio.pages.chat.conversation import Conversation

from tests.conftest import Site
from tests.studio.conftest import Page, press


def test_first_visit_asks_before_it_downloads(page: Page, fake: Site) -> None:
    page.open()
    page.wait("document.querySelector('#chat .notice [data-act=load-default]')")
    assert page.text("#chat .notice .primary") == "Download 98 MB"
    assert "nothing is uploaded" in page.text("#chat .notice")
    assert page.text("#engine-gpu") == "Acme Toaster 3"
    page.fake(pace=150)
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice .amount')?.innerText.includes('MB/s')")
    assert "of 98 MB" in page.text("#chat .notice .amount")
    assert "left" in page.text("#chat .notice .amount")
    page.click("[data-act=cancel-load]")
    page.wait("document.querySelector('#chat .notice [data-act=load-default]')")
    page.fake(pace=5)
    page.click("[data-act=load-default]")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    assert page.js("document.querySelector('#chat .notice').hidden") is True
    assert {path for path, _ in fake.requests if path.endswith(".bin")} == set()


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


def test_themes(page: Page) -> None:
    page.open()
    light = page.js("getComputedStyle(document.querySelector('.main')).backgroundColor")
    page.click("#engine-line")
    page.js("document.querySelector('input[value=dark]').click()")
    page.wait(f"getComputedStyle(document.querySelector('.main')).backgroundColor !== {light!r}")
    page.open()
    assert page.js("document.documentElement.dataset.theme") == "dark"
    page.click("#engine-line")
    page.js("document.querySelector('input[value=\"\"]').click()")
    assert page.js("localStorage.getItem('tensortab.theme')") is None


def test_models_are_listed_and_deleted(page: Page) -> None:
    page.open()
    page.load()
    page.click("#engine-line")
    page.wait("document.querySelector('#settings .model')")
    assert "98 MB" in page.text("#settings .model")
    page.click("#settings .model [data-act=delete-model]")
    page.wait("!document.querySelector('#settings .model')")
    assert "Acme Toaster 3" in page.text("#settings")


def test_an_own_file_is_loaded_and_a_broken_one_explained(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    give = """(name) => { const box = document.getElementById('model-file'), list = new DataTransfer();
        list.items.add(new File([new Uint8Array(4096)], name)); box.files = list.files;
        box.dispatchEvent(new Event('change')); }"""
    page.js(f"({give})('notes.txt')")
    page.wait("document.querySelector('#toast').innerText.includes('is not a model')")
    page.js(f"({give})('broken.gguf')")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'bad_file'")
    assert "cut off at byte 4096" in page.text("#chat .notice")
    page.js(f"({give})('mine.gguf')")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    assert page.text("#engine-state") == "mine.gguf"


def test_a_fault_of_ours_has_a_report_to_copy(page: Page) -> None:
    page.open()
    clipboard = "{ value: { writeText: async (text) => { globalThis.copied = text; } } }"
    page.js(f"void Object.defineProperty(navigator, 'clipboard', {clipboard})")
    page.fake(fault={"code": "internal", "message": "Said by the test.", "stack": "kernels.py, line 7"})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'internal'")
    assert "not your mistake" in page.text("#chat .notice")
    page.click("#chat .notice [data-act=copy-report]")
    page.wait("globalThis.copied")
    assert page.js("copied") == "In the fake engine\nkernels.py, line 7"
    page.click("#chat .notice [data-act=retry]")
    page.wait("document.documentElement.dataset.engine === 'ready'")


@pytest.mark.parametrize("code", ["start_failed", "offline"])
def test_a_start_that_fails_begins_anew(page: Page, fake: Site, code: str) -> None:
    """Of an engine that is not there nothing can be asked: trying again makes a new one."""
    fault = {"code": code, "message": "Said by the test."} | ({"report": "at line 7"} if code == "start_failed" else {})
    broken = f"postMessage(JSON.stringify({{ id: null, error: {json.dumps(fault)} }}));".encode()
    fake.alter("worker.js", lambda _: broken)
    page.open()
    page.wait(f"document.querySelector('#chat .notice').dataset.code === {code!r}")
    report = page.js("document.querySelector('#chat .notice pre')?.textContent ?? ''")
    assert report == ("at line 7" if code == "start_failed" else "")
    fake.mend()
    if code == "offline":
        page.js("dispatchEvent(new Event('online'))")
    else:
        page.click("#chat .notice [data-act=retry]")
    page.load()
    page.send("short")
    page.answered(2)


def test_a_file_of_the_engine_that_cannot_be_had_is_told(page: Page, fake: Site) -> None:
    fake.fail("worker.js")
    page.open()
    page.wait("document.querySelector('#chat .notice').dataset.code === 'start_failed'")
    assert "Browser: Mozilla/" in page.js("document.querySelector('#chat .notice pre').textContent")


@pytest.mark.parametrize("code", ["out_of_memory", "bad_shard", "quota", "offline", "no_adapter", "bad_request"])
def test_an_error_says_what_to_do_and_retrying_works(page: Page, code: str) -> None:
    page.open()
    page.fake(fault={"code": code, "message": "Said by the test."})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.send("short please")
    page.wait(f"document.querySelector('#chat .notice').dataset.code === {code!r}")
    assert "Said by the test." in page.text("#chat .notice .detail")
    assert page.turns()[0] == "short please"
    action = "download-again" if code == "bad_shard" else "retry"
    if code == "bad_request":
        page.click("#chat .pick")
        page.wait("document.querySelector('[data-act=use-model]')")
        action = "use-model"
    page.click(f"[data-act={action}]")
    page.answered(2)
    assert page.turns() == ["short please", "A short answer."]


def other(page: Page, name: str) -> None:
    """Loads a model of the hub by its name."""
    page.click("#chat .pick")
    page.wait("document.querySelector('#other-model')")
    page.js(f"document.querySelector('#other-model').value = {name!r}")
    page.click(".other button")


@pytest.mark.parametrize("end", ["error", "cancel", "offline"])
def test_a_load_that_fails_leaves_the_model_before(page: Page, end: str) -> None:
    """It is said which one stays; it answers, and another try loads the new one."""
    page.open()
    page.load()
    page.fake(pace=20 if end == "cancel" else 1)
    if end != "cancel":
        page.fake(fault={"code": "quota" if end == "error" else "offline", "message": "Said by the test."})
    other(page, "some/other")
    if end == "cancel":
        page.wait("document.querySelector('#chat .notice [data-act=cancel-load]')")
        page.click("#chat .notice [data-act=cancel-load]")
        page.wait("document.querySelector('#chat .notice').hidden")
    else:
        code = "quota" if end == "error" else "offline"
        page.wait(f"document.querySelector('#chat .notice').dataset.code === '{code}'")
        assert "SmolLM2-135M-Instruct is still loaded." in page.text("#chat .notice")
    assert page.text("#engine-state") == "SmolLM2-135M-Instruct"
    if end == "offline":
        page.js("dispatchEvent(new Event('online'))")
    elif end == "error":
        page.click("#chat .notice [data-act=retry]")
    if end != "cancel":
        page.wait("document.querySelector('#engine-state').innerText === 'some/other'")
    page.send("short")
    page.answered(2)
    assert page.requests()[-1]["model"] == ("SmolLM2-135M-Instruct" if end == "cancel" else "some/other")
    assert page.js("document.querySelector('#chat .notice').hidden")


def test_offline_goes_on_by_itself(page: Page) -> None:
    page.open()
    page.fake(fault={"code": "offline", "message": ""})
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'offline'")
    page.js("dispatchEvent(new Event('online'))")
    page.wait("document.documentElement.dataset.engine === 'ready'")


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


def test_a_crashed_engine_can_be_started_again(page: Page) -> None:
    page.open()
    page.load()
    page.send("crash")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'crashed'")
    assert page.turns()[1].startswith("The sky is")
    assert "interrupted" in page.text(".turn:last-child .figures")
    page.click("#pages [href='#lab']")
    page.wait("document.querySelector('.lab-note')?.innerText.startsWith('The engine stopped')")
    page.click("#pages [href='#chat']")
    page.wait("document.querySelector('#chat').checkVisibility()")
    page.click("[data-act=restart]")
    page.wait("document.documentElement.dataset.engine === 'ready'")
    page.send("short now")
    page.answered(4)
    assert page.turns()[3] == "A short answer."


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


def test_a_load_right_after_a_cancelled_one_has_the_lock(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.wait("document.querySelector('[data-act=cancel-load]')")
    for button in ("cancel-load", "load-default"):
        page.click(f"[data-act={button}]")
    page.wait("document.documentElement.dataset.engine === 'ready'")


def test_only_a_model_that_works_is_remembered(page: Page) -> None:
    page.open()
    page.fake(pace=100)
    page.wait("document.querySelector('[data-act=load-default]')")
    page.click("[data-act=load-default]")
    page.click("[data-act=cancel-load]")
    page.wait("document.querySelector('[data-act=load-default]')")
    kept = "localStorage.getItem('tensortab.model.text-generation')"
    assert page.js(kept) is None
    page.fake(pace=1)
    page.load()
    assert page.js(kept) == "SmolLM2-135M-Instruct"
    other(page, "someone/model")
    page.wait("document.querySelector('#engine-state').innerText === 'someone/model'")
    assert page.js(kept) == "someone/model"


def test_two_loads_at_once_ask_for_the_lock_once(page: Page) -> None:
    page.open()
    page.wait("document.querySelector('[data-act=load-default]')")
    page.js("(() => { const b = document.querySelector('[data-act=load-default]'); b.click(); "
            "document.body.append(b); b.click(); b.remove(); })()")  # fmt: skip
    page.wait("['ready', 'elsewhere'].includes(document.documentElement.dataset.engine)")
    assert page.js("document.documentElement.dataset.engine") == "ready"


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


def test_two_tabs_share_one_model(page: Page) -> None:
    page.open()
    page.load()
    first = page.browser.driver.current_window_handle
    page.browser.driver.switch_to.new_window("tab")
    try:
        page.open()
        page.wait("document.querySelector('[data-act=load-default]')")
        page.click("[data-act=load-default]")
        page.wait("document.querySelector('#chat .notice').dataset.code === 'two_tabs'")
        page.click("[data-act=use-here]")
        page.wait("document.documentElement.dataset.engine === 'ready'")
        page.browser.driver.switch_to.window(first)
        page.wait("document.querySelector('#chat .notice').dataset.code === 'two_tabs'")
        page.browser.driver.switch_to.new_window("tab")
        page.open()
        page.send("short from a third tab")
        page.wait("document.querySelectorAll('#works .open').length === 1")
        page.browser.driver.close()
        page.browser.driver.switch_to.window(first)
        page.wait("document.querySelector('#works .open')?.innerText === 'short from a third tab'")
    finally:
        for handle in page.browser.driver.window_handles:
            if handle != first:
                page.browser.driver.switch_to.window(handle)
                page.browser.driver.close()
        page.browser.driver.switch_to.window(first)


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


def test_without_the_list_of_models_an_own_file_is_offered(page: Page, fake: Site) -> None:
    fake.fail("models/index.json", 503)
    page.open("?unlisted")
    page.wait("document.querySelector('#chat .notice').dataset.kind === 'missing'")
    assert page.js("document.querySelectorAll('#chat .notice [data-act=pick-file]').length") == 1


def test_install_is_offered_where_the_browser_offers_it(page: Page) -> None:
    page.open()
    page.js("void (tensortab.install = null)")  # the offer of this browser
    page.click("#engine-line")
    assert page.js("document.querySelectorAll('[data-act=install]').length") == 0
    page.click("#settings [data-act=close-dialog]")
    page.js("""(() => { const offer = new Event('beforeinstallprompt', {cancelable: true});
        offer.prompt = () => { globalThis.prompted = true; }; dispatchEvent(offer); })()""")
    page.click("#engine-line")
    page.click("[data-act=install]")
    page.wait("globalThis.prompted")


def test_a_new_version_is_offered(page: Page, fake_dist: Path, tmp_path: Path) -> None:
    shutil.copytree(fake_dist, tmp_path, dirs_exist_ok=True)
    worker = "onmessage = () => skipWaiting(); onactivate = (event) => event.waitUntil(clients.claim());"
    (tmp_path / "sw.js").write_text(worker)
    site = Site(tmp_path)
    try:
        page.url = site.url
        page.open()
        page.wait("navigator.serviceWorker.controller")
        (tmp_path / "sw.js").write_text(worker + " // the next version")
        page.open()
        page.wait("document.querySelector('#toast [data-act=update]')")
        page.js("void (globalThis.before = true)")
        page.click("#toast [data-act=update]")
        page.wait("!globalThis.before && document.documentElement.hasAttribute('data-ready')")
    finally:
        page.browser.open("about:blank")
        site.stop()


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


def test_the_door_for_automation(page: Page) -> None:
    page.browser.open(page.url)
    assert page.js("tensortab.run('1 + 1')") == "ran 1 + 1"
    assert "NameError" in str(page.js("tensortab.run('fail').catch((e) => e.message)"))


def test_a_phone_has_a_drawer(page: Page) -> None:
    page.browser.resize(390, 844)
    try:
        page.open()
        assert page.js("document.querySelector('#side').inert") is True
        page.click("#drawer-button")
        page.wait("document.querySelector('#side').getBoundingClientRect().left === 0")
        assert page.js("document.activeElement.closest('#side') !== null") is True
        press(page, Keys.ESCAPE)
        page.wait("document.querySelector('#side').inert")
        page.load()
        page.send("short " + "and a name that is longer than any phone is wide")
        page.answered(2)
        assert page.js("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    finally:
        page.browser.resize(1200, 800)


def test_names_for_screen_readers(page: Page) -> None:
    page.open()
    page.load()
    page.send("short")
    page.answered(2)
    page.click("#engine-line")
    page.wait("document.querySelector('.model')")
    nameless = """[...document.querySelectorAll('button, input, textarea, a, dialog, [role]')].filter((e) => {
        const named = e.ariaLabel || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby');
        return !named && !['status', 'alert'].includes(e.role) && e.getAttribute('aria-hidden') !== 'true';
    }).map((e) => e.outerHTML)"""
    assert page.js(nameless) == []
    assert page.js("document.documentElement.lang") == "en"
    assert page.js("document.querySelector('#turns').getAttribute('aria-label')") == "Conversation"


def test_nothing_is_asked_of_another_origin_and_the_policy_is_strict(page: Page) -> None:
    page.browser.console()  # what came before is not of interest
    page.open()
    page.load()
    page.send("hostile")
    page.answered(2)
    names = page.js("performance.getEntriesByType('resource').map((e) => e.name)")
    assert names and all(name.startswith(page.url) for name in names)
    policy = str(page.js("document.querySelector('meta[http-equiv=Content-Security-Policy]').content"))
    assert "unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "") and "unsafe-inline" not in policy
    severe = [line for line in page.browser.console() if line.startswith("severe") and "404" not in line]
    assert severe == []
