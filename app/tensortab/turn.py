"""Whose turn it is to use something that handles one text at a time."""

import asyncio
from collections import deque
from typing import Any


class Turn:
    """A lock whose holders get their turn in order. A holder may leave for a while, as a stream does whose reader has
    its next part: it keeps its turn if it comes back before anybody else is let in.

    last: who had the turn last; nobody has changed what it left.
    """

    def __init__(self) -> None:
        self.last: Any = None
        self._taken = False
        self._waiting: deque[tuple[asyncio.Future, Any]] = deque()

    def retake(self, who: Any) -> bool:
        """Whether `who`, if it has the turn or had it last, may continue at once."""
        if self.last is not who:
            return False
        self._taken = True
        return True

    async def take(self, who: Any) -> None:
        """Waits for the turn."""
        if self._taken or self._waiting:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append((place, who))
            if not self._taken:
                self._soon()
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # the turn arrived together with the cancellation
                    self.leave()
                raise
        self.last, self._taken = who, True

    def leave(self) -> None:
        """Lets the next one in, unless the one that leaves comes back before the event loop's next iteration."""
        self._taken = False
        if self._waiting:
            self._soon()

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        while self._waiting and not self._taken:
            place, who = self._waiting.popleft()
            if not place.done():
                self.last, self._taken = who, True
                place.set_result(None)
