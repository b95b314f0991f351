"""The Classify page in Chromium, with the fake engine."""

import json

from tests.studio.conftest import Page
from tests.studio.gestures import DEVICES, LAST, PNG, drop, give, loaded, seen, unload


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
    page.wait("!document.querySelector('#labels').readOnly")  # the picture before is done
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
    page.wait(seen("[data-act=camera]"))
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
