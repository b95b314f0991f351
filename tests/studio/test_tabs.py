"""The pages beside the chat in Chromium, with the fake engine: each one's flow, its errors, and every screen."""

import json

import pytest
from selenium.webdriver.common.keys import Keys

from tests.conftest import Site
from tests.studio.conftest import Page, press

TASKS = {
    "transcribe": "automatic-speech-recognition", "search": "feature-extraction",
    "classify": "image-classification", "summarise": "summarization",
}  # fmt: skip
# A file of so many seconds of a tone; a picture; a stream of a microphone or a camera.
WAV = """((seconds, name) => {
    const rate = 8000, size = rate * seconds, view = new DataView(new ArrayBuffer(44 + 2 * size));
    const text = (at, words) => [...words].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, 'RIFF'); text(8, 'WAVEfmt '); text(36, 'data');
    [[4, 36 + 2 * size], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * size]].map((p) => view.setUint32(...p, true));
    [[20, 1], [22, 1], [32, 2], [34, 16]].map((p) => view.setUint16(...p, true));
    for (let i = 0; i < size; i += 1) view.setInt16(44 + 2 * i, 9000 * Math.sin(i / 5), true);
    return new File([view], name, {type: 'audio/wav'});
})"""
PNG = """(async (name) => {
    const canvas = new OffscreenCanvas(640, 480), context = canvas.getContext('2d');
    context.fillStyle = '#fa5';
    context.fillRect(0, 0, 400, 480);
    return new File([await canvas.convertToBlob()], name, {type: 'image/png'});
})"""
DEVICES = """void (globalThis.tracks = [], navigator.mediaDevices.getUserMedia = async ({video}) => {
    let stream;
    if (video) {
        const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        setInterval(() => context.fillRect(0, 0, Date.now() % 300, 150), 50);
        stream = canvas.captureStream(20);
    } else {
        const context = new AudioContext(), tone = context.createOscillator();
        const out = context.createMediaStreamDestination();
        tone.connect(out);
        tone.start();
        stream = out.stream;
    }
    tracks.push(...stream.getTracks());
    return stream;
})"""
LAST = "[...document.querySelectorAll('#NAME .amount')].at(-1)?.innerText"  # what the card of the work says
TEXTS = """[new File(['The tide comes in twice.'], 'tide.md'),
    new File(['Oaks are old.\\n\\nAs are ships.'], 'oak.txt'), new File(['\\0'], 'program.exe')]"""


def give(page: Page, selector: str, files: str) -> None:
    """Chooses files (a JavaScript expression of an array) in a file field."""
    page.js(f"""(async () => {{ const box = document.querySelector({json.dumps(selector)}), list = new DataTransfer();
        for (const file of await Promise.all({files})) list.items.add(file);
        box.files = list.files; box.dispatchEvent(new Event('change')); }})()""")


def drop(page: Page, files: str, event: str = "drop") -> None:
    made = "new DragEvent('drop', {dataTransfer: list, bubbles: true, cancelable: true})"
    if event == "paste":
        made = "new ClipboardEvent('paste', {clipboardData: list, bubbles: true, cancelable: true})"
    page.js(f"""(async () => {{ const list = new DataTransfer();
        for (const file of await Promise.all({files})) list.items.add(file);
        document.body.dispatchEvent({made}); }})()""")


def seen(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})?.checkVisibility()"


def loaded(page: Page, name: str) -> None:
    """Opens a page and loads its model by the button of its card."""
    page.open("#" + name)
    button = f"#{name} [data-task={TASKS[name]}] [data-act=load-default]"
    page.wait(seen(button))
    page.fake(pace=1)
    page.click(button)
    page.wait(seen(f"#{name} .pick[data-state=ready]"))


def unload(page: Page, name: str) -> None:
    """Unloads a page's model by the sheet of its header."""
    page.click(f"#{name} .pick")
    page.wait(seen("#picker [data-act=unload]"))
    page.click("#picker [data-act=unload]")
    page.click("#picker [data-act=close-dialog]")


