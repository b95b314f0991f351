"""The Search page finds texts and photos of this device by their meaning; the index stays in this browser."""

import asyncio
from collections import OrderedDict

import js
from studio.pages.search import shelf
from studio.shell import model_files
from studio.shell.elements import action, announce, attempt, button, el, fill, icon_button, message_of, on, show, toast
from studio.shell.files import LONGEST, PHOTOS, TEXTS, counted, is_photo, is_text, pieces
from studio.shell.models import Model
from studio.shell.page import Page, Problem
from studio.shell.wording import t

PAGE = {
    "place": 3,
    "title": "Search",
    "about": "Find texts and photos by their meaning",
    "tasks": ["feature-extraction", "image-feature-extraction"],
    "icon": '<circle cx="11" cy="11" r="6"/><path d="M15.500 15.500L20 20"/>',
}

BATCH = 16  # records that are embedded, and then stored, at a time
SHORT_SIDE = 448  # pixels of a photo's stored preview: twice what CLIP sees
MOST = 20  # results of each kind
MOST_FILES = 20000


class Item:
    """A record, with its most used fields as Python objects."""

    def __init__(self, record):
        self.record = record
        self.id, self.folder, self.name, self.model = record.id, record.folder, record.name, record.model


class Kind:
    """What one model can search, {id: Item}. `version` changes with the items, so that the engine can tell whether its
    index is up to date."""

    def __init__(self, name: str, model: Model):
        self.name, self.model, self.version = name, model, 0
        self.items: OrderedDict = OrderedDict()
        self._pending: list = []
        self._pending_of: tuple | None = None

    def indexed(self) -> list:
        return [item for item in self.items.values() if item.model == self.model.name]

    def pending(self) -> list:
        """The items without a vector of the loaded model or, if none is loaded, of any model."""
        model = self.model.name
        if self._pending_of != (self.version, model):  # called at each progress of a download
            self._pending_of = self.version, model
            self._pending = [item for item in self.items.values() if (item.model != model if model else not item.model)]
        return self._pending

    def of_file(self, folder: str, name: str) -> list:
        found: list = []
        while shelf.key(folder, name, len(found)) in self.items:
            found.append(self.items[shelf.key(folder, name, len(found))])
        return found


class Photos(Model):
    def can_use(self, tasks: list) -> bool:
        """Only a CLIP, which reads texts, too."""
        return super().can_use(tasks) and "zero-shot-image-classification" in tasks


