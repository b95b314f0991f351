"""What each error means, and what to do about it. Pure Python: CPython runs its tests."""

from studio.shell.wording import t

# code: (title, what to do, [(button, action)])
ERRORS = {
    "no_webgpu": (
        t("This browser has no WebGPU"),
        t("The model computes on your GPU through WebGPU. Open this page in a current Chrome, Edge or Safari, or in "
          "Firefox 141 or later. Your conversations stay readable here."),
        [(t("Check again"), "reload")],
    ),
    "no_adapter": (
        t("No GPU answered"),
        t("The browser supports WebGPU but offers no adapter. Turn on hardware acceleration in its settings, update "
          "the graphics driver or close other programs that use the GPU, and try again."),
        [(t("Try again"), "retry")],
    ),
    "out_of_memory": (
        t("Not enough memory for this model"),
        t("Close other tabs and programs that use the GPU and try again, or choose a smaller model."),
        [(t("Choose another model"), "pick-model"), (t("Try again"), "retry")],
    ),
    "device_lost": (
        t("The GPU was lost"),
        t("The driver or the browser reset it. Your conversations are safe; load the model again to continue."),
        [(t("Load the model again"), "retry")],
    ),
    "bad_shard": (
        t("A part of the model is damaged"),
        t("It does not match its checksum, so it was not used. Delete the model and download it again."),
        [(t("Delete and download again"), "download-again")],
    ),
    "bad_file": (
        t("This file cannot be used"),
        t("It must be a complete GGUF file, or all files of a model's folder, of a model for this task."),
        [(t("Choose another file"), "pick-file"), (t("Use the site’s model"), "load-default")],
    ),
    "context_exceeded": (
        t("This chat is longer than the model can read"),
        t("Leave out its oldest messages (they stay here, but the model no longer sees them), or start a new chat."),
        [(t("Leave out the oldest"), "shorten"), (t("New chat"), "new")],
    ),
    "quota": (
        t("This device's storage is full"),
        t("The browser has no room to store the model. Delete models that you no longer use, or run this one "
          "without keeping it: then it is downloaded again at your next visit."),
        [(t("Delete other models"), "settings"), (t("Run without keeping it"), "use-unkept"),
         (t("Try again"), "retry")],
    ),
    "permission": (
        t("The browser asks for your files again"),
        t("It reads the files of your own model only after you have allowed it again."),
        [(t("Allow it"), "allow-files"), (t("Choose other files"), "pick-file")],
    ),
    "offline": (
        t("No connection"),
        t("The model is not completely on this device yet. As soon as you are online, the download continues by "
          "itself where it stopped."),
        [(t("Try now"), "retry")],
    ),
    "two_tabs": (
        t("The models are in use in another tab"),
        t("One tab at a time has them, so that they do not fill the GPU twice. You can read and write here, too."),
        [(t("Use it here"), "use-here")],
    ),
    "internal": (
        t("Something in TensorTab is broken"),
        t("This is not your mistake. Try again; if it happens again, copy the report and send it to the developers. "
          "It says where the program failed, in which browser and on which GPU."),
        [(t("Try again"), "retry"), (t("Reload"), "reload")],
    ),
    "start_failed": (
        t("The engine could not start"),
        t("Reload the page, or try another browser. Your conversations stay readable here. If it happens again, "
          "copy the report and send it to the developers."),
        [(t("Try again"), "retry"), (t("Reload"), "reload")],
    ),
    "crashed": (
        t("The engine stopped"),
        t("It ran out of memory, or a fault ended it. Your conversations are safe."),
        [(t("Start it again"), "restart")],
    ),
    "not_kept": (
        t("This cannot be saved"),
        t("The browser's storage is full or switched off. It stays open in this browser tab: export it, free some "
          "space by deleting models or what you no longer need, or go on without saving."),
        [(t("Export it"), "export-unsaved"), (t("Save again"), "save-again"),
         (t("Free some space"), "settings"), (t("Go on without saving"), "go-on-unsaved")],
    ),
    "bad_request": (
        t("The engine refused this request"),
        t("Check the sampling settings of this chat."),
        [(t("Settings"), "tune")],
    ),
}


def explain(code: str) -> tuple:
    """(title, advice, buttons) for an error's code, in the page's language."""
    return ERRORS[code]


def in_a_line(error: dict) -> str:
    """An error of the engine with its detail, which is English in all languages."""
    if error["code"] not in ERRORS:
        return error["message"]
    return ERRORS[error["code"]][0] + (": " + error["message"] if error["message"] else "")
