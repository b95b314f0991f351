"""Graph -> dispatches in order. Elementwise chains run in the store of the kernel before them, norms inside the matvec
after them, gates (SwiGLU) inside the linear before them, and cache updates, for small models with the matvec before
them, inside the attention after them."""

import math

from .debug import level
from .dtype import f32
from .ops import (
    GATES,
    OPS,
    Dispatch,
    Hardware,
    attention_step,
    linear,
    linear_stem,
    rows,
    takes_linear,
    takes_norm,
    takes_update,
)
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


def _elementwise(node: Tensor) -> bool:
    return node.op not in VALUES and bool(OPS[node.op].expr)


def dense(node: Tensor) -> bool:
    """A view that a kernel can bind as it is: contiguous, and aligned to 256 bytes."""
    return node.op != "view" or (node.strides == contiguous_strides(node.shape) and node.arg["offset"] % 64 == 0)


def _bindable(op: str, node: Tensor) -> bool:
    """What the kernels of `op` read as it is."""
    strided = OPS[op].strided and node.dtype is f32 and len(node.shape) == 3 and node.strides[-1] == 1
    return strided or dense(node)


class _Graph:
    """The nodes after rewriting, who uses them, and which are computed inside another's kernel."""

    def __init__(self, outputs: list[Tensor], hw: Hardware) -> None:
        self.hw = hw
        self.fuse = level("FUSE") > 0
        self.gated: dict[int, Tensor] = {}  # gate -> the linear that computes it
        self.outputs = self._rewrite(outputs)
        self.order = toposort(self.outputs)
        self.place = {id(n): i for i, n in enumerate(self.order)}
        self.users: dict[int, list[Tensor]] = {id(n): [] for n in self.order}
        for node in self.order:
            for source in node.src:
                self.users[id(source)].append(node)
        self.kept = {id(n) for n in self.outputs}

    def _rewrite(self, outputs: list[Tensor]) -> list[Tensor]:
        """A gate becomes part of its linear, or plain elementwise; operands of kernels become dense."""
        before = toposort(outputs)
        users: dict[int, int] = {id(t): 1 for t in outputs}
        for node in before:
            for source in node.src:
                users[id(source)] = users.get(id(source), 0) + 1
        new: dict[int, Tensor] = {}
        for node in before:
            src = tuple(new[id(s)] for s in node.src)
            if node.op not in VALUES and not _elementwise(node) and node.op != "gate":
                src = tuple(s if _bindable(node.op, s) else s.contiguous() for s in src)
            if any(a is not b for a, b in zip(src, node.src, strict=True)):
                changed = Tensor.node(node.op, *src, shape=node.shape, dtype=node.dtype, **node.arg)
            else:
                changed = node
            if node.op == "gate":
                (x,), activation = src, node.arg["activation"]
                alone = x.op == "linear" and len(x.src) == 2 and users[id(node.src[0])] == 1
                if alone and self.fuse and activation in GATES and _takes_gate(self.hw, x):
                    self.gated[id(changed)] = x
                else:
                    half = x.shape[-1] // 2
                    lead = (slice(None),) * (len(x.shape) - 1)
                    first = Tensor.apply(activation, x[(*lead, slice(0, half))])
                    changed = first * x[(*lead, slice(half, None))]
            new[id(node)] = changed
        for output in outputs:
            if output.buffer is not None:  # where its values are to go
                new[id(output)].buffer = output.buffer
        return [new[id(t)] for t in outputs]

    def groups(self) -> dict[int, int]:
        """Elementwise node -> id of the node in whose kernel it is computed."""
        root: dict[int, int] = {}
        for node in reversed(self.order):
            if _elementwise(node):
                roots = {root.get(id(user)) for user in self.users[id(node)]}
                inline = self.fuse and len(roots) == 1 and None not in roots and id(node) not in self.kept
                root[id(node)] = roots.pop() if inline else id(node)  # type: ignore[assignment]
        return root


def schedule(outputs: list[Tensor], hw: Hardware) -> tuple[list[Dispatch], list[Tensor]]:
    """The dispatches that compute `outputs`, and the outputs as they are after rewriting."""
    graph = _Graph(outputs, hw)
    root = graph.groups()
    members: dict[int, list[Tensor]] = {}
    for node in graph.order:
        if id(node) in root:
            members.setdefault(root[id(node)], []).append(node)
    folded = _folded_norms(graph, hw) | _folded_updates(graph, hw)
    hosts = {end: host for end, group in members.items() if (host := _host(graph, group, root))}
    inside = {id(h) for h in hosts.values()} | {id(x) for x in graph.gated.values()} | folded
    dispatches: list[Dispatch] = []
    for node in graph.order:
        if node.op in VALUES or id(node) in inside or root.get(id(node), id(node)) != id(node):
            continue
        if id(node) in members:
            dispatches += _fused(graph, hw, members[id(node)], hosts.get(id(node)), folded)
        else:
            dispatches += _lower(graph, hw, node, folded)
    return dispatches, graph.outputs


def _takes_gate(hw: Hardware, x: Tensor) -> bool:
    return linear_stem(hw, rows(x)) not in ("matmul", "matmul_serial")


