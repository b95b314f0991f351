"""Choosing a model in the page: the header's button, the sheet, what is stored, and the user's own files."""

import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser import Firefox, wait_for
from tests.conftest import Site
from tests.studio.conftest import Page, press

QWEN = {
    "name": "Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf", "title": "Qwen3 0.6B", "tasks": ["text-generation"],
    "license": "Apache-2.0", "languages": ["mul"], "context": 40960, "size": 639_446_688,
    "about": "Thinks before it answers, in about a hundred languages; small enough for phones.",
}  # fmt: skip
LLAMA = {
    "name": "bartowski/Llama-3.2-3B-Instruct-GGUF:Llama-3.2-3B-Instruct-Q4_K_M.gguf", "title": "Llama 3.2 3B",
    "tasks": ["text-generation"], "license": "Llama 3.2", "languages": ["en", "de", "fr", "it", "pt"],
    "size": 2_019_377_696, "fits": "maybe", "reason": "buffer_limit", "memory": 2_580_000_000,
}  # fmt: skip
MISTRAL = QWEN | {
    "name": "a/Mistral", "title": "Mistral 7B", "size": 4_372_812_000, "fits": "no", "reason": "smaller_failed",
}  # fmt: skip
WHISPER = {
    "name": "openai/whisper-base", "title": "Whisper base", "size": 294_283_000,
    "tasks": ["automatic-speech-recognition"],
}  # fmt: skip
CLIP = {
    "name": "laion/CLIP", "title": "CLIP ViT-B/32", "size": 608_300_000,
    "tasks": ["zero-shot-image-classification", "image-feature-extraction"],
}  # fmt: skip
ROWS = "[...document.querySelectorAll('#picker .model')]"


def opened(page: Page, *hub: dict[str, Any], view: str = "chat", **values: Any) -> None:
    """A page with these models of the hub, and its sheet."""
    page.open(f"#{view}")
    page.fake(hub=[{"fits": "yes", "reason": "buffer_limit"} | about for about in hub], **values)
    page.wait("document.documentElement.dataset.engine !== 'starting'")
    sheet(page, view)


def sheet(page: Page, view: str = "chat") -> None:
    page.wait(f"document.querySelector('#{view} .pick')?.checkVisibility()")
    page.js(f"document.querySelector('#{view} .pick').focus()")
    page.click(f"#{view} .pick")
    page.wait("document.querySelector('#picker').open")


def row(page: Page, name: str) -> str:
    """What the sheet says of a model."""
    page.wait(f"document.querySelector('#picker [data-name={json.dumps(name)}]')")
    return page.text(f"#picker li[data-name={json.dumps(name)}]")


def press_in(page: Page, name: str, act: str) -> None:
    page.click(f"#picker li[data-name={json.dumps(name)}] [data-act={act}]")


def label(page: Page, view: str = "chat") -> str:
    return str(page.js(f"document.querySelector('#{view} .pick').ariaLabel"))


def state(page: Page, wanted: str, view: str = "chat") -> None:
    page.wait(f"document.querySelector('#{view} .pick').dataset.state === {json.dumps(wanted)}")


def test_a_model_of_the_hub_is_one_click_away(page: Page) -> None:
    """Its row says what it is; nothing is fetched before the click; the header shows how far it is, then its name."""
    opened(page, QWEN, LLAMA, pace=40)
    said = row(page, QWEN["name"])
    for words in ("Qwen3 0.6B", "639 MB", "Apache-2.0", "many languages", "reads 40,960 tokens", "Fits this GPU",
                  "small enough for phones", "Download 639 MB"):
        assert words in said
    said = row(page, LLAMA["name"])
    assert "English, German, French, 2 more" in said
    assert "May be too large: it needs 2.6 GB of the GPU’s memory" in said
    assert label(page) == "Chat model: SmolLM2-135M-Instruct, not loaded"
    assert page.js("tensortab.run('get kept')") == "{}"
    press_in(page, QWEN["name"], "use-model")
    page.wait("!document.querySelector('#picker').open")
    page.wait("/^Chat model: Qwen3 0.6B, loading, [1-9]\\d?%$/.test(document.querySelector('.pick').ariaLabel)")
    state(page, "ready")
    assert label(page) == "Chat model: Qwen3 0.6B, ready"
    assert page.text("#chat .pick") == "Qwen3 0.6B"
    assert page.js("document.querySelector('#chat .pick').dataset.detail") == "639 MB"
    page.send("short")
    page.answered(2)


