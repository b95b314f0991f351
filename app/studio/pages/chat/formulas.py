r"""Finds formulas in an answer: \(x\), \[x\], $x$ and $$x$$. They leave the text before Markdown is read, which would
eat their backslashes and underscores, and come back afterwards. Pure Python: CPython runs its tests."""

MARK = "\u1cc0"  # stands around a formula's number. Markdown takes it, as it takes $ and \, for punctuation
LONGEST = 4000  # characters of a formula
WORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}


class Formulas:
    """A text's formulas. `text` is that text with a number in the place of each formula."""

    def __init__(self, text: str):
        self.found: list[str] = []  # as they were written
        self.quoted: list[bool] = []  # whether the lines of each begin with >
        self.text = text
        if MARK not in text and ("$" in text or "\\" in text):
            self.text = self._taken_out(text)

    def _taken_out(self, text: str) -> str:
        parts, kept, place = [], 0, 0
        while True:
            places = [at for at in (text.find("$", place), text.find("\\", place)) if at >= 0]
            if not places:
                parts.append(text[kept:])
                return "".join(parts)
            place = min(places)
            opening = text[place:place + 2] if text[place:place + 2] in CLOSING else text[place]
            end = end_of(text, place, opening) if opening in CLOSING else 0
            if not end:
                place += 2 if opening in ("\\", "$$") else len(opening)  # a backslash takes the next character with it
                continue
            parts.append(text[kept:place] + MARK + str(len(self.found)) + MARK)
            self.found.append(text[place:end])
            self.quoted.append(text[text.rfind("\n", 0, place) + 1:place].lstrip().startswith(">"))
            kept = place = end

    def restore(self, text: str) -> str:
        """A part of `text` as it was written."""
        if MARK not in text or not self.found:
            return text
        pieces = text.split(MARK)
        for place in range(1, len(pieces), 2):
            pieces[place] = self.found[int(pieces[place])]
        return "".join(pieces)

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """A part of `text` as pieces: (a text, whether it is a formula)."""
        if MARK not in text or not self.found:
            return [(text, False)]
        return [(self._shown(int(piece)), True) if place % 2 else (piece, False)
                for place, piece in enumerate(text.split(MARK)) if piece]

    def _shown(self, number: int) -> str:
        return self.found[number].replace("\n>", "\n") if self.quoted[number] else self.found[number]


def end_of(text: str, place: int, opening: str) -> int:
    """Where the formula that begins at `place` ends; 0 if none begins there. A formula has no empty line and no
    backtick in it. Where the text ends before it, because more is to come, it goes to the end."""
    start, closing = place + len(opening), CLOSING[opening]
    blank = text.find("\n\n", start)
    stop = min(start + LONGEST, len(text) if blank < 0 else blank)
    end = text.find(closing, start, stop)
    while end > 0 and escaped(text, end):
        end = text.find(closing, end + 1, stop)
    tex = text[start:stop if end < 0 else end]
    if "`" in tex or not tex.strip():
        return 0
    if opening == "$":
        return end + 1 if end > 0 and is_formula(text, place, tex, end) else 0
    if end >= 0:
        return end + 2
    return stop if stop == len(text) and (opening != "$$" or tex[0] == "\n") else 0


def escaped(text: str, place: int) -> bool:
    """Whether a backslash, which itself is not escaped, stands before this place."""
    before = place
    while before > 0 and text[before - 1] == "\\":
        before -= 1
    return (place - before) % 2 == 1


def is_formula(text: str, place: int, tex: str, end: int) -> bool:
    """Whether text between two single dollar signs is a formula, and no two amounts of money: the signs touch it on
    the inside and no word on the outside, it is on one line, and no words follow a number that it begins with."""
    if "\n" in tex or tex[0] in " \t" or tex[-1] in " \t":
        return False
    if (place > 0 and text[place - 1] in WORD) or text[end + 1:end + 2] in tuple(WORD + "$"):
        return False
    words = [word for word in tex.split() if len(word) > 2 and not word.strip(WORD)]
    return not (tex[0] in "0123456789" and words)


def tex_of(written: str) -> tuple[str, bool]:
    """(TeX, whether it has lines of its own) of a formula as it was written. The TeX of an unfinished one is empty."""
    for opening in ("\\(", "\\[", "$$", "$"):
        closing = CLOSING[opening]
        if written.startswith(opening):
            finished = written.endswith(closing) and len(written) >= len(opening) + len(closing)
            return written[len(opening):-len(closing)].strip() if finished else "", opening in ("\\[", "$$")
    return "", False
