"""What a library of vendor/ draws in answers: formulas as MathML, code in colours. Each is loaded when the first
formula or the first code appears; until then, and where it fails, there is the text. What a library makes is let
through only if it consists of the elements and attributes that are listed here."""

import js
from js import document
from jsffi import create_proxy
from studio.pages.chat.formulas import tex_of
from studio.pages.chat.growing import changed_code, grow
from studio.shell.elements import attempt, el, fill

MATH = "math mrow mi mn mo mtext ms mspace mfrac msqrt mroot mstyle merror mpadded mphantom msub msup msubsup munder " \
    "mover munderover mmultiscripts mprescripts none mtable mtr mtd menclose span"
MATH_ATTRIBUTES = "display class style displaystyle scriptlevel mathvariant mathcolor mathbackground stretchy fence " \
    "form separator symmetric largeop movablelimits accent accentunder lspace rspace minsize maxsize width height " \
    "depth voffset linethickness columnalign rowalign columnspan rowspan columnspacing rowspacing columnlines " \
    "rowlines frame notation"
LONGEST_CODE = 50_000  # characters of code that is coloured
OPTIONS = '{"displayMode": %s, "throwOnError": true, "maxSize": [20, 400], "maxExpand": 300}'


class Library:
    """A script that defines the global `name`. It is loaded when it is first asked for."""

    def __init__(self, name: str, file: str, style: str = ""):
        self.name, self.file, self.style = name, file, style
        self.waiting: list = []

    def get(self, then):
        """The library, or None: then it is being loaded, and `then()` will be called once it is there."""
        found = getattr(js.globalThis, self.name, None)
        if present(found):
            return found
        if not self.waiting:
            if self.style:
                document.head.append(el("link", rel="stylesheet", href=self.style))
            script = el("script", src=self.file)
            script.addEventListener("load", create_proxy(self._loaded))
            script.addEventListener("error", create_proxy(self._failed))
            document.head.append(script)
        if then not in self.waiting:
            self.waiting.append(then)
        return None

    def _loaded(self, _event) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()

    def _failed(self, event) -> None:
        """The next formula or code tries again."""
        event.target.remove()
        self.waiting = []


temml = Library("temml", "vendor/temml.min.js", "vendor/Temml-Local.css")
highlight = Library("hljs", "vendor/highlight.min.js")


def present(value) -> bool:
    return value is not None and str(value) != "<undefined>"


def only(node, elements: str, attributes: str) -> bool:
    """Whether there is nothing below `node` but these elements and attributes."""
    others = "count(.//*[not(contains(' %s ', concat(' ', local-name(), ' ')))]" \
        " | .//@*[not(contains(' %s ', concat(' ', name(), ' ')))])" % (elements, attributes)
    return node.ownerDocument.evaluate(others, node, None, 1, None).numberValue == 0


# Formulas

_made: dict = {}  # {formula as it was written: its MathML}, because the block that grows is drawn again and again


def formula(written: str):
    """An element with the formula."""
    tex, display = tex_of(written)
    node = el("span", written, cls="formula display" if display else "formula", dir="ltr", data_tex=written)
    if written in _made:
        fill(node, _made[written].cloneNode(True))
    elif tex:
        typeset(node, written, tex, display)
    return node


def typeset(node, written: str, tex: str, display: bool) -> None:
    """Fills `node` with the formula when the library is there; what it cannot read stays as it was written."""
    library = temml.get(lambda: typeset(node, written, tex, display))
    if library is None:
        return
    box = el("span")
    options = js.JSON.parse(OPTIONS % ("true" if display else "false"))

    def done(*_):
        if box.firstChild is not None and only(box, MATH, MATH_ATTRIBUTES):
            if len(_made) > 400:
                _made.clear()
            _made[written] = box.firstChild
            fill(node, box.firstChild.cloneNode(True))
    # before the next paint; an error of the library, for TeX that is none, changes nothing
    attempt(library, "render", tex, box, options).then(create_proxy(done), create_proxy(lambda *_: None))


# Code

_later: list = []  # the codes that wait for the library, or for their time
_free = 0.0  # when there is time again, in ms
_timer = None


def colour(parent) -> None:
    """Colours the code that was drawn just now in `parent`. Code that grows takes at most a tenth of the time:
    meanwhile its last words have the colour of the text."""
    drawn = [(code, new) for code, new in changed_code if code.hasAttribute("data-language") and parent.contains(code)]
    changed_code.clear()
    for code, new in drawn:
        if not (new and paint(code)) and not any(other.isSameNode(code) for other in _later):
            _later.append(code)
    if _later:
        _colour_later()


def _colour_later() -> None:
    global _free, _timer
    now = js.performance.now()
    if highlight.get(_colour_later) is None:
        return
    if now >= _free:
        for code in _later:
            if code.isConnected:
                paint(code)
        _later.clear()
        _free = js.performance.now() + 9 * (js.performance.now() - now)
    elif _timer is None:
        _timer = js.setTimeout(_at_its_time, _free - now)


def _time_is_up() -> None:
    global _timer
    _timer = None
    _colour_later()


_at_its_time = create_proxy(_time_is_up)


def paint(code) -> bool:
    """Colours one code if its language is known; False while the library is being loaded."""
    library = highlight.get(_colour_later)
    if library is None:
        return False
    text, language = code.textContent, code.getAttribute("data-language")
    if len(text) <= LONGEST_CODE and present(library.getLanguage(language)):
        options = js.JSON.parse('{"language": "%s", "ignoreIllegals": true}' % language)
        box = js.DOMParser.new().parseFromString(library.highlight(text, options).value, "text/html").body
        if only(box, "span", "class") and box.textContent == text:
            grow(code, box)
    return True
