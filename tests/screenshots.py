"""Makes the README's screenshots from the real page with the real model: python -m tests.screenshots [folder]

Run it with build.py's environment after `python build.py build`. It takes minutes where the GPU is software."""

import sys
import time
from pathlib import Path

from building.steps import DIST, ROOT
from tests.browser import Chromium, wait_for
from tests.conftest import Site

QUESTION = "Write three short facts about the Moon as a numbered list."
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

    try:
        page.resize(1280, 800)
        page.open(site.url)
        wait_for(page, "Boolean(document.querySelector('[data-act=load-default]'))", 60)
        picture("start")
        picture("start-phone", 390, 844)
        page.evaluate(f"void localStorage.setItem('tensortab.defaults', {SETTINGS!r})")
        page.evaluate("void document.querySelector('[data-act=new-chat]').click()")
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
        page.evaluate("void document.querySelector('[data-act=measure]').click()")
        wait_for(page, "Boolean(document.querySelector('.roofline'))", 300)
        page.evaluate("void document.activeElement.blur()")
        picture("lab", 1280, 1240)
    finally:
        page.close()
        site.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")
