"""Choosing a model: the button in each page's header that names the page's model, and the sheet that it opens."""

from js import document
from studio.shell import routing
from studio.shell.card import title
from studio.shell.elements import action, button, by_id, el, fill, icon, icon_button, on, open_sheet, toast
from studio.shell.models import Model, stored
from studio.shell.wording import ago, digits, language_name, number, plural, share, size, t

FITS = {  # by the engine's reason (tensortab/fit.py)
    "no_gpu": t("No GPU answered"), "ran": t("Ran on this GPU"),
    "larger_ran": t("Fits: a larger model ran on this GPU"),
    "failed": t("Does not fit: this GPU had no memory for it"),
    "smaller_failed": t("Does not fit: this GPU had no memory for a smaller model"),
}
READS = ("text-generation", "summarization", "feature-extraction")  # tasks for which the length of a text matters
EXAMPLE = "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:smollm2-360m-instruct-q8_0.gguf"


# Words about a model

def fits(about: dict) -> str:
    """Whether a model fits the GPU, and why."""
    need = size(about["memory"] or about["size"])
    if about["reason"] in FITS:
        return FITS[about["reason"]]
    if about["fits"] == "yes":
        return t("Fits this GPU") if about["reason"] == "buffer_limit" else t("Fits this device")
    if about["reason"] == "buffer_limit":
        return t("May be too large: it needs %s of the GPU’s memory") % need
    if about["fits"] == "maybe":
        return t("May be too large: it needs %s of this device’s memory") % need
    return t("Does not fit: it needs %s of memory, more than this device has") % need


def facts(about: dict) -> str:
    """The line under a model's title."""
    found = [size(about["size"]), about["license"]]
    if about.get("languages"):
        found.append(languages(about["languages"]))
    if about.get("context") and about["tasks"][0] in READS:
        found.append(t("reads %s tokens") % number(about["context"]))
    if about["speed"]:
        found.append(t("%s tokens/s here") % digits(about["speed"]))
    if about["used"]:
        found.append(t("used %s") % ago(about["used"]))
    return "  ·  ".join([fact for fact in found if fact])


def languages(codes: list) -> str:
    """The names of the first languages of a model, and how many more there are. codes: BCP 47."""
    if "mul" in codes:
        return t("many languages")
    found = [language_name(code) for code in codes[:3]]
    if len(codes) > 3:
        found.append(plural(len(codes) - 3, "%s more", "%s more"))
    return ", ".join(found)


def download_label(about: dict) -> str:
    """What a click does that loads a model which is not on this device completely."""
    left = size(about["size"] - about["stored"])
    return t("Download %s") % left if not about["stored"] else t("Resume, %s left") % left


def described(about: dict):
    """An element with all that is known of a model."""
    return el("div", el("b", title(about), dir="auto"),
              el("small", t(about["about"]), cls="about") if about.get("about") else None, el("small", facts(about)),
              el("small", fits(about), cls="fits", data_fits=about["fits"]), cls="what")


# The button and the sheet

class Picker:
    """The button in a page's header. `sheet` is shared by all pages."""

    def __init__(self, page):
        self.page = page
        self._name = el("b", dir="auto")
        self.button = el("button", self._name, icon("fold"), type="button", cls="pick", act="pick-model",
                         aria_haspopup="dialog")

    def update(self) -> None:
        """Shows which model the page uses, and its state."""
        model = self.page.using()
        about, name, kind, detail = model.listing, model.title, model.label, ""
        if model.state == "loading":
            detail = share(model.progress.part)
            said = t("%s: %s, loading, %s") % (kind, name, detail)
        elif model.state == "ready":
            detail = size(about["size"]) if about else ""
            said = t("%s: %s, ready") % (kind, name)
        elif name:
            detail = size(about["size"])
            said = t("%s: %s, not loaded") % (kind, name)
        else:
            said = t("%s: none is chosen") % kind
        self._name.textContent = name or t("Choose a model")
        self.button.setAttribute("data-detail", detail)  # which the styles show; the label says it in words
        self.button.setAttribute("aria-label", said)
        self.button.setAttribute("data-state", model.state)
        self.button.setAttribute("data-task", model.task)


