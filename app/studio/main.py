"""Starts the interface: connects clicks, keys and drops with the chat and the other pages."""

import asyncio
import json

import js
from js import document
from studio.pages.chat.page import Chat
from studio.pages.chat.transcript import copied, editor
from studio.shell import elements, sidebar, storage
from studio.shell.elements import action, attempt, by_id, el, on, toast
from studio.shell.settings import tune

STARTERS = ["Explain why the sky is blue", "Write a short poem about rain", "Plan a quiet weekend at home",
            "Write a Python function that reverses a list"]

# The pages beside the chat, which are studio/<name>.py, and the tasks of each
PAGES = {"transcribe": ("automatic-speech-recognition",), "search": ("feature-extraction", "image-feature-extraction"),
         "classify": ("image-classification", "zero-shot-image-classification"), "summarise": ("summarization",),
         "lab": ()}

chat = Chat()
prompt, composer, menu = by_id("prompt"), by_id("composer"), by_id("menu")


def turn_of(source) -> str:
    return source.closest(".turn").getAttribute("data-key")


def menu_target() -> str:
    return menu.getAttribute("data-key") or chat.conversation.id


# Writing

@action("starter")
def _(source):
    if not chat.busy():
        chat.send(source.textContent)  # the text in the message box stays


@action("stop")
def _(_source):
    chat.stop()
    prompt.focus()


@action("latest")
def _(_source):
    chat.transcript.to_end()


@action("copy")
def _(source):
    asyncio.create_task(copy(source, chat.conversation.node(turn_of(source))["content"]))


@action("copy-code")
def _(source):
    asyncio.create_task(copy(source, source.closest("figure").querySelector("pre").textContent))


async def copy(source, text: str) -> None:
    try:
        await attempt(js.navigator.clipboard, "writeText", text)
        copied(source)
    except Exception as error:
        toast("The browser did not allow copying (%s): select the text and copy it." % elements.message_of(error))


@action("copy-report")
def _(source):
    asyncio.create_task(copy(source, source.closest(".notice").querySelector("pre").textContent))


@action("again")
def _(source):
    chat.again(turn_of(source))


@action("branch")
def _(source):
    chat.conversation.turn_to(source.getAttribute("data-to"))
    chat.draw()
    chat.save_soon(chat.conversation)


@action("edit")
def _(source):
    edit(turn_of(source))


def edit(key: str) -> None:
    turn = chat.transcript.turns[key]
    area = turn.element.querySelector(".editor textarea")
    if area is None:
        area = open_editor(key, chat.conversation.node(key)["content"])
    area.focus()
    area.setSelectionRange(len(area.value), len(area.value))


def open_editor(key: str, text: str):
    turn = chat.transcript.turns[key]
    form = editor(text)
    turn.element.classList.add("editing")
    turn.body.replaceChildren(form)
    area = form.querySelector("textarea")

    def submitted(event):
        event.preventDefault()
        text = area.value.strip()
        if text:
            edit_end(turn)
            chat.resend(key, text)

    def pressed(event):
        if event.key == "Escape":
            event.stopPropagation()
            edit_end(turn)
        elif event.key == "Enter" and not event.shiftKey and not event.isComposing:
            submitted(event)
    on(form, "submit", submitted)
    on(area, "keydown", pressed)
    return area


@action("edit-cancel")
def _(source):
    edit_end(chat.transcript.turns[turn_of(source)])


def edit_end(turn) -> None:
    turn.element.classList.remove("editing")
    turn.text(chat.conversation.node(turn.key)["content"])
    prompt.focus()


# Conversations

@action("new-chat")
def _(_source):
    sidebar.drawer(False)
    begin()


def begin() -> None:
    to_chat()
    chat.begin()


@action("open")
def _(source):
    sidebar.drawer(False)
    to_chat()
    asyncio.create_task(chat.open(source.getAttribute("data-key")))


@action("chat-menu")
def _(source):
    menu.setAttribute("data-key", source.getAttribute("data-key") or "")
    menu.showPopover()
    box = source.getBoundingClientRect()
    left = min(box.left, js.innerWidth - menu.offsetWidth - 8)
    top = box.bottom + 4 if box.bottom + menu.offsetHeight < js.innerHeight else box.top - menu.offsetHeight - 4
    menu.style.left, menu.style.top = "%dpx" % left, "%dpx" % top
    menu.querySelector("button").focus()


