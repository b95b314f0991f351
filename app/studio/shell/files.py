"""Texts of files in passages, their encodings, and names of files. Pure Python: CPython runs its tests."""

from collections import OrderedDict

from studio.shell.wording import t

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp")
LONGEST = 2_000_000  # bytes of a document's text
PASSAGE = 700  # bytes of a passage: of English about 170 tokens, of Korean or Chinese about 230
# Where a text may be cut, the best place first: after a paragraph, a sentence, a line, a word.
ENDS = [[mark.encode() for mark in marks] for marks in (
    ("\n\n",), (". ", "? ", "! ", ".\n", "?\n", "!\n", "。", "？", "！"), ("\n",), (" ", "\t"))]
# What browsers assume, by the user's language, where a file does not say its encoding and is not UTF-8.
ENCODINGS = {"ko": "euc-kr", "ja": "shift_jis", "zh": "gb18030", "ru": "windows-1251", "uk": "windows-1251"}
UNITS = {"page": t("page %s"), "line": t("line %s"), "paragraph": t("paragraph %s")}
RESERVED = ("con", "prn", "aux", "nul")  # names of devices on Windows, beside COM1 to LPT9


def is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTOS)


class Document:
    """A text in passages: joined they are the whole text.

    passages: [[place, text], ...], where a place is a section's title, or the number of the page, line or paragraph
    (the `unit`) in which the passage begins. All of it is plain JSON.
    """

    def __init__(self, name: str, unit: str, passages: list):
        self.name, self.unit, self.passages = name, unit, passages

    @staticmethod
    def of_parts(name: str, unit: str, parts: list) -> "Document":
        """parts: [(place, text), ...]. No passage reaches across two of them."""
        return Document(name, unit, [[place, passage] for place, text in parts for passage in split(text)])

    @staticmethod
    def of_lines(name: str, unit: str, text: str) -> "Document":
        """The place of a passage is the number of its first line."""
        found, line = [], 1 + text[:len(text) - len(text.lstrip())].count("\n")
        for passage in split(text):
            found.append([line, passage])
            line += passage.count("\n")
        return Document(name, unit, found)

    def text(self) -> str:
        return "".join([text for _, text in self.passages])

    def place(self, number: int) -> str:
        """Where the passage begins, in words."""
        place = self.passages[number][0]
        return place if isinstance(place, str) else UNITS[self.unit] % place


def split(text: str, longest: int = PASSAGE) -> list:
    """Splits a text into passages of at most `longest` bytes of UTF-8, beside the blanks at their ends. Joined they are
    the text without the blanks before it."""
    data = text.lstrip().encode()  # MicroPython would count the letters of a text for each index
    found, start = [], 0
    while start < len(data):
        end = _end(data, start, longest)
        found.append(data[start:end].decode())
        start = end
    return found


def _end(data: bytes, start: int, longest: int) -> int:
    """The best place to end the passage that begins at `start`, but not in the first third of what it may have."""
    end = most = _letter(data, start + longest)
    if most == len(data):
        return most
    for marks in ENDS:
        places = [data.rfind(mark, start + longest // 3, most + len(mark) - 1) + len(mark) for mark in marks]
        places = [place for place in places if place > start + longest // 3]
        if places:
            end = max(places)
            break
    while end < len(data) and data[end] in b" \n\t\r":
        end += 1
    return end


def _letter(data: bytes, place: int) -> int:
    """The place, or the one before it where a letter begins; at most the end."""
    if place >= len(data):
        return len(data)
    while data[place] & 0xC0 == 0x80:
        place -= 1
    return place


def fitting(text: str, most: int) -> str:
    """The longest beginning of a text that has at most `most` bytes of UTF-8."""
    data = text.encode()
    return data[:_letter(data, most)].decode()


def encodings(head: bytes, language: str = "en") -> list:
    """The encodings to try, in this order, for a text that begins with these bytes; the last one fits every text."""
    if head[:3] == b"\xef\xbb\xbf":
        return ["utf-8"]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ["utf-16le" if head[0] == 0xFF else "utf-16be"]
    for first, name in ((1, "utf-16le"), (0, "utf-16be")):
        zeros = [head[place] == 0 for place in range(first, len(head), 2)]
        others = [head[place] == 0 for place in range(1 - first, len(head), 2)]
        if others and sum(zeros) * 3 > len(zeros) and not any(others):
            return [name]
    usual = ENCODINGS.get(language.split("-")[0].lower())
    return ["utf-8", usual, "windows-1252"] if usual else ["utf-8", "windows-1252"]


def is_binary(text: str) -> bool:
    """Whether a decoded file is not a text: it has a NUL, or many other control characters."""
    head = text[:4096]
    odd = sum([ord(letter) < 32 and letter not in "\t\n\r\f\b\x1b" for letter in head])
    return "\0" in text or odd * 100 > len(head)


def not_read(skipped: list) -> str:
    """A message that names files which were not read. skipped: [(name, reason), ...]; it is "" if there are none."""
    names: OrderedDict = OrderedDict()
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    parts = []
    for reason, found in names.items():
        shown = ", ".join(found[:5])
        if len(found) > 5:
            shown = t("%s and %s more") % (shown, len(found) - 5)
        parts.append(t("Not read: %s.") % shown + " " + reason)
    return " ".join(parts)


def file_name(title: str, ending: str) -> str:
    """The name of a download, which every system accepts: only what one of them forbids is replaced."""
    hidden = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they turn around what is shown
    name = "".join(["-" if letter in '/\\:*?"<>|' or ord(letter) < 32 or 126 < ord(letter) < 160 or letter in hidden
                    else letter for letter in title])
    name = fitting(name.strip(" "), 200 - len(ending.encode())).strip(" ").rstrip(". ") or "TensorTab"
    device = name.split(".")[0].rstrip(" ").lower()
    if device in RESERVED or (len(device) == 4 and device[:3] in ("com", "lpt") and device[3] in "0123456789¹²³"):
        name = "_" + name
    return name + ending


def check_files(files) -> list:
    """The files of an imported message, which is not trusted. Raises ValueError."""
    if not isinstance(files, list) or not all(is_file(file) for file in files):
        raise ValueError(t("The files of a message are broken: export the chat again."))
    return [{name: file[name] for name in ("id", "name", "unit", "passages")} for file in files]


def is_file(file) -> bool:
    return isinstance(file, dict) and isinstance(file.get("id"), str) and isinstance(file.get("name"), str) and \
        file.get("unit") in UNITS and isinstance(file.get("passages"), list) and len(file["passages"]) > 0 and \
        all(is_passage(passage) for passage in file["passages"])


def is_passage(passage) -> bool:
    if not isinstance(passage, list) or len(passage) != 2 or not isinstance(passage[1], str):
        return False
    return isinstance(passage[0], str) or (isinstance(passage[0], int) and 0 <= passage[0] < 1e9)
