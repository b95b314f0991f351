"""The Classify page says what a picture shows, from a file, the clipboard or the camera."""

import asyncio
import time

import js
from js import navigator
from studio.shell import elements
from studio.shell.elements import action, announce, attempt, button, el, message_of, on, show
from studio.shell.models import Failure, Model
from studio.shell.page import Page, Problem
from studio.shell.pictures import preview
from studio.shell.wording import number, share, t, unit
from studio.shell.work import Work, begin_work

PAGE = {
    "place": 4,
    "title": "Classify",
    "about": "See what is in a picture",
    "tasks": ["image-classification", "zero-shot-image-classification"],
    "opens": ["image/"],
    "icon": '<rect x="4" y="5" width="16" height="14" rx="2"/>'
            '<path d="M4 16l4.500-4.500 4 4 2.500-2.500 5 5"/><path d="M15 9h.01" stroke-width="2.600"/>',
}

TOP = 5
PAUSE = 0.05  # seconds between two pictures of the camera, so that the page stays responsive
LABELS = "a person, an animal, a plant, food, a building, a landscape, a vehicle, a document"  # CLIP knows English


class Either(Model):
    """One of two models, of which one is loaded at a time: the other one is freed when this one is ready."""

    other: "Either"

    def load(self, name: str | None, files=(), take_over: bool = False, keep: bool = True) -> None:
        if self.other.state == "loading":
            self.other.cancel_load()
        super().load(name, files, take_over, keep)

    def _answered(self, kind: str, body: dict) -> None:
        super()._answered(kind, body)
        if kind == "result":
            self.other.unload()  # its waiting jobs start again with this one


