"""The page's language; numbers and errors in words. Pure Python: CPython runs its tests."""

texts: dict = {}  # the texts of the page's language, by the English ones; empty in English


def t(text: str) -> str:
    """An English text in the page's language."""
    return texts.get(text, text)


def plural(count: int, one: str, other: str) -> str:
    """A count with its noun: plural(2, "%s text", "%s texts"). A language file has it under `other`."""
    return t(one if count == 1 else other) % digits(count)


def size(count: float) -> str:
    """A number of bytes with a decimal unit, as file managers write it: 98 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            value = count / scale
            return "%.1f %s" % (value, unit) if value < 10 else "%d %s" % (round(value), unit)
    return "%d bytes" % count


def duration(seconds: float) -> str:
    """A remaining time, no more precise than the estimate: 12 s, 2 min."""
    if seconds < 1.5:
        return "1 s"
    if seconds < 90:
        return "%d s" % round(seconds)
    if seconds < 5400:
        return "%d min" % round(seconds / 60)
    return "%d h" % round(seconds / 3600)


def digits(value: float) -> str:
    """Three digits, or all before the point, or at most three after it: 2.10, 45.3, 31,400, 0.005."""
    if value < 0.0005:
        return "0"
    if value < 99.95:
        return "%.*f" % (3 if value < 0.0995 else 2 if value < 9.995 else 1, value)
    text = "%d" % round(value)
    groups: list[str] = []
    while text:
        groups.insert(0, text[-3:])
        text = text[:-3]
    return ",".join(groups)


def amount(value: float, unit: str) -> str:
    """A value and its unit with a decimal prefix: 2.10 µs, 2.95 TB/s, 41.2 TFLOP/s."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1), ("m", 1e-3), ("µ", 1e-6)):
        if value >= 0.9995 * scale and (unit != "s" or scale <= 1):
            return "%s %s%s" % (digits(value / scale), prefix, unit)
    return "%s n%s" % (digits(value * 1e9), unit) if unit == "s" else "%s %s" % (digits(value), unit)


def share(part: float) -> str:
    """A share of 1 in per cent: 0.4 %, 43 %."""
    return "%.1f %%" % (100 * part) if part < 0.0995 else "%d %%" % round(100 * part)


def figures(stats: dict) -> str:
    """The line under an answer, from the result of a chat request."""
    parts = []
    timings, usage = stats.get("timings") or {}, stats.get("usage") or {}
    if timings.get("tokens_per_second"):
        speed = timings["tokens_per_second"]
        parts.append(("%.1f tokens/s" if speed < 100 else "%.0f tokens/s") % speed)
    if timings.get("ttft_ms"):
        parts.append("first token %.2f s" % (timings["ttft_ms"] / 1000))
    if usage.get("completion_tokens"):
        count = usage["completion_tokens"]
        parts.append("%d token%s" % (count, "" if count == 1 else "s"))
    if stats.get("finish_reason") == "length":
        parts.append("stopped at the limit")
    return "  ·  ".join(parts)


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
        [("Try again", "retry"), ("Choose a file", "pick-file")],
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
        [("Choose another file", "pick-file"), ("Use SmolLM2", "use-default")],
    ),
    "context_exceeded": (
        "This chat is longer than the model can read",
        "Leave out its oldest messages (they stay here, but the model no longer sees them), or start a new chat.",
        [("Leave out the oldest", "shorten"), ("New chat", "new-chat")],
    ),
    "quota": (
        "This device's storage is full",
        "The browser has no room to store the model. Free some space, or delete a model that you no longer use.",
        [("See the stored models", "settings"), ("Try again", "retry")],
    ),
    "permission": (
        "The browser asks for your files again",
        "It opens the files of your own model only after you have allowed it again. Choose them once more.",
        [("Choose the files", "pick-file")],
    ),
    "offline": (
        "No connection",
        "The model is not completely on this device yet. As soon as you are online, the download continues by itself "
        "where it stopped.",
        [("Try now", "retry")],
    ),
    "no_model": (
        "There is no model to offer",
        "You may be offline, or this site has no model of its own. A GGUF file of yours works as well.",
        [("Try again", "reload"), ("Use a file", "pick-file")],
    ),
    "two_tabs": (
        "The model is in use in another tab",
        "One tab at a time holds it, so that it does not fill the GPU twice. You can read and write here, too.",
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
        "This chat cannot be saved",
        "The browser's storage is full or switched off. It stays open in this tab: export it, or delete older chats.",
        [("Export it", "export-json"), ("Save again", "save-again")],
    ),
    "bad_request": (
        "The engine refused this request",
        "Check the sampling settings of this chat.",
        [("Settings", "tune")],
    ),
}


def explain(code: str) -> tuple:
    """(title, advice, buttons) for an error's code."""
    return ERRORS[code]