def test_the_stored_models_come_first(page: Page) -> None:
    """With their last use and measured speed; one click loads, another frees the memory."""
    used = QWEN | {"used": time.time() - 3 * 86_400, "speed": 23.4}
    opened(page, LLAMA, used, kept={QWEN["name"]: QWEN["size"]})
    page.wait(f"{ROWS}[0]?.dataset.name === {json.dumps(QWEN['name'])}")
    said = row(page, QWEN["name"])
    assert "23.4 tokens/s here" in said and "used 3 days ago" in said
    assert "Stored" in said and "Download" not in said
    press_in(page, QWEN["name"], "use-model")
    state(page, "ready")
    sheet(page)
    assert "In use" in row(page, QWEN["name"])
    press_in(page, QWEN["name"], "unload")
    page.wait(f"{row_of(QWEN)}.querySelector('[data-act=use-model]')")
    assert page.js("document.querySelector('#picker').open"), "another one can be chosen at once"


def row_of(about: dict[str, Any]) -> str:
    return f"document.querySelector('#picker li[data-name={json.dumps(about['name'])}]')"


def test_a_download_that_has_no_room_is_not_begun(page: Page) -> None:
    """The sheet says so before, and offers to run it without keeping it, and to delete others."""
    opened(page, QWEN, MISTRAL, quota=1_000_000_000)
    assert "Download 639 MB" in row(page, QWEN["name"])
    said = row(page, MISTRAL["name"])
    assert "room for 996 MB only" in said and "Download" not in said
    assert "Does not fit: this GPU had no memory for a smaller model" in said
    press_in(page, MISTRAL["name"], "use-unkept")
    state(page, "ready")
    assert page.js("tensortab.run('get kept')") == "{}"
    sheet(page)
    press_in(page, QWEN["name"], "use-model")
    state(page, "ready")
    sheet(page)
    page.click(f"#picker li[data-name={json.dumps(MISTRAL['name'])}] [data-act=settings]")
    page.wait("document.querySelector('#settings').open")


def test_a_full_storage_offers_to_run_a_model_without_keeping_it(page: Page) -> None:
    opened(page, QWEN)
    page.fake(quota=1000)
    press_in(page, QWEN["name"], "use-model")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'quota'")
    page.click("#chat .notice [data-act=use-unkept]")
    state(page, "ready")
    assert label(page) == "Chat model: Qwen3 0.6B, ready"


def test_the_last_model_comes_back_by_itself(page: Page) -> None:
    """Of the hub, too, if it is stored; nothing is downloaded without a click."""
    opened(page, QWEN)
    press_in(page, QWEN["name"], "use-model")
    state(page, "ready")
    for kept, end, said in ((QWEN["size"], "ready", "ready"), (0, "idle", "not loaded")):
        page.open("?fake=" + quote(json.dumps({"hub": [QWEN], "kept": {QWEN["name"]: kept}})))
        page.wait(f"document.querySelector('.pick').ariaLabel === 'Chat model: Qwen3 0.6B, {said}'")
        state(page, end)


def test_another_model_is_loaded_by_its_name_or_its_address(page: Page) -> None:
    opened(page)
    page.js("document.querySelector('#other-model').value = 'no model'")
    page.click("#picker .other button")
    assert "Write the name as on the hub, such as HuggingFaceTB/" in page.text("#toast")
    assert page.js("document.querySelector('#picker').open")
    page.js("document.querySelector('#other-model').value = ' some/model:a.gguf '")
    page.click("#picker .other button")
    state(page, "ready")
    assert label(page) == "Chat model: some/model:a.gguf, ready"