@action("rename")
def _(_source):
    menu.hidePopover()
    asyncio.create_task(rename(menu_target()))


async def rename(key: str) -> None:
    conversation = await chat.find(key)
    here = key == chat.conversation.id
    place = by_id("title") if here else document.querySelector('li[data-key="%s"] .open' % key)
    field = el("input", type="text", cls="rename", aria_label="Name of the chat", maxlength="120")
    field.value = conversation.title
    place.replaceWith(field)
    field.select()
    state = {"open": True}

    def done(kept: bool) -> None:
        if not state["open"]:
            return
        state["open"] = False
        field.replaceWith(place)
        if kept and field.value.strip() and not conversation.empty:
            conversation.data["title"] = field.value.strip()
            if here:
                place.textContent = conversation.title
            chat.save_soon(conversation)

    def pressed(event):
        event.stopPropagation()
        if event.key in ("Enter", "Escape") and not event.isComposing:
            done(event.key == "Enter")
    on(field, "keydown", pressed)
    on(field, "blur", lambda _event: done(True))
    field.focus()


@action("export-markdown")
def _(_source):
    asyncio.create_task(export("markdown"))


@action("export-json")
def _(source):
    if source.closest("#menu") is not None:
        asyncio.create_task(export("json"))
        return
    unsaved = list(chat.unsaved.values()) or [chat.conversation]  # the card of unsaved chats
    if len(unsaved) == 1:
        export_one(unsaved[0])
    else:
        export_many([conversation.data for conversation in unsaved])


async def export(kind: str) -> None:
    menu.hidePopover()
    conversation = await chat.find(menu_target())
    if kind == "markdown":
        elements.download(file_name(conversation) + ".md", conversation.markdown(), "text/markdown")
    else:
        export_one(conversation)


def file_name(conversation) -> str:
    return "".join([c if c.isalpha() or c.isdigit() else "-" for c in conversation.title]).strip("-") or "chat"


def export_one(conversation) -> None:
    elements.download(file_name(conversation) + ".json", json.dumps(conversation.data), "application/json")


def export_many(found: list) -> None:
    elements.download("tensortab-chats.json", json.dumps({"version": 1, "conversations": found}), "application/json")


@action("export-all")
def _(_source):
    asyncio.create_task(export_all())


async def export_all() -> None:
    export_many(await storage.everything())


@action("import")
def _(_source):
    by_id("import-file").click()


@action("delete-chat")
def _(_source):
    menu.hidePopover()
    asyncio.create_task(chat.delete(menu_target()))


@action("delete-all")
def _(_source):
    asyncio.create_task(chat.delete_all())


@action("undo-delete")
def _(_source):
    asyncio.create_task(chat.undo_delete())


@action("drawer-open")
def _(_source):
    sidebar.drawer(True)


@action("drawer-close")
def _(_source):
    sidebar.drawer(False)


# The pages beside the chat

def page(name: str):
    """A page, made when it is first needed: most visits are for the chat."""
    if name not in chat.pages:
        made = __import__("studio.pages.%s.page" % name, None, None, ("",))
        chat.pages[name] = getattr(made, name[0].upper() + name[1:])(chat.engine)
    return chat.pages[name]


def shown():
    """The page that is shown; None for the chat."""
    return page(sidebar.page()) if sidebar.page() in PAGES else None


def task_of(source):
    """The task whose card contains an element; None for the chat's."""
    box = source.closest("[data-task]")
    return None if box is None else named(box.getAttribute("data-task"))


def named(name: str | None):
    for task in chat.engine.tasks:
        if task.name == name:
            return task
    return None


@action("measure")
def _(_source):
    shown().measure()


@action("copy-lab")
def _(source):
    asyncio.create_task(copy(source, shown().json()))


@action("copy-result")
def _(source):
    asyncio.create_task(copy(source, shown().copied_text()))


@action("cancel-job")
def _(_source):
    shown().cancel()


@action("unload")
def _(source):
    task_of(source).unload()


def route(_event) -> None:
    """The address says which page is shown."""
    by_id("settings").close()
    sidebar.drawer(False)
    sidebar.mark_page()
    sidebar.show_list(chat.rows, chat.conversation.id)
    now = shown()
    for other in chat.pages.values():
        other.show(False)
    if now is not None:
        now.show(True)
    else:
        chat.draw()
        prompt.focus()