class Search(Page):
    def __init__(self, engine, name):
        texts = Model(engine, "feature-extraction", "model for texts",
                     "Open the .safetensors and .json files of a sentence model, such as MiniLM.")
        photos = Photos(engine, "image-feature-extraction", "CLIP model",
                      "Photos are found by a CLIP: open its .safetensors and .json files.")
        super().__init__(engine, name, t("Search"), [texts, photos])
        self.make(t("Find it by its meaning."),
                  t("Choose a folder of texts or photos, and describe what you are looking for. The index is made and "
                    "kept in this browser: nothing is uploaded."), t("Drop a folder of texts or photos here"))
        self.kinds = [Kind("text", texts), Kind("photo", photos)]
        self.problem, self.pictures, self.drawn = "", [], None
        self.paused = False  # indexing was stopped or failed: it continues when the user says so
        self.restored = asyncio.Event()  # set when the stored records have been read
        folder = self.picker("", self.add_files, webkitdirectory=True)
        files = self.picker(",".join(TEXTS + PHOTOS), self.add_files, multiple=True)
        self.query = el("input", type="search", id="query", placeholder="A sentence, a thing, a mood …",
                        autocomplete="off", enterkeyhint="search")
        self.form = el("form", el("label", "Search for", cls="unseen", **{"for": "query"}), self.query,
                       el("button", "Search", type="submit", cls="primary"), role="search", cls="query", hidden=True)
        self.found = el("section", cls="found", hidden=True, aria_label="Results")
        self.go_on = button("Continue indexing", "index", cls="primary", hidden=True)
        self.starts = [button(t("Choose a folder"), "pick-folder", cls="primary", sign="folder"),
                       button(t("Choose files"), "pick-files", sign="file")]
        self.start = el("div", self.go_on, *self.starts, cls="row")
        self.shelf = el("div", el("h2", "What is searched"), el("ul", cls="shelf"), hidden=True)
        self.note = el("p", cls="about small")
        self.body.append(self.form, *[model.card.box for model in self.models], self.work.box, self.found,
                         el("section", self.shelf, self.start, self.note))
        on(self.form, "submit", self.submitted)
        asyncio.create_task(self.restore())
        action("pick-folder")(lambda _source: folder.click())
        action("pick-files")(lambda _source: files.click())
        action("index")(lambda _source: self.begin(self.index(), "The index is not complete"))
        action("forget")(lambda source: asyncio.create_task(self.forget(source.getAttribute("data-folder"))))

    # What there is

    async def restore(self) -> None:
        try:
            for record in await shelf.everything():
                self.kind(record.kind).items[record.id] = Item(record)
        except Exception as error:
            self.problem = "This browser cannot keep the index (%s): it is lost when the tab is closed." % \
                message_of(error)
        for kind in self.kinds:
            kind.version += 1
            if kind.items:
                kind.model.wish()
        self.restored.set()
        self.update()

    def kind(self, name: str) -> Kind:
        return self.kinds[0] if name == "text" else self.kinds[1]

    def filled(self) -> bool:
        return self.busy or any(bool(kind.items) for kind in self.kinds)

    def wanted(self, model: Model) -> bool:
        return any(kind.model is model and bool(kind.items) for kind in self.kinds)

    def update(self) -> None:
        super().update()
        if not self.shown:
            return
        something = any(bool(kind.items) for kind in self.kinds)
        pending = not self.busy and any(kind.model.state == "ready" and bool(kind.pending()) for kind in self.kinds)
        if pending and not self.paused:
            self.begin(self.index(), "The index is not complete")
            return
        show(self.start, not self.busy)
        show(self.form, something)
        self.form.querySelector("button").disabled = self.busy
        show(self.go_on, pending)
        show(self.shelf, something)
        if not self.busy:
            self.draw_shelf()

    def draw_shelf(self) -> None:
        state = [(kind.version, kind.model.name) for kind in self.kinds]
        if state == self.drawn:
            return
        self.drawn = state
        folders: OrderedDict = OrderedDict()
        for kind in self.kinds:
            for place, items in enumerate((kind.items.values(), kind.pending())):
                for item in items:
                    folders.setdefault(item.folder, {}).setdefault(kind.name, (set(), set()))[place].add(item.name)
        place = self.shelf.querySelector("ul")
        fill(place)
        for folder, kinds in folders.items():
            facts = []
            for name, (names, waiting) in sorted(kinds.items(), reverse=True):
                left = ", %d not indexed yet" % len(waiting) if waiting else ""
                facts.append(counted(len(names), name) + left)
            place.append(el("li", el("div", el("b", folder), el("small", "  ·  ".join(facts))),
                            icon_button("close", "Remove %s from the index" % folder, "forget", data_folder=folder)))
        kept = "The passages, small previews of the photos, and what the models make of them are kept in this browser."
        self.note.textContent = self.problem or (kept if folders else "")

    async def forget(self, folder: str) -> None:
        if not self.free():
            return
        for kind in self.kinds:
            await self.replace(kind, [item for item in kind.items.values() if item.folder == folder], [])
        show(self.found, False)
        self.update()
        announce("Removed " + folder)

    async def replace(self, kind: Kind, old: list, new: list) -> None:
        """Replaces items by new records, also in the storage. old: Items."""
        for item in old:
            del kind.items[item.id]
        for record in new:
            kind.items[record.id] = Item(record)
        kind.version += 1
        try:
            await shelf.replace([item.id for item in old], new)
        except Exception as error:
            self.problem = "The browser could not keep the whole index (%s): free some space." % message_of(error)

    # Adding

    def receive(self, transfer) -> None:
        entries = [item.webkitGetAsEntry() for item in getattr(js.Array, "from")(transfer.items)]
        entries = [entry for entry in entries if entry is not None]
        if not entries:
            self.add_files([transfer.files.item(n) for n in range(transfer.files.length)])
        elif self.free():
            self.begin(self.walk(entries), "Nothing was added")

    async def walk(self, entries: list) -> None:
        """Adds the files that were dropped, and those in dropped folders."""
        self.running("Reading the folder")
        self.update()
        files: list = []
        while entries and len(files) < MOST_FILES:
            entry, waiting = entries.pop(), js.Promise.withResolvers()
            if entry.isFile:
                entry.file(waiting.resolve, waiting.reject)
                file = await waiting.promise
                files.append((entry.fullPath.strip("/"), file))
            else:
                reader = entry.createReader()
                while True:
                    waiting = js.Promise.withResolvers()
                    reader.readEntries(waiting.resolve, waiting.reject)
                    listed = list(await waiting.promise)
                    if not listed:
                        break
                    entries.extend(listed)
            self.check()
        await self.add(files)

    def add_files(self, files: list) -> None:
        if self.free():
            named = [(getattr(file, "webkitRelativePath", "") or file.name, file) for file in files]
            self.begin(self.add(named), "Nothing was added")

    async def add(self, files: list) -> None:
        """files: [(path, File)]. Passages and previews are stored first, so that indexing can continue later."""
        given = [file for _, file in files]
        if model_files.is_model(given):
            model_files.open_soon(self.engine, given)
            return
        await self.restored.wait()
        self.paused = False
        files = [(path, file) for path, file in files if is_text(path) or is_photo(path)]
        if not files:
            raise Problem("There is no text and no photo in it", "Supported are: %s." % " ".join(TEXTS + PHOTOS))
        skipped = []
        for place, (path, file) in enumerate(files):
            self.running("Reading", "%d of %s" % (place, counted(len(files), "file")), place / len(files))
            if place == 0:
                self.update()
            folder, _, name = path.partition("/")
            if not name:
                folder, name = "Files", path
            kind = self.kind("text" if is_text(path) else "photo")
            try:
                new = await self.read(kind.name, folder, name, file)
            except Exception:
                skipped.append(name)
            else:
                await self.replace(kind, kind.of_file(folder, name), new)
            self.check()
        if skipped:
            toast("%s could not be read: %s" % (counted(len(skipped), "file"), ", ".join(skipped[:5])), seconds=12)
        for kind in self.kinds:
            if kind.items:
                kind.model.need()

    async def read(self, kind: str, folder: str, name: str, file) -> list:
        if kind == "photo":
            return [shelf.record(kind, folder, name, 0, "", await preview(file))]
        if file.size > LONGEST:
            raise ValueError("too long")
        passages = pieces(await file.text())
        return [shelf.record(kind, folder, name, place, text) for place, text in enumerate(passages)]

    # Indexing

    async def index(self) -> None:
        self.paused = True
        for kind in self.kinds:
            pending = kind.pending() if kind.model.state == "ready" else []
            of = " of " + counted(len(pending), "photo" if kind.name == "photo" else "passage")
            for start in range(0, len(pending), BATCH):
                self.running("Indexing", "%d" % start + of, start / len(pending))
                if start == 0:
                    self.update()
                batch, model = pending[start:start + BATCH], kind.model.name
                if kind.name == "photo":
                    body = await self.ask(kind.model, "embed", {}, [item.record.picture for item in batch])
                else:
                    body = await self.ask(kind.model, "embed", {"inputs": [item.record.text for item in batch]})
                size = body["dimensions"]
                for place, item in enumerate(batch):
                    item.record.vector = body["attachments"][0].slice(place * size, (place + 1) * size)
                    item.record.model = item.model = model
                await self.replace(kind, [], [item.record for item in batch])
        self.paused = False
        announce("The index is complete.")

    # Searching

    def submitted(self, event) -> None:
        event.preventDefault()
        text = self.query.value.strip()
        if text and not self.busy:
            self.begin(self.search(text), "Nothing was searched")

    async def search(self, text: str) -> None:
        sections = []
        for picture in self.pictures:
            js.URL.revokeObjectURL(picture)
        self.pictures = []
        for kind in self.kinds:
            if kind.items and kind.model.state == "ready":
                found = await self.nearest(kind, text)
                sections.append((self.photos if kind.name == "photo" else self.passages)(found))
        if not sections:
            raise Problem("No model is loaded", "Load one first: see above.")
        fill(self.found, *sections)
        show(self.found)
        count = self.found.querySelectorAll("li").length
        announce("%s, the nearest first." % counted(count, "result"))

    async def nearest(self, kind: Kind, text: str) -> list:
        """[(record, score)], the nearest first. Sends the engine the index if it does not have this version."""
        indexed = kind.indexed()
        if not indexed:
            return []
        version = "%s %d" % (kind.model.name, kind.version)
        wish = {"inputs": text, "k": min(MOST, len(indexed)), "version": version}
        body = await self.ask(kind.model, "search", wish)
        if body["found"] is None:
            size = indexed[0].record.vector.length
            rows = js.Float32Array.new(size * len(indexed))
            for place, item in enumerate(indexed):
                rows.set(item.record.vector, place * size)
            await self.ask(kind.model, "index", {"dimensions": size, "version": version}, (rows,), (rows.buffer,))
            body = await self.ask(kind.model, "search", wish)
        return [(indexed[row].record, score) for row, score in body["found"]]

    def passages(self, found: list):
        rows = el("ol", cls="passages")
        for item, score in found:
            rows.append(el("li", el("div", el("b", item.name), el("small", item.folder), nearness(score)),
                           el("p", item.text)))
        return rows

    def photos(self, found: list):
        rows = el("ol", cls="photos")
        for item, score in found:
            self.pictures.append(js.URL.createObjectURL(item.picture))
            rows.append(el("li", el("img", src=self.pictures[-1], alt=item.name, loading="lazy"),
                           el("div", el("b", item.name), nearness(score))))
        return rows


def nearness(score: float):
    return el("span", "%.2f" % score, cls="score", title="Similarity, at most 1")


async def preview(file):
    """A small JPEG of a photo. Raises JsException where the browser cannot read it."""
    bitmap = await attempt(js.self, "createImageBitmap", file)
    scale = min(1.0, SHORT_SIDE / min(bitmap.width, bitmap.height))
    width, height = max(1, round(bitmap.width * scale)), max(1, round(bitmap.height * scale))
    canvas = js.OffscreenCanvas.new(width, height)
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height)
    bitmap.close()
    return await canvas.convertToBlob(js.JSON.parse('{"type": "image/jpeg", "quality": 0.85}'))
