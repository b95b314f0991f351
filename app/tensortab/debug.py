"""Every knob of TensorTab: an environment variable in CPython, `?DEBUG=2` in the page's address, or a `with` block in
Python (`with debug(DEBUG=0):`).

DEBUG    1 prints plans as they are made, 2 each kernel's time, GB/s and GFLOP/s, 3 the schedule, 4 WGSL, 5 the graph
CHECK    1 computes each step in NumPy as well, and stops at the first that differs
POISON   1 fills transient buffers with NaN instead of zeros
FUSE     0 turns fusion off (to find a wrong one)
ARENA    0 gives every tensor a buffer of its own (to find a wrong reuse)
PROFILE  1 keeps the GPU time, bytes and FLOPs of each kernel in its Program (lab.py adds the share of the floor)
PICK     op:kernel forces a kernel for an op
TIER     software | default | subgroups forces a class of kernels
DEVICE   cpu | gpu | dawn | wgpu forces a device
DUMP     a folder to which each plan and its WGSL are written (CPython)
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
    """The value of a numeric knob; other text counts as 1 (other programs have a DEBUG=true of their own)."""
    text = knob(name)
    return int(text) if text.isdigit() else int(bool(text))


@contextmanager
def debug(**knobs: str | int) -> Iterator[None]:
    """Sets knobs within a `with` block."""
    before = dict(_scoped)
    if unknown := knobs.keys() - KNOBS.keys():
        raise KeyError(f"there is no knob {', '.join(unknown)}: the knobs are {', '.join(KNOBS)}")
    _scoped.update({name: str(value) for name, value in knobs.items()})
    try:
        yield
    finally:
        _scoped.clear()
        _scoped.update(before)
