"""The list of conversations, and its drawer on a phone."""

import time

import js
from studio.dom import by_id, el, icon_button

side, scrim = by_id("side"), by_id("scrim")
toggles = [by_id("drawer-button"), by_id("lab-drawer-button")]


def in_lab() -> bool:
    """Whether the Lab is shown instead of a chat (start.js keeps it)."""
    return js.document.documentElement.getAttribute("data-view") == "lab"


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
        here = row["id"] == current and not in_lab()
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
    for toggle in toggles:
        toggle.setAttribute("aria-expanded", "true" if visible and narrow else "false")
    if narrow:
        (side.querySelector("button") if visible else toggles[in_lab()]).focus()


def fit(*_) -> None:
    """A drawer that is closed cannot be reached by keyboard; a sidebar always can."""
    narrow = js.matchMedia("(max-width: 800px)").matches
    side.inert = narrow and not side.classList.contains("open")
    if not narrow:
        side.classList.remove("open")
        scrim.hidden = True