def saved(page: Page, selector: str) -> tuple[str, str]:
    """(name, text) of what a button downloads."""
    page.js("void (globalThis.saved = [], URL.createObjectURL = (blob) => (saved.push(blob), 'about:blank#'))")
    page.js("void (HTMLAnchorElement.prototype.click = function () { saved.name = this.download; })")
    page.click(selector)
    page.wait("saved.length === 1")
    return str(page.js("saved.name")), str(page.js("saved[0].text()"))


# What all of them have


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


# Transcribe


def test_a_recording_is_transcribed_while_it_is_read(page: Page) -> None:
    loaded(page, "transcribe")
    page.fake(pace=400)
    page.js("document.querySelector('[data-act=pick-audio]').focus()")
    give(page, "#transcribe input[type=file]", f"[{WAV}(120, 'interview.final.wav')]")
    page.wait("document.querySelectorAll('.said li').length === 2")
    assert page.text("#transcribe .stage") == "Transcribing interview.final.wav"
    assert " of 2:00" in page.text("#transcribe .amount")
    assert page.js("document.activeElement.dataset.act") == "cancel"
    page.fake(pace=1)
    page.wait(seen("#transcribe [data-act=save]"))
    request = page.requests()[-1]
    assert request["params"] == {"return_timestamps": True}
    assert request["inputs"] == ["Float32Array"] and request["length"] == 120 * 16000, "resampled to 16 kHz"
    lines = page.js("[...document.querySelectorAll('.said li')].map((e) => e.innerText.replace(/\\s+/g, ' '))")
    assert lines[:2] == ["0:00 The first one is of the moon.", "0:30 It was taken <in> spring & by hand."]
    assert "English" in page.text("#transcribe section > .about") and "2:00" in page.text("#transcribe .about")
    assert "Transcribed: The first one" in page.js("document.querySelector('#said').textContent")
    page.wait("document.querySelector('audio').duration > 119")
    page.click(".said li:nth-child(3) [data-act=seek]")
    page.wait("document.querySelector('audio').currentTime >= 60")
    page.js("void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })")
    page.click("#transcribe [data-act=copy-result]")
    page.wait("globalThis.copied")
    assert page.js("copied").splitlines()[1] == "It was taken <in> spring & by hand."
    name, text = saved(page, "[data-act=save][data-kind=srt]")
    assert name == "interview.final.srt" and text.startswith("1\n00:00:00,000 --> 00:00:30,000\nThe first one")
    name, text = saved(page, "[data-act=save][data-kind=vtt]")
    assert (
        name == "interview.final.vtt" and "00:00:30.000 --> 00:01:00.000\nIt was taken &lt;in&gt; spring &amp;" in text
    )


def test_a_recording_waits_for_its_model(page: Page) -> None:
    page.open("#transcribe")
    page.wait(seen("#transcribe [data-act=load-default]"))
    page.fake(pace=30)
    drop(page, f"[{WAV}(2, 'short.wav')]")
    page.wait(f"{LAST.replace('NAME', 'transcribe')} === 'Waits for the model'")
    page.wait(seen("#transcribe [data-act=save]"))
    unload(page, "transcribe")
    page.wait(seen("#transcribe [data-act=load-default]"))
    drop(page, f"[{WAV}(2, 'again.wav')]")  # the model is on this device: it is loaded without a question
    page.wait("document.querySelector('#transcribe section > .about').innerText.startsWith('again.wav')")
    page.wait(seen("#transcribe [data-act=save]"))


@pytest.mark.parametrize("by", ["button", "escape"])
def test_transcribing_is_cancelled_and_keeps_what_was_written(page: Page, by: str) -> None:
    loaded(page, "transcribe")
    page.fake(pace=500)
    page.js("document.querySelector('[data-act=pick-audio]').focus()")
    give(page, "#transcribe input[type=file]", f"[{WAV}(60, 'long.wav')]")
    page.wait("document.querySelectorAll('.said li').length >= 1")
    page.click("#transcribe [data-act=cancel]") if by == "button" else press(page, Keys.ESCAPE)
    page.wait(seen("#transcribe [data-act=record]"))
    assert 1 <= page.js("document.querySelectorAll('.said li').length") < 4
    assert page.js("document.querySelector('#transcribe [data-kind=error]')") is None
    page.wait("document.activeElement.matches('#transcribe button')")


