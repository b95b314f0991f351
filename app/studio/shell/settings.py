"""The sheet of the app's settings: appearance, the models on this device, chats, the app, this device."""

import asyncio

import js
from js import document
from studio.shell import card, elements, model_files, offline
from studio.shell.card import title
from studio.shell.elements import action, attempt, button, by_id, el, fill, message_of, on, open_sheet, toast
from studio.shell.models import in_use, stored
from studio.shell.picker import here
from studio.shell.transport import Engine
from studio.shell.wording import ago, language_name, size, t

THEMES = [("", t("As the system")), ("light", t("Light")), ("dark", t("Dark"))]


class Settings:
    def __init__(self, engine: Engine):
        self.engine = engine
        self.models = el("div", cls="models")
        self.archive = el("input", type="file", accept=model_files.ARCHIVE, cls="unseen", tabindex="-1",
                          id="model-archive", aria_hidden="true")
        document.body.append(self.archive)
        on(self.archive, "change", self._archive)
        for name, do in (
            ("settings", lambda _source: self.open()),
            ("delete-model", lambda source: self.delete(source.getAttribute("data-name"))),
            ("export-model", lambda source: model_files.export_soon(engine, source.getAttribute("data-name"))),
            ("import-model", lambda _source: self.archive.click()),
        ):
            action(name)(do)
        self._drawn: tuple | None = None  # the models and the storage that are shown
        engine.listen(self.draw)

    def open(self) -> None:
        fill(by_id("settings-body"),
             el("section", el("h3", t("Appearance")), self._themes()),
             el("section", el("h3", t("Language")), self._languages()),
             el("section", el("h3", t("Models on this device")), self.models,
                el("p", t("An exported model is one file, which you can import on another device, or drop on any page "
                          "there."), cls="about"),
                el("div", button(t("Choose a model"), "pick-model"), button(t("Import a model"), "import-model"),
                   cls="row")),
             el("section", el("h3", t("Chats")),
                el("p", t("They are kept in this browser only."), cls="about"),
                el("div", button(t("Export all"), "export-all"), button(t("Import"), "import"),
                   button(t("Delete all"), "delete-all", cls="quiet danger"), cls="row")),
             el("section", el("h3", t("App")), el("p", offline.said(), cls="about", id="offline-state"),
                el("div", button(t("Install TensorTab"), "install", cls="primary"), cls="row")
                if offline.installable() else None,
                el("div", button(t("Reload with the new version"), "update"), cls="row") if offline.waits() else None),
             el("section", el("h3", t("This device")), self._device(),
                el("div", el("a", t("Measure it in the Lab"), href="#lab", cls="quiet", act="close-dialog"),
                   cls="row")),
             el("section", el("h3", t("About")), el(
                 "p", t("TensorTab runs models in a browser tab: Python plans, and WGSL kernels on your own GPU "
                        "do the work. The page talks to the server that it came from, and to the Hugging Face hub only "
                        "if you load a model from there."), cls="about")))
        open_sheet("settings")
        self._drawn = None
        self.draw()
        if self.engine.storage is not None:
            self.engine.look()

    # The models

    def draw(self) -> None:
        """Draws the models of which something is on this device, and the storage, if they have changed."""
        storage = self.engine.storage
        if not by_id("settings").open:
            return
        if storage is None:
            fill(self.models, el("p", t("Known once the engine runs."), cls="about"))
            return
        used = [model.asked for model in in_use(self.engine)]
        found = [(about, about["name"] in used) for about in self.engine.known.values() if here(about)]
        if self._drawn == (found, storage):
            return
        self._drawn = found, storage
        fill(self.models, *[self._model(*one) for one in sorted(found, key=lambda one: -one[0]["used"])])
        if not found:
            self.models.append(el("p", t("None yet."), cls="about"))
        if storage["quota"]:
            sure = t("%s used, room for %s; kept until you delete it.") if storage["persisted"] else \
                t("%s used, room for %s; the browser may clear it if space is short.")
            left = storage["quota"] - storage["usage"]
            self.models.append(el("p", sure % (size(storage["usage"]), size(left)), cls="about"))

    def _model(self, about: dict, used: bool):
        """A model of which something is on this device."""
        name, facts = title(about), [size(about["stored"] or about["size"])]
        if about["kind"] == "file" and not about["stored"]:
            facts.append(t("read where it is: %s") % about["source"])
        elif not stored(about):
            facts[0] = t("%s of %s, the download is not complete") % (size(about["stored"]), size(about["size"]))
        if about["used"]:
            facts.append(t("used %s") % ago(about["used"]))
        data = {"data_name": about["name"]}
        export = button(t("Export"), "export-model", aria_label=t("Export %s") % name, **data)
        return el("div", el("div", el("b", name, dir="auto"), el("span", t("In use"), cls="tag") if used else None,
                            el("small", about["name"]) if name != about["name"] else None,
                            el("small", "  ·  ".join(facts)), cls="what"),
                  el("div", export if about["stored"] and stored(about) else None,
                     button(t("Delete"), "delete-model", cls="quiet danger", aria_label=t("Delete %s") % name, **data),
                     cls="row"), cls="model")

    def delete(self, name: str) -> None:
        def deleted(kind: str, body: dict) -> None:
            if kind == "error":
                toast(t("“%s” could not be deleted: %s") % (name, body["message"]))
            self.engine.look()
        self.engine.request("delete", {"model": name}, deleted)

    def _archive(self, _event) -> None:
        file, self.archive.value = self.archive.files.item(0), ""
        model_files.import_soon(self.engine, file)

    # The rest

    def _themes(self):
        now = document.documentElement.getAttribute("data-theme") or ""
        return choices(t("Appearance"), "theme", [(value, label, None) for value, label in THEMES], now, self._theme)

    def _languages(self):
        names = [(code, language_name(code, code), code) for code in js.tensortab.languages]
        now = elements.storage.getItem("tensortab.language") or ""
        return choices(t("Language"), "language", [("", t("As the browser"), None)] + names, now, self._language)

    def _theme(self, event) -> None:
        value = event.target.value
        if value:
            document.documentElement.setAttribute("data-theme", value)
            attempt(elements.storage, "setItem", "tensortab.theme", value)
        else:
            document.documentElement.removeAttribute("data-theme")
            attempt(elements.storage, "removeItem", "tensortab.theme")

    def _language(self, event) -> None:
        asyncio.create_task(self._use_language(event.target.value))

    async def _use_language(self, code: str) -> None:
        """The page's texts are made once, so it is loaded again: by the user, where that would end some work."""
        try:
            if code:
                await attempt(elements.storage, "setItem", "tensortab.language", code)
            else:
                await attempt(elements.storage, "removeItem", "tensortab.language")
        except Exception as error:
            toast(t("The browser did not store the language: %s") % message_of(error))
            return
        if hasattr(elements.storage, "blocked"):
            toast(t("The browser stores nothing for this site, so it also decides on the language."))
        elif any(model.working or model.state == "loading" for model in self.engine.models.values()):
            by_id("settings").close()  # nothing beside a sheet can be clicked
            toast(t("The language changes when the page is loaded again. That ends what is running now."), t("Reload"),
                  "reload", 20)
        else:
            js.location.reload()

    def _device(self):
        info = self.engine.info
        rows = el("dl")
        boot = {"snapshot": t("from its snapshot"), "cold": t("from scratch")}
        limit = (info.get("limits") or {}).get("maxBufferSize")
        facts = [(t("Graphics"), card.adapter_name(info)), (t("Architecture"), info.get("architecture")),
                 (t("Features"), ", ".join(info.get("features") or [])),
                 (t("Largest buffer"), size(limit) if limit else ""),
                 (t("Engine started"), boot.get(self.engine.boot))]
        if card.software(info):
            facts.append((t("Note"), t("This is a software adapter: everything works, but slowly.")))
        for label, value in facts:
            if value:
                rows.append(el("dt", label))
                rows.append(el("dd", value))
        return rows if rows.childElementCount else el("p", t("Known once the engine runs."), cls="about")


def choices(label: str, name: str, options: list, now: str, changed):
    """Radio buttons. options: (value, text, the text's language if it is not the page's)."""
    group = el("div", cls="choices", role="radiogroup", aria_label=label)
    for value, text, lang in options:
        choice = el("input", type="radio", name=name, value=value, checked=value == now)
        group.append(el("label", choice, el("span", text, lang=lang)))
    on(group, "change", changed)
    return group


def connect() -> None:
    """Connects what all sheets have in common."""
    action("close-dialog")(lambda source: source.closest("dialog").close())
    for dialog in document.querySelectorAll("dialog"):
        on(dialog, "click", lambda event: event.target.close() if event.target.matches("dialog") else None)
