"""The Search page in Chromium, with the fake engine."""

from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.studio.conftest import Page, press
from tests.studio.documents import docx, pdf
from tests.studio.gestures import PNG, TEXTS, drop, give, seen
from tests.studio.test_documents import file_of

FILES = "#search input[multiple]:not([webkitdirectory])"


def found(page: Page, text: str) -> list[Any]:
    page.js(f"void (document.querySelector('#query').value = {text!r})")
    page.js("document.querySelector('.found').replaceChildren()")
    page.click(".query [type=submit]")
    page.wait("document.querySelector('.found').getAttribute('aria-busy') === 'false'")
    page.wait("document.querySelector('.found').childElementCount")
    return list(page.js("[...document.querySelectorAll('.found li b')].map((e) => e.innerText)"))


def indexed(page: Page) -> None:
    page.wait(
        "document.querySelector('.shelf small') && !document.querySelector('.shelf').innerText.includes('not indexed')"
    )
    page.wait(seen("[data-act=pick-files]"))


def test_texts_are_indexed_kept_and_found(page: Page) -> None:
    page.open("#search")
    page.wait(seen("[data-act=pick-files]"))
    assert page.js(seen(".query")) is False and page.js(seen("#search .notice[data-task]")) is False
    page.fake(pace=1)
    give(page, "#search input[multiple]:not([webkitdirectory])", TEXTS)
    indexed(page)
    assert page.text(".shelf small") == "2 texts"
    assert page.js("[...document.querySelectorAll('#search .primary')].filter((e) => e.checkVisibility()).length") == 1
    assert found(page, "the tide") == ["tide.md", "oak.txt"]
    assert found(page, "oaks as ships") == ["oak.txt", "tide.md"]
    assert page.text(".passages li p") == "Oaks are old. As are ships."
    assert page.js("[...document.querySelectorAll('.passages mark')].map((e) => e.innerText)") == ["Oaks", "ships"]
    assert page.js("document.querySelector('#said').textContent") == "2 results, the nearest first."
    page.open("?again#search")  # the fake engine forgets its models: only the index was kept
    page.wait("document.querySelector('.shelf small')?.innerText === '2 texts'")
    page.wait(seen("#search [data-act=load-default]"))
    page.fake(pace=1)
    page.click("#search [data-act=load-default]")
    page.wait(seen("#search .pick[data-state=ready]"))
    assert found(page, "the tide") == ["tide.md", "oak.txt"]
    assert page.js("tensortab.run('get embedded')") == "0", "nothing was indexed again"
    page.click("[data-act=forget]")
    page.wait(f"!{seen('.query')}")
    page.open("?and-again#search")
    page.wait(seen("[data-act=pick-files]"))
    page.js("new Promise((resolve) => setTimeout(resolve, 300))")
    assert page.js("document.querySelectorAll('.shelf li').length") == 0


def test_a_file_that_comes_again_replaces_itself(page: Page) -> None:
    loaded_search(page)
    give(page, "#search input[multiple]:not([webkitdirectory])", TEXTS)
    indexed(page)
    give(page, "#search input[multiple]:not([webkitdirectory])", "[new File(['Another text.'], 'oak.txt')]")
    indexed(page)
    found(page, "another")
    texts = page.js("[...document.querySelectorAll('.passages p')].map((e) => e.innerText)")
    assert sorted(texts) == ["Another text.", "The tide comes in twice."]


def loaded_search(page: Page) -> None:
    """The model of texts, without a text: by the header."""
    page.open("#search")
    page.wait("document.querySelector('#engine-gpu').innerText")
    page.fake(pace=1)
    page.click("#search .pick")
    page.wait("document.querySelector('[data-act=use-model][data-name=\"all-MiniLM-L6-v2\"]')")
    page.click('[data-act=use-model][data-name="all-MiniLM-L6-v2"]')
    page.wait(seen("#search .pick[data-state=ready]"))


def test_indexing_is_cancelled_and_goes_on(page: Page) -> None:
    loaded_search(page)
    page.fake(pace=300)
    give(page, "#search input[multiple]:not([webkitdirectory])",
         "Array.from({length: 40}, (_, n) => new File([`Text number ${n}.`], `${n}.txt`))")  # fmt: skip
    page.wait("document.querySelector('#search .amount')?.innerText === '16 of 40 passages'")
    press(page, Keys.ESCAPE)
    page.wait(seen("#search [data-act=index]"))
    assert "not indexed yet" in page.text(".shelf small")
    page.fake(pace=1)
    assert len(found(page, "text")) in (16, 20), "what is indexed is found"
    page.click("#search [data-act=index]")
    indexed(page)
    assert page.js("tensortab.run('get embedded')") in ("40", "56")


def test_indexing_that_fails_says_why_and_waits(page: Page) -> None:
    loaded_search(page)
    page.fake(fault={"code": "bad_request", "message": "Said by the test."})
    give(page, "#search input[multiple]:not([webkitdirectory])", TEXTS)
    page.wait(seen("#search [data-code=bad_request]"))
    assert "Said by the test." in page.text("#search [role=alert]")
    page.click("#search [data-act=index]")
    indexed(page)
    assert not page.js(seen("#search [data-kind=error]"))


