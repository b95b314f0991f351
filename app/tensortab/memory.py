"""Lifetimes -> a few shared buffers for everything that lives only inside a plan.

WebGPU forbids reading and writing one buffer in one dispatch, even at different offsets, so this is a pool of
buffers, not one arena: a tensor has a buffer to itself from the dispatch that writes it to the last that reads it.
"""

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
