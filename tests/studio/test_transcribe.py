"""The Transcribe page in Chromium, with the fake engine."""


import pytest
from selenium.webdriver.common.keys import Keys

from tests.studio.conftest import Page, press
from tests.studio.gestures import DEVICES, LAST, WAV, drop, give, loaded, saved, seen, unload


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
