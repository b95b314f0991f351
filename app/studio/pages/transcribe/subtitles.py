"""What was said and when, as text and as subtitle files. Pure Python: CPython runs its tests.

chunks are a transcript's parts, [{"timestamp": [start, end], "text"}] in seconds; an end may be None."""

LEAST = 1.0  # seconds that a part without a duration is shown


def clock(seconds: float) -> str:
    """A time in the text: 3:07, 1:02:09."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return "%d:%02d:%02d" % (hours, minutes, rest) if hours else "%d:%02d" % (minutes, rest)


def stamp(seconds: float, point: str) -> str:
    """A time in a subtitle file, rounded to the nearest millisecond: 01:02:03,004."""
    ms = max(0, int(seconds * 1000 + 0.5))
    return "%02d:%02d:%02d%s%03d" % (ms // 3600000, ms // 60000 % 60, ms // 1000 % 60, point, ms % 1000)


def span(chunk: dict) -> tuple:
    """When a part is shown. One that ends where it begins is shown before that, because the sound may end there."""
    start, end = chunk["timestamp"]
    if end is None:
        return start, start + LEAST
    return (start, end) if end > start else (max(0.0, end - LEAST), end)


def one_line(text: str) -> str:
    """A cue's text without empty lines, because one ends the cue."""
    return " ".join(text.split())


def srt(chunks: list) -> str:
    """The chunks as a SubRip file."""
    cues: list[str] = []
    for chunk in chunks:
        text = one_line(chunk["text"])
        if text:
            start, end = span(chunk)
            cues.append("%d\n%s --> %s\n%s\n" % (len(cues) + 1, stamp(start, ","), stamp(end, ","), text))
    return "\n".join(cues)


def vtt(chunks: list) -> str:
    """The chunks as a WebVTT file. WebVTT has tags and entities, so what looks like these is escaped."""
    cues = ["WEBVTT\n"]
    for chunk in chunks:
        text = one_line(chunk["text"])
        if text:
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            start, end = span(chunk)
            cues.append("%s --> %s\n%s\n" % (stamp(start, "."), stamp(end, "."), text))
    return "\n".join(cues)


def plain(chunks: list) -> str:
    """The text alone, a line for each part."""
    return "\n".join([text for text in [one_line(chunk["text"]) for chunk in chunks] if text])


def later(chunks: list, seconds: float) -> list:
    """The chunks with `seconds` added to their times."""
    moved = []
    for chunk in chunks:
        start, end = chunk["timestamp"]
        moved.append({"timestamp": [start + seconds, None if end is None else end + seconds], "text": chunk["text"]})
    return moved


def settled(chunks: list, window: float, longest: float) -> int:
    """How many parts of a growing window will not change any more: all but the last once the window is `longest`
    seconds long, none before."""
    if window < longest or not chunks:
        return 0
    count = max(1, len(chunks) - 1)
    return count if chunks[count - 1]["timestamp"][1] is not None else 0
