"""What the tests of several pages do in them: files to give, and how they are given."""

import json

from tests.studio.conftest import Page

TASKS = {
    "transcribe": "automatic-speech-recognition", "search": "feature-extraction",
    "classify": "image-classification", "summarise": "summarization",
}  # fmt: skip
# A file of so many seconds of a tone; a picture; a stream of a microphone or a camera.
WAV = """((seconds, name) => {
    const rate = 8000, size = rate * seconds, view = new DataView(new ArrayBuffer(44 + 2 * size));
    const text = (at, words) => [...words].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, 'RIFF'); text(8, 'WAVEfmt '); text(36, 'data');
    [[4, 36 + 2 * size], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * size]].map((p) => view.setUint32(...p, true));
    [[20, 1], [22, 1], [32, 2], [34, 16]].map((p) => view.setUint16(...p, true));
    for (let i = 0; i < size; i += 1) view.setInt16(44 + 2 * i, 9000 * Math.sin(i / 5), true);
    return new File([view], name, {type: 'audio/wav'});
})"""
PNG = """(async (name) => {
    const canvas = new OffscreenCanvas(640, 480), context = canvas.getContext('2d');
    context.fillStyle = '#fa5';
    context.fillRect(0, 0, 400, 480);
    return new File([await canvas.convertToBlob()], name, {type: 'image/png'});
})"""
DEVICES = """void (globalThis.tracks = [], navigator.mediaDevices.getUserMedia = async ({video}) => {
    let stream;
    if (video) {
        const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        setInterval(() => context.fillRect(0, 0, Date.now() % 300, 150), 50);
        stream = canvas.captureStream(20);
    } else {
        const context = new AudioContext(), tone = context.createOscillator();
        const out = context.createMediaStreamDestination();
        tone.connect(out);
        tone.start();
        stream = out.stream;
    }
    tracks.push(...stream.getTracks());
    return stream;
})"""
LAST = "[...document.querySelectorAll('#NAME .amount')].at(-1)?.innerText"  # what the card of the work says
TEXTS = """[new File(['The tide comes in twice.'], 'tide.md'),
    new File(['Oaks are old.\\n\\nAs are ships.'], 'oak.txt'), new File(['\\0'], 'program.exe')]"""


def give(page: Page, selector: str, files: str) -> None:
    """Chooses files (a JavaScript expression of an array) in a file field."""
    page.js(f"""(async () => {{ const box = document.querySelector({json.dumps(selector)}), list = new DataTransfer();
        for (const file of await Promise.all({files})) list.items.add(file);
        box.files = list.files; box.dispatchEvent(new Event('change')); }})()""")


def drop(page: Page, files: str, event: str = "drop") -> None:
    made = "new DragEvent('drop', {dataTransfer: list, bubbles: true, cancelable: true})"
    if event == "paste":
        made = "new ClipboardEvent('paste', {clipboardData: list, bubbles: true, cancelable: true})"
    page.js(f"""(async () => {{ const list = new DataTransfer();
        for (const file of await Promise.all({files})) list.items.add(file);
        document.body.dispatchEvent({made}); }})()""")


def seen(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})?.checkVisibility()"


def loaded(page: Page, name: str) -> None:
    """Opens a page and loads its model by the button of its card."""
    page.open("#" + name)
    button = f"#{name} [data-task={TASKS[name]}] [data-act=load-default]"
    page.wait(seen(button))
    page.fake(pace=1)
    page.click(button)
    page.wait(seen(f"#{name} .pick[data-state=ready]"))


def unload(page: Page, name: str) -> None:
    """Unloads a page's model by the sheet of its header."""
    page.click(f"#{name} .pick")
    page.wait(seen("#picker [data-act=unload]"))
    page.click("#picker [data-act=unload]")
    page.click("#picker [data-act=close-dialog]")


def saved(page: Page, selector: str) -> tuple[str, str]:
    """(name, text) of what a button downloads."""
    page.js("void (globalThis.saved = [], URL.createObjectURL = (blob) => (saved.push(blob), 'about:blank#'))")
    page.js("void (HTMLAnchorElement.prototype.click = function () { saved.name = this.download; })")
    page.click(selector)
    page.wait("saved.length === 1")
    return str(page.js("saved.name")), str(page.js("saved[0].text()"))
