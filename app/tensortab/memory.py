"""Transient buffers: those of tensors that live only inside a plan. Tensors with disjoint lifetimes share one.

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
    """Chooses buffers by best fit, in the order in which the lifetimes begin. Returns {key: index of its buffer} and
    the sizes of the buffers in bytes. Without `share` each tensor has its own."""
    sizes: list[int] = []
    busy_until: list[int] = []
    place: dict[int, int] = {}
    for life in sorted(lifetimes, key=lambda t: (t.first, -t.nbytes)):
        idle = [n for n, until in enumerate(busy_until) if until < life.first] if share else []
        fits = [n for n in idle if sizes[n] >= life.nbytes]
        if fits:
            slot = min(fits, key=lambda n: sizes[n])
        elif idle:
            slot = max(idle, key=lambda n: sizes[n])
            sizes[slot] = life.nbytes
        else:
            slot = len(sizes)
            sizes.append(life.nbytes)
            busy_until.append(0)
        busy_until[slot] = life.last
        place[life.key] = slot
    return place, sizes


class Pool:
    """The transient buffers of a device, shared by all its plans: plans run one after the other, and none relies on
    what another left there. `make(size)` creates a buffer on the device, `drop(id)` destroys it."""

    def __init__(self, make: Callable[[int], int], drop: Callable[[int], None]) -> None:
        self._make, self._drop = make, drop
        self._buffers: dict[int, tuple[int, int]] = {}  # id -> (size, number of plans that use it)
        self._acquiring = False
        self._late: list[int] = []  # released during acquire(), by finalizers that the garbage collector ran

    def acquire(self, sizes: list[int]) -> list[int]:
        """A different buffer for each size: the smallest in the pool that fits, or else a new one. If one cannot be
        made, none is acquired."""
        chosen: dict[int, int] = {}
        self._acquiring = True
        try:
            self._acquire(sizes, chosen)
        except BaseException:
            self._late += chosen.values()
            raise
        finally:
            self._acquiring = False
            late, self._late = self._late, []
            self.release(late)
        return [chosen[n] for n in range(len(sizes))]

    def _acquire(self, sizes: list[int], chosen: dict[int, int]) -> None:
        for n in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
            fits = [b for b, (size, _) in self._buffers.items() if size >= sizes[n] and b not in chosen.values()]
            buffer = min(fits, key=lambda b: self._buffers[b][0]) if fits else self._make(sizes[n])
            size, plans = self._buffers.get(buffer, (sizes[n], 0))
            self._buffers[buffer] = (size, plans + 1)
            chosen[n] = buffer

    def release(self, buffers: list[int]) -> None:
        if self._acquiring:
            self._late += buffers
            return
        for buffer in buffers:
            size, plans = self._buffers[buffer]
            self._buffers[buffer] = (size, plans - 1)
            if plans == 1:
                del self._buffers[buffer]
                self._drop(buffer)