def test_photos_need_a_model_of_the_users_own(page: Page) -> None:
    page.open("#search")
    page.wait(seen("[data-act=pick-files]"))
    page.fake(pace=1)
    give(
        page,
        "#search input[multiple]:not([webkitdirectory])",
        f"[{PNG}('a.png'), {PNG}('b.jpg'), new File(['x'], 'bad.png')]",
    )
    page.wait("document.querySelector('#toast').innerText.includes('bad.png')")
    page.wait(seen("#search .notice[data-task=image-feature-extraction]"))
    assert "This site has no CLIP model" in page.text("#search .notice[data-task=image-feature-extraction]")
    drop(page, "[new File(['x'], 'clip.safetensors'), new File(['{\"vision_config\": {}}'], 'config.json')]")
    page.wait("document.querySelector('#search .pick[data-state=ready] b')?.innerText === 'clip.safetensors'")
    indexed(page)
    assert sorted(found(page, "something orange")) == ["a.png", "b.jpg"]
    page.wait("[...document.querySelectorAll('.photos img')].every((e) => e.complete && e.naturalWidth === 597)")


def test_nothing_to_search_is_told(page: Page) -> None:
    page.open("#search")
    page.wait(seen("[data-act=pick-files]"))
    drop(page, "[new File(['\\0'], 'program.exe')]")
    page.wait(seen("#search [data-kind=error]"))
    assert "no text and no photo" in page.text("#search [role=alert]")


def test_the_index_can_be_searched_while_it_is_made_and_says_how_long_that_takes(page: Page) -> None:
    loaded_search(page)
    page.fake(pace=400)
    give(page, FILES, "Array.from({length: 80}, (_, n) => new File([`Text number ${n}.`], `${n}.txt`))")
    page.wait("/^[1-9].* of 80 passages .* about .* left$/.test(document.querySelector('#search .amount')?.innerText)")
    assert page.js(seen("#search [data-act=cancel]"))
    assert len(found(page, "text")) in (16, 20)
    assert "The index is not complete yet" in page.text(".found")
    page.fake(pace=1)
    indexed(page)
    page.wait("!document.querySelector('.found').innerText.includes('not complete')")
    assert page.js("document.querySelectorAll('.found li').length") == 20, "it was searched again at the end"


def test_what_is_far_from_the_question_is_not_listed_and_nearness_is_said_in_words(page: Page) -> None:
    loaded_search(page)
    files = {"far": "sssss", "near": "aeiou ss", "half": "aeiou ssssss"}
    give(page, FILES, f"[{', '.join(f'new File([{text!r}], {name!r})' for name, text in files.items())}]")
    indexed(page)
    assert found(page, "aeiouaeiou") == ["near", "half"]
    said = page.js("[...document.querySelectorAll('.nearness')].map((e) => e.innerText)")
    assert said == ["very close", "very close"]
    page.js("void (document.querySelector('#query').value = 'tttt')")
    page.click(".query [type=submit]")
    page.wait("document.querySelector('.found').innerText.includes('Nothing here is close to this')")
    assert not any(character.isdigit() for character in page.text(".found"))


def test_documents_are_found_with_their_places_opened_and_copied(page: Page) -> None:
    loaded_search(page)
    files = [file_of(pdf("Ships sail.", "The tide comes in twice."), "sea.pdf"),
             file_of(docx("# Trees", "Oaks are old.", "# Boats", "A boat of oak."), "wood.docx"),
             file_of(pdf("x", locked=True), "locked.pdf"), "new File(['\\0'], 'program.exe')"]  # fmt: skip
    give(page, FILES, f"[{', '.join(files)}]")
    indexed(page)
    assert page.text("#toast") == (
        "Not read: locked.pdf. A PDF with a password cannot be read: save a copy without one. "
        "Not read: program.exe. Texts, web pages, PDFs and Word files (.docx) can be read."
    )
    found(page, "The tide comes in twice.")
    assert page.text(".passages li div") == "sea.pdf\npage 2\nvery close"
    assert page.text(".passages li p mark") == "tide"
    places = page.js("[...document.querySelectorAll('.passages small')].map((e) => e.innerText)")
    assert sorted(places) == ["Boats", "Trees", "page 1", "page 2"]
    page.js("void (navigator.clipboard.writeText = async (text) => { globalThis.copied = text; })")
    page.click("[data-act=copy-passage]")
    page.wait("globalThis.copied === 'The tide comes in twice.'")
    page.click("[data-act=open-result]")
    page.wait(seen("#reader mark"))
    assert page.text("#reader h2") == "sea.pdf"
    assert page.js("[...document.querySelectorAll('#reader h3')].map((e) => e.innerText)") == ["page 1", "page 2"]
    assert page.text("#reader mark") == "The tide comes in twice."
    assert page.text("#reader .read").strip() == "Ships sail."
    press(page, Keys.ESCAPE)
    page.wait(f"!{seen('#reader')}")
