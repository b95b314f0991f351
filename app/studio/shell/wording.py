"""The page's language, and numbers in words. Pure Python: CPython runs its tests."""

texts: dict = {}  # the texts of the page's language, by the English ones; empty in English


def t(text: str) -> str:
    """An English text in the page's language."""
    return texts.get(text, text)


def plural(count: int, one: str, other: str) -> str:
    """A count with its noun: plural(2, "%s text", "%s texts"). A language file has it under `other`."""
    return t(one if count == 1 else other) % whole(count)


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
    return whole(round(value))


def whole(count: int) -> str:
    """A whole number, in groups of three digits: 1,024."""
    text = "%d" % count
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
