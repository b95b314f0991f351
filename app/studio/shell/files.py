"""Text files for the models. Pure Python: CPython runs its tests."""

TEXTS = (".txt", ".md", ".markdown", ".text", ".log", ".csv", ".rst", ".org", ".srt", ".vtt")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp")
LONGEST = 2_000_000  # bytes of a text file


def is_text(name: str) -> bool:
    return name.lower().endswith(TEXTS)


def is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTOS)


def pieces(text: str, longest: int = 700) -> list:
    """Splits a text into passages of at most `longest` characters: whole paragraphs where they fit, else cut at the end
    of a sentence, else at a space."""
    found, passage = [], ""
    for paragraph in text.replace("\r", "").split("\n\n"):
        paragraph = " ".join(paragraph.split())
        while paragraph:
            room = longest - len(passage) - 1 if passage else longest
            if len(paragraph) <= room:
                passage, paragraph = passage + " " + paragraph if passage else paragraph, ""
            elif passage:
                found.append(passage)
                passage = ""
            else:
                end = cut(paragraph, longest)
                found.append(paragraph[:end].strip())
                paragraph = paragraph[end:].strip()
    return found + [passage] if passage else found


def cut(text: str, longest: int) -> int:
    """Where to cut a text that is too long: after the last sentence, or the last word, that fits."""
    sentence = max([text.rfind(mark, longest // 3, longest) for mark in (". ", "? ", "! ")])
    if sentence > 0:
        return sentence + 1
    word = text.rfind(" ", longest // 3, longest)
    return word if word > 0 else longest


def counted(count: int, word: str) -> str:
    """A number with its noun: 1 text, 1,024 texts."""
    digits = "%d" % count
    if count >= 1000:
        digits = digits[:-3] + "," + digits[-3:]
    return "%s %s%s" % (digits, word, "" if count == 1 else "s")
