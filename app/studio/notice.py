"""The card above the message box: the model to load, its progress, an error; and the engine's status line."""

from studio.dom import button, by_id, el, fill, icon, show
from studio.engine import Engine
from studio.wording import duration, explain, size

STAGES = {"download": "Downloading", "load": "Copying to the graphics card", "compile": "Preparing its programs"}
STATES = {"starting": "Starting", "idle": "No model loaded", "loading": "Loading", "ready": "Ready",
          "answering": "Answering", "failed": "Not available", "elsewhere": "In another tab"}

box = by_id("notice")
_shown = None  # what the card shows, so that progress updates text and not elements
_stored = {}


def software(info: dict) -> bool:
    """Whether the adapter computes on the processor."""
    text = " ".join([str(info.get(name, "")) for name in ("vendor", "architecture", "device", "description")]).lower()
    return bool(info.get("fallback")) or "swiftshader" in text or "llvmpipe" in text


def adapter_name(info: dict) -> str:
    """Browsers mostly tell no more than {"vendor": "nvidia", "architecture": "lovelace"}."""
    for name in ("description", "device"):
        if info.get(name):
            return info[name]
    words = [info[name] for name in ("vendor", "architecture") if info.get(name)]
    return " ".join([word.upper() if word in ("nvidia", "amd") else word[0].upper() + word[1:] for word in words])


def update(engine: Engine, model: dict | None, problem: dict | None, missing: str) -> None:
    """Draws the state: `model` is the site's default ({"name", "title", "size", "stored"}), `problem` an error of
    this chat or of the storage, which is shown before the engine's own, `missing` why there is no default model."""
    _status(engine)
    error = problem or (engine.error if engine.state in ("failed", "elsewhere") else None)
    if error:
        _error(error)
    elif engine.state == "loading":
        _progress(engine)
    elif engine.state == "idle" and model:
        _offer(model, engine)
    elif engine.state == "idle" and missing:
        _error({"code": "no_model", "message": missing})
    else:
        _put(None)


def _put(kind, *children) -> None:
    global _shown
    _shown = kind
    show(box, kind is not None)
    box.setAttribute("data-kind", str(kind[0]) if kind else "")
    fill(box, *children)


def _status(engine: Engine) -> None:
    text = STATES[engine.state]
    if engine.state == "loading" and engine.progress.total:
        text = "Loading, %d %%" % (100 * engine.progress.loaded / engine.progress.total)
    if engine.model and engine.state in ("ready", "answering"):
        text = ("Answering with " if engine.state == "answering" else "") + engine.model
    by_id("engine-line").setAttribute("data-state", engine.state)
    by_id("engine-state").textContent = text
    slow = "Slow, no graphics card: " if software(engine.info) else ""
    by_id("engine-gpu").textContent = slow + adapter_name(engine.info)
    by_id("engine-gpu").title = adapter_name(engine.info)


def _offer(model: dict, engine: Engine) -> None:
    kept = model.get("stored") or 0
    kind = ("offer", model["name"], kept)
    if _shown == kind:
        return
    if kept >= model["size"]:
        label, detail = "Load it", "On this device already"
    elif kept:
        label, detail = "Resume the download", "%s of %s here" % (size(kept), size(model["size"]))
    else:
        label, detail = "Download and start", "%s, once" % size(model["size"])
    facts = [detail, "runs on your GPU", "nothing is uploaded"]
    slow = None
    if software(engine.info):
        facts[1] = "runs on this device"
        slow = el("p", "The browser offers no graphics card here, so answers will be slow.", cls="warn")
    _put(kind,
         el("span", icon("logo"), cls="mark", aria_hidden="true"),
         el("div", el("h2", model["title"]), el("p", "  ·  ".join(facts)), slow, cls="what"),
         el("div", button("Use a file", "pick-file"), button(label, "load-default", cls="primary"), cls="row"))


def _progress(engine: Engine) -> None:
    progress = engine.progress
    if _shown != ("progress",):
        bar = el("progress", id="bar", max="1", aria_label="Loading the model")
        _put(("progress",),
             el("div", el("h2", "", id="stage"), el("p", "", id="amount"), bar, cls="what"),
             el("div", button("Cancel", "cancel-load"), cls="row"))
    by_id("stage").textContent = STAGES.get(progress.stage, "Getting ready")
    if not progress.total:
        by_id("bar").removeAttribute("value")
        by_id("amount").textContent = ""
        return
    by_id("bar").value = progress.loaded / progress.total
    if progress.stage == "compile":
        parts = ["%d of %d" % (progress.loaded, progress.total)]
    else:
        parts = ["%s of %s" % (size(progress.loaded), size(progress.total))]
        if progress.rate:
            parts.append(size(progress.rate) + "/s")
    if progress.left is not None and progress.loaded < progress.total:
        parts.append("about %s left" % duration(progress.left))
    by_id("amount").textContent = "  ·  ".join(parts)


def _error(error: dict) -> None:
    kind = ("error", error["code"], error.get("message", ""))
    if _shown == kind:
        return
    title, advice, buttons = explain(error["code"])
    detail = error.get("message") or ""
    row = el("div", cls="row")
    for place, (label, act) in enumerate(buttons):
        row.append(button(label, act, cls="quiet" if place else "primary"))
    _put(kind, el("div", el("h2", title), el("p", advice), el("p", detail, cls="detail") if detail else None,
                  cls="what", role="alert"), row)
    box.setAttribute("data-code", error["code"])
