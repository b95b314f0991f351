"""Every knob of TensorTab: environment variables in CPython, `?DEBUG=2` in the page, `with debug(DEBUG=0):` in scope.

DEBUG    1 plans as they are made, 2 each kernel's time, GB/s and GFLOP/s, 3 the schedule, 4 WGSL, 5 the graph
CHECK    1: each step also in numpy, stop at the first that differs
POISON   1: what lives inside a plan starts as NaN instead of zero
FUSE     0: no fusion (to find a bad one)
ARENA    0: every tensor in a buffer of its own (to find a bad reuse)
PROFILE  1: GPU time, bytes and FLOPs of each kernel, kept by the program (lab.py adds each one's share of its floor)
PICK     op:kernel, forces a kernel for an op
TIER     software | default | subgroups, forces a class of kernels
DEVICE   cpu | gpu | dawn | wgpu
DUMP     a folder to write each plan and its WGSL to (CPython)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

KNOBS = {"DEBUG": "0", "CHECK": "0", "POISON": "0", "FUSE": "1", "ARENA": "1", "PROFILE": "0"}
KNOBS |= {"PICK": "", "TIER": "", "DEVICE": "", "DUMP": ""}
_scoped: dict[str, str] = {}


def knob(name: str) -> str:
    """The value of a knob as text."""
    return _scoped[name] if name in _scoped else os.environ.get(name, KNOBS[name])


def level(name: str) -> int:
    """The value of a numeric knob; what is no number counts as 1 (other programs have a DEBUG=true of their own)."""
    text = knob(name)
    return int(text) if text.isdigit() else int(bool(text))


@contextmanager
def debug(**knobs: str | int) -> Iterator[None]:
    """Sets knobs within a `with` block."""
    before = dict(_scoped)
    if unknown := knobs.keys() - KNOBS.keys():
        raise KeyError(f"there is no knob {', '.join(unknown)}; there is {', '.join(KNOBS)}")
    _scoped.update({name: str(value) for name, value in knobs.items()})
    try:
        yield
    finally:
        _scoped.clear()
        _scoped.update(before)
