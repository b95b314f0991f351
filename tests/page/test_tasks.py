"""The pages beside the chat with the real engine and models, in Firefox, whose software adapter is faster."""

import asyncio
import base64
import io
import json
import wave
from pathlib import Path

import numpy as np
import tensortab as tt
from tensortab import device as devices
from tensortab.device.cpu import CPUDevice

from building.steps import CACHE
from tests import tiny_whisper as tiny
from tests.browser import Browser, wait_for
from tests.conftest import Site
from tests.models.test_vision import MODELS, tensors
from tests.recipe import write_folder
from tests.speech import clip
from tests.studio.documents import pdf

NOTES = {
    "tide.md": "The moon pulls at the sea, and so the water rises and falls twice a day.",
    "bread.txt": "Knead the dough for ten minutes, let it rest under a cloth, and bake it until the crust is brown.",
    "oak.txt": "An old tree lost a branch in last night's storm.",
}


def seen(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})?.checkVisibility()"


def wav(samples: np.ndarray) -> bytes:
    """A file of 16 bits a sample, 16 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def click(browser: Browser, selector: str) -> None:
    browser.evaluate(f"void document.querySelector({json.dumps(selector)}).click()")


def drop(browser: Browser, *files: tuple[str, bytes]) -> None:
    """Files, dropped onto the page."""
    for name, data in files:
        text = base64.b64encode(data).decode()
        made = f"new File([Uint8Array.fromBase64({json.dumps(text)})], {json.dumps(name)})"
        browser.evaluate(f"void (globalThis.given ??= new DataTransfer()).items.add({made})")
    browser.evaluate("void document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: given, bubbles: true}))")


def load(browser: Browser, page: str) -> None:
    wait_for(browser, seen(f"#{page} [data-act=load-default]"), 60)
    click(browser, f"#{page} [data-act=load-default]")
    wait_for(browser, seen(f"#{page} .pick[data-state=ready]"), 300)


def test_speech_is_transcribed(firefox: Browser, site: Site) -> None:
    firefox.open(site.url + "#transcribe")
    load(firefox, "transcribe")
    drop(firefox, ("ship.wav", wav(clip("ship"))))
    wait_for(firefox, seen("#transcribe [data-act=save]"), 300)
    said = firefox.evaluate("document.querySelector('.said').innerText")
    assert (
        "left the harbour at seven in the morning" in said.lower()
        or "left the harbor at seven in the morning" in said.lower()
    )
    assert "English" in firefox.evaluate("document.querySelector('#transcribe section > .about').innerText")


def test_speech_is_transcribed_and_translated_by_a_multilingual_model_of_the_users_own(
    firefox: Browser, site: Site, tmp_path: Path
) -> None:
    """A small random one: it writes what it writes in CPython."""
    folder, sound = tiny.write(tmp_path), wav(tiny.noise(1.7, 2))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768

    async def written(**options: str) -> tuple[str, str]:
        pipe = await tt.pipeline("automatic-speech-recognition", model=folder)
        result = await pipe(samples, return_timestamps=True, **options)
        pipe.free()
        return "".join(chunk["text"] for chunk in result["chunks"]), result["language"]

    devices.use(CPUDevice())
    detected, language = asyncio.run(written())
    translated, _ = asyncio.run(written(language="fr", task="translate"))
    devices.use(None)
    assert detected != translated
    firefox.open(site.url + "#transcribe")
    wait_for(firefox, seen("#transcribe [data-act=load-default]"), 60)
    drop(firefox, *[(file.name, file.read_bytes()) for file in folder.iterdir()])
    wait_for(firefox, seen("#spoken"), 120)
    assert firefox.evaluate("[...document.querySelector('#spoken').options].map((e) => e.value)") == [
        "", "zh", "en", "fr", "de",
    ]  # fmt: skip

    def transcribed(name: str) -> tuple[str, str]:
        firefox.evaluate("void (globalThis.given = undefined)")
        drop(firefox, (name, sound))
        about = "document.querySelector('#transcribe section > .about').innerText"
        wait_for(firefox, f"{about}.startsWith({name!r}) && {seen('#transcribe [data-act=save]')}", 120)
        rows = firefox.evaluate("[...document.querySelectorAll('.said li span')].map((e) => e.textContent).join('')")
        return rows, firefox.evaluate(about)

    names = {"en": "English", "zh": "Chinese", "de": "German", "fr": "French"}
    rows, about = transcribed("one.wav")
    assert rows == detected.strip() and f"{names[language]} (detected)" in about
    firefox.evaluate("void (document.querySelector('#spoken').value = 'fr')")
    click(firefox, "#english")
    rows, about = transcribed("two.wav")
    assert rows == translated.strip() and "translated from French" in about


def test_texts_are_found_by_their_meaning(firefox: Browser, site: Site) -> None:
    firefox.open(site.url + "#search")
    wait_for(firefox, seen("#search [data-act=pick-files]"), 60)
    drop(firefox, *[(name, pdf(text) if name == "tide.md" else text.encode()) for name, text in NOTES.items()])
    shelf = "document.querySelector('.shelf small')?.innerText"
    wait_for(firefox, f"{shelf} === '3 texts' && {seen('[data-act=pick-files]')}", 120)
    for query, best in (("ocean currents", "tide.md"), ("a recipe", "bread.txt"), ("damage by wind", "oak.txt")):
        firefox.evaluate(f"void (document.querySelector('#query').value = {query!r})")
        firefox.evaluate("void document.querySelector('.found').replaceChildren()")
        click(firefox, ".query [type=submit]")
        assert wait_for(firefox, "document.querySelector('.passages b')?.innerText", 60) == best
        found = firefox.evaluate("[...document.querySelectorAll('.passages b')].map((e) => e.innerText)")
        assert found == [best], "what does not belong to the question is below the floor"


def test_a_picture_is_classified(firefox: Browser, site: Site) -> None:
    """Any picture will do: whose names are right, and how likely, is tested where the model is."""
    firefox.open(site.url + "#classify")
    load(firefox, "classify")
    drop(firefox, ("icon.png", (CACHE.parent / "static/icons/icon-512.png").read_bytes()))
    wait_for(firefox, "document.querySelectorAll('.bars li').length === 5", 120)
    rows = firefox.evaluate(
        "[...document.querySelectorAll('.bars li')].map((e) => [e.children[0].innerText, e.children[1].innerText])"
    )
    shares = [float(share.removesuffix("%")) for _, share in rows]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 101
    assert all(name.strip() and not name.startswith("LABEL_") for name, _ in rows)


def test_a_text_is_summarised(firefox: Browser, site: Site) -> None:
    firefox.open(site.url + "#summarise")
    wait_for(firefox, seen("#summarise .notice [data-act=load-default]"), 60)
    click(firefox, "#summarise .notice [data-act=load-default]")
    wait_for(firefox, "document.documentElement.dataset.engine === 'ready'", 300)
    drop(firefox, ("notes.txt", (" ".join(NOTES.values())).encode()))
    wait_for(firefox, "document.querySelector('#document').value.startsWith('The moon')")
    click(firefox, "[data-act=summarise]")
    wait_for(firefox, f"{seen('#summarise [data-act=copy-result]')} || {seen('#summarise [data-kind=error]')}", 300)
    summary = firefox.evaluate("document.querySelector('.summary').innerText")
    assert len(summary) > 20 and firefox.evaluate("document.querySelector('#summarise [data-kind=error]')") is None


COLOURS = {
    "red.png": (220, 20, 30), "green.png": (10, 160, 60), "blue.png": (20, 40, 200), "white.png": (255, 255, 255),
}  # fmt: skip


def clip_folder(place: Path) -> Path:
    """A small random one."""
    folder = write_folder(place / "clip", MODELS["clip"]["config"], tensors("clip"))
    (folder / "preprocessor_config.json").write_text(json.dumps(MODELS["clip"]["processor"]))
    (folder / "tokenizer.json").write_text(json.dumps(MODELS["clip"]["tokenizer"]))
    return folder


def test_photos_are_found_by_what_they_show(firefox: Browser, site: Site, tmp_path: Path) -> None:
    """With a CLIP of the user's own, a small random one: it finds what it finds in CPython, without what is far behind
    the best (pages/search/page.py)."""
    folder = clip_folder(tmp_path)

    async def nearest(query: str) -> list[str]:
        pipe = await tt.pipeline("image-feature-extraction", model=folder)
        images = [tt.Image(8, 8, bytes((*colour, 255)) * 64) for colour in COLOURS.values()]
        photos, (text,) = np.array(await pipe(images)), np.array(await pipe.text([query]))
        pipe.free()
        scores = photos @ text
        return [list(COLOURS)[n] for n in np.argsort(-scores) if scores[n] > scores.max() - 0.05]

    devices.use(CPUDevice())
    expected = asyncio.run(nearest("a photo"))
    devices.use(None)
    firefox.open(site.url + "#search")
    wait_for(firefox, seen("#search [data-act=pick-files]"), 60)
    for name, colour in COLOURS.items():
        firefox.evaluate(f"""(async () => {{
            const canvas = new OffscreenCanvas(40, 30), context = canvas.getContext("2d");
            context.fillStyle = "rgb{colour}";
            context.fillRect(0, 0, 40, 30);
            (globalThis.given ??= new DataTransfer()).items.add(new File([await canvas.convertToBlob()], {name!r}));
        }})()""")
    drop(firefox)
    wait_for(firefox, seen("#search [data-task=image-feature-extraction]"), 60)
    firefox.evaluate("void (globalThis.given = undefined)")
    drop(firefox, *[(file.name, file.read_bytes()) for file in folder.iterdir()])
    shelf = "document.querySelector('.shelf small')?.innerText"
    wait_for(firefox, f"{shelf} === '4 photos' && {seen('[data-act=pick-files]')}", 120)
    firefox.evaluate("void (document.querySelector('#query').value = 'a photo')")
    click(firefox, ".query [type=submit]")
    wait_for(firefox, "document.querySelectorAll('.photos img').length > 0", 60)
    assert firefox.evaluate("[...document.querySelectorAll('.photos b')].map((e) => e.innerText)") == expected


def test_a_picture_is_classified_among_the_users_labels(firefox: Browser, site: Site, tmp_path: Path) -> None:
    """With a CLIP of the user's own: as in CPython."""
    folder, labels = clip_folder(tmp_path), ["a cat", "an astronaut", "the ocean at night"]

    async def scores() -> list[list[str]]:
        pipe = await tt.pipeline("zero-shot-image-classification", model=folder)
        found = await pipe(tt.Image(8, 8, bytes((*COLOURS["red.png"], 255)) * 64), candidate_labels=labels)
        pipe.free()
        scores = [(entry["label"], entry["score"]) for entry in found]
        return [[label, f"{score:.{int(score < 0.0995)}%}"] for label, score in scores]

    devices.use(CPUDevice())
    expected = asyncio.run(scores())
    devices.use(None)
    firefox.open(site.url + "#classify")
    wait_for(firefox, seen("#classify [data-act=load-default]"), 60)
    drop(firefox, *[(file.name, file.read_bytes()) for file in folder.iterdir()])
    wait_for(firefox, seen("#labels"), 120)
    firefox.evaluate(f"void (document.querySelector('#labels').value = {', '.join(labels)!r})")
    firefox.evaluate(f"""(async () => {{
        const canvas = new OffscreenCanvas(40, 30), context = canvas.getContext("2d");
        context.fillStyle = "rgb{COLOURS["red.png"]}";
        context.fillRect(0, 0, 40, 30);
        (globalThis.given = new DataTransfer()).items.add(new File([await canvas.convertToBlob()], "red.png"));
    }})()""")
    drop(firefox)
    wait_for(firefox, "document.querySelectorAll('.bars li').length === 3", 120)
    rows = "[...document.querySelectorAll('.bars li')].map((e) => [e.children[0].innerText, e.children[1].innerText])"
    assert firefox.evaluate(rows) == expected
