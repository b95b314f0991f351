"""Cards that show a model to load, its progress or an error."""

from studio.shell.elements import button, el, fill, icon, show
from studio.shell.errors import explain
from studio.shell.wording import duration, number, rate, size, t

STAGES = {"download": t("Downloading"), "load": t("Copying to the GPU"), "compile": t("Compiling its kernels")}


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


def title(about: dict) -> str:
    """A model's plain name."""
    return about.get("title") or about["name"]


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
        kept = model["stored"] or 0
        if kept >= model["size"]:
            label, detail = t("Load it"), t("On this device already")
        elif kept:
            label, detail = t("Resume the download"), t("%s of %s here") % (size(kept), size(model["size"]))
        else:
            label, detail = t("Download %s") % size(model["size"]), t("downloaded once")
        facts = [detail, t("runs on your GPU"), t("nothing is uploaded")]
        slow = None
        if software(info):
            facts[1] = t("runs on this device")
            slow = el("p", t("The browser offers no GPU here, so answers will be slow."), cls="warn")
        self.put(("offer", model["name"], kept),
                 el("span", icon("logo"), cls="mark", aria_hidden="true"),
                 el("div", el("h2", title(model)), el("p", "  ·  ".join(facts)), slow, cls="what"),
                 el("div", button(t("Use model files"), "pick-file"),
                    button(label, "load-default", cls="primary"), cls="row"))

    def missing(self, kind: str, text: str, detail: str) -> None:
        """The site has no model of this kind: the user can open files. detail: why the site's models are not known."""
        self.put(("missing", kind, detail),
                 el("div", el("h2", t("This site has no %s") % kind), el("p", text),
                    el("p", detail, cls="detail") if detail else None, cls="what"),
                 el("div", button(t("Open a model’s files"), "pick-file", cls="primary"), cls="row"))

    def loading(self, progress) -> None:
        """The progress of a model that is being downloaded or loaded."""
        amount = ""
        if progress.total:
            if progress.stage == "compile":
                parts = [t("%s of %s") % (number(progress.loaded), number(progress.total))]
            else:
                parts = [t("%s of %s") % (size(progress.loaded), size(progress.total))]
                if progress.rate:
                    parts.append(rate(progress.rate))
            if progress.left is not None and progress.loaded < progress.total:
                parts.append(t("about %s left") % duration(progress.left))
            amount = "  ·  ".join(parts)
        part = progress.loaded / progress.total if progress.total else None
        title = STAGES.get(progress.stage, t("Getting ready"))
        self.progress(title, amount, part, t("Loading the model"), "cancel-load")

    def progress(self, title: str, detail: str, part: float | None, name: str, cancel: str) -> None:
        """part: the share that is done, 0 to 1, or None while it is unknown. name: the bar's, for screen readers."""
        if self._shown != ("progress", name):
            self.put(("progress", name),
                     el("div", el("h2", cls="stage"), el("p", cls="amount"),
                        el("progress", max="1", aria_label=name), cls="what"),
                     el("div", button(t("Cancel"), cancel), cls="row"))
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
        buttons = list(buttons) + ([(t("Copy the report"), "copy-report")] if report else [])
        row = el("div", cls="row")
        for place, (label, act) in enumerate(buttons):
            row.append(button(label, act, cls="quiet" if place else "primary"))
        self.put(("error", title, advice, detail, report),
                 el("div", el("h2", title), el("p", advice) if advice else None,
                    el("p", detail, cls="detail", lang=error.get("lang"), dir="auto") if detail else None,
                    el("details", el("summary", t("The report")),
                       el("pre", report, tabindex="0", lang="en", dir="ltr")) if report else None,
                    cls="what", role="alert"),
                 row if buttons else None)
        self.box.setAttribute("data-code", error.get("code") or "")