def test_the_sheet_is_used_with_the_keyboard(page: Page) -> None:
    """Its rows are a list of buttons with names; what is drawn again keeps the focus; Escape closes it, and the focus
    goes back to the header."""
    opened(page, QWEN, LLAMA, pace=100)
    row(page, QWEN["name"])
    assert page.js("document.querySelector('.pick').ariaHasPopup") == "dialog"
    names = page.js(f"{ROWS}.flatMap((row) => [...row.querySelectorAll('button')]).map((b) => b.ariaLabel)")
    assert "Qwen3 0.6B: Download 639 MB" in names
    press_in(page, QWEN["name"], "use-model")
    state(page, "loading")
    sheet(page)
    page.js(f"{row_of(LLAMA)}.querySelector('button').focus()")
    page.wait(f"/^Loading, [1-9]0%$/.test({row_of(QWEN)}.querySelector('.tag')?.innerText)")
    page.wait(f"{row_of(QWEN)}.querySelector('[data-act=unload]')")
    assert page.js("document.activeElement.ariaLabel") == "Llama 3.2 3B: Download 2.0 GB"
    press(page, Keys.ESCAPE)
    page.wait("!document.querySelector('#picker').open")
    assert page.js("document.activeElement.matches('.pick')")


def test_each_page_lists_the_models_of_its_tasks(page: Page) -> None:
    opened(page, QWEN, WHISPER, CLIP, view="transcribe")
    heads = "[...document.querySelectorAll('#picker [data-task] h3')].map((head) => head.textContent)"
    assert page.js(heads) == ["Speech model"]
    assert page.js(f"{ROWS}.map((row) => row.dataset.name)") == ["whisper-tiny.en", "openai/whisper-base"]
    press_in(page, WHISPER["name"], "use-model")
    state(page, "ready", "transcribe")
    assert label(page, "transcribe") == "Speech model: Whisper base, ready"
    for view, kinds in (
        ("classify", ["Model for pictures", "Model for your own labels"]),
        ("search", ["Model for texts", "Model for photos"]), ("summarise", ["Chat model", "Model for summaries"]),
        ("lab", ["Chat model"]),
    ):  # fmt: skip
        page.js(f"location.hash = '{view}'")
        sheet(page, view)
        assert page.js(heads) == kinds
        press(page, Keys.ESCAPE)


# The user's own files

def drop(page: Page, name: str, text: str = "x") -> None:
    page.js(f"""void (() => {{ const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([{json.dumps(text)}], {json.dumps(name)}));
      document.body.dispatchEvent(new DragEvent('drop', {{ bubbles: true, cancelable: true, dataTransfer }}));
    }})()""")


def test_a_dropped_model_opens_on_the_page_that_it_is_for(page: Page) -> None:
    """The engine finds out what it is; it can be kept, and comes back then."""
    page.open("#transcribe")
    page.wait("document.querySelector('#transcribe')?.checkVisibility()")
    drop(page, "My model.gguf")
    page.wait("document.documentElement.dataset.view === 'chat'")
    state(page, "ready")
    page.wait("document.querySelector('#toast').innerText.includes('My model.gguf is loaded from your files.')")
    page.click("#toast [data-act=keep-files]")
    page.wait("document.querySelector('#toast').innerText.includes('My-model is kept on this device')")
    assert page.js("localStorage.getItem('tensortab.model.text-generation')") == "My-model"
    page.click("[data-act=settings]")
    page.wait("document.querySelector('#settings .models').innerText.includes('My-model')")
    assert "read where it is: My model.gguf" in page.text("#settings .models")
    page.click("#settings [data-act=delete-model][data-name=My-model]")
    page.wait("!document.querySelector('#settings .models').innerText.includes('My-model')")


FOLDER = """void (DataTransferItem.prototype.webkitGetAsEntry = () => {
  const file = (path) => ({ isFile: true, isDirectory: false, fullPath: "/" + path,
    file: (found) => found(new File([path], path.split("/").at(-1))) });
  const folder = (entries) => ({ isFile: false, isDirectory: true,
    createReader: () => ({ readEntries: (found) => found(entries.splice(0)) }) });
  return folder([file("bge/vit.safetensors"), file("bge/config.json"), folder([file("bge/1_Pooling/config.json")]),
    folder([file("bge/onnx/model.onnx")])]);
})"""


def test_the_folder_of_a_model_is_dropped(page: Page) -> None:
    """Its files are opened, and those of its modules under their names; others are left out."""
    page.open()
    page.wait("document.documentElement.dataset.engine !== 'starting'")
    page.js(FOLDER)
    drop(page, "bge")
    page.wait("document.documentElement.dataset.view === 'classify'")
    state(page, "ready", "classify")
    given = json.loads(str(page.js("tensortab.run('get given')")))
    assert sorted(given) == ["1_Pooling/config.json", "config.json", "vit.safetensors"]


