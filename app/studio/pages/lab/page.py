"""The Lab page: what the GPU can do, and how close the model comes to that. The engine measures; this file draws."""

import json
import time

import js
from js import document
from studio.pages.lab.roofline import drawing, in_words, name
from studio.shell.card import Card, adapter_name, software
from studio.shell.elements import SVG, action, announce, button, copied_soon, el, fill, on, show
from studio.shell.errors import explain
from studio.shell.models import in_use
from studio.shell.page import Page
from studio.shell.transport import Engine
from studio.shell.wording import amount, digits, duration, number, share, size, t

PAGE = {
    "place": 6,
    "title": "Lab",
    "about": "Measure what the GPU can do",
    "tasks": [],
    "icon": '<path d="M4 20V4M4 20h16M8 15l4-6 3 3 4-7"/>',
}

STAGES = {"read": t("Reading memory"), "multiply": t("Multiplying matrices"), "dispatch": t("Starting kernels"),
          "tokens": t("Writing tokens"), "kernels": t("Timing each kernel")}
TIERS = {"software": t("on the processor"), "default": t("plain WebGPU"), "subgroups": t("with subgroups")}
LIMITS = [  # WebGPU's name, ours, whether in bytes
    ("maxBufferSize", t("Largest buffer"), True), ("maxStorageBufferBindingSize", t("Largest binding"), True),
    ("maxComputeWorkgroupStorageSize", t("Memory of a workgroup"), True),
    ("maxComputeInvocationsPerWorkgroup", t("Invocations of a workgroup"), False),
    ("maxStorageBuffersPerShaderStage", t("Buffers of a kernel"), False),
]
COLUMNS = [t("Part"), t("Times"), t("µs each"), t("Floor, µs"), t("Floor / time"), "MB", "MFLOP", "GB/s", t("Kernel")]


