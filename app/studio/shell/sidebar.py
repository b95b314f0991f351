"""The engine's status line, and the drawer that the sidebar is on a phone."""

import js
from js import document
from studio.shell.card import adapter_name, software
from studio.shell.elements import by_id
from studio.shell.models import in_use
from studio.shell.transport import Engine
from studio.shell.wording import share, t

STATES = {"starting": t("Starting"), "idle": t("No model loaded"), "loading": t("Loading"), "ready": t("Ready"),
          "failed": t("Not available"), "elsewhere": t("In another tab")}

side, scrim = by_id("side"), by_id("scrim")


def status(engine: Engine) -> None:
    """Says what the engine is doing, and on which GPU."""
    state = engine.state if engine.state != "up" else engine.models["text-generation"].state
    document.documentElement.setAttribute("data-engine", state)
    text = STATES[state]
    for model in in_use(engine):
        state, text = model.state, model.title or t("Loading")
        if state == "loading" and model.progress.total:
            text = t("Loading, %s") % share(model.progress.loaded / model.progress.total)
        elif model.working:
            state, text = "working", t("Working with %s") % model.title
    by_id("engine-line").setAttribute("data-state", state)
    by_id("engine-state").textContent = text
    name = adapter_name(engine.info)
    by_id("engine-gpu").textContent = t("Slow, without a GPU: %s") % name if software(engine.info) else name
    by_id("engine-gpu").title = name


def drawer(visible: bool) -> None:
    narrow = js.matchMedia("(max-width: 800px)").matches
    side.classList.toggle("open", visible and narrow)
    side.inert = narrow and not visible
    scrim.hidden = not (visible and narrow)
    for toggle in document.querySelectorAll(".drawer-button"):
        toggle.setAttribute("aria-expanded", "true" if visible and narrow else "false")
        if narrow and not visible and toggle.checkVisibility():
            toggle.focus()
    if narrow and visible:
        side.querySelector("button").focus()


def fit(*_) -> None:
    """Keeps the keyboard out of a closed drawer; a sidebar can always be reached."""
    narrow = js.matchMedia("(max-width: 800px)").matches
    side.inert = narrow and not side.classList.contains("open")
    if not narrow:
        side.classList.remove("open")
        scrim.hidden = True
