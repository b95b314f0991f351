"""Lifetimes -> a few shared buffers for everything that lives only inside a plan.

WebGPU forbids reading and writing one buffer in one dispatch, even at different offsets, so this is a pool of
buffers, not one arena: a tensor has a buffer to itself from the dispatch that writes it to the last that reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Lifetime:
    key: int
    nbytes: int
    first: int
    last: int


def assign(lifetimes: list[Lifetime], share: bool = True) -> tuple[dict[int, int], list[int]]:
    """Tensor -> number of its buffer, and the buffers' sizes; by best fit in order of birth."""
    sizes: list[int] = []
    busy_until: list[int] = []
    place: dict[int, int] = {}
    for life in sorted(lifetimes, key=lambda t: (t.first, -t.nbytes)):
        free = [n for n, until in enumerate(busy_until) if until < life.first] if share else []
        fits = [n for n in free if sizes[n] >= life.nbytes]
        if fits:
            slot = min(fits, key=lambda n: sizes[n])
        elif free:
            slot = max(free, key=lambda n: sizes[n])
            sizes[slot] = life.nbytes
        else:
            slot = len(sizes)
            sizes.append(life.nbytes)
            busy_until.append(0)
        busy_until[slot] = life.last
        place[life.key] = slot
    return place, sizes


class Pool:
    """Buffers for what lives only inside a plan, shared by all plans of a device: they run one after the other, and
    none of them relies on what another left there. `make` and `drop` are the device's."""

    def __init__(self, make: Callable[[int], int], drop: Callable[[int], None]) -> None:
        self._make, self._drop = make, drop
        self._buffers: dict[int, tuple[int, int]] = {}  # buffer -> its size, how many plans have it
        self._taking = False
        self._late: list[int] = []  # given back meanwhile, by the finalizers of the garbage collector

    def take(self, sizes: list[int]) -> list[int]:
        """A buffer for each size, no two the same: of those there are the smallest that fits, or else a new one. All
        or none of them are taken."""
        taken: dict[int, int] = {}
        self._taking = True
        try:
            self._take(sizes, taken)
        except BaseException:
            self._late += taken.values()
            raise
        finally:
            self._taking = False
            late, self._late = self._late, []
            self.give_back(late)
        return [taken[n] for n in range(len(sizes))]

    def _take(self, sizes: list[int], taken: dict[int, int]) -> None:
        for n in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
            fits = [b for b, (size, _) in self._buffers.items() if size >= sizes[n] and b not in taken.values()]
            buffer = min(fits, key=lambda b: self._buffers[b][0]) if fits else self._make(sizes[n])
            size, plans = self._buffers.get(buffer, (sizes[n], 0))
            self._buffers[buffer] = (size, plans + 1)
            taken[n] = buffer

    def give_back(self, buffers: list[int]) -> None:
        if self._taking:
            self._late += buffers
            return
        for buffer in buffers:
            size, plans = self._buffers[buffer]
            self._buffers[buffer] = (size, plans - 1)
            if plans == 1:
                del self._buffers[buffer]
                self._drop(buffer)
