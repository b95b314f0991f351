"""The document from Python: builds and finds elements, listens, and calls JavaScript that may throw."""

import asyncio

import js
from js import document
from jsffi import create_proxy
from studio.shell.wording import size, t

SVG = "http://www.w3.org/2000/svg"
_apply = js.Reflect.get(js.Reflect, "apply")
_actions: dict = {}  # function of an element, by its data-act
storage = js.tensortab.storage  # localStorage, or a stand-in that keeps nothing (start.js)


def by_id(name):
    return document.getElementById(name)


def el(tag: str, *children, **attributes):
    """A new element. `cls` is its class, `act` its data-act, other names are attributes (`_` for `-`);
    False and None leave an attribute out, True sets an empty one. Text children become text, never HTML."""
    node = document.createElement(tag)
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = {"cls": "class", "act": "data-act"}.get(name, name.replace("_", "-"))
        node.setAttribute(name, "" if value is True else str(value))
    for child in children:
        if child is not None:
            node.append(child)
    return node


def icon(name: str):
    """One of index.html's symbols."""
    svg, use = document.createElementNS(SVG, "svg"), document.createElementNS(SVG, "use")
    svg.setAttribute("aria-hidden", "true")
    use.setAttribute("href", "#i-" + name)
    svg.append(use)
    return svg


def icon_button(name: str, label: str, act: str, **attributes):
    return el("button", icon(name), type="button", cls="icon", act=act, aria_label=label, title=label, **attributes)


def button(text: str, act: str, cls: str = "quiet", sign: str = "", **attributes):
    """A button. sign: the icon before its text."""
    return el("button", icon(sign) if sign else None, text, type="button", cls=cls, act=act, **attributes)


def cost(source, count: int) -> None:
    """Says on a button how many bytes a click downloads first; 0 takes the sign away."""
    tag = source.querySelector(".cost")
    if tag is not None:
        tag.remove()
    if count:
        source.append(el("span", icon("down"), size(count), cls="cost", title=t("A model is downloaded first, once.")))


def fill(node, *children) -> None:
    """Replaces the children of a node."""
    node.replaceChildren()
    for child in children:
        if child is not None:
            node.append(child)


def show(node, visible: bool = True) -> None:
    if node.hidden == visible:
        node.hidden = not visible


def on(target, event: str, handler) -> None:
    """Adds a listener, `handler(event)`, which is never removed."""
    target.addEventListener(event, create_proxy(handler))


def composing(event) -> bool:
    """Whether a key belongs to an input method. Safari ends a composition by an Enter that says so by its code only."""
    return event.isComposing or event.keyCode == 229


def action(name: str):
    """Decorator: the function is called as `f(element)` when an element with data-act=`name` is clicked."""
    def register(function):
        _actions[name] = function
        return function
    return register


def _clicked(event) -> None:
    source = event.target.closest("[data-act]")
    if source is not None and source.getAttribute("data-act") in _actions:
        _actions[source.getAttribute("data-act")](source)


on(document, "click", _clicked)


def attempt(obj, method: str, *args):
    """`obj.method(*args)` as an awaitable. MicroPython cannot catch what JavaScript throws in a direct call;
    a promise turns it into a JsException. Its `args` are (error, name, message)."""
    bound = _apply.bind(None, js.Reflect.get(obj, method), obj)
    return js.Promise.resolve(js.Array.of(*args)).then(bound)


def message_of(error) -> str:
    """The message of an exception of either language, for the user."""
    return error.args[2] if len(error.args) == 3 else str(error)


def announce(text: str) -> None:
    """Lets screen readers read a text that is not shown."""
    by_id("said").textContent = text


_toast_timer = None


def toast(text: str, label: str = "", act: str = "", seconds: float = 6) -> None:
    """Shows a line at the bottom for some seconds, with at most one button."""
    global _toast_timer
    box = by_id("toast")
    fill(box, el("span", text), button(label, act, cls="link") if label else None)
    if not box.matches(":popover-open"):
        box.showPopover()
    if _toast_timer is not None:
        js.clearTimeout(_toast_timer)
    _toast_timer = js.setTimeout(_hide_toast, seconds * 1000)


def hide_toast(*_) -> None:
    if by_id("toast").matches(":popover-open"):
        by_id("toast").hidePopover()


_hide_toast = create_proxy(hide_toast)


def download(name: str, text: str, mime: str) -> None:
    """Offers the user a text as a file for download."""
    download_blob(name, js.Blob.new(js.Array.of(text), js.JSON.parse('{"type": "%s"}' % mime)))


def download_blob(name: str, blob) -> None:
    link = el("a", href=js.URL.createObjectURL(blob), download=name)
    link.click()
    js.setTimeout(create_proxy(lambda: js.URL.revokeObjectURL(link.href)), 60_000)  # a large one is read for a while


def open_sheet(name: str) -> None:
    sheet = by_id(name)
    if not sheet.open:
        sheet.showModal()


async def _copy(source, text: str) -> None:
    try:
        await attempt(js.navigator.clipboard, "writeText", text)
        copied(source)
    except Exception as error:
        toast(t("The browser did not allow copying (%s): select the text and copy it.") % message_of(error))


def copied_soon(source, text: str) -> None:
    """Copies a text, and marks the button for a moment."""
    asyncio.create_task(_copy(source, text))


def copied(source) -> None:
    before = list(source.childNodes)
    fill(source, icon("check"), t("Copied") if not source.classList.contains("icon") else None)

    def back(*_):
        fill(source, *before)
    js.setTimeout(create_proxy(back), 1400)
