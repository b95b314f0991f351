"""Graph -> dispatches in order. An elementwise chain runs in the store of the kernel before it, and a kernel absorbs
the nodes that its row of ops/ can compute as well (a norm, the linear of a gate, a cache update), where nothing else
needs them. A node that changes a tensor in place comes after every node that reads the old values.
"""

import heapq
import math
from dataclasses import dataclass

from .debug import level
from .dtype import f32
from .ops import OPS, Dispatch, Hardware
from .tensor import Tensor, contiguous_strides

MAX_STORAGE = 8  # storage buffers a kernel, WebGPU's default limit
VALUES = ("buffer", "temp", "view")


def toposort(outputs: list[Tensor]) -> list[Tensor]:
    """Every node the outputs need, sources first."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(t, False) for t in reversed(outputs)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(node.src) if id(s) not in seen)
    return order


def home(node: Tensor) -> tuple[Tensor, int]:
    """The tensor whose storage holds `node`, and the byte offset in it."""
    chain = _versions(node)
    return chain[-1], 4 * sum(n.arg["offset"] for n in chain if n.op == "view")


def _versions(node: Tensor) -> list[Tensor]:
    """`node`, the source that it is a view of or a change in place of, and so on to the tensor that has the storage."""
    chain = [node]
    while True:
        node = chain[-1]
        if node.op == "view":
            chain.append(node.src[0])
        elif node.op not in VALUES and (source := OPS[node.op].inplace) is not None:
            chain.append(node.src[source])
        else:
            return chain


def _elementwise(node: Tensor) -> bool:
    return node.op not in VALUES and bool(OPS[node.op].expr)


def dense(node: Tensor) -> bool:
    """Whether a kernel can bind the node as it is: it is no view, or contiguous and aligned to 256 bytes."""
    return node.op != "view" or (node.strides == contiguous_strides(node.shape) and node.arg["offset"] % 64 == 0)


def _bindable(op: str, node: Tensor) -> bool:
    """Whether the kernels of `op` can read the node as it is."""
    strided = OPS[op].strided and node.dtype is f32 and len(node.shape) == 3 and node.strides[-1] == 1
    return strided or dense(node)


class _Graph:
    """The nodes that `outputs` need, in order, the users of each, and the nodes that another node's kernel computes.

    apart: the nodes that must have a kernel of their own.
    """

    def __init__(self, outputs: list[Tensor], hw: Hardware, apart: set[int]) -> None:
        self.outputs = outputs
        self.fuse = level("FUSE") > 0
        self.order = toposort(outputs)
        self.place = {id(n): i for i, n in enumerate(self.order)}
        self.users: dict[int, list[Tensor]] = {id(n): [] for n in self.order}
        for node in self.order:
            for source in node.src:
                self.users[id(source)].append(node)
        self.kept = {id(n) for n in outputs} | apart
        self.absorbed = self._absorb(hw) if self.fuse else {}  # id -> the nodes its kernel computes too, nearest first
        everything = {id(n) for inside in self.absorbed.values() for n in inside}
        takers = {key: {id(n) for n in inside} for key, inside in self.absorbed.items()}
        self.gone = {  # nodes whose values no kernel has to store
            key
            for key in everything
            if all(id(user) in everything or key in takers.get(id(user), ()) for user in self.users[key])
        }

    def _absorb(self, hw: Hardware) -> dict[int, list[Tensor]]:
        ops = [(n, OPS[n.op].absorbs) for n in self.order if n.op not in VALUES]
        offers = {id(n): absorbs(hw, n) for n, absorbs in ops if absorbs}
        alike = {key: {id(n) for group in groups for n in group} for key, groups in offers.items()}
        absorbed: dict[int, list[Tensor]] = {}
        for node, _ in ops:
            for group in offers.get(id(node), []):
                inside = {id(n) for n in (node, *absorbed.get(id(node), []), *group)}
                # each user is in this kernel, or computes the node itself as well
                if any(
                    id(n) in self.kept
                    or not all(id(user) in inside or id(n) in alike.get(id(user), ()) for user in self.users[id(n)])
                    for n in group
                ):
                    break
                absorbed.setdefault(id(node), []).extend(group)
        return absorbed

    def groups(self) -> dict[int, int]:
        """Elementwise node -> id of the node in whose kernel it is computed."""
        root: dict[int, int] = {}
        for node in reversed(self.order):
            if _elementwise(node):
                roots = {root.get(id(user)) for user in self.users[id(node)]}
                inline = self.fuse and len(roots) == 1 and None not in roots and id(node) not in self.kept
                root[id(node)] = roots.pop() if inline else id(node)  # type: ignore[assignment]
        return root


@dataclass
class _Kernel:
    """The kernel (or kernels) of `host` with the elementwise nodes of `group` in its store, or a kernel of `group`
    alone."""

    host: Tensor | None
    group: list[Tensor]
    nodes: list[Tensor]  # all nodes that it computes, the result last


def schedule(outputs: list[Tensor], hw: Hardware) -> tuple[list[Dispatch], list[Tensor]]:
    """The dispatches that compute `outputs`, and the outputs after the rewriting.

    Raises ValueError where the values from before a change in place would be needed after it.
    """
    graph, apart = _Graph(outputs, hw, set()), set[int]()
    outputs = _rewrite(graph)
    if any(after is not before for after, before in zip(outputs, graph.outputs, strict=True)):
        graph = _Graph(outputs, hw, apart)
    conflicts = _conflicts(graph.order)
    kernels, late = _in_order(_kernels(graph), conflicts)
    while late:
        if late <= apart:
            raise _needs_both(*next(pair for pair in conflicts if id(pair[0]) in late))
        apart |= late  # they were fused into kernels that must come later: in kernels of their own they can come first
        graph = _Graph(outputs, hw, apart)
        kernels, late = _in_order(_kernels(graph), conflicts)
    dispatches: list[Dispatch] = []
    for made in kernels:
        if math.prod(made.nodes[-1].shape):
            dispatches += _lower(graph, hw, made)
    return dispatches, graph.outputs


def _rewrite(graph: _Graph) -> list[Tensor]:
    """The outputs of a graph in which operations without a kernel of their own are decomposed, and in which kernels can
    bind their operands."""
    new: dict[int, Tensor] = {}
    for node in graph.order:
        op, src = OPS.get(node.op), tuple(new[id(s)] for s in node.src)
        decompose = op.decompose if op and id(node) not in graph.absorbed else None
        if op and not op.expr and not op.decompose:
            if (op.inplace is not None or op.writes) and any(not dense(src[n]) for n in op.changes(len(src))):
                raise ValueError(f"{node.op} cannot change a view that is not contiguous or not aligned to 256 bytes")
            src = tuple(s if _bindable(node.op, s) else s.contiguous() for s in src)
        made = node
        if any(a is not b for a, b in zip(src, node.src, strict=True)):
            made = Tensor.node(node.op, *src, shape=node.shape, dtype=node.dtype, **node.arg)
        new[id(node)] = decompose(made) if decompose else made
    for output in graph.outputs:
        if output.buffer is not None:  # the place for its values: see Tensor.into
            new[id(output)].buffer = output.buffer
    return [new[id(t)] for t in graph.outputs]


def _kernels(graph: _Graph) -> list[_Kernel]:
    root = graph.groups()
    members: dict[int, list[Tensor]] = {}
    for node in graph.order:
        if id(node) in root:
            members.setdefault(root[id(node)], []).append(node)
    hosts = {end: host for end, group in members.items() if (host := _host(graph, group, root)) is not None}
    inside = {id(h) for h in hosts.values()} | graph.gone
    kernels = []
    for node in graph.order:
        if node.op in VALUES or id(node) in inside or root.get(id(node), id(node)) != id(node):
            continue
        group = members.get(id(node), [])
        host = hosts.get(id(node)) if group else node
        absorbed = graph.absorbed.get(id(host), [])
        nodes = [*reversed(absorbed), *([host] if host is not None else []), *group]
        kernels.append(_Kernel(host, group, list({id(n): n for n in nodes}.values())))
    return kernels


def _host(graph: _Graph, group: list[Tensor], root: dict[int, int]) -> Tensor | None:
    """The node in whose kernel's store the group can run: the last of its operands that nothing else reads."""
    if not graph.fuse:
        return None
    inside, end = {id(n) for n in group}, group[-1]
    operands = {id(s): s for n in group for s in n.src if id(s) not in inside}
    for node in sorted(operands.values(), key=lambda n: graph.place[id(n)], reverse=True):
        if node.op in VALUES or id(node) in root or id(node) in graph.kept:
            continue
        alone = all(id(user) in inside for user in graph.users[id(node)])
        if OPS[node.op].fuse and alone and node.shape == end.shape and len(operands) - 1 <= MAX_STORAGE - 5:
            return node
    return None