def to_chat() -> None:
    if sidebar.page() != "chat":
        document.documentElement.setAttribute("data-view", "chat")
        js.location.hash = "chat"


# Sheets

@action("tune")
def _(_source):
    tune(chat.conversation, lambda: chat.save_soon(chat.conversation))


@action("tune-reset")
def _(_source):
    chat.conversation.data["sampling"] = {}
    chat.conversation.data["system"] = ""
    chat.save_soon(chat.conversation)
    tune(chat.conversation, lambda: chat.save_soon(chat.conversation))


@action("tune-keep")
def _(_source):
    data = chat.conversation.data
    kept = json.dumps({"system": data["system"], "sampling": data["sampling"]})
    attempt(elements.storage, "setItem", "tensortab.defaults", kept)
    by_id("tune").close()
    toast("New chats start with these instructions and settings.")


@action("settings")
def _(_source):
    chat.settings.open()


@action("close-dialog")
def _(source):
    source.closest("dialog").close()


# The models: a click in a task's card is for its model, a click elsewhere for the chat's

@action("load-default")
def _(source):
    task = task_of(source)
    if task is None:
        chat.load(chat.default["name"])
    else:
        task.load(task.offered["name"])


@action("use-default")
def _(_source):
    chat.load(chat.default["name"])


@action("load-model")
def _(source):
    by_id("settings").close()
    wanted = source.getAttribute("data-name")
    does = (chat.engine.site or {}).get(wanted, {}).get("task")
    for name, tasks in PAGES.items():
        if does in tasks:
            js.location.hash = name
            page(name)
            named(does).load(wanted)
            return
    chat.load(wanted)


@action("delete-model")
def _(source):
    chat.delete_model(source.getAttribute("data-name"))


@action("load-hub")
def _(_source):
    name = by_id("hub-id").value.strip()
    if name.count("/") == 1:
        by_id("settings").close()
        chat.load(name)
    else:
        toast("Write the name as on the hub, such as HuggingFaceTB/SmolLM2-135M-Instruct.")


@action("pick-file")
def _(source):
    task = task_of(source)
    by_id("model-file").setAttribute("data-for", task.name if task else "")
    by_id("model-file").click()


@action("cancel-load")
def _(source):
    (task_of(source) or chat.engine).cancel_load()


@action("retry")
def _(source):
    task = task_of(source)
    if task is None or task.error is None:
        chat.retry_failed()
    else:
        task.retry()


@action("restart")
def _(_source):
    chat.problem = None
    chat.engine.restart()


@action("reload")
def _(_source):
    js.location.reload()


@action("download-again")
def _(source):
    task = task_of(source)
    if task is None:
        name = chat.engine.asked or chat.default["name"]
        chat.download_again(name, lambda: chat.load(name))
    else:
        name = task.offered["name"]
        chat.download_again(name, lambda: task.load(name))


@action("shorten")
def _(_source):
    chat.shorten()


@action("use-here")
def _(_source):
    chat.engine.take_over()


@action("save-again")
def _(_source):
    asyncio.create_task(chat.save_all())


@action("install")
def _(_source):
    asyncio.create_task(chat.settings.install_app())


@action("update")
def _(_source):
    on(js.navigator.serviceWorker, "controllerchange", lambda _event: js.location.reload())
    chat.registration.waiting.postMessage("activate")


def use_files(listed, task=None) -> None:
    """Loads a .gguf file, or the files of a model's folder: .safetensors and the .json beside them. task: the shown
    page's; None for the chat's."""
    files = [listed.item(n) for n in range(listed.length)]
    if any(file.name.lower().endswith((".gguf", ".safetensors")) for file in files):
        by_id("settings").close()
        if task is None:
            chat.load(None, files)
        else:
            asyncio.create_task(shown().open_model(files))
    else:
        toast("“%s” is not a model: choose a .gguf file, or all files of a model's folder." % files[0].name)


def picked(event) -> None:
    if event.target.files.length:
        use_files(event.target.files, named(event.target.getAttribute("data-for")))
        event.target.value = ""


def import_picked(event) -> None:
    if event.target.files.length:
        asyncio.create_task(chat.import_file(event.target.files.item(0)))
        event.target.value = ""


# Keyboard, typing, dropping

