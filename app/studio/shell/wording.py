"""The page's language: its texts, and numbers, dates and the names of languages by the browser's Intl.

A text is written in English, as t("...") or plural(...), and languages/*.json have it in the other languages. Its
placeholders are always %s."""

import json
import time

try:
    import js

    language, texts = js.tensortab.language, json.loads(js.tensortab.texts)  # start.js and interface.js set them
except ImportError:  # CPython's tests use what needs no Intl
    language, texts = "en", {}

# texts: {English text: text}; a plural has its text under `other`, or {category of Intl.PluralRules: text}
PERIODS = (("year", 31_557_600), ("month", 2_629_800), ("week", 604_800), ("day", 86_400), ("hour", 3600),
           ("minute", 60))
_formats: dict = {}  # Intl's objects, by their class, language and options


def t(text: str) -> str:
    """An English text in the page's language."""
    return texts.get(text, text)


def plural(count: int, one: str, other: str) -> str:
    """A count with its noun: plural(2, "%s text", "%s texts"). A language's file has it under `other`."""
    found = texts.get(other, one if count == 1 else other)
    if isinstance(found, dict):
        found = found[_intl("PluralRules").select(float(count))]
    return found % number(count)


def _intl(kind: str, code: str = "", **options):
    """An object of Intl, such as Intl.NumberFormat, for the page's language."""
    key = (kind, code or language, json.dumps(options))
    if key not in _formats:
        _formats[key] = getattr(js.Intl, kind).new(key[1], js.JSON.parse(key[2]))
    return _formats[key]


def _formatted(value: float, places: int, least: int, **options) -> str:
    options.update(maximumFractionDigits=places, minimumFractionDigits=least)
    return _intl("NumberFormat", **options).format(float(value))  # JavaScript would get a large int as 32 bits


def number(value: float, places: int = 0, least: int | None = None) -> str:
    """A number with `places` digits after the point, of which the zeros behind digit `least` are left out: 31,400."""
    return _formatted(value, places, places if least is None else least)


def unit(value: float, name: str, places: int = 0, display: str = "short") -> str:
    """A value with a unit of Intl: 12 sec, 98 MB."""
    return _formatted(value, places, places, style="unit", unit=name, unitDisplay=display)


def size(count: float, per: str = "") -> str:
    """A number of bytes with a decimal unit, as file managers write it: 98 MB."""
    for name, scale in (("gigabyte", 1e9), ("megabyte", 1e6), ("kilobyte", 1e3)):
        if count >= scale:
            value = count / scale
            return unit(value, name + per, 1 if value < 10 else 0)
    return unit(count, "byte" + per, display="short" if per else "long")


def rate(count: float) -> str:
    """Bytes per second: 98 MB/s."""
    return size(count, "-per-second")


def duration(seconds: float) -> str:
    """A time, no more precise than an estimate: 12 sec, 2 min, 3 hr."""
    if seconds < 90:
        return unit(max(1, round(seconds)), "second")
    if seconds < 5400:
        return unit(round(seconds / 60), "minute")
    return unit(round(seconds / 3600), "hour")


def ago(when: float) -> str:
    """A time of the past, in seconds since 1970: 2 hours ago, yesterday, last week."""
    passed = time.time() - when
    for name, seconds in PERIODS:
        if passed >= seconds:
            return _intl("RelativeTimeFormat", numeric="auto").format(-int(passed // seconds), name)
    return t("just now")


def language_name(code: str, of: str = "") -> str:
    """The name of a language, in the page's or in the language `of`. What is not a code stays: Intl would throw."""
    if not (2 <= len(code) <= 3 and code.isalpha()):
        return code
    return _intl("DisplayNames", of, type="language").of(code)


def digits(value: float) -> str:
    """Three digits, or all before the point, or at most three after it: 2.10, 45.3, 31,400, 0.005."""
    if value < 0.0005:
        return number(0)
    return number(value, 3 if value < 0.0995 else 2 if value < 9.995 else 1 if value < 99.95 else 0)


def amount(value: float, unit: str) -> str:
    """A value and its unit with a decimal prefix: 2.10 µs, 2.95 TB/s, 41.2 TFLOP/s."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1), ("m", 1e-3), ("µ", 1e-6)):
        if value >= 0.9995 * scale and (unit != "s" or scale <= 1):
            return "%s %s%s" % (digits(value / scale), prefix, unit)
    return "%s n%s" % (digits(value * 1e9), unit) if unit == "s" else "%s %s" % (digits(value), unit)


def share(part: float) -> str:
    """A share of 1 in per cent: 0.4%, 43%."""
    places = 1 if part < 0.0995 else 0
    return _formatted(part, places, places, style="percent")


def figures(stats: dict) -> str:
    """The line under an answer, from the result of a chat request."""
    parts = []
    timings, usage = stats.get("timings") or {}, stats.get("usage") or {}
    if timings.get("tokens_per_second"):
        speed = timings["tokens_per_second"]
        parts.append(t("%s tokens/s") % number(speed, 1 if speed < 100 else 0))
    if timings.get("ttft_ms"):
        parts.append(t("first token after %s") % unit(timings["ttft_ms"] / 1000, "second", 2))
    if usage.get("completion_tokens"):
        parts.append(plural(usage["completion_tokens"], "%s token", "%s tokens"))
    if stats.get("finish_reason") == "length":
        parts.append(t("stopped at the limit"))
    return "  ·  ".join(parts)
