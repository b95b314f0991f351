"""Starts the interface: the engine, the page that the address names, and what all pages have in common."""

import asyncio

import js
from js import document
from studio.shell import model_files, offline, outside, routing, settings, sidebar
from studio.shell.elements import action, by_id, composing, copied_soon, on, show, toast
from studio.shell.models import Model
from studio.shell.transport import Engine
from studio.shell.wording import t

engine = Engine()


# The models: a click in a card is for its model

def model_of(source) -> Model:
    """The model whose card contains an element; else the chat's."""
    box = source.closest("[data-task]")
    return engine.models["text-generation" if box is None else box.getAttribute("data-task")]


@action("load-default")
def _(source):
    model = model_of(source)
    model.load(model.offered["name"])


@action("use-model")
def _(source):
    close_sheets()
    name = source.getAttribute("data-name")
    if source.hasAttribute("data-task"):
        model_of(source).load(name)
    else:
        model_files.use_soon(engine, name)


@action("use-unkept")
def _(source):
    close_sheets()
    if source.hasAttribute("data-name"):
        model_of(source).load(source.getAttribute("data-name"), keep=False)
    else:
        model_of(source).load_unkept()


@action("pick-file")
def _(_source):
    close_sheets()
    model_files.pick(engine)


@action("keep-files")
def _(source):
    model_files.keep_soon(model_of(source))


@action("allow-files")
def _(source):
    model_files.soon(model_files.allow(model_of(source)))


@action("cancel-load")
def _(source):
    model_of(source).cancel_load()


@action("unload")
def _(source):
    model_of(source).unload()


@action("retry")
def _(source):
    model_of(source).retry()


@action("use-here")
def _(source):
    model_of(source).take_over()


@action("download-again")
def _(source):
    model_of(source).download_again()


@action("restart")
def _(_source):
    engine.restart()


@action("reload")
def _(_source):
    js.location.reload()


# What every page has

@action("cancel")
def _(_source):
    routing.shown().cancel()


@action("copy-result")
def _(source):
    copied_soon(source, routing.shown().copied_text())


@action("copy-report")
def _(source):
    copied_soon(source, source.closest(".notice").querySelector("pre").textContent)


@action("drawer-open")
def _(_source):
    sidebar.drawer(True)


@action("drawer-close")
def _(_source):
    sidebar.drawer(False)


# The address, the keyboard, and what is dropped

def close_sheets() -> None:
    for sheet in document.querySelectorAll("dialog[open]"):
        sheet.close()


def route(*_) -> None:
    close_sheets()
    sidebar.drawer(False)
    asyncio.create_task(routing.route(engine))


def pressed(event) -> None:
    if event.key == "Escape" and not composing(event) and \
            document.querySelector("dialog[open], [popover]:popover-open") is None:
        if by_id("side").classList.contains("open"):
            sidebar.drawer(False)
        elif routing.shown() is not None:
            routing.shown().cancel()


def dragged(event) -> None:
    page = routing.shown()
    if page is not None and event.dataTransfer is not None and event.dataTransfer.types.includes("Files"):
        event.preventDefault()
        show(page.drop, event.type == "dragover")


def dropped(event) -> None:
    dragged(event)
    if routing.shown() is not None and event.dataTransfer is not None and event.dataTransfer.files.length:
        close_sheets()
        routing.shown().receive(event.dataTransfer)


def pasted(event) -> None:
    """What programs such as Word copy has a text and a picture of it: the text is pasted."""
    given = event.clipboardData
    if routing.shown() is not None and given is not None and given.files.length and \
            not (event.target.matches("textarea, input") and given.types.includes("text/plain")):
        event.preventDefault()
        routing.shown().receive(given)


def picked(event) -> None:
    """The user has chosen a model's files in a browser without handles of files."""
    field = event.target
    files = [field.files.item(n) for n in range(field.files.length)]
    field.value = ""
    if model_files.is_model(files):
        model_files.open_soon(engine, files)
    elif files:
        toast(model_files.NO_MODEL % files[0].name)


def given(files: list, text: str, handles) -> None:
    """Files and a text from another program: the page that is for them begins."""
    asyncio.create_task(give(files, text, handles))


async def give(files: list, text: str, handles) -> None:
    close_sheets()
    name = routing.page_for(files)
    page = await routing.page(engine, name)
    if name != routing.current():
        routing.go(name)
    if text and name == "chat":
        page.add(text)
    page.give(files, handles)


def online(_event) -> None:
    if engine.error is not None and engine.error["code"] == "offline":
        engine.restart()
    for model in engine.models.values():
        if model.error is not None and model.error["code"] == "offline":
            model.retry()


def changed() -> None:
    sidebar.status(engine)
    if engine.state != "starting" and not document.documentElement.hasAttribute("data-registered"):
        document.documentElement.setAttribute("data-registered", "")
        offline.register()  # only now: storing the app must not slow its start


async def start() -> None:
    """Takes over from start.js: handles what was typed or sent before."""
    prompt, composer = by_id("prompt"), by_id("composer")
    typed, early = prompt.value, composer.dataset.early if hasattr(composer.dataset, "early") else ""
    composer.setAttribute("data-python", "1")
    engine.listen(changed)
    settings.Settings(engine)
    settings.connect()
    model_files.Keeper(engine)
    offline.connect(lambda: any(page.working() for page in routing.pages.values()))
    engine.start()
    chat = await routing.page(engine, "chat")
    for name, handler in (("keydown", pressed), ("dragover", dragged), ("dragleave", dragged), ("drop", dropped),
                          ("paste", pasted)):
        on(document, name, handler)
    on(by_id("model-file"), "change", picked)
    on(js.window, "online", online)
    on(js.window, "hashchange", route)
    on(js.matchMedia("(max-width: 800px)"), "change", sidebar.fit)
    sidebar.fit()
    await routing.route(engine)
    js.tensortab.ready.resolve(engine.run)
    if typed:
        prompt.value = typed
        chat.typed()
    if early:
        by_id("hint").textContent = t("Small models make mistakes. Check what matters.")
        chat.submit()
    outside.listen(given)
    js.performance.mark("interface")
    document.documentElement.setAttribute("data-ready", "")
    js.tensortab.started()


async def main() -> None:
    try:
        await start()
    except Exception as error:  # a fault of the page: nothing else would say that it did not start
        js.tensortab.failed(js.Error.new(engine.fault(error)["message"]))


asyncio.create_task(main())
