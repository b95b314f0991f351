"""What the operating system gives to the app: files and texts that other programs share with it, which sw.js stores,
and files that are opened with it (share_target and file_handlers in manifest.webmanifest)."""

import asyncio

import js
from js import location
from jsffi import create_proxy
from studio.shell.elements import attempt, message_of, toast
from studio.shell.wording import t


def listen(given) -> None:
    """Calls given(files, text, handles) with the Files and the text of each share, and with the Files that are opened
    and a promise of their handles."""
    if location.search == "?shared":
        js.history.replaceState(None, "", location.pathname + location.hash)  # a reload does not share again
        asyncio.create_task(_shared(given))
    if hasattr(js.window, "launchQueue"):
        js.launchQueue.setConsumer(create_proxy(lambda launch: asyncio.create_task(_opened(launch, given))))


async def _shared(given) -> None:
    try:
        files, text = await _stored()
    except Exception as error:
        toast(t("What was shared with TensorTab could not be read: %s") % message_of(error))
        return
    if files or text:
        given(files, text, None)
    else:
        toast(t("What was shared with TensorTab was empty, or there was no room to store it. Open the file instead."))


async def _stored() -> tuple:
    """Takes what sw.js has stored: (Files, text)."""
    name = "tensortab-shared-" + location.pathname.rpartition("/")[0] + "/"
    files, text = [], ""
    place = await attempt(js.caches, "open", name)
    for request in await attempt(place, "keys"):
        response = await attempt(place, "match", request)
        if request.url.endswith("/shared-text"):
            text = await attempt(response, "text")
        else:
            blob = await attempt(response, "blob")
            title = js.decodeURIComponent(response.headers.get("X-Name"))
            options = js.Object.new()
            options.type = blob.type
            files.append(js.File.new(js.Array.of(blob), title, options))
    await attempt(js.caches, "delete", name)
    return files, text


async def _opened(launch, given) -> None:
    files = []
    for handle in launch.files:
        try:
            files.append(await attempt(handle, "getFile"))
        except Exception as error:
            toast(t("“%s” could not be opened: %s") % (handle.name, message_of(error)))
    if files:
        given(files, "", js.Promise.resolve(launch.files))
