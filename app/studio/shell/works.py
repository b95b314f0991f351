"""The list of the shown page's works in the sidebar, and the menu of each: open, rename, export, delete."""

import asyncio
import time

import js
from studio.shell import routing, sidebar
from studio.shell.elements import action, by_id, composing, download, el, fill, icon_button, on, show
from studio.shell.files import file_name
from studio.shell.wording import t

listed, menu = by_id("works"), by_id("menu")
_page = None  # the page whose works are listed; the Lab has none, and leaves the list as it is


def day(updated: float) -> str:
    days = (time.time() - updated) / 86400
    if days < 1:
        return t("Today")
    return t("This week") if days < 7 else t("Earlier")


def draw(page) -> None:
    """Lists the works of a page."""
    global _page
    _page = page
    new = by_id("new")
    new.querySelector("span").textContent = page.words["new"]
    show(new.querySelector("kbd"), page.name == "chat")
    listed.replaceChildren()
    group = None
    for row in page.history.rows:
        if day(row["updated"]) != group:
            group = day(row["updated"])
            listed.append(el("li", group, cls="group"))
        here = page.shown and page.current is not None and row["id"] == page.current.id
        listed.append(el(
            "li",
            el("button", row["title"], type="button", cls="open", act="open", data_key=row["id"], dir="auto",
               aria_current="page" if here else None),
            icon_button("more", t("Menu of %s") % row["title"], "menu", data_key=row["id"], aria_haspopup="menu"),
            cls="here" if here else None, data_key=row["id"]))
    if not page.history.rows:
        listed.append(el("li", page.words["none"], cls="none"))


@action("open")
def _(source) -> None:
    sidebar.drawer(False)
    routing.go(_page.name, source.getAttribute("data-key"))


@action("new")
def _(_source) -> None:
    begin(_page)


def begin(page) -> None:
    """Begins a new work on a page."""
    sidebar.drawer(False)
    if routing.current() == page.name and routing.part() in ("", "new"):
        page.new_work()
    else:
        routing.go(page.name, "new")


# The menu

@action("menu")
def _(source) -> None:
    key = source.getAttribute("data-key") or _page.current.id
    menu.setAttribute("data-key", key)
    items: list = [("rename", t("Rename"), None)]
    items += [("export", label, place) for place, (label, *_) in enumerate(_page.exports)]
    items.append(("delete", t("Delete"), None))
    fill(menu, *[el("button", label, type="button", role="menuitem", act=act, data_place=place,
                    cls="danger" if act == "delete" else None) for act, label, place in items])
    menu.showPopover()
    box = source.getBoundingClientRect()
    left = min(box.left, js.innerWidth - menu.offsetWidth - 8)
    top = box.bottom + 4 if box.bottom + menu.offsetHeight < js.innerHeight else box.top - menu.offsetHeight - 4
    menu.style.left, menu.style.top = "%dpx" % left, "%dpx" % top
    menu.querySelector("button").focus()


def _pressed(event) -> None:
    if event.key in ("ArrowDown", "ArrowUp"):
        event.preventDefault()
        items = list(menu.querySelectorAll("button"))
        for place, item in enumerate(items):
            if item.matches(":focus"):
                items[(place + (1 if event.key == "ArrowDown" else -1)) % len(items)].focus()
                break


on(menu, "keydown", _pressed)


async def _chosen(do) -> None:
    """Does `do(work)` with the work whose menu is open."""
    menu.hidePopover()
    work = await _page.find(menu.getAttribute("data-key"))
    if work is None:
        await _page.history.read_list()
    else:
        await do(work)


@action("rename")
def _(_source) -> None:
    asyncio.create_task(_chosen(rename))


@action("delete")
def _(_source) -> None:
    async def delete(work) -> None:
        await _page.history.delete([work])
    asyncio.create_task(_chosen(delete))


@action("export")
def _(source) -> None:
    async def export(work) -> None:
        save_as_file(work, _page.exports[int(source.getAttribute("data-place"))])
    asyncio.create_task(_chosen(export))


@action("export-unsaved")
def _(_source) -> None:
    for history in [page.history for page in routing.pages.values() if page.history is not None]:
        if history.unsaved:
            history.page.export_works(list(history.unsaved.values()))


@action("save-again")
def _(_source) -> None:
    asyncio.create_task(routing.shown().history.save_again())


@action("go-on-unsaved")
def _(_source) -> None:
    routing.shown().history.go_on()


async def rename(work) -> None:
    page = _page
    here = page.heading if page.current is not None and page.current.id == work.id else None
    place = here or listed.querySelector('li[data-key="%s"] .open' % work.id)
    field = el("input", type="text", cls="rename", aria_label=t("Name"), maxlength="120", dir="auto")
    field.value = work.title
    place.replaceWith(field)
    field.select()
    state = {"open": True}

    def done(kept: bool) -> None:
        if not state["open"]:
            return
        state["open"] = False
        field.replaceWith(place)
        title = field.value.strip()
        if kept and title and title != work.title:
            work.data["title"] = place.textContent = title
            page.history.save_now(work)
            page.mark()

    def pressed(event) -> None:
        event.stopPropagation()
        if event.key in ("Enter", "Escape") and not composing(event):
            done(event.key == "Enter")
    on(field, "keydown", pressed)
    on(field, "blur", lambda _event: done(True))
    field.focus()


def save_as_file(work, export: tuple) -> None:
    """export: (label, ending, MIME type, text of a work), one of a page's `exports`."""
    _, ending, mime, write = export
    download(file_name(work.title, "." + ending), write(work), mime)
