"""The Search page finds texts and photos of this device by their meaning; the index stays in this browser."""

import asyncio
from collections import OrderedDict

import js
from studio.pages.search import shelf
from studio.shell import elements, folders, model_files
from studio.shell.documents import Unreadable, read
from studio.shell.elements import action, announce, button, copied_soon, el, fill, icon_button, message_of, on, show
from studio.shell.errors import in_a_line
from studio.shell.files import Document, is_photo, not_read
from studio.shell.models import Failure, Model, Progress, texts_model
from studio.shell.nearest import nearest, vectors_of
from studio.shell.page import Page, Problem
from studio.shell.pictures import preview
from studio.shell.reader import marked, show_document, words_of
from studio.shell.wording import duration, number, plural, t
from studio.shell.work import begin_work, shorten

PAGE = {
    "place": 3,
    "title": "Search",
    "about": "Find texts and photos by their meaning",
    "tasks": ["feature-extraction", "image-feature-extraction"],
    "icon": '<circle cx="11" cy="11" r="6"/><path d="M15.500 15.500L20 20"/>',
}

BATCH = 16  # records that are embedded, and then stored, at a time
LOOSE = "Files"  # the folder, in the index, of files that come without one
MOST = 20  # results of each kind
MOST_FILES = 20000
# Cosines of MiniLM's vectors, measured with 40 questions on different things and the passages that answer them. Below
# the floor are 97 % of the 1,560 pairs that do not belong together, and one of the 40 that do; three quarters of these
# are close, one quarter is very close.
FLOOR, CLOSE, VERY_CLOSE = 0.2, 0.39, 0.59
# A CLIP was trained with its cosines multiplied by 100: a photo that is 0.05 behind the best is e^5 times less likely.
BEHIND = 0.05


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

    def count(self, number: int) -> str:
        """That many passages or photos, in words."""
        return plural(number, "%s photo", "%s photos") if self.name == "photo" else \
            plural(number, "%s passage", "%s passages")


class Photos(Model):
    def can_use(self, tasks: list) -> bool:
        """Only a CLIP, which reads texts, too."""
        return super().can_use(tasks) and "zero-shot-image-classification" in tasks


