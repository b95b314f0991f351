"""The sheet of the app's settings: appearance, the models on this device, chats, the app, this device."""

import asyncio

from js import document
from studio.shell import card, elements, offline, routing
from studio.shell.elements import action, attempt, button, by_id, el, fill, on, open_sheet, toast
from studio.shell.models import in_use, stored
from studio.shell.transport import Engine
from studio.shell.wording import size, t

THEMES = [("", "As the system"), ("light", "Light"), ("dark", "Dark")]


class Settings:
    def __init__(self, engine: Engine):
        self.engine = engine
        self.models = el("div", cls="models", aria_live="polite")
        for name, do in (
            ("settings", lambda _source: self.open()),
            ("load-model", lambda source: self.load(source.getAttribute("data-name"))),
            ("delete-model", lambda source: self.delete(source.getAttribute("data-name"))),
            ("load-hub", lambda _source: self.load_hub()),
        ):
            action(name)(do)
        engine.listen(self.changed)

    def open(self) -> None:
        fill(by_id("settings-body"),
             el("section", el("h3", t("Appearance")), self._themes()),
             el("section", el("h3", t("Models on this device")), self.models,
                el("div", button(t("Use model files"), "pick-file"), cls="row"),
                el("p", t("The chat supports Llama, Mistral, Qwen, Gemma, Phi-3 and GPT-2: a .gguf file, or a folder's "
                          ".safetensors and .json files. Drop other models onto their page. Your own files are "
                          "read where they are, and not copied."), cls="about"),
                el("div", el("input", type="text", id="hub-id", placeholder="organisation/model", spellcheck="false",
                             autocapitalize="off", aria_label=t("Model on the Hugging Face hub")),
                   button(t("Load from the Hugging Face hub"), "load-hub"), cls="row"),
                el("p", t("The hub then sees your address and what you download, like any server; your chats never "
                          "leave this device."), cls="about")),
             el("section", el("h3", t("Chats")),
                el("p", t("They are kept in this browser only."), cls="about"),
                el("div", button(t("Export all"), "export-all"), button(t("Import"), "import"),
                   button(t("Delete all"), "delete-all", cls="quiet danger"), cls="row")),
             el("section", el("h3", t("App")), el("p", offline.said(), cls="about", id="offline-state"),
                el("div", button(t("Install TensorTab"), "install", cls="primary"), cls="row")
                if offline.installable() else None),
             el("section", el("h3", t("This device")), self._device(),
                el("div", el("a", t("Measure it in the Lab"), href="#lab", cls="quiet", act="close-dialog"),
                   cls="row")),
             el("section", el("h3", t("About")), el(
                 "p", t("TensorTab runs models in a browser tab: Python plans, and WGSL kernels on your own GPU "
                        "do the work. The page talks to the server that it came from, and to the Hugging Face hub only "
                        "if you load a model from there."), cls="about")))
        open_sheet("settings")
        state = t("Looking …") if self.engine.info else t("Known once the engine runs.")
        fill(self.models, el("p", state, cls="about"))
        if self.engine.info:
            self.refresh()

    def changed(self) -> None:
        if by_id("settings").open:
            self.refresh()

    # The models

    def refresh(self) -> None:
        """Asks the engine again for the stored models."""
        self.engine.request("storage", {}, self.kept)

    def kept(self, kind: str, body: dict) -> None:
        if kind != "result":
            fill(self.models, el("p", body["message"], cls="about"))
            return
        fill(self.models)
        used = [model.name for model in in_use(self.engine)]
        for model in body["models"]:
            here = model["stored"]
            facts = [t("%s stored") % size(here) if here else t("%s, not on this device") % size(model["size"])]
            if model["license"]:
                facts.append(model["license"])
            self.models.append(el(
                "div", el("div", el("b", model["name"]), el("small", "  ·  ".join(facts))),
                el("span", t("In use"), cls="tag") if model["name"] in used else
                button(t("Load") if stored(model) else t("Download"), "load-model", data_name=model["name"]),
                button(t("Delete"), "delete-model", cls="quiet danger", data_name=model["name"],
                       aria_label=t("Delete %s") % model["name"]) if here else None, cls="model"))
        if body["quota"]:
            sure = t("%s used, room for %s; kept until you delete it.") if body["persisted"] else \
                t("%s used, room for %s; the browser may clear it if space is short.")
            self.models.append(el("p", sure % (size(body["usage"]), size(body["quota"] - body["usage"])), cls="about"))

    def load(self, name: str) -> None:
        """Loads a known model on the page that has its task."""
        by_id("settings").close()
        task = self.engine.known[name]["task"]
        asyncio.create_task(self._load(task, name))

    async def _load(self, task: str, name: str) -> None:
        place = routing.page_of(task)
        await routing.page(self.engine, place)
        routing.go(place)
        self.engine.models[task].load(name)

    def delete(self, name: str) -> None:
        def deleted(kind: str, body: dict) -> None:
            if kind == "error":
                toast(t("“%s” could not be deleted: %s") % (name, body["message"]))
            self.engine.look(self.refresh)
        self.engine.request("delete", {"model": name}, deleted)

    def load_hub(self) -> None:
        name = by_id("hub-id").value.strip()
        if name.count("/") == 1:
            by_id("settings").close()
            self.engine.models["text-generation"].load(name)
        else:
            toast(t("Write the name as on the hub, such as %s.") % "HuggingFaceTB/SmolLM2-135M-Instruct")

    # The rest

    def _themes(self):
        now = document.documentElement.getAttribute("data-theme") or ""
        group = el("div", cls="choices", role="radiogroup", aria_label=t("Appearance"))
        for value, label in THEMES:
            choice = el("input", type="radio", name="theme", value=value, checked=value == now)
            group.append(el("label", choice, el("span", t(label))))
        on(group, "change", self._theme)
        return group

    def _theme(self, event) -> None:
        value = event.target.value
        if value:
            document.documentElement.setAttribute("data-theme", value)
            attempt(elements.storage, "setItem", "tensortab.theme", value)
        else:
            document.documentElement.removeAttribute("data-theme")
            attempt(elements.storage, "removeItem", "tensortab.theme")

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


def connect() -> None:
    """Connects what all sheets have in common."""
    action("close-dialog")(lambda source: source.closest("dialog").close())
    for dialog in document.querySelectorAll("dialog"):
        on(dialog, "click", lambda event: event.target.close() if event.target.matches("dialog") else None)
