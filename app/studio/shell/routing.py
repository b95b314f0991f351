"""The address says which page is shown, and what of it: #search, or #chat/c123. The sidebar's links are the list of the
pages; the build makes them of each page's description (`PAGE` in pages/<name>/page.py)."""

import asyncio

import js
from js import document
from studio.shell.elements import attempt, by_id, el, message_of, toast
from studio.shell.wording import t

LIVE = "🔴 "  # before the title of a browser tab that records
pages: dict = {}  # the pages that were opened so far, by name
_one = asyncio.Lock()  # a page is made once, however often it is asked for meanwhile


def links() -> list:
    return list(by_id("pages").querySelectorAll("a"))


def name_of(link) -> str:
    return link.getAttribute("href")[1:]


def current() -> str:
    """The name of the page that is shown (start.js reads it from the address)."""
    return document.documentElement.getAttribute("data-view")


def title(text: str) -> None:
    """Names the browser tab, with a dot before it while something is recorded."""
    live = by_id("pages").querySelector("[data-live]") is not None
    document.title = LIVE + text if live else text


def live(name: str, on: bool) -> None:
    """Marks the page that records, wherever the user is."""
    for link in links():
        if name_of(link) == name:
            link.toggleAttribute("data-live", on)
            for sign in list(link.querySelectorAll(".live")):
                sign.remove()
            if on:
                link.append(el("span", t("recording"), cls="live"))
    title(document.title.replace(LIVE, ""))


def part() -> str:
    """What follows the page's name in the address: "c123" of #chat/c123."""
    return js.location.hash.partition("/")[2]


def shown():
    """The page that is shown; None while its files are fetched."""
    return pages.get(current())


def go(name: str, part: str = "") -> None:
    js.location.hash = name + ("/" + part if part else "")


def replace(name: str, part: str = "") -> None:
    """Changes the address without an entry of its own in the browser's history."""
    address = "#" + name + ("/" + part if part else "")
    if js.location.hash != address:
        js.history.replaceState(None, "", address)


def page_of(task: str) -> str:
    """The name of the page that has a task's model, "" if there is none."""
    for link in links():
        if task in link.getAttribute("data-tasks").split():
            return name_of(link)
    return ""


def page_for(files: list) -> str:
    """The name of the page that is for files of another program: the chat, if none says that it opens their type."""
    for link in links():
        for kind in link.getAttribute("data-opens").split():
            if files and files[0].type.startswith(kind):
                return name_of(link)
    return "chat"


async def page(engine, name: str):
    """A page, whose files are fetched when it is first needed: most visits are for the chat."""
    async with _one:
        if name not in pages:
            await attempt(js.tensortab, "part", name)
            made = __import__("studio.pages.%s.page" % name, None, None, ("",))
            pages[name] = getattr(made, name[0].upper() + name[1:])(engine, name)
    return pages[name]


async def route(engine) -> None:
    """Shows the page that the address names."""
    name, wanted = current(), part()
    for link in links():
        link.setAttribute("aria-current", "page" if name_of(link) == name else "false")
    for other in list(pages.values()):
        if other.shown and other.name != name:
            other.show(False)
    try:
        found = await page(engine, name)
    except Exception as error:  # its files cannot be fetched, or it is at fault
        toast(t("This page could not be fetched: %s") % message_of(error))
        return
    if name == current():
        found.show(True)
        asyncio.create_task(found.locate(wanted))
