"""JSON that may come from outside: imported files, the engine's messages, what the browser stored. Pure Python."""

import json


def parse(text: str):
    """The value of a JSON text; raises ValueError. MicroPython's json makes two characters, which no text may contain,
    of an escaped surrogate pair such as `\\ud83d\\ude00` (which most programs write for an emoji)."""
    if "\\ud" in text or "\\uD" in text:
        text = joined(text)
    return json.loads(text)


def joined(text: str) -> str:
    """JSON text with its escaped surrogate pairs as characters, and U+FFFD for surrogates that have no other half."""
    first, *parts = text.split("\\u")
    done, high = [first], 0  # high: the surrogate that ends `done`, if one does
    for part in parts:
        backslashes = len(done[-1]) - len(done[-1].rstrip("\\"))
        code = 0 if backslashes % 2 else hexadecimal(part[:4])  # an odd one escapes the backslash of "\u"
        if 0xDC00 <= code < 0xE000 and high:
            done[-1] = chr(0x10000 + (high - 0xD800) * 0x400 + code - 0xDC00) + part[4:]
            high = 0
        elif 0xD800 <= code < 0xE000:
            done.append("\ufffd" + part[4:])
            high = code if code < 0xDC00 and len(part) == 4 else 0
        else:
            done.append("\\u" + part)
            high = 0
    return "".join(done)


def hexadecimal(digits: str) -> int:
    """The number of four hexadecimal digits; 0 of anything else, which the JSON parser then refuses."""
    return int(digits, 16) if len(digits) == 4 and not digits.strip("0123456789abcdefABCDEF") else 0