def test_a_dropped_file_that_is_no_model_says_why(page: Page) -> None:
    page.open("#transcribe")
    page.wait("document.querySelector('#transcribe')?.checkVisibility()")
    drop(page, "broken.gguf")
    page.wait("document.querySelector('#transcribe .notice[data-code=bad_file]')?.checkVisibility()")
    assert "cut off at byte 4096" in page.text("#transcribe .notice[data-code=bad_file]")


def test_kept_files_are_read_again_after_one_click(page: Page) -> None:
    page.open()
    page.wait("document.documentElement.dataset.engine !== 'starting'")
    drop(page, "mine.gguf")
    state(page, "ready")
    page.wait("document.querySelector('#toast [data-act=keep-files]')")
    page.click("#toast [data-act=keep-files]")
    page.wait("document.querySelector('#toast').innerText.includes('is kept')")
    page.js("void (FileSystemFileHandle.prototype.requestPermission = async () => 'granted')")
    page.fake(asleep=True)
    sheet(page)
    press_in(page, "mine", "use-model")
    page.wait("document.querySelector('#chat .notice').dataset.code === 'permission'")
    page.click("#chat .notice [data-act=allow-files]")
    page.wait("document.querySelector('.pick').ariaLabel === 'Chat model: mine, ready'")


# What is stored

def test_a_model_is_carried_to_another_device(page: Page) -> None:
    """Exported as a file, deleted, and imported by dropping that file on any page."""
    opened(page, QWEN, kept={QWEN["name"]: QWEN["size"]})
    press(page, Keys.ESCAPE)
    page.click("[data-act=settings]")
    page.wait("document.querySelector('#settings [data-act=export-model]')")
    assert page.js("[...document.querySelectorAll('#settings .model b')].map((b) => b.innerText)") == ["Qwen3 0.6B"]
    assert "room for 12 GB" in page.text("#settings .models")
    page.js("""void (HTMLAnchorElement.prototype.click = function () {
      globalThis.saved = [this.download, globalThis.exported]; })""")
    page.js("""void (URL.createObjectURL = (blob) => {
      blob.text().then((text) => { globalThis.exported = text; });
      return "#";
    })""")
    page.click("#settings [data-act=export-model]")
    page.wait("globalThis.saved && globalThis.exported")
    (name, _), text = page.js("saved"), page.js("exported")
    assert name == "Qwen-Qwen3-0.6B-GGUF-Qwen3-0.6B-Q8_0.gguf.tar"
    page.click("#settings [data-act=delete-model]")
    page.wait("document.querySelector('#settings .models').innerText.includes('None yet.')")
    drop(page, "wrong.tar", "something else")
    page.wait("document.querySelector('#toast').innerText.includes('This is no exported model.')")
    drop(page, name, text)
    page.wait("document.querySelector('#toast').innerText.includes('is on this device now.')")
    page.click("#toast [data-act=use-model]")
    state(page, "ready")
    assert label(page) == "Chat model: Qwen3 0.6B, ready"


def test_the_sheet_fits_a_phone(page: Page) -> None:
    page.browser.resize(360, 740)
    try:
        opened(page, QWEN, LLAMA, MISTRAL)
        row(page, LLAMA["name"])
        assert page.js("document.querySelector('#picker').scrollWidth") <= 360
        assert page.js("document.documentElement.scrollWidth") <= 360
        buttons = f"{ROWS}.flatMap((row) => [...row.querySelectorAll('button')])"
        assert page.js(f"{buttons}.filter((button) => button.offsetHeight < 36).length") == 0
    finally:
        page.browser.resize(1280, 900)


@pytest.fixture(scope="module")
def firefox() -> Any:
    browser = Firefox()
    yield browser
    browser.close()


def test_firefox(firefox: Firefox, fake: Site) -> None:
    """Where the browser has no handles of files, they are copied."""
    page = Page(firefox, fake.url)  # type: ignore[arg-type]
    opened(page, QWEN, LLAMA)
    press_in(page, QWEN["name"], "use-model")
    state(page, "ready")
    drop(page, "mine.gguf")
    wait_for(firefox, "document.querySelector('.pick').ariaLabel === 'Chat model: mine.gguf, ready'")
    page.wait("document.querySelector('#toast [data-act=keep-files]')")
    page.click("#toast [data-act=keep-files]")
    page.wait("document.querySelector('#toast').innerText.includes('mine is kept on this device')")
