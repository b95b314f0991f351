"""The picture of one token: a bar for each kind of kernel, with its floor. Pure Python: CPython runs its tests."""

from studio.shell.wording import amount, plural, share, t

PARTS = {
    "self_attn.q_proj": t("Queries, keys, values"), "self_attn.o_proj": t("Attention’s output"),
    "mlp.gate_proj": t("Feed-forward, in"), "mlp.down_proj": t("Feed-forward, out"),
    "lm_head": t("Word scores"), "embed_tokens": t("Word scores"),
    "input_layernorm": t("Norm before attention"), "post_attention_layernorm": t("Norm before feed-forward"),
    "norm": t("Last norm"), "attention": t("Attention"), "attention_split": t("Attention"),
    "attention_serial": t("Attention"), "attention_step": t("Attention"),
    "attention_step_linear": t("Attention, whole"), "attention_merge": t("Attention, merged"),
    "kv_update": t("Keys and values, kept"), "elementwise": t("Sums and products"),
    "sample_max": t("Choice: best word"), "sample_histogram": t("Choice: histogram"),
    "sample_select": t("Choice: candidates"), "sample_draw": t("Choice: draw"),
}
NARROW = 560  # pixels: in a narrower picture a bar's words are above it
SMALL = 0.01  # of a token's time: kernels that take less share one bar


def name(kernel: dict) -> str:
    """What a kernel does, in words."""
    if kernel["kernel"].startswith("embedding"):
        return t("Word’s vector")
    return PARTS.get(kernel["part"], kernel["part"])


def bars(kernels: list) -> list:
    """[(name, dispatches, us, floor in us)] of one token, the longest first, the short ones together at the end."""
    total = sum([kernel["count"] * kernel["us"] for kernel in kernels])
    shown: list[tuple] = []
    rest: list[tuple] = []
    for kernel in kernels:
        count = kernel["count"]
        bar = (name(kernel), count, count * kernel["us"], count * kernel["floor_us"])
        (shown if bar[2] >= SMALL * total else rest).append(bar)
    if len(rest) == 1:
        shown += rest
    elif rest:
        spent, floor = sum([bar[2] for bar in rest]), sum([bar[3] for bar in rest])
        shown.append((plural(sum([bar[1] for bar in rest]), "%s other", "%s others"), 1, spent, floor))
    return shown


def drawing(kernels: list, width: float) -> tuple:
    """(height in pixels, [(tag, attributes, text)]) of an SVG picture that is `width` pixels wide."""
    shown = bars(kernels)
    narrow = width < NARROW
    left, right = (0, 0) if narrow else (248, 140)
    room, longest = width - left - right, max([bar[2] for bar in shown])
    step, top = (50 if narrow else 34), 22
    parts = []

    def text(x: float, y: float, cls: str, words: str, anchor: str = "start") -> None:
        parts.append(("text", {"x": round(x, 1), "y": round(y, 1), "class": cls, "text-anchor": anchor}, words))

    text(width - 62, 12, "head", t("a token"), "end")
    text(width, 12, "head", t("floor"), "end")
    for place, (words, count, spent, floor) in enumerate(shown):
        y = top + place * step
        times = "  × %d" % count if count > 1 else ""
        bar_y = y + 20 if narrow else y + 4
        middle = y + 13 if narrow else y + 19
        text(0, middle, "name", words + times)
        text(width - 62, middle, "value", amount(spent / 1e6, "s"), "end")
        text(width, middle, "value", share(floor / spent if spent else 0), "end")
        length = max(2, room * spent / longest)
        parts.append(("rect", {"x": left, "y": bar_y, "width": round(length, 1), "height": 20, "class": "spent"}, ""))
        inside = min(length, length * floor / spent if spent else 0)
        parts.append(("rect", {"x": left, "y": bar_y, "width": round(inside, 1), "height": 20, "class": "floor"}, ""))
        mark = left + max(0, inside - 2)
        parts.append(("rect", {"x": round(mark, 1), "y": bar_y, "width": 2, "height": 20, "class": "mark"}, ""))
    return top + step * len(shown), parts


def in_words(kernels: list) -> str:
    """The picture in words, for screen readers."""
    said = []
    for words, _, spent, floor in bars(kernels):
        part = share(floor / spent if spent else 0)
        said.append(t("%s %s, of which the floor is %s") % (words, amount(spent / 1e6, "s"), part))
    return t("Time of a token by kind of kernel: %s.") % "; ".join(said)
