"""Draws the messages of the open conversation."""

import json

import js
from jsffi import create_proxy
from studio.pages.chat.attachments import attached
from studio.pages.chat.conversation import Conversation, parts_of
from studio.pages.chat.markdown import Rendered
from studio.shell.elements import attempt, button, by_id, el, fill, icon_button, on, show, storage
from studio.shell.parse import parse
from studio.shell.wording import duration, figures, number, t

ENDS = {"stopped": t("stopped"), "interrupted": t("interrupted"), "not answered": t("not answered")}
scroller, turns = by_id("scroll"), by_id("turns")


def speaker(model: str) -> str:
    """A model's short name for the margin: SmolLM2 for SmolLM2-135M-Instruct."""
    name = model.split("/")[-1].split("-")[0].split(".")[0]
    return name if 0 < len(name) <= 10 else t("Answer")


class Turn:
    """One message: its element and its text."""

    def __init__(self, conversation: Conversation, key: str):
        self.key = key
        self.node = conversation.node(key)
        self.mine = self.node["role"] == "user"
        self.body = el("div", cls="text", dir="auto" if self.mine else None)
        self.foot = el("footer")
        self.label = el("h2", cls="who")
        self.extra = el("div", cls="attached")
        self.element = el("article", self.label, self.body, self.extra, self.foot, data_key=key,
                          cls="turn mine" if self.mine else "turn",
                          aria_label=t("You wrote") if self.mine else t("The model answered"))
        self.rendered = None if self.mine else Rendered(self.body)
        self.thought: Thought | None = None
        self.text(self.node["content"])
        self.finish(conversation)

    def text(self, content: str) -> None:
        if self.mine:
            self.body.textContent = content
            self.element.classList.toggle("long", len(content) > 240)
            return
        thought, answer, thinking = parts_of(content)
        if thought or thinking:
            self.thought = self.thought or Thought(self.body)
            self.thought.update(thought, thinking, self.node.get("thought_for"))
        elif self.thought is not None:
            self.thought.element.remove()
            self.thought = None
        self.rendered.update(answer)

    def streaming(self, label: str) -> None:
        """Shows that the answer is being written: a label until its first word, and no buttons."""
        self.name()
        self.element.classList.add("streaming")
        fill(self.foot, el("span", label, cls="pending") if label else None)

    def name(self) -> None:
        self.label.textContent = t("You") if self.mine else speaker(self.node.get("model") or "")

    def finish(self, conversation: Conversation) -> None:
        node = self.node
        self.name()
        self.element.classList.remove("streaming")
        fill(self.extra, *attached(conversation, node))
        tools = el("div", cls="tools")
        siblings = conversation.siblings(self.key)
        if len(siblings) > 1:
            place = siblings.index(self.key)
            tools.append(
                icon_button("prev", t("Earlier version"), "branch", data_to=siblings[place - 1] if place else None,
                            disabled=place == 0),
                el("span", t("%s of %s") % (number(place + 1), number(len(siblings))), cls="count"),
                icon_button("next", t("Later version"), "branch", disabled=place == len(siblings) - 1,
                            data_to=siblings[place + 1] if place < len(siblings) - 1 else None))
        if node["content"]:
            tools.append(icon_button("copy", t("Copy"), "copy"))
        if self.mine:
            tools.append(icon_button("edit", t("Edit"), "edit"))
        else:
            tools.append(icon_button("again", t("Answer again"), "again"))
        state = node.get("stopped")
        line = figures(node.get("stats") or {})
        if state:
            line = "  ·  ".join([part for part in (ENDS.get(state, state), line) if part])
        title = t("Seed %s") % node["seed"] if node.get("seed") is not None else None
        cut_off = state in ("stopped", "interrupted") or (node.get("stats") or {}).get("finish_reason") == "length"
        fill(self.foot, tools, el("span", line, cls="figures", title=title) if line else None,
             button(t("Continue"), "continue") if cut_off and node["content"] and not self.mine else None)


class Thought:
    """What the model thought before its answer: folded, until the user opens it."""

    def __init__(self, answer):
        self.summary, body = el("summary"), el("div", cls="text")
        self.element = el("details", self.summary, body, cls="thought")
        self.rendered = Rendered(body)
        answer.before(self.element)

    def update(self, text: str, thinking: bool, seconds: float | None) -> None:
        time = duration(seconds) if seconds else ""
        if thinking:
            line = t("Thinking for %s …") % time if time else t("Thinking …")
        else:
            line = t("Thought for %s") % time if time else t("Thought")
        if self.summary.textContent != line:
            self.summary.textContent = line
        self.element.classList.toggle("thinking", thinking)
        self.rendered.update(text)