class Sheet:
    """Lists the models for a page's tasks, the stored ones first."""

    def __init__(self):
        self.page, self._listens = None, False  # page: the one that it is open for
        self._rows: dict = {}  # by task and name: what a row shows, and the row
        self._drawn: dict = {}  # by task: the rows in their order
        self.title = el("h2", id="picker-title", tabindex="-1", autofocus=True)
        self.lists = el("div")
        self.other = el("input", type="text", id="other-model", placeholder=EXAMPLE, spellcheck="false",
                        autocapitalize="off", aria_label=t("A name on the Hugging Face hub, or an address"))
        form = el("form", self.other, el("button", t("Load"), type="submit", cls="quiet"), cls="row other")
        on(form, "submit", self._other)
        self.box = el(
            "dialog", el("header", self.title, icon_button("close", t("Close"), "close-dialog")),
            el("div", self.lists, el(
                "section", el("h3", t("Another model")), form,
                el("p", t("From the Hugging Face hub: organisation/model, and :file.gguf where it has several. The hub "
                          "sees your address and what you download, like any server; your chats never leave this "
                          "device."), cls="about"),
                el("div", button(t("Open files"), "pick-file", sign="file"), cls="row"),
                el("p", t("A .gguf file, or all .safetensors and .json files of a model’s folder. You can also drop "
                          "them on any page."), cls="about")), cls="sheet-body"),
            cls="sheet", id="picker", aria_labelledby="picker-title")
        document.body.append(self.box)
        on(self.box, "close", self._closed)

    def open(self, page) -> None:
        self.page, self._rows, self._drawn = page, {}, {}
        one = len(page.pickable()) == 1
        self.title.textContent = page.pickable()[0].label if one else t("Models")
        fill(self.lists, *[el("section", el("h3", model.label, hidden=one), el("ul", cls="models"),
                              data_task=model.task) for model in page.pickable()])
        if not self._listens:
            self._listens = True
            page.engine.listen(self.draw)
        self.draw()
        open_sheet("picker")
        if page.engine.storage is not None:
            page.engine.look()

    def _closed(self, _event) -> None:
        self.page = None

    def draw(self) -> None:
        """Draws what has changed; a row that stays keeps the focus."""
        for model in self.page.pickable() if self.page is not None else ():
            box = self.lists.querySelector('[data-task="%s"] ul' % model.task)
            if model.engine.storage is None:
                fill(box, el("li", t("Known once the engine runs."), cls="about"))
            else:
                self._draw(model, box)

    def _draw(self, model: Model, box) -> None:
        known = list(enumerate(model.choices()))
        known.sort(key=lambda one: (not here(one[1]), -one[1]["used"], one[0]))  # MicroPython's sort is not stable
        rows = []
        for _, about in known:
            key, state = (model.task, about["name"]), state_of(model, about)
            shown = [state, room(model) if state == "absent" and not about["room"] else 0]
            shown += [about[name] for name in ("stored", "used", "fits", "reason", "speed")]
            if key not in self._rows or self._rows[key][0] != shown:
                self._rows[key] = shown, row(model, about, state)
            rows.append(self._rows[key][1])
            if state == "loading":
                rows[-1].querySelector(".tag").textContent = t("Loading, %s") % share(model.progress.part)
        if model.state == "ready" and model.asked is None:
            if ("own", model.name) not in self._rows:
                self._rows["own", model.name] = None, own_row(model)
            rows.insert(0, self._rows["own", model.name][1])
        drawn = self._drawn.get(model.task)
        if drawn is None or [id(one) for one in drawn] != [id(one) for one in rows]:
            self._drawn[model.task] = rows
            self._replace(box, rows or [el("li", t("None is known: open the files of one."), cls="about")])

    def _replace(self, box, rows: list) -> None:
        """Puts the rows into the box; the focus stays where it is, or goes to its row's first button."""
        focused = document.activeElement
        within = box.contains(focused)
        name = focused.closest("li").getAttribute("data-name") if within else None
        fill(box, *rows)
        if within and focused.isConnected:
            focused.focus()
        elif within:
            for one in rows:
                if one.getAttribute("data-name") == name:
                    one.querySelector("button").focus()

    def _other(self, event) -> None:
        event.preventDefault()
        name = self.other.value.strip()
        if "://" not in name and name.partition(":")[0].count("/") != 1:
            toast(t("Write the name as on the hub, such as %s.") % EXAMPLE)
            return
        model = self.page.using()
        self.box.close()
        model.load(name)


def room(model: Model) -> int:
    """The bytes that the browser's storage has left."""
    return model.engine.storage["quota"] - model.engine.storage["usage"]


def here(about: dict) -> bool:
    """Whether any of a model is on this device."""
    return about["stored"] > 0 or about["kind"] == "file"


def state_of(model: Model, about: dict) -> str:
    """ready, loading, stored or absent."""
    if model.state in ("loading", "ready") and model.asked == about["name"]:
        return model.state
    return "stored" if stored(about) else "absent"


def row(model: Model, about: dict, state: str):
    """A list's item that describes a model, with buttons for what can be done with it."""
    name, box, tags = title(about), described(about), {"ready": t("In use"), "loading": "", "stored": t("Stored")}
    data = {"data_task": model.task, "data_name": about["name"]}
    if state in tags:
        box.firstElementChild.after(el("span", tags[state], cls="tag"))
    if state == "ready":
        does = [button(t("Unload"), "unload", aria_label=t("Unload %s") % name, **data)]
    elif state == "loading":
        does = [button(t("Cancel"), "cancel-load", aria_label=t("Cancel loading %s") % name, **data)]
    elif state == "stored":
        does = [button(t("Use"), "use-model", aria_label=t("Use %s") % name, **data)]
    elif about["room"]:
        text = download_label(about)
        does = [button(text, "use-model", aria_label="%s: %s" % (name, text), **data)]
    else:
        box.append(el("small", t("The browser’s storage has room for %s only.") % size(room(model)), cls="fits",
                      data_fits="no"))
        does = [button(t("Run without keeping it"), "use-unkept", aria_label=t("Run %s without keeping it") % name,
                       **data), button(t("Delete other models"), "settings")]
    return el("li", box, el("div", *does, cls="row"), cls="model", **data)


def own_row(model: Model):
    """A list's item for a model of the user's own files, which is loaded and not kept."""
    does = button(t("Unload"), "unload", aria_label=t("Unload %s") % model.name, data_task=model.task)
    return el("li", el("div", el("b", model.name, dir="auto"), el("span", t("In use"), cls="tag"),
                       el("small", t("From your own files")), cls="what"), el("div", does, cls="row"), cls="model",
              data_name=model.name)


sheet = Sheet()


@action("pick-model")
def _(_source):
    by_id("settings").close()
    sheet.open(routing.shown())