def pressed(event) -> None:
    if event.isComposing:
        return
    if event.key == "Enter" and not event.shiftKey and event.target.id == "prompt":
        event.preventDefault()
        chat.submit()
    elif event.key == "Escape" and document.querySelector("dialog[open], [popover]:popover-open") is None:
        if by_id("side").classList.contains("open"):
            sidebar.drawer(False)
        elif shown() is not None:
            shown().cancel()
        elif chat.busy():
            chat.stop()
    elif event.key in ("k", "K") and (event.ctrlKey or event.metaKey) and not event.shiftKey:
        event.preventDefault()
        begin()
    elif event.key == "ArrowUp" and event.target.id == "prompt" and not prompt.value and not chat.busy():
        mine = [key for key in chat.conversation.path() if chat.conversation.node(key)["role"] == "user"]
        if mine:
            event.preventDefault()
            edit(mine[-1])


def menu_pressed(event) -> None:
    if event.key in ("ArrowDown", "ArrowUp"):
        event.preventDefault()
        items = list(menu.querySelectorAll("button"))
        for place, item in enumerate(items):
            if item.matches(":focus"):
                items[(place + (1 if event.key == "ArrowDown" else -1)) % len(items)].focus()
                break


def submitted(event) -> None:
    event.preventDefault()
    chat.submit()


def dragged(event) -> None:
    if event.dataTransfer is not None and event.dataTransfer.types.includes("Files"):
        event.preventDefault()
        over = getattr(shown(), "drop", by_id("drop"))
        elements.show(over, event.type == "dragover")


def dropped(event) -> None:
    dragged(event)
    if event.dataTransfer is not None and event.dataTransfer.files.length:
        give(event.dataTransfer)


def pasted(event) -> None:
    if event.clipboardData is not None and event.clipboardData.files.length and sidebar.page() != "chat":
        event.preventDefault()
        give(event.clipboardData)


def give(transfer) -> None:
    """Passes files to the page that is shown."""
    if hasattr(shown(), "dropped"):
        shown().dropped(transfer)
    else:
        use_files(transfer.files)


def hidden(_event) -> None:
    if document.visibilityState == "hidden":
        chat.store_draft()
        if chat.active is not None:
            chat.save_soon(chat.active.conversation)


def leaving(event) -> None:
    """Makes the browser ask first if closing it would lose a chat."""
    if chat.unsaved:
        event.preventDefault()


def online(_event) -> None:
    if chat.engine.error is not None and chat.engine.error["code"] == "offline":
        chat.engine.retry()
    for task in chat.engine.tasks:
        if task.error is not None and task.error["code"] == "offline":
            task.retry()


def resized(_event) -> None:
    if "lab" in chat.pages:
        chat.pages["lab"].fit()


def ready() -> None:
    """Takes over from start.js: handles what was typed or sent before."""
    typed, early = prompt.value, composer.dataset.early if hasattr(composer.dataset, "early") else ""
    composer.setAttribute("data-python", "1")
    for text in STARTERS:
        by_id("starters").append(el("li", el("button", text, type="button", act="starter")))
    chat.transcript.reopen = open_editor
    chat.start()
    if typed:
        prompt.value = typed
        chat.typed()
    on(document, "keydown", pressed)
    on(menu, "keydown", menu_pressed)
    on(composer, "submit", submitted)
    on(prompt, "input", chat.typed)
    on(by_id("model-file"), "change", picked)
    on(by_id("import-file"), "change", import_picked)
    for name in ("dragover", "dragleave"):
        on(document, name, dragged)
    on(document, "drop", dropped)
    on(document, "visibilitychange", hidden)
    on(js.window, "online", online)
    on(js.window, "hashchange", route)
    on(document, "paste", pasted)
    on(js.window, "resize", resized)
    on(js.window, "beforeunload", leaving)
    on(js.matchMedia("(max-width: 800px)"), "change", sidebar.fit)
    sidebar.fit()
    for dialog in document.querySelectorAll("dialog"):
        on(dialog, "click", lambda event: event.target.close() if event.target.matches("dialog") else None)
    sidebar.mark_page()
    if shown() is not None:
        shown().show(True)
    js.tensortab.ready.resolve(chat.engine.run)
    if early:
        by_id("hint").textContent = "Small models make mistakes. Check what matters."
        chat.submit()
    js.performance.mark("interface")
    document.documentElement.setAttribute("data-ready", "")


ready()