def _conflicts(order: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(reader, writer): nodes that read a storage, and the node that changes it after them.

    A node that depends on the writer reads the new values: through the writer's result, or directly from a source that
    its row in ops/ `writes` besides, since no node stands for the new values of that source.
    """
    storage: dict[int, int] = {}  # node -> key of its storage: several tensors may share a buffer
    writers = []  # (node, {storage that it changes: whether its result stands for the new values there})
    for node in order:
        op = OPS.get(node.op)
        base = node.src[0] if node.op == "view" else node if not op or op.inplace is None else node.src[op.inplace]
        storage[id(node)] = storage[id(base)] if base is not node else id(node if node.buffer is None else node.buffer)
        if op and (op.inplace is not None or op.writes or node.buffer is not None):
            targets = {storage[id(node.src[n])]: n == op.inplace for n in op.changes(len(node.src))}
            writers.append((node, targets or {id(node.buffer): True}))
    if not writers:
        return []
    changed = {key for _, targets in writers for key in targets}
    bits = {id(node): 1 << n for n, (node, _) in enumerate(writers)}
    follows: dict[int, int] = {}  # node -> the writers that it depends on
    readers: dict[int, list[Tensor]] = {}
    for node in order:
        mask = bits.get(id(node), 0)
        for source in node.src:
            mask |= follows[id(source)]
        follows[id(node)] = mask
        if node.op not in VALUES:
            for key in {storage[id(s)] for s in node.src} & changed:
                readers.setdefault(key, []).append(node)
    conflicts = []
    for writer, targets in writers:
        op, bit = OPS[writer.op], bits[id(writer)]
        for key, named in targets.items():
            for reader in readers.get(key, []):
                read = [n for n, s in enumerate(reader.src) if storage[id(s)] == key]
                if reader is writer or (op.disjoint and reader.op == writer.op and read == [op.inplace]):
                    continue
                if not follows[id(reader)] & bit:
                    conflicts.append((reader, writer))
                elif named and any(not any(v is writer for v in _versions(reader.src[n])) for n in read):
                    raise _needs_both(reader, writer)
    return conflicts


def _needs_both(reader: Tensor, writer: Tensor) -> ValueError:
    return ValueError(
        f"{reader.op} needs the values of a tensor from before {writer.op} changes it in place, but cannot run before "
        "that: let it read a copy, made by contiguous()"
    )


def _in_order(kernels: list[_Kernel], conflicts: list[tuple[Tensor, Tensor]]) -> tuple[list[_Kernel], set[int]]:
    """The kernels, reordered so that each conflict's reader comes before its writer, and the ids of the readers for
    which that is impossible, since they would come before what they need (then not all kernels are returned)."""
    of: dict[int, list[int]] = {id(node): [] for pair in conflicts for node in pair}
    for n, made in enumerate(kernels):
        for node in made.nodes:
            if id(node) in of:
                of[id(node)].append(n)
    if all(first < second for r, w in conflicts for first in of[id(r)] for second in of[id(w)]):
        return kernels, set()
    result = {id(made.nodes[-1]): n for n, made in enumerate(kernels)}
    before: list[set[int]] = [set() for _ in kernels]
    for n, made in enumerate(kernels):
        for node in made.nodes:
            before[n] |= {result[id(s)] for s in map(_counted, node.src) if id(s) in result}
        before[n].discard(n)
    for reader, writer in conflicts:
        for second in of[id(writer)]:
            before[second] |= set(of[id(reader)])
    after: list[list[int]] = [[] for _ in kernels]
    for n, needed in enumerate(before):
        for other in needed:
            after[other].append(n)
    missing = [len(needed) for needed in before]
    ready = [n for n, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for n in after[order[-1]]:
            missing[n] -= 1
            if missing[n] == 0:
                heapq.heappush(ready, n)
    left = set(range(len(kernels))) - set(order)
    late = {id(r) for r, w in conflicts if left & set(of[id(r)]) and left & set(of[id(w)])}
    return [kernels[n] for n in order], late


def _lower(graph: _Graph, hw: Hardware, made: _Kernel) -> list[Dispatch]:
    group, host = made.group, made.host
    if not group:
        assert host is not None
        dispatches = _alone(graph, hw, host)
    else:
        end, inside = group[-1], {id(n) for n in group}
        operands = list({id(s): s for n in group for s in n.src if id(s) not in inside}.values())
        same = [t for t in operands if _index(t, end.shape) == "i"]
        first = host if host is not None else same[0] if same else operands[0]
        extra = [t for t in operands if t is not first or (host is None and _index(t, end.shape) != "i")]
        if len(extra) > MAX_STORAGE - 2:
            raise ValueError(f"a fused expression reads {len(extra)} tensors, too many: realize() some of them first")
        names = {id(t): f"e{n}[{_index(t, end.shape)}]" for n, t in enumerate(extra)}
        names.setdefault(id(first), "v")
        lines = []
        for n, node in enumerate(group):
            lines.append(f"let t{n} = {_expression(node, [names[id(s)] for s in node.src])};")
            names[id(node)] = f"t{n}"
        epilogue = " ".join([*lines, f"return t{len(group) - 1};"])
        if host is not None:
            dispatches = _alone(graph, hw, host)
        else:
            count = math.prod(end.shape)
            dispatches = [Dispatch("elementwise", [_counted(first), end], {"count": count}, hw.grid(-(-count // 64)))]
        result = dispatches[-1].bind[-1]
        for d in (d for d in dispatches if d.bind[-1] is result):  # not the dispatches that only prepare it
            d.bind[-1] = end
            d.epilogue, d.extra = epilogue, [_counted(t) for t in extra]
    dispatches[-1].nodes = made.nodes
    return dispatches


def _alone(graph: _Graph, hw: Hardware, node: Tensor) -> list[Dispatch]:
    """The dispatches of one node and the nodes that it absorbed."""
    lower = OPS[node.op].lower
    assert lower is not None, node.op
    return lower(hw, node, *graph.absorbed.get(id(node), []))


def _counted(node: Tensor) -> Tensor:
    """The tensor that an index expression counts from: the source of a view."""
    return node.src[0] if node.op == "view" else node


def _index(node: Tensor, shape: tuple[int, ...]) -> str:
    """WGSL for the position in `node`'s storage of element `i` (row-major) of `shape`."""
    if node.dtype is not f32:
        raise ValueError(f"elementwise operations need f32, not {node.dtype}: use astype()")
    if node.strides == contiguous_strides(shape) and (node.op != "view" or node.arg["offset"] == 0):
        return "i"
    terms, after = [], 1
    for size, stride in zip(reversed(shape), reversed(node.strides), strict=True):
        if size > 1 and stride:
            coordinate = "i" if after == 1 else f"(i / {after}u)"
            terms.append(f"({coordinate} % {size}u) * {stride}u")
        after *= size
    if node.op == "view" and node.arg["offset"]:
        terms.append(f"{node.arg['offset']}u")
    return " + ".join(terms) or "0u"


def _expression(node: Tensor, operands: list[str]) -> str:
    if "value" in node.arg:
        value = node.arg["value"]
        if not math.isfinite(value):
            raise ValueError(f"{node.op}: {value} has no WGSL literal")
        operands = [*operands, f"({value!r})" if value < 0 else repr(value)]
    if node.arg.get("swap"):
        operands.reverse()
    return OPS[node.op].expr.format(**dict(zip("abc", operands, strict=False)))
