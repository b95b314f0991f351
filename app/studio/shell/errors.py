"""What each error means, and what to do about it. Pure Python: CPython runs its tests."""

from studio.shell.wording import t

# code: (title, what to do, [(button, action)])
ERRORS = {
    "no_webgpu": (
        "This browser has no WebGPU",
        "The model computes on your GPU through WebGPU. Open this page in a current Chrome, Edge or Safari, "
        "or in Firefox 141 or later. Your conversations stay readable here.",
        [("Check again", "reload")],
    ),
    "no_adapter": (
        "No GPU answered",
        "The browser supports WebGPU but offers no adapter. Turn on hardware acceleration in its settings, update the "
        "graphics driver or close other programs that use the GPU, and try again.",
        [("Try again", "retry")],
    ),
    "out_of_memory": (
        "Not enough memory for this model",
        "Close other tabs and programs that use the GPU and try again, or choose a smaller model.",
        [("Choose another model", "pick-model"), ("Try again", "retry")],
    ),
    "device_lost": (
        "The GPU was lost",
        "The driver or the browser reset it. Your conversations are safe; load the model again to continue.",
        [("Load the model again", "retry")],
    ),
    "bad_shard": (
        "A part of the model is damaged",
        "It does not match its checksum, so it was not used. Delete the model and download it again.",
        [("Delete and download again", "download-again")],
    ),
    "bad_file": (
        "This file cannot be used",
        "It must be a complete GGUF file, or all files of a model's folder, of a model for this task.",
        [("Choose another file", "pick-file"), ("Use the site’s model", "load-default")],
    ),
    "context_exceeded": (
        "This chat is longer than the model can read",
        "Leave out its oldest messages (they stay here, but the model no longer sees them), or start a new chat.",
        [("Leave out the oldest", "shorten"), ("New chat", "new")],
    ),
    "quota": (
        "This device's storage is full",
        "The browser has no room to store the model. Delete models that you no longer use, or run this one without "
        "keeping it: then it is downloaded again at your next visit.",
        [("Delete other models", "settings"), ("Run without keeping it", "use-unkept"), ("Try again", "retry")],
    ),
    "permission": (
        "The browser asks for your files again",
        "It reads the files of your own model only after you have allowed it again.",
        [("Allow it", "allow-files"), ("Choose other files", "pick-file")],
    ),
    "offline": (
        "No connection",
        "The model is not completely on this device yet. As soon as you are online, the download continues by itself "
        "where it stopped.",
        [("Try now", "retry")],
    ),
    "two_tabs": (
        "The models are in use in another tab",
        "One tab at a time has them, so that they do not fill the GPU twice. You can read and write here, too.",
        [("Use it here", "use-here")],
    ),
    "internal": (
        "Something in TensorTab is broken",
        "This is not your mistake. Try again; if it happens again, copy the report and send it to the developers. "
        "It says where the program failed, in which browser and on which GPU.",
        [("Try again", "retry"), ("Reload", "reload")],
    ),
    "start_failed": (
        "The engine could not start",
        "Reload the page, or try another browser. Your conversations stay readable here. If it happens again, copy the "
        "report and send it to the developers.",
        [("Try again", "retry"), ("Reload", "reload")],
    ),
    "crashed": (
        "The engine stopped",
        "It ran out of memory, or a fault ended it. Your conversations are safe.",
        [("Start it again", "restart")],
    ),
    "not_kept": (
        "This cannot be saved",
        "The browser's storage is full or switched off. It stays open in this browser tab: export it, free some space "
        "by deleting models or what you no longer need, or go on without saving.",
        [("Export it", "export-unsaved"), ("Save again", "save-again"), ("Free some space", "settings"),
         ("Go on without saving", "go-on-unsaved")],
    ),
    "bad_request": (
        "The engine refused this request",
        "Check the sampling settings of this chat.",
        [("Settings", "tune")],
    ),
}


def explain(code: str) -> tuple:
    """(title, advice, buttons) for an error's code, in the page's language."""
    title, advice, buttons = ERRORS[code]
    return t(title), t(advice), [(t(label), act) for label, act in buttons]