class Lab(Page):
    """`result` is what the engine measured last, `problem` the error if it could not."""

    def __init__(self, engine: Engine, name: str):
        super().__init__(engine, name, t("Lab"), [])
        self.make("", "", "")
        self.result: dict | None = None
        self.problem: dict | None = None
        self._began, self._width = 0.0, 0
        self._info: dict | None = None
        self.note = el("p", cls="lab-note")
        self.go = button(t("Measure"), "measure", cls="primary")
        self.copy = button(t("Copy as JSON"), "copy-lab")
        self.load = el("a", t("Load a model"), href="#chat", cls="quiet")
        self.stage, self.bar = el("h3"), el("progress", max="1", aria_label=t("Measuring"))
        self.progress = el("div", el("div", self.stage, self.bar, cls="what"), button(t("Cancel"), "cancel"),
                           cls="notice")
        self.card = Card(el("div", cls="notice", hidden=True))
        self.gpu, self.sub = el("h2", cls="hello-head"), el("p", cls="hello-sub")
        self.measured, self.device = el("div"), el("section", cls="lab-device")
        self.figure = None
        row = el("div", self.go, self.copy, self.load, cls="row")
        head = el("section", self.gpu, self.sub, row, self.note, self.progress, self.card.box, cls="lab-head")
        self.main.classList.add("lab")
        self.body.className = "lab-body"
        fill(self.body, head, self.measured, self.device)
        action("measure")(lambda _source: self.measure())
        action("copy-lab")(lambda source: copied_soon(source, self.json()))
        on(js.window, "resize", lambda _event: self.fit())

    def focus(self) -> None:
        super().focus()
        self.fit()

    @property
    def chat(self):
        return self.engine.models.get("text-generation")

    # Measuring

    def measure(self) -> None:
        if self.engine.measuring or self.obstacle():
            return
        self.problem, self._began = None, time.time()
        self.engine.measure(self.told)
        self.told("progress", {"stage": "read", "loaded": 0, "total": 3})
        self.progress.querySelector("button").focus()

    def cancel(self) -> None:
        """Stops the measurement; called by Escape and the button."""
        if self.engine.measuring:
            self.engine.abort(self.engine.measuring)

    def told(self, kind: str, body: dict) -> None:
        if kind == "progress":
            words = STAGES.get(body["stage"], t("Measuring"))
            if self.stage.textContent != words:
                self.stage.textContent = words
                announce(words)
            self.bar.value = body["loaded"] / body["total"]
            return
        if kind == "result":
            self.result = body
            self.draw_result()
            announce(t("Measured in %s.") % duration(time.time() - self._began))
        else:
            self.problem = body
        self.update()
        if self.shown:
            self.go.focus()

    def obstacle(self) -> str:
        """Why nothing can be measured now; "" if something can."""
        if self.engine.state == "failed":
            return "%s. %s" % explain(self.engine.error["code"])[:2]
        if self.engine.state == "starting":
            return t("The engine is starting …")
        for model in in_use(self.engine):
            if model.state == "loading":
                return t("A model is being loaded: measure when it is ready.")
            if model.working:
                return t("%s is working: measure when it is done.") % model.name
        return ""

    # Drawing

    def working(self) -> bool:
        return bool(self.engine.measuring)

    def update(self) -> None:
        """Redraws the head and its buttons after any change of the engine."""
        if not self.shown:
            return
        self.head.update()
        busy, obstacle = bool(self.engine.measuring), self.obstacle()
        info = self.engine.info
        self.gpu.textContent = adapter_name(info) or t("This GPU")
        slow = t("It computes on the processor: measuring takes about a minute.") if software(info) else ""
        self.sub.textContent = " ".join([t("What it can do, measured with TensorTab’s own kernels, and how close the "
                                           "model comes to that. The numbers stay in this tab."), slow])
        show(self.go, not busy)
        self.go.disabled = bool(obstacle)
        self.go.textContent = t("Measure again") if self.result else t("Measure")
        show(self.copy, self.result is not None and not busy)
        show(self.load, self.chat is not None and self.chat.state == "idle" and self.engine.state == "up" and not busy)
        show(self.progress, busy)
        self.note.textContent = "" if busy else obstacle or self.hint()
        show(self.note, bool(self.note.textContent))
        if self.problem is None or self.problem["code"] in ("aborted", "ended"):
            self.card.hide()
        else:
            title, advice, _ = explain(self.problem["code"])
            if self.problem["code"] == "bad_request":
                title, advice = t("Nothing was measured"), ""
            self.card.problem(title, advice, self.problem)
        if info != self._info:
            self._info = info
            self.draw_device(info)

    def hint(self) -> str:
        if self.problem is not None and self.problem["code"] in ("aborted", "ended"):
            return t("The measurement was stopped: nothing new was measured.")
        if self.chat is None or self.chat.name is None:
            return t("No model is loaded: only the GPU is measured, and no tokens.")
        return "" if self.result else t("Measures the GPU, and one token of %s.") % self.chat.name

    def draw_device(self, info: dict) -> None:
        if not info:
            return
        tags = el("ul", cls="tags")
        for feature in info.get("features") or []:
            tags.append(el("li", feature, cls="tag"))
        if not tags.childElementCount:
            tags = el("p", t("It has no optional feature of WebGPU."), cls="about")
        facts = el("dl")
        rows = [(t("Kernels"), TIERS.get(info.get("tier"), info.get("tier"))), (t("Vendor"), info.get("vendor")),
                (t("Architecture"), info.get("architecture"))]
        for key, label, in_bytes in LIMITS:
            value = (info.get("limits") or {}).get(key)
            rows.append((label, value and (size(value) if in_bytes else number(value))))
        for label, value in rows:
            if value:
                facts.append(el("div", el("dt", label), el("dd", value)))
        fill(self.device, el("h2", t("What the browser says about it")), tags, facts)

    def draw_result(self) -> None:
        made = self.result
        parts = [el("dl", *self.figures(made), cls="figures-list")]
        if made.get("kernels"):
            self.figure = el("figure")
            parts.append(el("section", el("h2", t("One token, kernel by kernel")),
                            el("p", self.story(made), cls="about"), self.figure,
                            self.legend(), el("p", self.small_print(made), cls="about small"),
                            el("details", el("summary", t("The same as a table")), self.table(made["kernels"]))))
        elif made.get("model"):
            parts.append(el("section", el("h2", t("One token, kernel by kernel")), el(
                "p", t("This browser does not tell how long a single kernel takes: that needs WebGPU’s "
                       "timestamp-query, which Chrome and Edge have on most GPUs."), cls="about")))
        fill(self.measured, *parts)
        self._width = 0
        self.fit()

    def figures(self, made: dict) -> list:
        rates = made["tflops"]
        n = number(made["matmul_n"])
        multiply = t("32-bit products of %s × %s matrices") % (n, n)
        if "f16" in rates:
            multiply = t("32-bit products of %s × %s matrices; %s in 16 bits") % (
                n, n, amount(1e12 * rates["f16"], "FLOP/s"))
        rows = [
            (t("Reads"), amount(1e9 * made["read_gb_s"], "B/s"), t("from a buffer of %s") % size(made["read_bytes"])),
            (t("Multiplies"), amount(1e12 * rates["f32"], "FLOP/s"), multiply),
            (t("Starts a kernel in"), amount(made["dispatch_us"] / 1e6, "s"), t("each waits for the one before")),
        ]
        if made.get("tokens_per_second"):
            most = made["floor_tokens_per_second"]
            about = t("%s of the %s that memory allows: each reads %s of weights") % (
                share(made["tokens_per_second"] / most), digits(most), size(made["weight_bytes_a_token"]))
            rows.insert(0, (t("Writes"), t("%s tokens/s") % digits(made["tokens_per_second"]), about))
        return [el("div", el("dt", label), el("dd", value, cls="big"), el("dd", about)) for label, value, about in rows]

    def story(self, made: dict) -> str:
        took, floor = made["us_a_token"] / 1e6, made["floor_us_a_token"] / 1e6
        return t("A bar is the time that a kind of kernel takes in one token of %s: %s together. Yellow is the floor, "
                 "which this device cannot beat: the time to read their bytes, or to compute their products. It is %s, "
                 "or %s.") % (made.get("model"), amount(took, "s"), amount(floor, "s"), share(floor / took))

    def legend(self):
        return el("p", el("span", cls="key floor"), t("floor"), el("span", cls="key spent"), t("what goes beyond it"),
                  cls="legend", aria_hidden="true")

    def small_print(self, made: dict) -> str:
        found = [t("At position %s of a text. Each kernel is timed alone, which adds some µs to it, so the sum may be "
                   "more than a token takes.") % number(made["position"])]
        if made["clock_us"]:
            found.append(t("This browser rounds GPU times to %s; these are means of many. In Chrome, chrome://flags/"
                           "#enable-webgpu-developer-features gives exact ones.") % amount(made["clock_us"] / 1e6, "s"))
        return " ".join(found)

    def table(self, kernels: list):
        body = el("tbody")
        for kernel in kernels:
            us, nbytes = kernel["us"], kernel["bytes"]
            numbers = [number(kernel["count"]), digits(us), digits(kernel["floor_us"]), share(kernel["share"]),
                       digits(nbytes / 1e6), digits(kernel["flops"] / 1e6), digits(nbytes / us / 1e3 if us else 0)]
            body.append(el("tr", el("th", name(kernel), scope="row"),
                           *[el("td", number, data_align="right") for number in numbers],
                           el("td", el("code", kernel["kernel"]))))
        heads = [el("th", title, scope="col", data_align="right" if 0 < place < len(COLUMNS) - 1 else None)
                 for place, title in enumerate(COLUMNS)]
        return el("div", el("table", el("thead", el("tr", *heads)), body), cls="table", tabindex="0", role="region",
                  aria_label=t("Kernels of one token"))

    def fit(self) -> None:
        """Draws the picture as wide as the page allows."""
        width = self.figure.clientWidth if self.figure is not None and self.shown else 0
        if width in (0, self._width):
            return
        self._width = width
        height, parts = drawing(self.result["kernels"], width)
        label = in_words(self.result["kernels"])
        attributes = {"class": "roofline", "role": "img", "aria-label": label, "width": width, "height": height,
                      "viewBox": "0 0 %d %d" % (width, height)}
        picture = shape("svg", attributes, "")
        for part in parts:
            picture.append(shape(*part))
        fill(self.figure, picture)

    def json(self) -> str:
        """Everything that was measured, with the browser and the time, as JSON."""
        made = {"browser": js.navigator.userAgent, "measured": js.Date.new().toISOString()}
        made.update(self.result)
        return js.JSON.stringify(js.JSON.parse(json.dumps(made)), None, 1)


def shape(tag: str, attributes: dict, text: str):
    node = document.createElementNS(SVG, tag)
    for key, value in attributes.items():
        node.setAttribute(key, str(value))
    if text:
        node.textContent = text
    return node
