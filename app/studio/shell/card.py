"""Cards that show a model to load, its progress or an error; and the chat's card, above the message box, with the
engine's status line."""

from studio.shell.elements import button, by_id, el, fill, icon, show
from studio.shell.transport import Engine, Progress
from studio.shell.wording import duration, explain, size

STAGES = {"download": "Downloading", "load": "Copying to the GPU", "compile": "Compiling its kernels"}
STATES = {"starting": "Starting", "idle": "No model loaded", "loading": "Loading", "ready": "Ready",
          "answering": "Answering", "failed": "Not available", "elsewhere": "In another tab"}


def software(info: dict) -> bool:
    """Whether the adapter computes on the processor."""
    text = " ".join([str(info.get(name, "")) for name in ("vendor", "architecture", "device", "description")]).lower()
    return bool(info.get("fallback")) or "swiftshader" in text or "llvmpipe" in text


def adapter_name(info: dict) -> str:
    """The GPU's name. Most browsers say only {"vendor": "nvidia", "architecture": "lovelace"}."""
    for name in ("description", "device"):
        if info.get(name):
            return info[name]
    words = [info[name] for name in ("vendor", "architecture") if info.get(name)]
    return " ".join([word.upper() if word in ("nvidia", "amd") else word[0].upper() + word[1:] for word in words])


class Card:
    """One box that shows one thing at a time, or nothing."""

    def __init__(self, box):
        self.box = box
        self._shown = None  # what the card shows, so that progress updates texts and not elements

    def hide(self) -> None:
        self.put(None)

    def put(self, kind: tuple | None, *children) -> None:
        """Shows the children, unless the card shows them already."""
        if kind is not None and kind == self._shown:
            return
        self._shown = kind
        show(self.box, kind is not None)
        self.box.setAttribute("data-kind", str(kind[0]) if kind else "")
        fill(self.box, *children)

    def offer(self, model: dict, info: dict) -> None:
        """model: {"name", "size", "stored"}, bytes."""
        kept = model.get("stored") or 0
        if kept >= model["size"]:
            label, detail = "Load it", "On this device already"
        elif kept:
            label, detail = "Resume the download", "%s of %s here" % (size(kept), size(model["size"]))
        else:
            label, detail = "Download and start", "%s, once" % size(model["size"])
        facts = [detail, "runs on your GPU", "nothing is uploaded"]
        slow = None
        if software(info):
            facts[1] = "runs on this device"
            slow = el("p", "The browser offers no GPU here, so answers will be slow.", cls="warn")
        self.put(("offer", model["name"], kept),
                 el("span", icon("logo"), cls="mark", aria_hidden="true"),
                 el("div", el("h2", model["name"]), el("p", "  ·  ".join(facts)), slow, cls="what"),
                 el("div", button("Use a file", "pick-file"), button(label, "load-default", cls="primary"), cls="row"))

    def missing(self, kind: str, text: str) -> None:
        """The site has no model of this kind: the user can open files."""
        self.put(("missing", kind), el("div", el("h2", "This site has no " + kind), el("p", text), cls="what"),
                 el("div", button("Open a model’s files", "pick-file", cls="primary"), cls="row"))

    def loading(self, progress: Progress) -> None:
        """The progress of a model that is being downloaded or loaded."""
        amount = ""
        if progress.total:
            if progress.stage == "compile":
                parts = ["%d of %d" % (progress.loaded, progress.total)]
            else:
                parts = ["%s of %s" % (size(progress.loaded), size(progress.total))]
                if progress.rate:
                    parts.append(size(progress.rate) + "/s")
            if progress.left is not None and progress.loaded < progress.total:
                parts.append("about %s left" % duration(progress.left))
            amount = "  ·  ".join(parts)
        part = progress.loaded / progress.total if progress.total else None
        self.progress(STAGES.get(progress.stage, "Getting ready"), amount, part, "Loading the model", "cancel-load")

    def progress(self, title: str, detail: str, part: float | None, name: str, cancel: str) -> None:
        """part: the share that is done, 0 to 1, or None while it is unknown. name: the bar's, for screen readers."""
        if self._shown != ("progress", name):
            self.put(("progress", name),
                     el("div", el("h2", cls="stage"), el("p", cls="amount"),
                        el("progress", max="1", aria_label=name), cls="what"),
                     el("div", button("Cancel", cancel), cls="row"))
        self.box.querySelector(".stage").textContent = title
        self.box.querySelector(".amount").textContent = detail
        bar = self.box.querySelector("progress")
        if part is None:
            bar.removeAttribute("value")
        else:
            bar.value = part

    def error(self, error: dict) -> None:
        """An error of the engine, and what to do about it."""
        title, advice, buttons = explain(error["code"])
        self.problem(title, advice, error, buttons)

    def problem(self, title: str, advice: str, error: dict, buttons=()) -> None:
        """error: {"code", "message"} and, if the fault is ours, the "report" to copy; {} where the title says all.
        buttons: (label, action); the first is the main one."""
        detail, report = error.get("message"), error.get("report")
        buttons = list(buttons) + ([("Copy the report", "copy-report")] if report else [])
        row = el("div", cls="row")
        for place, (label, act) in enumerate(buttons):
            row.append(button(label, act, cls="quiet" if place else "primary"))
        self.put(("error", title, advice, detail, report),
                 el("div", el("h2", title), el("p", advice) if advice else None,
                    el("p", detail, cls="detail") if detail else None,
                    el("details", el("summary", "The report"), el("pre", report, tabindex="0")) if report else None,
                    cls="what", role="alert"),
                 row if buttons else None)
        self.box.setAttribute("data-code", error.get("code") or "")


card = Card(by_id("notice"))


def update(engine: Engine, model: dict | None, problem: dict | None, missing: str) -> None:
    """Draws the chat's state. model: the site's default. problem: an error of this chat or of the storage, which takes
    precedence over the engine's own. missing: why there is no default model."""
    _status(engine)
    error = problem or engine.error
    if error:
        if error is engine.error and engine.model is not None:
            error = error | {"message": "%s\n%s is still loaded." % (error["message"], engine.model)}
        card.error(error)
    elif engine.state == "loading":
        card.loading(engine.progress)
    elif engine.state == "idle" and model:
        card.offer(model, engine.info)
    elif engine.state == "idle" and missing:
        card.error({"code": "no_model", "message": missing})
    else:
        card.hide()


def _status(engine: Engine) -> None:
    text = STATES[engine.state]
    if engine.state == "loading" and engine.progress.total:
        text = "Loading, %d %%" % (100 * engine.progress.loaded / engine.progress.total)
    if engine.model and engine.state in ("ready", "answering"):
        text = ("Answering with " if engine.state == "answering" else "") + engine.model
    state, others = engine.state, [task for task in engine.tasks if task.state in ("loading", "ready")]
    if state == "idle" and others:
        state, text = others[-1].state, others[-1].model or "Loading"
    by_id("engine-line").setAttribute("data-state", state)
    by_id("engine-state").textContent = text
    slow = "Slow, without a GPU: " if software(engine.info) else ""
    by_id("engine-gpu").textContent = slow + adapter_name(engine.info)
    by_id("engine-gpu").title = adapter_name(engine.info)
