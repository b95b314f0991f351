"""The app on this device: the service worker that stores it, a newer version, and its installation."""

import asyncio

import js
from js import navigator
from jsffi import create_proxy
from studio.shell.elements import action, attempt, on, toast
from studio.shell.wording import t

_said = ""  # whether the app is stored
_registration = None  # of the service worker


def said() -> str:
    return _said or t("Not kept on this device yet")


def installable() -> bool:
    """Whether the browser has offered to install the app (start.js keeps the offer)."""
    return js.tensortab.install is not None


def connect() -> None:
    action("install")(lambda _source: asyncio.create_task(_install_app()))
    action("update")(_update)


async def _install_app() -> None:
    event, js.tensortab.install = js.tensortab.install, None
    await attempt(event, "prompt")


def _update(_source) -> None:
    on(navigator.serviceWorker, "controllerchange", lambda _event: js.location.reload())
    _registration.waiting.postMessage("activate")


def _offer_update() -> None:
    toast(t("A new version of TensorTab is ready."), t("Reload"), "update", 60)


def register() -> None:
    """Stores the app for offline use, and offers a newer version when one waits."""
    global _said
    if not hasattr(navigator, "serviceWorker"):
        _said = t("This browser does not keep pages for offline use.")
        return

    def registered(registration):
        global _said, _registration
        _said, _registration = t("Works offline: the app is kept on this device."), registration
        if registration.waiting is not None and navigator.serviceWorker.controller is not None:
            _offer_update()

        def found(*_):
            fresh = registration.installing

            def advanced(*_):
                if fresh.state == "installed" and navigator.serviceWorker.controller is not None:
                    _offer_update()
            fresh.addEventListener("statechange", create_proxy(advanced))
        registration.addEventListener("updatefound", create_proxy(found))

    def refused(error):
        global _said
        _said = t("Not kept for offline use: %s") % str(error.message)
    attempt(navigator.serviceWorker, "register", "sw.js").then(create_proxy(registered), create_proxy(refused))