def test_what_is_no_sound_and_silence_are_told(page: Page) -> None:
    loaded(page, "transcribe")
    drop(page, "[new File(['no sound at all'], 'notes.mp3')]")
    page.wait(seen("#transcribe [data-kind=error]"))
    assert "cannot read notes.mp3 as sound" in page.text("#transcribe [role=alert]")
    page.fake(silent=True)
    drop(page, f"[{WAV}(2, 'silence.wav')]")
    page.wait("document.querySelector('#transcribe section > .about').innerText.startsWith('No speech')")
    assert page.js(seen("#transcribe [data-act=save]")) is False
    page.fake(silent=False, fault={"code": "bad_request", "message": "Said by the test."})
    drop(page, f"[{WAV}(2, 'a.wav')]")
    page.wait(seen("#transcribe [data-code=bad_request]"))
    assert "Nothing was transcribed" in page.text("#transcribe [role=alert]")


def test_the_language_of_a_multilingual_model_is_chosen(page: Page) -> None:
    loaded(page, "transcribe")
    assert page.js(seen("#spoken")) is False, "the site's own knows English only"
    drop(page, "[new File(['x'], 'multilingual.safetensors')]")
    page.wait(seen("#spoken"))
    assert page.js("document.querySelector('#spoken').labels[0].innerText") == "Spoken language"
    assert page.js("[...document.querySelector('#spoken').options].map((e) => [e.value, e.innerText])") == [
        ["", "Detect it"], ["en", "English"], ["fr", "French"], ["de", "German"], ["haw", "Hawaiian"],
        ["xx not a code", "xx not a code"],
    ]  # fmt: skip
    page.fake(heard="fr", pace=1)

    def transcribe(name: str) -> tuple[dict, str, str]:
        """What was asked, what is said of it, and the language in which it is written."""
        drop(page, f"[{WAV}(2, '{name}')]")
        page.wait(f"document.querySelector('#transcribe section > .about').innerText.startsWith('{name}')")
        page.wait(seen("#transcribe [data-act=save]"))
        about = page.text("#transcribe section > .about").split("  ·  ")[2]
        return page.requests()[-1]["params"], about, str(page.js("document.querySelector('.said').lang"))

    assert transcribe("a.wav") == ({"return_timestamps": True}, "French (detected)", "fr")
    page.js("document.querySelector('#spoken').focus()")
    press(page, "g")
    page.js("document.querySelector('#english').focus()")
    press(page, Keys.SPACE)
    wish = {"return_timestamps": True, "language": "de", "task": "translate"}
    assert transcribe("b.wav") == (wish, "translated from German", "en")
    page.js("document.querySelector('#spoken').focus()")
    press(page, Keys.HOME)
    assert transcribe("c.wav")[1] == "translated from French (detected)"
    try:
        page.browser.resize(360, 740)
        assert page.js("document.querySelector('#transcribe .scroll').scrollWidth <= 360")
    finally:
        page.browser.resize(1280, 800)
    unload(page, "transcribe")
    page.wait(f"!{seen('#spoken')}")
    page.click("#transcribe [data-act=load-default]")
    page.wait(seen("#transcribe .pick[data-state=ready]"))
    assert page.js(seen("#spoken")) is False
    assert transcribe("d.wav")[:2] == ({"return_timestamps": True}, "French"), "what is hidden does not count"


def test_the_microphone_is_transcribed_live(page: Page) -> None:
    loaded(page, "transcribe")
    page.js(DEVICES)
    page.browser.driver.find_element("css selector", "[data-act=record]").click()
    page.wait(seen(".recording"))
    assert page.js("document.activeElement.dataset.act") == "record-stop"
    page.wait("document.querySelectorAll('.said li').length === 4", 30)
    page.wait("document.querySelector('.recording .time').innerText >= '0:03'", 30)
    assert page.js("document.querySelector('.level').style.width") != "0%"
    press(page, Keys.ESCAPE)
    page.wait(seen("#transcribe [data-act=save]"))
    assert page.js("tracks.map((track) => track.readyState)") == ["ended"]
    lengths = [request["length"] for request in page.requests()]
    assert lengths == sorted(lengths) and lengths[0] >= 2 * 16000 and len(lengths) >= 2
    page.wait("document.querySelector('audio').duration > 2")
    assert page.js("document.querySelector('audio').duration") == pytest.approx(lengths[-1] / 16000, abs=0.3)


