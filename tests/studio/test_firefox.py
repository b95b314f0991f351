"""The page's main path once more in Firefox, with the fake engine."""

from tests.browser import Firefox, wait_for
from tests.conftest import Site


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
    wait_for(firefox, "document.querySelectorAll('#conversations .open').length === 1")
    assert [line for line in firefox.console() if line.startswith("error") and "sw.js" not in line] == []
