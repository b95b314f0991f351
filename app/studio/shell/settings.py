"""The two sheets: a chat's instructions and sampling, and the settings of the app."""

import js
from js import document, navigator
from jsffi import create_proxy
from studio.pages.chat.conversation import DEFAULTS
from studio.shell import card, elements
from studio.shell.elements import attempt, button, by_id, el, fill, on
from studio.shell.transport import Engine
from studio.shell.wording import size

KNOBS = [  # name, label, what it does, smallest, largest, step
    ("temperature", "Temperature", "Higher is more varied, 0 always chooses the likeliest word", 0, 2, 0.05),
    ("top_p", "Top-p", "Keep the likeliest words that together reach this share", 0.05, 1, 0.01),
    ("min_p", "Min-p", "Drop words below this share of the likeliest one", 0, 0.5, 0.01),
    ("top_k", "Top-k", "Keep at most this many words; 0 keeps all", 0, 200, 1),
    ("repetition_penalty", "Repetition penalty", "Above 1, words that were used become less likely", 1, 2, 0.01),
    ("max_tokens", "Longest answer", "In tokens, about three quarters of a word each", 16, 2048, 16),
]
THEMES = [("", "As the system"), ("light", "Light"), ("dark", "Dark")]


def number(value: float) -> str:
    return "%d" % value if value == int(value) else ("%.2f" % value).rstrip("0")


def open_sheet(name: str) -> None:
    sheet = by_id(name)
    if not sheet.open:
        sheet.showModal()


def tune(conversation, changed) -> None:
    """Fills and opens a chat's sheet; `changed()` is called after each change of its data."""
    data = conversation.data
    system = el("textarea", rows="4", id="system", placeholder="You are a helpful assistant …")
    system.value = data["system"]

    def system_changed(*_):
        data["system"] = system.value.strip()
        changed()
    on(system, "change", system_changed)

    knobs = el("div", cls="knobs")
    for name, label, help_text, low, high, step in KNOBS:
        knobs.append(_knob(conversation, name, label, help_text, (low, high, step), changed))

    seed = el("input", type="number", id="knob-seed", min="0", max="4294967295", step="1", placeholder="New each time",
              aria_describedby="help-seed")
    if data["sampling"].get("seed") is not None:
        seed.value = str(data["sampling"]["seed"])

    def seed_changed(*_):
        text = seed.value.strip()
        data["sampling"]["seed"] = min(int(float(text)), 4294967295) if text else None
        changed()
    on(seed, "change", seed_changed)
    knobs.append(el("div", el("label", "Seed", **{"for": "knob-seed"}), seed,
                    el("small", "The same seed and settings give the same answer", id="help-seed"), cls="knob"))

    fill(by_id("tune-body"),
         el("section", el("h3", "Instructions"),
            el("p", "What the model should keep in mind in this chat.", cls="about"),
            el("label", "Instructions for the model", cls="unseen", **{"for": "system"}), system),
         el("section", el("h3", "How it picks its words"), knobs),
         el("div", button("Back to defaults", "tune-reset"), button("Use for new chats", "tune-keep"), cls="row"))
    open_sheet("tune")


def _knob(conversation, name: str, label: str, help_text: str, span: tuple, changed):
    low, high, step = span
    value = conversation.sampling()[name]
    slider = el("input", type="range", id="knob-" + name, min=low, max=high, step=step, aria_describedby="help-" + name)
    slider.value = str(value)
    shown = el("output", number(value), **{"for": "knob-" + name})

    def moved(*_):
        chosen = float(slider.value)
        if step >= 1:
            chosen = int(chosen)
        shown.textContent = number(chosen)
        if chosen == DEFAULTS[name]:
            conversation.data["sampling"].pop(name, None)
        else:
            conversation.data["sampling"][name] = chosen

    def settled(*_):
        changed()
    on(slider, "input", moved)
    on(slider, "change", settled)
    return el("div", el("label", label, **{"for": "knob-" + name}), shown, slider,
              el("small", help_text, id="help-" + name), cls="knob")