def test_a_microphone_that_is_refused_is_told(page: Page) -> None:
    loaded(page, "transcribe")
    page.js("void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Denied'); })")
    page.click("[data-act=record]")
    page.wait(seen("#transcribe [data-kind=error]"))
    assert "the microphone" in page.text("#transcribe [role=alert]") and "Denied" in page.text(
        "#transcribe [role=alert]"
    )
    assert page.js(seen("#transcribe [data-act=record]"))


# Classify


def test_a_picture_is_classified(page: Page) -> None:
    loaded(page, "classify")
    for source in ("drop", "paste"):
        drop(page, f"[{PNG}('{source}.png')]", source)
        page.wait(f"document.querySelector('.seen img').alt === '{source}.png'")
        page.wait(seen("[data-act=pick-picture]"))
    rows = page.js(
        "[...document.querySelectorAll('.bars li')].map((e) => [e.children[0].innerText, e.children[1].innerText])"
    )
    assert rows[:3] == [["tabby cat", "62%"], ["tiger cat", "21%"], ["Egyptian cat", "11%"]] and len(rows) == 5
    assert page.js("document.querySelector('.bars .bar span').style.width") == "62%"
    assert page.js("document.querySelector('#said').textContent").startswith("tabby cat 62%")
    assert page.requests()[-1]["params"] == {"top_k": 5} and page.requests()[-1]["inputs"] == ["File"]
    drop(page, "[new File(['x'], 'no.png')]")
    page.wait(seen("#classify [data-kind=error]"))
    assert "cannot read no.png as a picture" in page.text("#classify [role=alert]")
    assert page.js(seen(".bars")) is False


def test_the_camera_is_classified_until_it_is_stopped(page: Page) -> None:
    loaded(page, "classify")
    page.js(DEVICES)
    page.click("[data-act=camera]")
    page.wait(seen(".seen video"))
    page.wait("document.querySelectorAll('.bars li').length === 5")
    page.wait("document.querySelector('#classify .looked .about').innerText.endsWith('pictures a second')")
    assert page.requests()[-1]["inputs"] == ["ImageBitmap"]
    page.click(".seen button")
    page.wait(seen("[data-act=camera]"))
    assert page.js("tracks.map((track) => track.readyState)") == ["ended"]
    assert page.js(seen(".seen img")) and not page.js(seen(".seen video"))
    page.click("[data-act=camera]")
    page.wait(seen(".seen video"))
    page.click("#pages [href='#chat']")
    page.wait("tracks.at(-1).readyState === 'ended'"), "nobody sees it"


CLIP = "[new File(['x'], 'clip.safetensors'), new File(['{\"vision_config\": {}}'], 'config.json')]"


def bars(page: Page) -> list[list[str]]:
    return list(
        page.js("[...document.querySelectorAll('.bars li')].map((e) => [...e.children].map((f) => f.innerText))")
    )


def label(page: Page, text: str) -> None:
    """Writes the labels and looks again."""
    page.js("document.querySelector('#labels').select()")
    page.browser.driver.find_element("id", "labels").send_keys(text)
    page.click("[data-act=look-again]")


