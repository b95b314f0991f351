"""What a user makes on a page: a chat, a transcript, a summary, a search. Pure Python: CPython runs its tests."""

import random
import time


class Work:
    """`data`: {"id", "title", "created", "updated"} and what its page adds; times in seconds since 1970."""

    empty = False  # an empty work is not kept

    def __init__(self, data: dict):
        self.data = data

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def title(self) -> str:
        return self.data["title"]

    def change(self, **fields) -> None:
        for name, value in fields.items():
            self.data[name] = value
        self.data["updated"] = time.time()

    def merge(self, stored: dict) -> None:
        """Merges another tab's version. The one that is written last stays, except where a subclass does better."""


def begin_work(title: str, **fields) -> Work:
    now = time.time()
    return Work({"id": new_key("w"), "title": title, "created": now, "updated": now} | fields)


def new_key(letter: str) -> str:
    """An id; letter: "c" of a chat, "w" of other works."""
    return "%s%d%06x" % (letter, int(time.time() * 1000), random.getrandbits(24))


def shorten(text: str, limit: int = 48) -> str:
    """A title from a message: its first words."""
    words = text.split()
    title = ""
    for word in words:
        if title and len(title) + 1 + len(word) > limit:
            return title + "…"
        title = title + " " + word if title else word
    return title if len(title) <= limit else title[:limit] + "…"