class Settings:
    """The app's own settings; `install` is the browser's offer to install the app, if it made one."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.install = None
        self.offline = "Not kept on this device yet"
        on(js.window, "beforeinstallprompt", self._installable)

    def _installable(self, event) -> None:
        event.preventDefault()
        self.install = event

    def open(self) -> None:
        self.models = el("div", el("p", "Looking …", cls="about"), cls="models", aria_live="polite")
        fill(by_id("settings-body"),
             el("section", el("h3", "Appearance"), self._themes()),
             el("section", el("h3", "Models on this device"), self.models,
                el("div", button("Use model files", "pick-file"), cls="row"),
                el("p", "The chat supports Llama, Mistral, Qwen, Gemma, Phi-3 and GPT-2: a .gguf file, or a folder's "
                        ".safetensors and .json files. Drop other models onto their page. Your own files are "
                        "read where they are, and not copied.", cls="about"),
                el("div", el("input", type="text", id="hub-id", placeholder="organisation/model", spellcheck="false",
                             autocapitalize="off", aria_label="Model on the Hugging Face hub"),
                   button("Load from the Hugging Face hub", "load-hub"), cls="row"),
                el("p", "The hub then sees your address and what you download, like any server; your chats never "
                        "leave this device.", cls="about")),
             el("section", el("h3", "Chats"),
                el("p", "They are kept in this browser only.", cls="about"),
                el("div", button("Export all", "export-all"), button("Import", "import"),
                   button("Delete all", "delete-all", cls="quiet danger"), cls="row")),
             el("section", el("h3", "App"), el("p", self.offline, cls="about", id="offline-state"),
                el("div", button("Install TensorTab", "install", cls="primary"), cls="row") if self.install else None),
             el("section", el("h3", "This device"), self._device(),
                el("div", el("a", "Measure it in the Lab", href="#lab", cls="quiet", act="close-dialog"), cls="row")),
             el("section", el("h3", "About"), el(
                 "p", "TensorTab runs models in a browser tab: Python plans, and WGSL kernels on your own GPU "
                      "do the work. The page talks to the server that it came from, and to the Hugging Face hub only "
                      "if you load a model from there.", cls="about")))
        open_sheet("settings")
        self.refresh()

    def refresh(self) -> None:
        """Asks the engine again for the stored models."""
        if self.engine.state == "failed" and not self.engine.info:
            self.kept("error", {"message": "Known once the engine runs."})
        else:
            self.engine.request("storage", {}, self.kept)

    def kept(self, kind: str, body: dict) -> None:
        if kind != "result":
            fill(self.models, el("p", body["message"], cls="about"))
            return
        fill(self.models)
        for model in body.get("models") or []:
            stored = model.get("stored") or 0
            facts = [size(stored) + " stored" if stored else size(model["size"]) + ", not on this device"]
            if model.get("license"):
                facts.append(model["license"])
            here = model["name"] in [user.model for user in [self.engine] + self.engine.tasks]
            self.models.append(el(
                "div", el("div", el("b", model["name"]), el("small", "  ·  ".join(facts))),
                el("span", "In use", cls="tag") if here else
                button("Load" if stored else "Download", "load-model", data_name=model["name"]),
                button("Delete", "delete-model", cls="quiet danger", data_name=model["name"],
                       aria_label="Delete " + model["name"]) if stored else None, cls="model"))
        if body.get("quota"):
            sure = "kept until you delete it" if body.get("persisted") else "the browser may clear it if space is short"
            self.models.append(el("p", "%s used, room for %s; %s." % (
                size(body.get("usage") or 0), size(body["quota"] - (body.get("usage") or 0)), sure), cls="about"))

    def _themes(self):
        now = document.documentElement.getAttribute("data-theme") or ""
        group = el("div", cls="choices", role="radiogroup", aria_label="Appearance")
        for value, label in THEMES:
            choice = el("input", type="radio", name="theme", value=value, checked=value == now)
            group.append(el("label", choice, el("span", label)))
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
        facts = [("Graphics", card.adapter_name(info)), ("Architecture", info.get("architecture")),
                 ("Features", ", ".join(info.get("features") or [])),
                 ("Largest buffer", size((info.get("limits") or {}).get("maxBufferSize") or 0)),
                 ("Engine started", {"snapshot": "from its snapshot", "cold": "from scratch"}.get(self.engine.boot))]
        for label, value in facts:
            if value and value != "0 bytes":
                rows.append(el("dt", label))
                rows.append(el("dd", value))
        if card.software(info):
            rows.append(el("dt", "Note"))
            rows.append(el("dd", "This is a software adapter: everything works, but slowly."))
        return rows if rows.childElementCount else el("p", "Known once the engine runs.", cls="about")

    async def install_app(self) -> None:
        event, self.install = self.install, None
        await attempt(event, "prompt")


def register_worker(settings: Settings, offer_update) -> None:
    """Stores the app for offline use; calls `offer_update(registration)` when a newer version waits."""
    if not hasattr(navigator, "serviceWorker"):
        settings.offline = "This browser does not keep pages for offline use."
        return

    def registered(registration):
        settings.offline = "Works offline: the app is kept on this device."
        if registration.waiting is not None and navigator.serviceWorker.controller is not None:
            offer_update(registration)

        def found(*_):
            fresh = registration.installing

            def advanced(*_):
                if fresh.state == "installed" and navigator.serviceWorker.controller is not None:
                    offer_update(registration)
            fresh.addEventListener("statechange", create_proxy(advanced))
        registration.addEventListener("updatefound", create_proxy(found))

    def refused(error):
        settings.offline = "Not kept for offline use: " + str(error.message)
    attempt(navigator.serviceWorker, "register", "sw.js").then(create_proxy(registered), create_proxy(refused))
