"""The sheet of a chat's instructions and sampling."""

from studio.pages.chat.conversation import DEFAULTS
from studio.shell.elements import button, by_id, el, fill, on, open_sheet
from studio.shell.wording import number, t

KNOBS = [  # name, label, what it does, smallest, largest, step
    ("temperature", t("Temperature"), t("Higher is more varied, 0 always chooses the likeliest word"), 0, 2, 0.05),
    ("top_p", t("Top-p"), t("Keep the likeliest words that together reach this share"), 0.05, 1, 0.01),
    ("min_p", t("Min-p"), t("Drop words below this share of the likeliest one"), 0, 0.5, 0.01),
    ("top_k", t("Top-k"), t("Keep at most this many words; 0 keeps all"), 0, 200, 1),
    ("repetition_penalty", t("Repetition penalty"), t("Above 1, words that were used become less likely"), 1, 2, 0.01),
    ("max_tokens", t("Longest answer"), t("In tokens, about three quarters of a word each"), 16, 2048, 16),
]


def tune(conversation, changed) -> None:
    """Fills and opens a chat's sheet; `changed()` is called after each change of its data."""
    data = conversation.data
    system = el("textarea", rows="4", id="system", dir="auto", placeholder=t("You are a helpful assistant …"))
    system.value = data["system"]

    def system_changed(*_):
        data["system"] = system.value.strip()
        changed()
    on(system, "change", system_changed)

    knobs = el("div", cls="knobs")
    for name, label, help_text, low, high, step in KNOBS:
        knobs.append(_knob(conversation, name, label, help_text, (low, high, step), changed))

    seed = el("input", type="number", id="knob-seed", min="0", max="4294967295", step="1",
              placeholder=t("New each time"), aria_describedby="help-seed")
    if data["sampling"].get("seed") is not None:
        seed.value = str(data["sampling"]["seed"])

    def seed_changed(*_):
        text = seed.value.strip()
        data["sampling"]["seed"] = min(int(float(text)), 4294967295) if text else None
        changed()
    on(seed, "change", seed_changed)
    knobs.append(el("div", el("label", t("Seed"), **{"for": "knob-seed"}), seed,
                    el("small", t("The same seed and settings give the same answer"), id="help-seed"), cls="knob"))

    fill(by_id("tune-body"),
         el("section", el("h3", t("Instructions")),
            el("p", t("What the model should keep in mind in this chat."), cls="about"),
            el("label", t("Instructions for the model"), cls="unseen", **{"for": "system"}), system),
         el("section", el("h3", t("How it picks its words")), knobs),
         el("div", button(t("Back to defaults"), "tune-reset"), button(t("Use for new chats"), "tune-keep"), cls="row"))
    open_sheet("tune")


def _knob(conversation, name: str, label: str, help_text: str, span: tuple, changed):
    low, high, step = span
    value = conversation.sampling()[name]
    slider = el("input", type="range", id="knob-" + name, min=low, max=high, step=step, aria_describedby="help-" + name)
    slider.value = str(value)
    shown = el("output", number(value, 2, 0), **{"for": "knob-" + name})

    def moved(*_):
        chosen = float(slider.value)
        if step >= 1:
            chosen = int(chosen)
        shown.textContent = number(chosen, 2, 0)
        if chosen == DEFAULTS[name]:
            conversation.data["sampling"].pop(name, None)
        else:
            conversation.data["sampling"][name] = chosen

    def settled(*_):
        changed()
    on(slider, "input", moved)
    on(slider, "change", settled)
    return el("div", el("label", label, **{"for": "knob-" + name}), shown, slider,
              el("small", help_text, id="help-" + name), cls="knob")
