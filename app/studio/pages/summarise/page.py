"""The Summarise page shortens a document, by the chat's model or by one that is made for summaries."""

from studio.shell.documents import Unreadable, read
from studio.shell.elements import action, announce, button, by_id, el, message_of, on, show, toast
from studio.shell.files import not_read
from studio.shell.models import Model, stored, to_download
from studio.shell.page import Page, Problem
from studio.shell.wording import number, plural, t
from studio.shell.work import begin_work, shorten

PAGE = {
    "place": 5,
    "title": "Summarise",
    "about": "Shorten a document",
    "tasks": ["summarization"],
    "icon": '<path d="M4 6h16M4 10.500h16M4 15h9M4 19.500h5"/>',
}


class Summary(Model):
    """A task that the chat's model does, unless a model for summaries is loaded."""

    @property
    def chat(self) -> Model:
        return self.engine.models["text-generation"]

    def offer(self) -> dict | None:
        """The one that was used last, if it is here: the chat's model is there already."""
        found = super().offer()
        return found if found and stored(found) else None

    def lent(self) -> bool:
        return self.state == "idle" and self.chat.state == "ready"

    def take(self, job) -> None:
        if self.lent():
            job.send()
        else:
            super().take(job)

    @property
    def cost(self) -> int:
        if self.state != "idle":
            return 0
        return to_download(self.offered) if self.offered else self.chat.cost

    @property
    def coming(self) -> bool:
        return "loading" in (self.state, self.chat.state)

    def need(self) -> None:
        if self.offered:
            super().need()
        else:
            self.chat.need()


