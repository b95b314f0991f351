"""The parts of a row in the table of operations, and the hardware that the choice of kernels depends on."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..debug import knob
from ..dtype import DType


class ShapeError(ValueError):
    """An operation does not accept these shapes or dtypes."""


@dataclass(frozen=True)
class Hardware:
    """The properties of a GPU that the choice of kernels depends on."""

    tier: str  # "software" (adapters that run on the processor), "default", "subgroups"
    f16: bool
    max_binding: int
    workgroups: int = 65535
    lanes: int = 0  # neighbouring invocations that are certainly in one subgroup
    invocations: int = 256  # the most that a workgroup may have
    storage: int = 16384  # bytes of workgroup memory
    matrix: bool = False  # 16 x 16 x 16 subgroup matrices, f16 with f32 sums, in subgroups of 32

    def workgroup(self, invocations: int) -> dict[str, str]:
        """The spec of a kernel with barriers. On a processor a barrier's cost grows with the invocations of a
        workgroup, so there it has only `invocations` of them."""
        return {"WG": f"{invocations}u"} if self.tier == "software" else {}

    def grid(self, workgroups: int) -> tuple[int, int, int]:
        """A grid of this many workgroups or slightly more: folded into y where the count exceeds the limit of x."""
        workgroups = max(1, workgroups)
        rows = -(-workgroups // self.workgroups)
        return (-(-workgroups // rows), rows, 1)


@dataclass
class Dispatch:
    """One kernel with its operands in binding order (outputs included) and parameters."""

    stem: str
    bind: list[Any]
    params: dict[str, int | float]
    grid: tuple[int, int, int]
    spec: dict[str, Any] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)  # the nodes that it computes, the result last
    epilogue: str = ""
    extra: list[Any] = field(default_factory=list)  # operands of the epilogue
    bake: bool = False  # the parameters are constants of the kernel, which then has no uniform
    touched: dict[int, int] = field(default_factory=dict)  # operand -> bytes read or written, where these are not all
    per_position: tuple[int, int] = (0, 0)  # further bytes and FLOPs for each position in the cache


@dataclass(frozen=True)
class Op:
    shape: Callable[..., tuple[tuple[int, ...], DType]]
    numpy: Callable[..., Any]
    lower: Callable[..., list[Dispatch]] | None = None  # (hardware, node, *absorbed) -> dispatches; None: elementwise
    expr: str = ""  # elementwise: WGSL of {a}, {b} and {c}
    fuse: bool = False  # an elementwise chain may run in this kernel's store
    strided: bool = False  # binds views of f32 [batch, rows, columns] without a copy if their columns are dense
    inplace: int | None = None  # the result is source number `inplace`, changed
    flops: Callable[[Any], int] = lambda node: 0
    writes: tuple[int, ...] = ()  # further sources that are changed
    disjoint: bool = False  # several nodes may change one source, since each changes a part of its own
    # source that is changed -> NumPy's name of the numbers stored in it, if it is not that of its dtype
    stored: Mapping[int, str] = field(default_factory=dict)
    # (hardware, node) -> the nodes before it that its kernel can compute as well, nearest first, in groups: a group can
    # be computed only together with the groups before it. schedule.py leaves out what other nodes need.
    absorbs: Callable[[Hardware, Any], list[list[Any]]] | None = None
    decompose: Callable[[Any], Any] | None = None  # node -> the same by other operations, if it absorbs nothing

    def changes(self, sources: int) -> list[int]:
        """The indices of the sources that are changed in place, for a node with `sources` sources."""
        return [n for n in (self.inplace, *self.writes) if n is not None and n < sources]


OPS: dict[str, Op] = {}


def broadcast(op: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape, as in NumPy; ShapeError if there is none."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    out = []
    for sizes in zip(*padded, strict=True):
        wide = {n for n in sizes if n != 1}
        if len(wide) > 1:
            raise ShapeError(f"{op}: shapes {[list(s) for s in shapes]} do not broadcast")
        out.append(wide.pop() if wide else 1)
    return tuple(out)


def check(condition: bool, op: str, *tensors: Any) -> None:
    if not condition:
        raise ShapeError(f"{op} does not accept {', '.join(f'{t.dtype}{list(t.shape)}' for t in tensors)}")


def rows(tensor: Any) -> int:
    """The product of all axes but the last."""
    return math.prod(tensor.shape[:-1])


def picked(op: str, stem: str, kernels: Iterable[str]) -> str:
    """The kernel `stem`, or the one of the op's `kernels` that PICK=op:kernel forces."""
    name, _, forced = knob("PICK").partition(":")
    if name != op:
        return stem
    if forced not in kernels:
        raise ValueError(f"PICK={op}:{forced}: the kernels of {op} are {', '.join(kernels)}")
    return forced
