"""The pages, the list of conversations, and their drawer on a phone."""

import time

import js
from js import document
from studio.shell.elements import by_id, el, icon_button

side, scrim, pages = by_id("side"), by_id("scrim"), by_id("pages")


def page() -> str:
    """The name of the page that is shown, "chat" or another one (start.js stores it)."""
    return document.documentElement.getAttribute("data-view")


def mark_page() -> None:
    for link in pages.querySelectorAll("a"):
        link.setAttribute("aria-current", "page" if link.getAttribute("href") == "#" + page() else "false")


def day(updated: float) -> str:
    days = (time.time() - updated) / 86400
    if days < 1:
        return "Today"
    return "This week" if days < 7 else "Earlier"


def show_list(rows: list[dict], current: str) -> None:
    """rows: [{id, title, updated}], newest first."""
    place = by_id("conversations")
    place.replaceChildren()
    group = None
    for row in rows:
        if day(row["updated"]) != group:
            group = day(row["updated"])
            place.append(el("li", group, cls="group"))
        here = row["id"] == current and page() == "chat"
        place.append(el(
            "li",
            el("button", row["title"], type="button", cls="open", act="open", data_key=row["id"],
               aria_current="page" if here else None),
            icon_button("more", "Menu of " + row["title"], "chat-menu", data_key=row["id"], aria_haspopup="menu"),
            cls="here" if here else None, data_key=row["id"]))
    if not rows:
        place.append(el("li", "Your chats will be listed here.", cls="none"))


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
