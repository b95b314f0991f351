"""Whose turn it is on something that does one text at a time."""

import asyncio
from collections import deque
from typing import Any


class Turn:
    """Those who want a turn get it one after the other. Whoever has it may leave it for a while, as a stream does whose
    reader has its next part: they keep their place as long as they come back before anybody else is let in.

    last: who had the turn last; what it left there is as it was.
    """

    def __init__(self) -> None:
        self.last: Any = None
        self._taken = False
        self._waiting: deque[tuple[asyncio.Future, Any]] = deque()

    def retake(self, who: Any) -> bool:
        """Whether `who`, who had the turn last or has it, goes on at once."""
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
                if place.done() and not place.cancelled():  # the turn came together with the stop
                    self.leave()
                raise
        self.last, self._taken = who, True

    def leave(self) -> None:
        """Lets the next one in, unless who leaves comes back before the loop has made a turn."""
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
