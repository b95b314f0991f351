"""The app on this device: the service worker that stores it, a newer version, and its installation."""

import asyncio
import time

import js
from js import document, navigator
from jsffi import create_proxy
from studio.shell.elements import action, attempt, on, toast
from studio.shell.wording import t

_said = ""  # whether the app is stored
_registration: "js.ServiceWorkerRegistration" = None
_working = None  # a function: whether a reload would end something
_reloading = False  # the user has chosen the new version
_controlled = False  # the page came from the service worker, so that another one is another version
_looked = 0.0  # when a newer version was looked for

MINUTE, HOUR = 60, 3600


def said() -> str:
    return _said or t("Not kept on this device yet")


def installable() -> bool:
    """Whether the browser has offered to install the app (start.js keeps the offer)."""
    return js.tensortab.install is not None


def waits() -> bool:
    """Whether a newer version is here that the user has not chosen yet."""
    return _registration is not None and _registration.waiting is not None and _controlled


def connect(working) -> None:
    """working: a function that says whether a reload would end something."""
    global _working
    _working = working
    action("install")(lambda _source: asyncio.create_task(_install_app()))
    action("update")(lambda _source: _update())
    action("update-anyway")(lambda _source: _reload())


async def _install_app() -> None:
    event, js.tensortab.install = js.tensortab.install, None
    await attempt(event, "prompt")


# A newer version

def _offer() -> None:
    toast(t("A new version of TensorTab is ready."), t("Reload"), "update", MINUTE)


def _update() -> None:
    if _working():
        toast(t("Something is still running here, and a reload would end it."), t("Reload anyway"), "update-anyway",
              MINUTE)
    else:
        _reload()


def _reload() -> None:
    """Reloads with the new version. It takes over first; if another tab has done that already, it is here."""
    global _reloading
    _reloading = True
    if waits():
        _registration.waiting.postMessage("activate")
    else:
        js.location.reload()


def _taken_over(*_) -> None:
    """Another version serves the page from now on. What this one had not fetched could not fit it (interface.js)."""
    global _controlled
    if _reloading:
        js.location.reload()
    elif _controlled:
        toast(t("TensorTab was updated in another tab."), t("Reload"), "update", MINUTE)
    _controlled = True


def _look(*_) -> None:
    """Looks for a newer version when the user comes back, and every hour; offers one that waits."""
    global _looked
    if document.visibilityState == "visible" and time.time() - _looked > MINUTE:
        _looked = time.time()
        if waits():
            _offer()
        attempt(_registration, "update").then(None, create_proxy(lambda _error: None))  # there may be no network


def register() -> None:
    """Stores the app for offline use, and offers a newer version when one waits."""
    global _said, _controlled
    if not hasattr(navigator, "serviceWorker"):
        _said = t("This browser does not keep pages for offline use.")
        return
    _controlled = navigator.serviceWorker.controller is not None
    on(navigator.serviceWorker, "controllerchange", _taken_over)

    def registered(registration):
        global _said, _registration, _looked
        _said, _registration, _looked = t("Works offline: the app is kept on this device."), registration, time.time()
        if waits():
            _offer()

        def found(*_):
            fresh = registration.installing
            on(fresh, "statechange", lambda _event: _offer() if fresh.state == "installed" and waits() else None)
        on(registration, "updatefound", found)
        on(document, "visibilitychange", _look)
        on(js.window, "focus", _look)
        js.setInterval(create_proxy(_look), HOUR * 1000)

    def refused(error):
        global _said
        _said = t("Not kept for offline use: %s") % str(error.message)
    attempt(navigator.serviceWorker, "register", "sw.js").then(create_proxy(registered), create_proxy(refused))
