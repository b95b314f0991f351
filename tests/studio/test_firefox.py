"""The page's main paths once more in Firefox, with the fake engine."""

from tests.browser import Firefox, wait_for
from tests.conftest import Site
from tests.studio.gestures import TEXTS, WAV


def test_a_chat_in_firefox(firefox: Firefox, fake: Site) -> None:
    firefox.open(fake.url)
    wait_for(firefox, "document.documentElement.hasAttribute('data-ready')")
    wait_for(firefox, "Boolean(document.querySelector('[data-act=load-default]'))")
    firefox.evaluate("void document.querySelector('[data-act=load-default]').click()")
    wait_for(firefox, "document.documentElement.dataset.engine === 'ready'")
    firefox.evaluate("void (document.querySelector('#prompt').value = 'Why?')")
    firefox.evaluate("void document.querySelector('#send').click()")
    wait_for(firefox, "document.querySelectorAll('.turn').length === 2 && !document.querySelector('.streaming')")
    assert firefox.evaluate("document.querySelectorAll('.turn table, .turn pre, .turn ol').length") == 3
    firefox.open(fake.url)
    wait_for(firefox, "document.querySelectorAll('#works .open').length === 1")
    assert [line for line in firefox.console() if line.startswith("error") and "sw.js" not in line] == []


def test_the_tabs_in_firefox(firefox: Firefox, fake: Site) -> None:
    """Sound is decoded and sent, and dropped files are read, as this browser does it."""
    firefox.open(fake.url + "#transcribe")
    wait_for(firefox, "Boolean(document.querySelector('#transcribe [data-act=load-default]'))")
    firefox.evaluate("void document.querySelector('#transcribe [data-act=load-default]').click()")
    drop = """(async (files) => { const list = new DataTransfer(); files.forEach((file) => list.items.add(file));
        document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: list, bubbles: true})); })"""
    firefox.evaluate(f"({drop})([{WAV}(3, 'a.wav')])")
    wait_for(firefox, "document.querySelectorAll('.said li').length === 4")
    wait_for(firefox, "document.querySelector('audio').duration === 3")
    firefox.evaluate("void (location.hash = 'search')")
    wait_for(firefox, "Boolean(document.querySelector('[data-act=pick-files]')?.checkVisibility())")
    firefox.evaluate(f"({drop})({TEXTS})")
    wait_for(firefox, "document.querySelector('.shelf small')?.innerText === '2 texts'")
    firefox.evaluate("void (document.querySelector('#query').value = 'the tide')")
    wait_for(firefox, "!document.querySelector('.query button').disabled")
    firefox.evaluate("void document.querySelector('.query button').click()")
    assert wait_for(firefox, "document.querySelector('.passages b')?.innerText") == "tide.md"