class Transcript:
    """Draws a conversation's shown path, and redraws the answer that is being written at most once a frame."""

    def __init__(self):
        self.turns = {}
        self.reopen = lambda key, text: None  # main.py sets it: opens the editor of a message
        self._edits, self._shown = {}, ""  # {chat's id: {message's id: text}} of open editors; the shown chat
        self._edit_timer, self._keep = None, create_proxy(self.keep_edits)
        self._pending = None  # (turn, text) to draw at the next frame
        self._frame = create_proxy(self._draw)
        self._stuck = True
        scroller.addEventListener("scroll", create_proxy(self._scrolled))
        on(turns, "input", self._edited)
        on(turns, "copy", copy_formulas)

    def show(self, conversation: Conversation) -> None:
        self.keep_edits()
        self._shown = conversation.id
        self.turns, self._pending = {}, None  # a pending frame belongs to the chat that was shown before
        turns.replaceChildren()
        show(by_id("hello"), conversation.empty)
        start = conversation.data["from"]
        for key in conversation.path():
            if key == start and conversation.node(key)["parent"] is not None:
                turns.append(el("p", t("The model no longer sees the messages above."), cls="cut"))
            self.append(conversation, key)
        for key, text in self._edits_of(conversation.id).items():
            if key in self.turns:
                self.reopen(key, text)
        self.to_end()

    def _edits_of(self, chat: str) -> dict:
        """The texts of editors that were open when this chat, or the page, was left."""
        if chat not in self._edits:
            try:
                self._edits[chat] = parse(storage.getItem("tensortab.edits." + chat) or "{}")
            except ValueError:
                self._edits[chat] = {}
        return self._edits[chat]

    def keep_edits(self) -> None:
        """Keeps the texts of open editors, which are there again when their chat is shown again."""
        edits = self._edits_of(self._shown)
        before = dict(edits)
        for key, turn in self.turns.items():
            area = turn.element.querySelector(".editor textarea")
            if area is None:
                edits.pop(key, None)
            else:
                edits[key] = area.value
        if edits != before:
            name = "tensortab.edits." + self._shown
            if edits:
                attempt(storage, "setItem", name, json.dumps(edits))
            else:
                attempt(storage, "removeItem", name)

    def _edited(self, _event) -> None:
        js.clearTimeout(self._edit_timer)
        self._edit_timer = js.setTimeout(self._keep, 250)

    def append(self, conversation: Conversation, key: str) -> Turn:
        show(by_id("hello"), False)
        turn = Turn(conversation, key)
        self.turns[key] = turn
        turns.append(turn.element)
        return turn

    def draw(self, key: str, text: str) -> None:
        """Draws a growing answer's text at the next frame."""
        if self._pending is None:
            js.requestAnimationFrame(self._frame)
        self._pending = (key, text)

    def _draw(self, *_) -> None:
        if self._pending is None:
            return
        key, text = self._pending
        self._pending = None
        if key in self.turns:
            self.turns[key].text(text)
            self.follow()

    def draw_now(self, key: str, text: str) -> None:
        self._pending = None
        if key in self.turns:
            self.turns[key].text(text)
            self.follow()

    def _scrolled(self, *_) -> None:
        self._stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60
        show(by_id("latest"), not self._stuck)

    def follow(self) -> None:
        """Keeps the end in view, unless the reader has scrolled away from it."""
        if self._stuck:
            scroller.scrollTop = scroller.scrollHeight

    def to_end(self) -> None:
        """Shows the end of the chat; a new one begins at the top."""
        self._stuck = bool(self.turns)
        if not self.turns:
            scroller.scrollTop = 0
        self.follow()
        show(by_id("latest"), False)


def editor(text: str):
    """The form in which a sent message is edited."""
    area = el("textarea", rows="3", dir="auto", aria_label=t("Edit the message"))
    area.value = text
    return el("form", area, el("div", el("button", t("Cancel"), type="button", cls="quiet", data_act="edit-cancel"),
                               el("button", t("Send"), type="submit", cls="primary"), cls="row"), cls="editor")


def copy_formulas(event) -> None:
    """Copies marked text with the TeX of its formulas in their places."""
    marked = js.getSelection()
    if marked.rangeCount == 0 or event.target.closest("textarea") is not None:
        return
    part = marked.getRangeAt(0).cloneRange()
    first, last = formula_around(part.startContainer), formula_around(part.endContainer)
    if first is not None:
        part.setStartBefore(first)
    if last is not None:
        part.setEndAfter(last)
    box = el("div", part.cloneContents(), cls="unseen")
    formulas = list(box.querySelectorAll(".formula"))
    if formulas:
        for formula in formulas:
            formula.replaceWith(formula.getAttribute("data-tex"))
        js.document.body.append(box)  # its lines are known where it is laid out
        event.clipboardData.setData("text/plain", box.innerText)
        event.clipboardData.setData("text/html", box.innerHTML)
        box.remove()
        event.preventDefault()


def formula_around(node):
    return (node if node.nodeType == 1 else node.parentElement).closest(".formula")
