"""Makes the README's screenshots from the real page with the real models: python -m tests.screenshots [folder]

Run it with build.py's environment after `python build.py build`. It takes minutes where the GPU is software. The speech
is espeak-ng's."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "app"))  # pytest does so by its configuration

from building.steps import DIST, ROOT
from tests.browser import Chromium, wait_for
from tests.conftest import Site

QUESTION = "Write three short facts about the Moon as a numbered list."
SPEECH = (
    "Good morning. The train to London leaves from platform number nine. "
    "Please do not leave your bags alone. Thank you very much."
)
NOTES = {
    "tides.md": "The moon pulls at the sea, and so the water rises and falls twice a day. At full and new moon the sun "
    "pulls in the same direction, and the tides are higher.",
    "bread.md": "Knead the dough for ten minutes, let it rest under a cloth until it has doubled, and bake it until "
    "the crust is brown and sounds hollow.",
    "garden.txt": "The old apple tree lost a branch in the storm. Cut it back to the collar in February, before the "
    "sap rises.",
    "meeting.txt": "Anna brings the projector. We moved the talk about sails to Thursday: the hall is taken.",
}
SETTINGS = '{"system": "", "sampling": {"temperature": 0, "max_tokens": 96}}'


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    site, page = Site(DIST), Chromium()

    def picture(name: str, width: int = 1280, height: int = 800, theme: str = "light") -> None:
        page.resize(width, height)
        page.evaluate(f"void (document.documentElement.dataset.theme = {theme!r})")
        time.sleep(0.5)  # layout, and the end of transitions
        page.screenshot(folder / f"{name}.png")
        print(folder / f"{name}.png")

    def drop(files: dict[str, bytes]) -> None:
        page.evaluate("void (globalThis.given = new DataTransfer())")
        for name, data in files.items():
            page.evaluate(f"void given.items.add(new File([new Uint8Array({list(data)})], {json.dumps(name)}))")
        page.evaluate("void document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: given, bubbles: true}))")

    def tab(name: str) -> None:
        """Opens a page beside the chat and loads its model."""
        page.resize(1280, 800)
        page.open(site.url + "?" + name + "#" + name)
        wait_for(page, "Boolean(document.querySelector('#engine-gpu')?.innerText)", 60)
        if name == "search":  # the texts that are given download the model
            drop({file: text.encode() for file, text in NOTES.items()})
        else:
            load = f"document.querySelector('#{name} .notice [data-act=load-default]')"
            wait_for(page, f"{load}?.checkVisibility()", 60)
            page.evaluate(f"void {load}.click()")
        wait_for(page, f"document.querySelector('#{name} .pick[data-state=ready]')?.checkVisibility()", 300)

    try:
        tab("transcribe")
        with tempfile.TemporaryDirectory() as made:
            speech = Path(made) / "speech.wav"
            subprocess.run(["espeak-ng", "-w", speech, "-v", "en-us", "-s", "140", SPEECH], check=True)
            drop({"platform.wav": speech.read_bytes()})
        wait_for(page, "document.querySelector('#transcribe [data-act=save]')?.checkVisibility()", 600)
        page.evaluate("void document.activeElement.blur()")
        picture("transcribe")
        picture("transcribe-phone", 390, 844, theme="dark")
        tab("search")
        ready = "document.querySelector('.shelf small')?.innerText === '4 texts'"
        wait_for(page, f"{ready} && !document.querySelector('.query button').disabled", 300)
        page.evaluate("void (document.querySelector('#query').value = 'why the water rises')")
        page.evaluate("void document.querySelector('.query button').click()")
        wait_for(page, "Boolean(document.querySelector('.passages li'))", 120)
        picture("search")
        page.resize(1280, 800)
        page.open(site.url)
        wait_for(page, "Boolean(document.querySelector('[data-act=load-default]'))", 60)
        picture("start")
        picture("start-phone", 390, 844)
        page.evaluate(f"void localStorage.setItem('tensortab.defaults', {SETTINGS!r})")
        page.evaluate("void document.querySelector('[data-act=new]').click()")
        page.evaluate("void document.querySelector('[data-act=load-default]').click()")
        wait_for(page, "document.documentElement.dataset.engine === 'ready'", 300)
        page.open(site.url)  # the next visit: the model is loaded from this device
        wait_for(page, "document.documentElement.dataset.engine === 'ready'", 300)
        page.evaluate(f"void (document.querySelector('#prompt').value = {QUESTION!r})")
        page.evaluate("void document.querySelector('#send').click()")
        wait_for(page, "document.querySelectorAll('.turn').length === 2 && !document.querySelector('.streaming')", 600)
        picture("chat")
        picture("chat-dark", theme="dark")
        picture("chat-phone", 390, 844, theme="dark")
        page.resize(1280, 1240)
        page.evaluate("void (location.hash = 'lab')")
        wait_for(page, "document.querySelector('[data-act=measure]')?.disabled === false", 60)
        page.evaluate("void document.querySelector('[data-act=measure]').click()")
        wait_for(page, "Boolean(document.querySelector('.roofline'))", 300)
        page.evaluate("void document.activeElement.blur()")
        picture("lab", 1280, 1240)
    finally:
        page.close()
        site.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")