def test_a_picture_is_classified_among_labels_by_a_clip_of_the_users_own(page: Page) -> None:
    loaded(page, "classify")
    assert page.js(seen("#labels")) is False
    drop(page, CLIP)
    page.wait("document.querySelector('#classify .pick[data-state=ready] b')?.innerText === 'clip.safetensors'")
    assert json.loads(str(page.js("tensortab.run('get tasks')"))) == {
        "zero-shot-image-classification": "clip.safetensors"
    }
    assert page.js(seen("[data-act=look-again]")) is False, "there is no picture yet"
    drop(page, f"[{PNG}('a.png')]")
    page.wait("document.querySelectorAll('.bars li').length === 8")
    assert page.requests()[-1]["task"] == "zero-shot-image-classification"
    assert page.requests()[-1]["params"]["candidate_labels"][:2] == ["a person", "an animal"]
    label(page, "<b>a cat</b>,  a   dog\n\na cat, a dog,")
    page.wait("document.querySelectorAll('.bars li').length === 3")
    assert page.requests()[-1]["params"] == {"candidate_labels": ["<b>a cat</b>", "a dog", "a cat"]}
    assert [row[:2] for row in bars(page)] == [["<b>a cat</b>", "55%"], ["a dog", "23%"], ["a cat", "23%"]]
    assert page.js("document.activeElement.id") == "labels"
    label(page, "a cat, \n")
    page.wait(seen("#classify [data-kind=error]"))
    assert "too few labels" in page.text("#classify [role=alert]")
    assert "Write two or more" in page.text("#classify [role=alert]") and page.js(seen(".seen img"))
    label(page, "a cat\na dog")
    page.wait(f"document.querySelectorAll('.bars li').length === 2 && !{seen('#classify [data-kind=error]')}")
    try:
        page.browser.resize(360, 740)
        assert page.js("document.querySelector('#classify .scroll').scrollWidth <= 360")
    finally:
        page.browser.resize(1280, 800)
    unload(page, "classify")
    page.wait(seen("#classify [data-act=load-default]"))
    assert page.js(seen("#labels")) is False
    page.click("#classify [data-act=load-default]")
    page.wait("document.querySelector('#classify .pick[data-state=ready] b')?.innerText === 'efficientnet-lite0'")
    drop(page, f"[{PNG}('a.png')]")
    page.wait("document.querySelectorAll('.bars li').length === 5")


def test_a_picture_waits_for_the_model_that_is_loaded_in_the_end(page: Page) -> None:
    page.open("#classify")
    page.wait(seen("#classify [data-act=load-default]"))
    page.fake(pace=1, fault={"code": "offline", "message": "Said by the test."})
    drop(page, f"[{PNG}('a.png')]")
    page.wait(f"{LAST.replace('NAME', 'classify')} === 'Waits for the model: see above'")
    drop(page, CLIP.replace("clip.", "broken."))
    page.wait(seen("#classify [data-code=bad_file]"))
    assert page.js(seen("#classify [data-code=bad_file] [data-act=load-default]")), "there is another one"
    page.js("void (HTMLInputElement.prototype.click = () => {})")
    page.click("#classify [data-code=bad_file] [data-act=pick-file]")
    give(page, "#model-file", CLIP)
    page.wait("document.querySelectorAll('.bars li').length === 8")
    page.fake(pace=3000)  # of the look at it, which the load overtakes
    drop(page, f"[{PNG}('b.png')]")
    page.wait("document.querySelector('#classify .stage')?.innerText === 'Looking at b.png'")
    page.fake(pace=1)
    drop(page, "[new File(['x'], 'vit.safetensors'), new File(['{}'], 'config.json')]")
    page.wait("document.querySelector('#classify .pick[data-state=ready] b')?.innerText === 'vit.safetensors'")
    page.wait("document.querySelectorAll('.bars li').length === 5")
    assert page.js("document.querySelector('.seen img').alt") == "b.png"


def test_the_cameras_last_picture_is_looked_at_again(page: Page) -> None:
    loaded(page, "classify")
    page.js(DEVICES)
    drop(page, CLIP)
    page.wait("document.querySelector('#classify .pick[data-state=ready] b')?.innerText === 'clip.safetensors'")
    page.click("[data-act=camera]")
    page.wait("document.querySelectorAll('.bars li').length === 8")
    assert page.js("document.querySelector('#labels').readOnly")
    page.click(".seen button")
    page.wait(seen("[data-act=camera]"))
    label(page, "dark, light")
    page.wait("document.querySelectorAll('.bars li').length === 2")
    assert page.requests()[-1]["inputs"] == ["File"]
    page.js("document.querySelector('#labels').value = 'one'")
    page.click("[data-act=camera]")
    page.wait(seen("#classify [data-kind=error]"))
    assert page.js("tracks.length") == 1, "the camera was not asked for"


# Summarise


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