class Search(Page):
    def __init__(self, engine, name):
        texts = texts_model(engine)
        photos = Photos(engine, "image-feature-extraction", t("Model for photos"), t("CLIP model"),
                        t("Photos are found by a CLIP: open its .safetensors and .json files."))
        super().__init__(engine, name, t("Search"), [texts, photos])
        self.make(t("Find it by its meaning."),
                  t("Choose a folder of texts, PDFs, Word files or photos, and describe what you are looking for. The "
                    "index is made and kept in this browser: nothing is uploaded."),
                  t("Drop a folder of documents or photos here"))
        self.kinds = [Kind("text", texts), Kind("photo", photos)]
        self.problem, self.pictures, self.drawn = "", [], None
        self.asked, self.partial = "", False  # the last search; partial: before everything was indexed
        self.results: list = []  # the records that it found
        self.paused = False  # indexing was stopped or failed: it continues when the user says so
        self.restored = asyncio.Event()  # set when the stored records have been read
        folder = self.picker("", self.add_files, webkitdirectory=True)
        files = self.picker("", self.add_files, multiple=True)
        self.query = el("input", type="search", id="query", placeholder=t("A sentence, a thing, a mood …"),
                        autocomplete="off", enterkeyhint="search", dir="auto")
        self.form = el("form", el("label", t("Search for"), cls="unseen", **{"for": "query"}), self.query,
                       el("button", t("Search"), type="submit", cls="primary"), role="search", cls="query", hidden=True)
        self.found = el("section", cls="found", hidden=True, aria_label=t("Results"))
        self.go_on = button(t("Continue indexing"), "index", cls="primary", hidden=True)
        self.starts = [button(t("Choose a folder"), "pick-folder", cls="primary", sign="folder"),
                       button(t("Choose files"), "pick-files", sign="file")]
        self.start = el("div", self.go_on, *self.starts, cls="row")
        self.shelf = el("div", el("h2", t("What is searched")), el("ul", cls="shelf"), hidden=True)
        self.note = el("p", cls="about small")
        self.body.append(self.form, *[model.card.box for model in self.models], self.work.box, self.found,
                         el("section", self.shelf, self.start, self.note))
        self.keep_works(t("New search"), t("Your searches will be listed here."),
                        [(t("Export as text"), "txt", "text/plain", self.exported)])
        on(self.form, "submit", self.submitted)
        asyncio.create_task(self.restore())
        action("pick-folder")(lambda _source: folder.click())
        action("pick-files")(lambda _source: files.click())
        action("index")(lambda _source: self.begin(self.index(), t("The index is not complete")))
        action("forget")(lambda source: asyncio.create_task(self.forget(source.getAttribute("data-folder"))))
        action("open-result")(lambda source: self.open_result(self.results[int(source.getAttribute("data-number"))]))
        action("copy-passage")(lambda source: copied_soon(
            source, self.results[int(source.getAttribute("data-number"))].text.strip()))

    # What there is

    async def restore(self) -> None:
        try:
            for record in await shelf.everything():
                self.kind(record.kind).items[record.id] = Item(record)
        except Exception as error:
            self.problem = t("This browser cannot keep the index (%s): it is lost when the tab is closed.") % \
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
            self.begin(self.index(), t("The index is not complete"))
            return
        show(self.start, not self.busy)
        show(self.form, something)
        self.starts[0].className = "quiet" if something else "primary"  # where there is a query, that is the way on
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
                fact = plural(len(names), "%s photo", "%s photos") if name == "photo" else \
                    plural(len(names), "%s text", "%s texts")
                facts.append(t("%s, %s not indexed yet") % (fact, number(len(waiting))) if waiting else fact)
            place.append(el("li", el("div", el("b", named(folder), dir="auto"), el("small", "  ·  ".join(facts))),
                            icon_button("close", t("Remove %s from the index") % named(folder), "forget",
                                        data_folder=folder)))
        kept = t("The passages, small previews of the photos, and what the models make of them are kept in this "
                 "browser.")
        self.note.textContent = self.problem or (kept if folders else "")

    async def forget(self, folder: str) -> None:
        if not self.free():
            return
        for kind in self.kinds:
            await self.replace(kind, [item for item in kind.items.values() if item.folder == folder], [])
        show(self.found, False)
        self.update()
        announce(t("Removed %s") % named(folder))

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
            self.problem = t("The browser could not keep the whole index (%s): free some space.") % message_of(error)

    # Adding

    def receive(self, transfer) -> None:
        entries = folders.entries(transfer)
        if not entries:
            self.add_files([transfer.files.item(n) for n in range(transfer.files.length)])
        elif self.free():
            self.begin(self.walk(entries), t("Nothing was added"))

    async def walk(self, entries: list) -> None:
        """Adds the files that were dropped, and those in dropped folders."""
        self.running(t("Reading the folder"))
        self.update()
        files = await folders.files_in(entries, MOST_FILES, self.check)
        await self.add(files)

    def add_files(self, files: list) -> None:
        if self.free():
            named = [(getattr(file, "webkitRelativePath", "") or file.name, file) for file in files]
            self.begin(self.add(named), t("Nothing was added"))

    async def add(self, files: list) -> None:
        """files: [(path, File)]. Passages and previews are stored first, so that indexing can continue later."""
        if model_files.is_model([file for _, file in files]):
            model_files.open_soon(self.engine, model_files.of_folder(files))
            return
        await self.restored.wait()
        self.paused = False
        files = [(path, file) for path, file in files if not is_hidden(path)]
        skipped = [(path, t("At most %s files are searched.") % number(MOST_FILES)) for path, _ in files[MOST_FILES:]]
        files = files[:MOST_FILES]
        for place, (path, file) in enumerate(files):
            self.running(t("Reading"), t("%s of %s") % (number(place), plural(len(files), "%s file", "%s files")),
                         place / len(files))
            if place == 0:
                self.update()
            folder, _, name = path.partition("/")
            if not name:
                folder, name = LOOSE, path
            try:
                kind, new = await self.records(folder, name, file)
            except Unreadable as problem:
                skipped.append((name, message_of(problem)))
            else:
                await self.replace(kind, kind.of_file(folder, name), new)
            self.check()
        if len(skipped) >= len(files):
            raise Problem(t("There is no text and no photo in it"), not_read(skipped))
        if skipped:
            elements.toast(not_read(skipped), seconds=20)
        for kind in self.kinds:
            if kind.items:
                kind.model.need()

    async def records(self, folder: str, name: str, file) -> tuple:
        """The kind of a file, and its records. Raises Unreadable."""
        if is_photo(name):
            try:
                return self.kinds[1], shelf.photo(folder, name, await preview(file))
            except Exception:
                raise Unreadable(t("The browser cannot show such a picture.")) from None

        def told(_page: int, _pages: int) -> None:
            self.check()
        document = await read(file, told)
        document.name = name
        return self.kinds[0], shelf.passages(folder, document)

    # Indexing

    async def index(self) -> None:
        self.paused = True
        for kind in self.kinds:
            pending, progress = kind.pending() if kind.model.state == "ready" else [], Progress()
            of = kind.count(len(pending))
            for start in range(0, len(pending), BATCH):
                progress.update(kind.name, start, len(pending))
                amount = t("%s of %s") % (number(start), of)
                if progress.left is not None:
                    amount += "  ·  " + t("about %s left") % duration(progress.left)
                self.running(t("Indexing"), amount, start / len(pending))
                if start == 0:
                    self.update()
                batch, model = pending[start:start + BATCH], kind.model.name
                if kind.name == "photo":
                    body = await self.ask(kind.model, "embed", {}, [item.record.picture for item in batch])
                else:
                    body = await self.ask(kind.model, "embed", {"inputs": [item.record.text for item in batch]})
                for item, vector in zip(batch, vectors_of(body)):  # noqa: B905  (MicroPython knows no `strict`)
                    item.record.vector, item.record.model, item.model = vector, model, model
                await self.replace(kind, [], [item.record for item in batch])
        self.paused = False
        announce(t("The index is complete."))
        if self.partial:
            await self.search(self.asked)

    # Searching, which is possible while the index is being made

    def submitted(self, event) -> None:
        event.preventDefault()
        text = self.query.value.strip()
        if text:
            asyncio.create_task(self.search(text))

    async def search(self, text: str) -> None:
        self.asked = text
        self.found.setAttribute("aria-busy", "true")
        lists, problem = [], ""
        try:
            for kind in self.kinds:
                if kind.indexed():
                    lists.append((kind, await self.close_to(kind, text)))
        except Failure as failure:
            problem = in_a_line(failure.error)
        if not lists and not problem:
            problem = t("Nothing is indexed yet: wait for the model, or load one above.")
        if text != self.asked:
            return  # another search was made meanwhile, and is shown
        self.found.setAttribute("aria-busy", "false")
        self.partial = any(kind.model.state == "ready" and bool(kind.pending()) for kind in self.kinds)
        self.draw_found(lists, problem)
        if not problem:
            self.keep(lists)

    def keep(self, lists: list) -> None:
        """Keeps the search with what it found; the passages and photos are in the index."""
        if self.current is None or self.current.data["query"] != self.asked:
            self.current = begin_work(shorten(self.asked), query=self.asked)
        self.current.change(found=[[kind.name, [[record.id, score] for record, score in found]]
                                   for kind, found in lists])
        self.mark()
        self.history.save_now(self.current)

    def kept(self, work) -> list:
        """[(kind, [(record, cosine), ...])] of a kept search, without what was removed from the index since."""
        lists = []
        for name, found in work.data["found"]:
            items = self.kind(name).items
            lists.append((self.kind(name), [(items[key].record, score) for key, score in found if key in items]))
        return lists

    async def show_work(self, work) -> None:
        await self.restored.wait()
        self.current = work
        self.query.value = self.asked = work.data["query"]
        self.partial = False
        lists = self.kept(work)
        gone = any(len(found) < len(before) for (_, found), (_, before) in zip(lists, work.data["found"]))  # noqa: B905
        self.draw_found(lists, t("What it found was removed from the index.") if gone and not lists else "")
        if gone:
            self.found.append(el("p", t("Some of what it found was removed from the index."), cls="about small"))

    def new_work(self) -> None:
        self.query.value = self.asked = ""
        show(self.found, False)
        super().new_work()
        self.query.focus()

    def can_leave(self) -> bool:
        """Searches can be made and shown while the index is made."""
        return True

    def deleted(self, work) -> None:
        if self.current is not None and self.current.id == work.id:
            self.new_work()

    def exported(self, work) -> str:
        lines = [work.data["query"], ""]
        for _, found in self.kept(work):
            lines += ["%s: %s" % (record.name, " ".join(record.text.split())) for record, _ in found]
        return "\n".join(lines) + "\n"

    async def close_to(self, kind: Kind, text: str) -> list:
        """[(record, cosine), ...]: what is close enough to a text, the nearest first. Raises Failure."""
        indexed = kind.indexed()
        version = "%s %d" % (kind.model.name, kind.version)
        found = await nearest(kind.model, text, version, [item.record.vector for item in indexed], MOST)
        floor = FLOOR if kind.name == "text" else max([score for _, score in found] or [0]) - BEHIND
        return [(indexed[number].record, score) for number, score in found if score >= floor]

    def draw_found(self, lists: list, problem: str) -> None:
        for picture in self.pictures:
            js.URL.revokeObjectURL(picture)
        self.pictures, self.results = [], []
        sections = [(self.photos if kind.name == "photo" else self.passages)(found) for kind, found in lists if found]
        if not sections:
            text = problem or t("Nothing here is close to this in its meaning. Try other words.")
            sections.append(el("p", text, cls="about", role="alert" if problem else None))
        if self.partial and not problem:
            sections.append(el("p", t("The index is not complete yet: there may be more."), cls="about small"))
        fill(self.found, *sections)
        self.reveal(self.found)
        if not problem:
            announce(plural(len(self.results), "%s result, the nearest first.", "%s results, the nearest first."))

    def passages(self, found: list):
        rows, words = el("ol", cls="passages"), words_of(self.asked)
        for record, score in found:
            number = len(self.results)
            self.results.append(record)
            place = document_of([record]).place(0)
            rows.append(el(
                "li",
                el("div", el("b", record.name, dir="auto"), el("small", place, dir="auto") if place else None,
                   el("span", nearness(score), cls="nearness")),
                el("p", *marked(" ".join(record.text.split()), words), dir="auto"),
                el("div", button(t("Open"), "open-result", cls="link", data_number=number),
                   button(t("Copy"), "copy-passage", cls="link", data_number=number), cls="row")))
        return rows

    def photos(self, found: list):
        rows = el("ol", cls="photos")
        for record, _ in found:
            number = len(self.results)
            self.results.append(record)
            self.pictures.append(js.URL.createObjectURL(record.picture))
            rows.append(el("li", el("img", src=self.pictures[-1], alt=record.name, loading="lazy"),
                           el("b", record.name, dir="auto"), data_number=number))
        return rows

    def open_result(self, record) -> None:
        """Shows a passage in its document."""
        records = [item.record for item in self.kind("text").of_file(record.folder, record.name)]
        ids = [other.id for other in records]
        if record.id in ids:
            show_document(document_of(records), ids.index(record.id))
        else:
            elements.toast(t("%s was removed from the index.") % record.name)


def named(folder: str) -> str:
    """A folder's name as it is shown. That of files without a folder is kept in English, whatever the page's language
    is: a file that comes again replaces itself."""
    return t("Files") if folder == LOOSE else folder


def is_hidden(path: str) -> bool:
    """Files and folders that file managers do not show, such as .git."""
    return any(part.startswith(".") for part in path.split("/"))


def document_of(records: list) -> Document:
    """The document whose passages these records are. Those of an earlier version have no places."""
    unit = getattr(records[0], "unit", "line")
    return Document(records[0].name, unit, [[getattr(record, "place", ""), record.text] for record in records])


def nearness(score: float) -> str:
    return t("very close") if score >= VERY_CLOSE else t("close") if score >= CLOSE else t("related")