class Classify(Page):
    def __init__(self, engine, name):
        self.namer = Either(engine, "image-classification", t("Model for pictures"), t("model for pictures"),
                           t("Open the .safetensors and .json files of a model such as EfficientNet or ViT."))
        self.clip = Either(engine, "zero-shot-image-classification", t("Model for your own labels"), t("CLIP model"),
                          t("Open the .safetensors and .json files of a CLIP model."))
        self.namer.other, self.clip.other = self.clip, self.namer
        super().__init__(engine, name, t("Classify"), [self.namer, self.clip])
        self.make(t("What is in the picture?"),
                  t("Choose a photo, or point the camera at something. The pictures stay on this device."),
                  t("Drop a picture here"))
        self.watching, self.file = False, None  # file: the picture that is shown
        self.labelled: list = []  # what was found in it
        pick = self.picker("image/*", self.take)
        self.starts = [button(t("Use the camera"), "camera", cls="primary", sign="camera"),
                       button(t("Choose a picture"), "pick-picture", sign="file")]
        self.start = el("div", *self.starts, cls="row")
        self.labels = el("textarea", rows="3", id="labels", dir="auto", aria_describedby="labels-about")
        self.labels.value = elements.storage.getItem("tensortab.labels") or LABELS
        on(self.labels, "input", lambda _event: attempt(elements.storage, "setItem", "tensortab.labels",
                                                        self.labels.value))
        self.again = button(t("Look again"), "look-again")
        about = el("p", t("What it may show: two or more labels, separated by commas or line breaks."), cls="about",
                   id="labels-about")
        self.choice = el("section", el("label", t("Labels"), **{"for": "labels"}), self.labels,
                         el("div", about, self.again, cls="row"), cls="labels", hidden=True)
        self.picture = el("img", hidden=True)
        self.video = el("video", playsinline=True, hidden=True, aria_label=t("Camera"))
        self.video.muted = True  # only the HTML parser reads the attribute; a video with sound may not start itself
        self.stop = button(t("Stop the camera"), "cancel", cls="primary", sign="stop", hidden=True)
        self.list, self.facts = el("ol", cls="bars"), el("p", cls="about")
        self.result = el("section", el("div", self.picture, self.video, self.stop, cls="seen"),
                         el("div", self.list, self.facts), cls="looked", hidden=True)
        self.body.append(self.start, self.choice, self.clip.card.box, self.namer.card.box, self.work.box, self.result)
        self.keep_works(t("New picture"), t("Your pictures will be listed here."),
                        [(t("Export as text"), "txt", "text/plain", exported)])
        action("pick-picture")(lambda _source: pick.click())
        action("look-again")(lambda _source: self.take([self.file]))
        action("camera")(lambda _source: self.begin(self.watch(), t("The picture was not classified")))

    def filled(self) -> bool:
        return self.busy or self.file is not None

    def take(self, files: list) -> None:
        if self.free():
            self.begin(self.look(files[0]), t("%s was not classified") % files[0].name)

    @property
    def model(self) -> Either:
        """The model that is used or offered."""
        return self.clip if self.clip.state in ("loading", "ready") else self.namer

    def wanted(self, model: Model) -> bool:
        return model is self.model

    def update(self) -> None:
        super().update()
        show(self.start, not self.busy)
        show(self.choice, self.model is self.clip)
        show(self.again, self.file is not None)
        self.labels.readOnly = self.busy

    def options(self) -> dict:
        """The options of the pipeline's call."""
        if self.model is self.namer:
            return {"top_k": TOP}
        labels = []
        for part in self.labels.value.replace("\n", ",").split(","):
            label = " ".join(part.split())
            if label and label not in labels:
                labels.append(label)
        if len(labels) < 2:
            raise Problem(t("There are too few labels"),
                          t("Write two or more different labels, with a comma between them, such as: a cat, a dog."))
        return {"candidate_labels": labels}

    def show(self, visible: bool) -> None:
        super().show(visible)
        if not visible and self.watching:  # nobody sees the page: the camera is switched off
            self.cancel()

    async def look(self, file) -> None:
        """Classifies one picture."""
        self.see(file, self.current if file is self.file else None)
        self.draw([])
        self.facts.textContent = ""
        self.running(t("Looking at %s") % file.name)
        self.update()
        try:
            await attempt(self.picture, "decode")
        except Exception:
            self.file = None
            show(self.result, False)
            raise Problem(t("The browser cannot read %s as a picture") % file.name) from None
        labels = await self.answer(file)
        self.draw(labels)
        self.reveal(self.list)
        self.facts.textContent = t("in %s") % unit(1000 * self.took, "millisecond")
        announce(", ".join(["%s %s" % (found["label"], share(found["score"])) for found in labels[:TOP]]))
        await self.keep(file, labels)

    async def keep(self, file, labels: list) -> None:
        """Keeps what was found, with a small copy of the picture."""
        if self.current is None:
            self.current = work = begin_work(file.name)
            work.change(labels=labels, facts=self.facts.textContent)
            self.mark()
            await self.history.keep_file(work, await preview(file))
        self.current.change(labels=labels, facts=self.facts.textContent)
        await self.history.save(self.current)

    async def show_work(self, work) -> None:
        self.current = work
        picture = await self.history.file(work)
        if self.current is work:
            if picture is not None:
                self.see(js.File.new(js.Array.of(picture), work.title), work)
            else:
                self.file = None
                show(self.picture, False)
            self.draw(work.data["labels"])
            self.facts.textContent = work.data["facts"]
            show(self.result)
            self.update()

    def new_work(self) -> None:
        self.file = None
        show(self.result, False)
        super().new_work()
        self.update()

    async def answer(self, file) -> list:
        """Labels by the page's model, or by the other one if that takes its place meanwhile."""
        while True:
            model = self.model
            try:
                return (await self.ask(model, "task", self.options(), (file,)))["output"]
            except Failure:
                if self.model is model or self.model.state not in ("loading", "ready"):
                    raise

    async def watch(self) -> None:
        """Classifies the camera's pictures until it is stopped."""
        self.options()  # raises for too few labels, before the camera is requested
        self.watching = True
        self.running(t("Starting the camera"))
        self.update()
        options = js.JSON.parse('{"video": {"facingMode": "environment", "width": {"ideal": 640}}}')
        try:
            stream = await attempt(navigator.mediaDevices, "getUserMedia", options)
        except Exception as error:
            self.watching = False
            raise Problem(t("The browser does not let this page use the camera"), message_of(error)) from None
        self.draw([])
        self.facts.textContent = ""
        self.video.srcObject = stream
        self.frame(self.video)
        try:
            await attempt(self.video, "play")
            show(self.stop)
            self.work.hide()
            self._doing = ""
            self.keep_focus(self.stop)
            count, began = 0, 0.0
            while not self.stopped:
                image = await attempt(js.self, "createImageBitmap", self.video)
                labels = (await self.ask(self.model, "task", self.options(), (image,), (image,)))["output"]
                self.draw(labels)
                count += 1
                if count == 1:  # the first picture may have waited for the model
                    began = time.time()
                else:
                    self.facts.textContent = t("%s pictures a second") % number((count - 1) / (time.time() - began), 1)
                await asyncio.sleep(PAUSE)
        finally:
            self.watching = False
            for track in stream.getTracks():
                track.stop()
            show(self.stop, False)
            await self.still()

    async def still(self) -> None:
        """Stops the camera; its last picture stays."""
        width, height = self.video.videoWidth, self.video.videoHeight
        if width:
            canvas = js.OffscreenCanvas.new(width, height)
            canvas.getContext("2d").drawImage(self.video, 0, 0)
            file = js.File.new(js.Array.of(await canvas.convertToBlob()), t("the camera’s last picture"))
            self.see(file)
            if self.labelled:
                await self.keep(file, self.labelled)
        self.video.srcObject = None

    def see(self, file, work: Work | None = None) -> None:
        """Shows a picture. work: the one that it is of, if that is kept already."""
        self.file, self.current = file, work
        if self.picture.src:
            js.URL.revokeObjectURL(self.picture.src)
        self.picture.src, self.picture.alt = js.URL.createObjectURL(file), file.name
        self.frame(self.picture)

    def frame(self, seen) -> None:
        """Shows the picture or the camera."""
        show(self.picture, seen is self.picture)
        show(self.video, seen is self.video)
        show(self.result)

    def draw(self, labels: list) -> None:
        self.labelled = labels
        while self.list.childElementCount < len(labels):
            self.list.append(el("li", el("b", dir="auto"), el("span", cls="share"),
                                el("span", el("span"), cls="bar", aria_hidden="true")))
        for place, found in enumerate(labels):
            row = self.list.children.item(place)
            name, part, bar = row.children.item(0), row.children.item(1), row.children.item(2)
            name.textContent, part.textContent = found["label"], share(found["score"])
            bar.firstElementChild.style.width = "%.1f%%" % (100 * found["score"])
        while self.list.childElementCount > len(labels):
            self.list.lastElementChild.remove()


def exported(work) -> str:
    return "".join(["%s\t%s\n" % (found["label"], share(found["score"])) for found in work.data["labels"]])