def _folded_norms(graph: _Graph, hw: Hardware) -> set[int]:
    """Norms that only matvecs read."""
    return {
        id(node)
        for node in graph.order
        if graph.fuse
        and node.op in ("rms_norm", "layer_norm")
        and id(node) not in graph.kept
        and all(
            user.op == "linear" and user.src[0] is node and takes_norm(hw, user, node) for user in graph.users[id(node)]
        )
    }


def _folded_updates(graph: _Graph, hw: Hardware) -> set[int]:
    """Cache updates whose only reader is an attention that can do them, and the linear before where it can do that."""
    folded = set()
    for node in graph.order:
        if not graph.fuse or node.op != "attention" or not takes_update(hw, node):
            continue
        update, product = node.src[3], node.src[0]
        if update.op != "kv_update" or graph.users[id(update)] != [node] or id(update) in graph.kept:
            continue
        folded.add(id(update))
        alone = all(user in (update, node) for user in graph.users[id(product)]) and id(product) not in graph.kept
        if alone and takes_linear(hw, node):
            folded.add(id(product))
    return folded


def _host(graph: _Graph, group: list[Tensor], root: dict[int, int]) -> Tensor | None:
    """The kernel in whose store a group can run: the last of its operands that nothing else reads."""
    if not graph.fuse:
        return None
    inside, end = {id(n) for n in group}, group[-1]
    operands = {id(s): s for n in group for s in n.src if id(s) not in inside}
    for node in sorted(operands.values(), key=lambda n: graph.place[id(n)], reverse=True):
        if node.op in VALUES or id(node) in root or id(node) in graph.kept:
            continue
        fusable = OPS[node.op].fuse or id(node) in graph.gated
        alone = all(id(user) in inside for user in graph.users[id(node)])
        if fusable and alone and node.shape == end.shape and len(operands) - 1 <= MAX_STORAGE - 5:
            return node
    return None


def _lower(graph: _Graph, hw: Hardware, node: Tensor, folded: set[int]) -> list[Dispatch]:
    """The kernels of one node, with what is folded into them."""
    product = graph.gated.get(id(node), node)
    nodes = [node]
    if product.op == "linear":
        norm = product.src[0] if id(product.src[0]) in folded else None
        dispatches = linear(hw, product, norm, gate=node.arg["activation"] if node.op == "gate" else "")
        nodes = [n for n in (norm, product, node) if n is not None]
        for d in dispatches:
            d.bind[-1] = node
    elif node.op == "attention" and id(node.src[3]) in folded:
        product = node.src[0]
        norm = product.src[0] if id(product) in folded else None
        dispatches = attention_step(hw, node, norm)
        nodes = [n for n in (norm, product if norm else None, node.src[3], node) if n is not None]
    else:
        lower = OPS[node.op].lower
        assert lower is not None, node.op
        dispatches = lower(hw, node)
    dispatches[-1].nodes = list(dict.fromkeys(nodes))
    return dispatches


def _fused(graph: _Graph, hw: Hardware, group: list[Tensor], host: Tensor | None, folded: set[int]) -> list[Dispatch]:
    """A group of elementwise nodes: in its host's store, or as a kernel of its own."""
    end, inside = group[-1], {id(n) for n in group}
    operands = list({id(s): s for n in group for s in n.src if id(s) not in inside}.values())
    if host is None:
        same = [t for t in operands if _index(t, end.shape) == "i"]
        first = same[0] if same else operands[0]
    else:
        first = host
    extra = [t for t in operands if t is not first or (host is None and _index(t, end.shape) != "i")]
    if len(extra) > MAX_STORAGE - 2:
        raise ValueError(f"a fused expression reads {len(extra)} tensors; realize() some of them first")
    names = {id(t): f"e{n}[{_index(t, end.shape)}]" for n, t in enumerate(extra)}
    names.setdefault(id(first), "v")
    lines = []
    for n, node in enumerate(group):
        lines.append(f"let t{n} = {_expression(node, [names[id(s)] for s in node.src])};")
        names[id(node)] = f"t{n}"
    epilogue = " ".join([*lines, f"return t{len(group) - 1};"])
    if host is None:
        count = math.prod(end.shape)
        dispatches = [Dispatch("elementwise", [_storage(first), end], {"count": count}, hw.grid(-(-count // 64)))]
        nodes = group
    else:
        dispatches = _lower(graph, hw, host, folded)
        nodes = dispatches[-1].nodes + group
    result = dispatches[-1].bind[-1]
    for d in (d for d in dispatches if d.bind[-1] is result):  # not those that only prepare it
        d.bind[-1] = end
        d.epilogue, d.extra = epilogue, [_storage(t) for t in extra]
    dispatches[-1].nodes = nodes
    return dispatches


def _storage(node: Tensor) -> Tensor:
    """What an index expression counts from: a view's source."""
    return node.src[0] if node.op == "view" else node


def _index(node: Tensor, shape: tuple[int, ...]) -> str:
    """WGSL for the position in `node`'s storage of element `i` (row-major) of `shape`."""
    if node.dtype is not f32:
        raise ValueError(f"elementwise operations are of f32, not {node.dtype}")
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
    return OPS[node.op].expr.format(a=operands[0], b=operands[-1])