class Summarise(Page):
    def __init__(self, engine, name):
        self.model = Summary(engine, "summarization", t("Model for summaries"), "", "")
        super().__init__(engine, name, t("Summarise"), [self.model])
        self.make(t("The long and short of it."),
                  t("Paste a text, or choose a document. It is read part by part, however long it is, and never leaves "
                    "this device."), t("Drop documents here"))
        pick = self.picker("", self.take, multiple=True)
        self.given = el("textarea", rows="9", id="document", placeholder=t("Paste the text here"), spellcheck="false",
                        dir="auto")
        self.size = el("span", cls="about")
        self.go = button(t("Summarise"), "summarise", cls="primary")
        self.start = el("div", self.go, button(t("Choose a document"), "pick-document", sign="file"), self.size,
                        cls="row")
        self.starts = [self.go]
        self.place = el("div")  # the place of the chat's card, because this is the chat's model
        self.output = el("p", cls="summary", tabindex="-1", dir="auto")
        self.facts = el("p", cls="about")
        self.tools = el("div", button(t("Copy"), "copy-result", sign="copy"), cls="row")
        self.result = el("section", el("h2", t("Summary")), self.output, self.facts, self.tools, hidden=True)
        own = el("p", t("The chat’s model writes it, or one that is made for summaries, such as BART or T5."), " ",
                 button(t("Open its files"), "pick-file", cls="link"), cls="about small", data_task=self.model.task)
        self.body.append(el("label", t("Text"), cls="unseen", **{"for": "document"}), self.given, self.start,
                         self.place, self.model.card.box, self.work.box, self.result, own)
        self.keep_works(t("New text"), t("Your texts and their summaries will be listed here."),
                        [(t("Export as text"), "txt", "text/plain", exported)])
        on(self.given, "input", lambda _event: self.typed())
        self.counts()
        action("pick-document")(lambda _source: pick.click())
        action("summarise")(lambda _source: self.begin(self.summarise(), t("Nothing was summarised")))

    def filled(self) -> bool:
        return self.busy or bool(self.given.value)

    def using(self) -> Model:
        """The chat's model, unless there is one for summaries."""
        return self.model.chat if self.model.state == "idle" and not self.model.offered else self.model

    def pickable(self) -> list:
        return [self.model.chat, self.model]

    def copied_text(self) -> str:
        return self.output.textContent

    def show(self, visible: bool) -> None:
        """The chat's card is here while this page is shown, because this is the chat's model."""
        card = self.model.chat.card.box
        if visible:
            self.place.append(card)
        else:
            by_id("composer").before(card)
        super().show(visible)

    def wanted(self, model: Model) -> bool:
        return False

    def update(self) -> None:
        if self.model.lent():
            self.model.send()
        if self.shown:
            self.model.chat.draw()
        super().update()
        show(self.start, not self.busy)
        self.given.readOnly = self.busy
        show(self.tools, not self.busy and bool(self.output.textContent))
        show(self.place, self.model.state == "idle")

    def counts(self) -> None:
        words = len(self.given.value.split())
        self.size.textContent = words_in(words) if words else ""
        self.go.disabled = not words

    def typed(self) -> None:
        """Keeps the text. A text that has a summary stays as it is: a changed one is another."""
        self.counts()
        text = self.given.value.strip()
        if text:
            work = self.current
            if work is None or (work.data["summary"] and work.data["text"] != self.given.value):
                self.current = begin_work("", summary="", facts="")
            title = shorten(text)
            self.current.change(text=self.given.value, title=title)
            self.history.soon(self.current)
            self.mark()

    async def show_work(self, work) -> None:
        self.current, self.given.value = work, work.data["text"]
        self.output.textContent, self.facts.textContent = work.data["summary"], work.data["facts"]
        show(self.result, bool(work.data["summary"]))
        self.counts()
        self.update()

    def new_work(self) -> None:
        self.given.value = self.output.textContent = self.facts.textContent = ""
        show(self.result, False)
        self.counts()
        super().new_work()
        self.update()
        self.given.focus()

    def take(self, files: list) -> None:
        if self.free():
            self.begin(self.read(files), t("Nothing was read"))

    async def read(self, files: list) -> None:
        """Puts documents into the box, where they may be changed."""
        texts, skipped = [], []
        for file in files:
            try:
                texts.append((await read(file, self.told)).text())
            except Unreadable as problem:
                skipped.append((file.name, message_of(problem)))
        if not texts:
            raise Problem(t("Nothing was read"), not_read(skipped))
        self.current = None
        self.given.value = "\n\n".join(texts)
        self.given.scrollTop = 0
        self.typed()
        if skipped:
            toast(not_read(skipped), seconds=20)

    def told(self, page: int, pages: int) -> None:
        self.check()
        self.running(t("Reading"), t("page %s of %s") % (number(page), number(pages)), page / pages)

    async def summarise(self) -> None:
        text = self.given.value.strip()
        self.typed()
        work = self.current
        self.output.textContent = self.facts.textContent = ""
        show(self.result, False)
        self.running(t("Reading %s") % words_in(len(text.split())))
        self.update()

        def told(body: dict) -> None:
            done, total = body["done"], body["total"]
            of = plural(total, "%s part", "%s parts")
            part = (t("%s of %s") % (number(done), of), done / total) if total > 1 else ("", None)
            self.running(t("Summarising"), *part)
            self.output.textContent = body["text"]
            if body["text"]:
                self.reveal(self.result)
            work.change(summary=body["text"], facts=t("not complete"))
            self.history.soon(work)
        body = await self.ask(self.model, "task", {"inputs": text}, told=told)
        self.output.textContent = body["text"]
        self.reveal(self.result)
        words = words_in(len(body["text"].split())), words_in(len(text.split()))
        self.facts.textContent = t("%s instead of %s") % words
        work.change(summary=body["text"], facts=self.facts.textContent)
        await self.history.save(work)
        announce(t("Summary: %s") % body["text"][:1500])


def words_in(count: int) -> str:
    return plural(count, "%s word", "%s words")


def exported(work) -> str:
    return "%s\n\n%s\n" % (work.data["summary"], work.data["text"]) if work.data["summary"] else work.data["text"]
