"""Finds the passages of a chat's files that belong to a question, where a model cannot read all of the files."""

import asyncio

from studio.pages.chat import quoting
from studio.shell.card import Card
from studio.shell.elements import action, button, by_id, el, message_of, toast
from studio.shell.errors import explain
from studio.shell.models import ELSEWHERE, Failure, Model, texts_model
from studio.shell.nearest import answer as answered
from studio.shell.nearest import nearest, vectors_of
from studio.shell.wording import number, plural, size, t

BATCH = 32  # passages that are embedded at a time
MOST = 12  # passages that are looked for; the prompt has fewer


class Finding:
    def __init__(self, page):
        self.page = page
        self._waiting: tuple = (None, "")  # an answer whose passages are not found yet, and what it waits for
        self._model: Model | None = None
        self._vectors: dict = {}  # {file's id: [Float32Array of each passage]}, made by the model of this name:
        self._made_by = ""
        self._searched = None  # the answer whose passages are being searched
        self._without: set[str] = set()  # the chats in which the user wants no search
        self._card = Card(el("section", cls="notice", aria_label=t("Model that searches files"), hidden=True,
                             data_task="feature-extraction"))
        by_id("composer").before(self._card.box)
        action("without-search")(lambda _source: self._go_without())

    @property
    def model(self) -> Model:
        """The model for texts, which the Search page uses, too."""
        if self._model is None:
            self._model = texts_model(self.page.engine)
        return self._model

    @property
    def _context(self) -> int:
        return self.page.model.about.get("context") or 2048

    def ready(self, answer) -> bool:
        """Whether the prompt of an answer can be made. If not, what it needs is started."""
        conversation, question = answer.conversation, answer.question
        if "quotes" in answer.node or quoting.fit(conversation, question, self._context):
            return True
        if conversation.id in self._without:
            self._choose(answer, [])
            return True
        if self.model.state == "ready":
            if self._searched is not answer:
                self._searched = answer
                asyncio.create_task(self._search(answer))
        else:
            self._waiting = answer, t("Waits for the model that searches your files: see below")
            self._load_if_stored()
        return False

    def waits(self, answer) -> str:
        """What an answer waits for, in words; "" if it does not wait for its passages."""
        return self._waiting[1] if self._waiting[0] is answer and "quotes" not in answer.node else ""

    def _load_if_stored(self) -> None:
        """Loads the model, but downloads nothing: that is for the user to say."""
        offered = self.model.offered
        if self.model.state == "idle" and offered and offered["stored"] is not None and not self.model.cost:
            self.model.need()

    async def _search(self, answer) -> None:
        files = quoting.files_of(answer.conversation, answer.question)
        found: list = []
        try:
            vectors, places = [], []
            for number, file in enumerate(files):
                vectors += await self._embedded(answer, file)
                places += [(number, passage) for passage in range(len(file["passages"]))]
            question = answer.conversation.node(answer.question)["content"]
            version = " ".join([self.model.name] + [file["id"] for file in files])
            rows = await nearest(self.model, question, version, vectors, MOST)
            found = [places[row] for row, _ in rows]
        except Failure as failure:
            if failure.error["code"] in ("aborted", "ended", "device_lost"):
                self._searched = None  # it is searched again when the model is there again
                return
            toast(t("The files could not be searched: %s") % message_of(failure), seconds=12)
        self._searched = None
        if answer in self.page.answers.queue:
            self._choose(answer, found)
        self.page.engine.changed()

    async def _embedded(self, answer, file: dict) -> list:
        """The vectors of a file's passages. Raises Failure."""
        if self._made_by != self.model.name:
            self._vectors, self._made_by = {}, self.model.name
        made = self._vectors.setdefault(file["id"], [])
        texts = [text for _, text in file["passages"]]
        while len(made) < len(texts):
            if answer not in self.page.answers.queue:
                raise Failure({"code": "aborted", "message": ""})
            of = plural(len(texts), "%s passage", "%s passages")
            self._waiting = answer, t("Reads %s: %s of %s") % (file["name"], number(len(made)), of)
            self.page.draw_waiting(answer)
            body = await answered(self.model, "embed", {"inputs": texts[len(made):len(made) + BATCH]})
            made += vectors_of(body)
        return made

    def _choose(self, answer, found: list) -> None:
        conversation, question = answer.conversation, answer.question
        most = quoting.room(conversation, question, self._context)
        answer.node["quotes"] = quoting.chosen(quoting.files_of(conversation, question), found, most)

    def _go_without(self) -> None:
        self._without.add(self.page.conversation.id)
        self.page.engine.changed()

    # The card

    def draw(self) -> None:
        name = self._too_long()
        model = self.model if name else None
        if model is None or self.page.engine.state == "failed" or model.state == "ready":
            self._card.hide()
        elif model.state == "loading":
            self._card.loading(model.progress)
        elif model.state == "elsewhere":
            self._card.error(ELSEWHERE)
        elif model.error is not None:
            title, advice, _ = explain(model.error["code"])
            self._card.problem(title, advice, model.error, [(t("Try again"), "retry"), self._without_button()])
        elif model.offered and model.cost:
            offered = model.offered
            facts = [t("%s, once") % size(model.cost), t("runs on your GPU"), t("nothing is uploaded")]
            self._card.put(
                ("search", name, model.cost),
                el("div", el("h2", t("%s is longer than the model can read") % name),
                   el("p", t("%s finds the passages that belong to a question.") % offered["name"]),
                   el("p", "  ·  ".join(facts)), cls="what"),
                el("div", button(*self._without_button()),
                   button(t("Download %s") % size(model.cost), "load-default", cls="primary"), cls="row"))
        elif model.offered is None and self.page.engine.known is not None:
            self._card.problem(t("%s is longer than the model can read") % name,
                               t("This site has no model that searches texts: the model reads the beginning."), {},
                               [self._without_button()])

    def _without_button(self) -> tuple:
        return t("Use its beginning only"), "without-search"

    def _too_long(self) -> str:
        """The name of the shown chat's file for which a search is needed; "" if none is."""
        page = self.page
        conversation = page.conversation
        if page.model.state != "ready" or conversation.id in self._without:
            return ""
        waiting = [answer for answer in page.answers.queue if answer.conversation is conversation]
        until = waiting[0].question if waiting else conversation.data["head"]
        files = quoting.files_of(conversation, until) + page.attachments.files
        if not files:
            return ""
        size_of = sum([quoting.tokens(text) for file in files for _, text in file["passages"]])
        fits = size_of <= quoting.room(conversation, until, self._context)
        return "" if fits else max(files, key=lambda file: len(file["passages"]))["name"]
