"""Models in the user's own files: opened on the page that they are for, kept on this device, imported and exported."""

import asyncio
import json

import js
from studio.shell import routing
from studio.shell.elements import attempt, by_id, download_blob, message_of, toast
from studio.shell.errors import in_a_line
from studio.shell.models import Failure, Model, request
from studio.shell.transport import Engine
from studio.shell.wording import share, t

WEIGHTS = (".gguf", ".safetensors")
ARCHIVE = ".tar"  # of an exported model
NO_MODEL = t("“%s” is not a model: choose a .gguf file, or all files of a model's folder.")
KINDS = {"application/octet-stream": [".gguf", ".safetensors"], "application/json": [".json"],
         "text/plain": [".jinja", ".txt"]}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
SECONDS = 12  # that a toast about a model stays: there is something to decide


def is_model(files: list) -> bool:
    return any(file.name.lower().endswith(WEIGHTS) for file in files)


def is_archive(files: list) -> bool:
    return len(files) == 1 and files[0].name.lower().endswith(ARCHIVE)


def soon(work) -> None:
    asyncio.create_task(_run(work))


async def _run(work) -> None:
    try:
        await work
    except Failure as failure:
        toast(in_a_line(failure.error), seconds=SECONDS)
    except Exception as error:
        if "AbortError" not in error.args:  # else the user closed the browser's dialog
            toast(message_of(error), seconds=SECONDS)


# Opening

def handles(transfer):
    """A promise of the handles of dropped files, by which a model can be kept without a copy of it; None where the
    browser has none. They must be asked for while the event is handled."""
    found = []
    for n in range(transfer.items.length):
        item = transfer.items[n]
        if item.kind == "file":
            if not hasattr(item, "getAsFileSystemHandle"):
                return None
            found.append(item.getAsFileSystemHandle())
    return js.Promise.all(js.Array.of(*found)) if found else None


def of_folder(files: list) -> list:
    """The files of a model's folder, of (path, File): those in the folder itself, and those of a sentence model's
    modules, such as 1_Pooling/config.json, which keep that name."""
    found = []
    for path, file in files:
        inside = path.partition("/")[2] or path
        if "/" not in inside:
            found.append(file)
        elif inside[0].isdigit() and inside.endswith("/config.json"):
            found.append(js.File.new(js.Array.of(file), inside))
    return found


def open_soon(engine: Engine, files: list, promised=None) -> None:
    """promised: a promise of the files' handles, which are preferred."""
    soon(_open(engine, files, promised))


async def _open(engine: Engine, files: list, promised) -> None:
    """Loads the user's own files on the page that they are for: the present one, if it can use them."""
    found = [] if promised is None else [handle for handle in await promised if hasattr(handle, "kind")]
    files = found or files
    page = routing.shown()
    try:
        tasks = (await request(engine, "identify", {}, files))["tasks"]
    except Failure:
        if not page.models:
            raise
        page.using().load(None, files)  # which says on the page what is wrong
        return
    model = await model_for(engine, tasks)
    if model is not None:
        model.load(None, files)


def use_soon(engine: Engine, name: str) -> None:
    soon(_use(engine, name))


async def _use(engine: Engine, name: str) -> None:
    """Loads a known model on the page that it is for."""
    model = await model_for(engine, engine.known[name]["tasks"])
    if model is not None:
        model.load(name)


async def model_for(engine: Engine, tasks: list) -> Model | None:
    """The present page's model if it can be one for these tasks, else that of another page, which is shown then."""
    for model in routing.shown().pickable():
        if model.can_use(tasks):
            return model
    for task in tasks:
        place = routing.page_of(task)
        if place:
            await routing.page(engine, place)
            routing.go(place)
            return engine.models[task]
    toast(t("No page uses such a model yet: %s.") % ", ".join(tasks), seconds=SECONDS)
    return None


def pick(engine: Engine) -> None:
    """Lets the user choose a model's files; where the browser has handles of files, by these."""
    if hasattr(js.window, "showOpenFilePicker"):
        options = js.JSON.parse(json.dumps({"multiple": True, "types": [{"accept": KINDS}]}))
        open_soon(engine, [], attempt(js.window, "showOpenFilePicker", options))
    else:
        by_id("model-file").click()


# Keeping

class Keeper:
    """Offers to keep the files of each model that was loaded from files."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._offered: dict = {}  # by task, the files for which that was offered
        engine.listen(self.changed)

    def changed(self) -> None:
        for model in self.engine.models.values():
            if model.files and self._offered.get(model.task) is not model.files:
                self._offered[model.task] = model.files
                toast(t("%s is loaded from your files.") % model.name, t("Keep on this device"), "keep-files", SECONDS)
                by_id("toast").querySelector("button").setAttribute("data-task", model.task)


def keep_soon(model: Model) -> None:
    soon(_keep(model))


async def _keep(model: Model) -> None:
    name, known = name_of(model.files), model.engine.known or {}
    while name in known:
        name += "-2"
    toast(t("Keeping %s …") % name, seconds=600)
    await request(model.engine, "keep", {"model": name}, model.files)
    model.remember(name)
    model.engine.look()
    toast(t("%s is kept on this device, and is here at your next visit.") % name, seconds=SECONDS)


def name_of(files: list) -> str:
    """A name for the model in these files: that of its GGUF file or its folder, with the letters that are allowed."""
    weights = next(file.name for file in files if file.name.lower().endswith(WEIGHTS))
    folder = str(getattr(files[0], "webkitRelativePath", "") or "").rpartition("/")[0].rpartition("/")[2]
    name = weights.rpartition(".")[0] if len(files) == 1 else folder or "my-model"
    name = "".join([letter if letter in LETTERS else "-" for letter in name])
    return name.strip(".-")[:90] or "my-model"


async def allow(model: Model) -> None:
    """Asks for the permission to read the files of a kept model again; the browser wants a click for it."""
    body = await request(model.engine, "handles", {"model": model.requested})
    for handle in body["attachments"]:
        if await handle.requestPermission(js.JSON.parse('{"mode": "read"}')) != "granted":
            return
    model.retry()


# Carrying a model to another device

def export_soon(engine: Engine, name: str) -> None:
    soon(_export(engine, name))


async def _export(engine: Engine, name: str) -> None:
    body = await request(engine, "export", {"model": name})
    file = "".join(["-" if letter in '/\\:*?"<>|' else letter for letter in name])
    download_blob(file + ARCHIVE, body["attachments"][0])


def import_soon(engine: Engine, file) -> None:
    soon(_import(engine, file))


async def _import(engine: Engine, file) -> None:
    said: list[float] = []

    def told(body: dict) -> None:
        part = int(10 * body["loaded"] / body["total"]) / 10
        if said != [part]:  # a screen reader reads each
            said[:] = [part]
            toast(t("Importing %s, %s") % (file.name, share(part)), seconds=600)
    toast(t("Importing %s") % file.name, seconds=600)
    name = (await request(engine, "import", {}, [file], told))["model"]
    engine.look()
    toast(t("%s is on this device now.") % name, t("Use it"), "use-model", SECONDS)
    by_id("toast").querySelector("button").setAttribute("data-name", name)
