"""Files in the chat, in Chromium and Firefox, with the fake engine: what the request to the model contains of them."""

from selenium.webdriver.common.keys import Keys

from tests.browser import Firefox, wait_for
from tests.conftest import Site
from tests.studio.conftest import Page, press
from tests.studio.documents import docx, pdf
from tests.studio.gestures import PNG, drop, give, seen
from tests.studio.test_documents import file_of

CHIPS = "[...document.querySelectorAll('.composer .chip span')].map((e) => e.innerText).join()"
LINE = "aeiou " * 10 + "\n"
PAGES = [f"Page {n}: {LINE * 10}" for n in range(1, 13)]
PAGES[6] = "Page 7: " + ("sss " * 15 + "\n") * 10  # what a question with an s is near to


def attach(page: Page, *files: tuple[bytes, str]) -> None:
    give(page, "#attach-file", f"[{', '.join(file_of(*file) for file in files)}]")
    page.wait(f"{CHIPS}.split(',').length === {len(files)} && !document.querySelector('.chip.reading')")


def asked(page: Page, count: int = 1) -> str:
    """What the last message of the chat's last request says."""
    chats = [request for request in page.requests() if "messages" in request]
    assert len(chats) == count
    return str(chats[-1]["messages"][-1]["content"])


def test_a_file_is_attached_kept_with_the_draft_sent_and_kept_with_the_chat(page: Page) -> None:
    page.open()
    page.load()
    attach(page, ("Grüße".encode("cp1252"), "a.txt"), (docx("# One", "Text."), "b.docx"))
    page.write("What is it?")
    page.wait("localStorage.getItem('tensortab.draft.new') === 'What is it?'")
    page.open("?again")
    page.wait(f"{CHIPS} === 'a.txt,b.docx'")
    page.click(".composer .chip:nth-child(2) [data-act=detach]")
    page.wait(f"{CHIPS} === 'a.txt'")
    page.write("\n")
    page.answered(2)
    assert asked(page) == "The file “a.txt”:\n\nGrüße\n\n---\n\nWhat is it?"
    assert not page.js(seen(".composer .chips"))
    page.open("?and-again")
    page.wait("document.querySelector('.turn.mine .chip span')?.innerText === 'a.txt'")
    assert not page.js(CHIPS), "the draft was sent"
    page.click(".turn.mine [data-act=show-file]")
    page.wait(seen("#reader"))
    assert page.text("#reader .read") == "Grüße"


def test_dropped_and_pasted_files_are_attached_and_the_others_are_named(page: Page) -> None:
    page.open()
    drop(page, f"[new File(['text'], 'a.txt'), {PNG}('photo.png'), new File(['\\0'], 'program.exe')]")
    page.wait(f"{CHIPS} === 'a.txt' && !document.querySelector('.chip.reading')")
    assert page.text("#toast") == (
        "Not read: photo.png. The model of this chat cannot see pictures. "
        "Not read: program.exe. Texts, web pages, PDFs and Word files (.docx) can be read."
    )
    drop(page, "[new File(['more'], 'b.txt')]", "paste")
    page.wait(f"{CHIPS} === 'a.txt,b.txt'")


def test_passages_of_a_long_file_are_found_by_their_meaning_and_quoted_with_their_places(page: Page) -> None:
    page.open()
    page.load()
    page.fake(pace=1)
    attach(page, (pdf(*PAGES), "long.pdf"))
    page.wait(seen("[data-act=without-search]"))
    assert page.text(".notice[data-kind=search] h2") == "long.pdf is longer than the model can read"
    assert page.text(".notice[data-kind=search] [data-act=load-default]") == "Download 92 MB"
    page.send("ssss")
    page.wait("document.querySelector('.pending').innerText.startsWith('Waits for the model that searches your files')")
    assert page.js("tensortab.run('get embedded')") == "0", "nothing is downloaded before the click"
    page.click(".notice[data-kind=search] [data-act=load-default]")
    page.answered(2)
    said = asked(page)
    assert said.startswith("Passages of the attached files:\n\n[1] long.pdf, page 1:\nPage 1: aeiou")
    assert "] long.pdf, page 7:\nPage 7: sss" in said and said.endswith("\n\nssss")
    assert len(said) < 3 * 1500, "it fits into the model's context"
    quotes = page.js("[...document.querySelectorAll('.quotes button')].map((e) => e.innerText)")
    number = next(n for n, quote in enumerate(quotes) if quote.endswith("long.pdf, page 7"))
    assert quotes[number] == f"[{number + 1}] long.pdf, page 7"
    page.js(f"void document.querySelectorAll('.quotes button')[{number}].click()")
    page.wait(seen("#reader mark"))
    assert page.text("#reader mark").startswith("Page 7: sss")
    assert page.js("document.querySelector('#reader .sheet-body').scrollTop > 500")
    press(page, Keys.ESCAPE)
    page.send("and ssss again")
    page.answered(4)
    assert "page 7" in asked(page, 2)
    assert page.js("tensortab.run('get embedded')") == "12", "the passages were embedded once"


def test_without_a_search_the_model_is_given_the_beginning(page: Page) -> None:
    page.open()
    page.load()
    attach(page, (pdf(*PAGES), "long.pdf"))
    page.send("ssss")
    page.wait(seen("[data-act=without-search]"))
    page.click("[data-act=without-search]")
    page.answered(2)
    assert "[1] long.pdf, page 1:" in asked(page) and "page 7" not in asked(page)
    assert not page.js(seen(".notice[data-kind=search]"))


def test_a_message_may_be_a_file_alone_and_keeps_it_when_it_is_edited(page: Page) -> None:
    page.open()
    page.load()
    attach(page, (b"One.", "a.txt"))
    page.click("#send")
    page.answered(2)
    assert asked(page) == "The file “a.txt”:\n\nOne.\n\n---\n\nSummarise this."
    page.click(".turn.mine [data-act=edit]")
    page.js("void (document.querySelector('.editor textarea').value = 'Shorter.')")
    page.click(".editor [type=submit]")
    page.answered(2)
    assert asked(page, 2) == "The file “a.txt”:\n\nOne.\n\n---\n\nShorter."


def test_files_in_the_chat_in_firefox(firefox: Firefox, fake: Site) -> None:
    firefox.open(fake.url)
    wait_for(firefox, "document.documentElement.hasAttribute('data-ready')")
    wait_for(firefox, "Boolean(document.querySelector('[data-act=load-default]'))")
    firefox.evaluate("void document.querySelector('[data-act=load-default]').click()")
    firefox.evaluate(f"""(() => {{ const list = new DataTransfer(); list.items.add({file_of(pdf("Hello"), "a.pdf")});
        document.body.dispatchEvent(new DragEvent('drop', {{dataTransfer: list, bubbles: true}})); }})()""")
    wait_for(firefox, "document.querySelector('.composer .chip:not(.reading)')?.innerText.includes('a.pdf')")
    firefox.evaluate("void document.querySelector('#send').click()")
    wait_for(firefox, "document.querySelectorAll('.turn').length === 2 && !document.querySelector('.streaming')")
    requests = firefox.evaluate("tensortab.run('get requests').then(JSON.parse)")
    assert requests[-1]["messages"][-1]["content"] == "The file “a.pdf”:\n\nHello\n\n---\n\nSummarise this."
