"""Dependencies between transactions, and cycles of them.

Kinds of edges (Adya, "Weak Consistency", 1999, chapter 3): `ww` the target overwrote what the source wrote; `wr` the target read
it; `rw` the target overwrote what the source read; `predicate rw` the target wrote a key that a scan of the source had found
absent; `real time` the source had ended before the target began.

Nodes are pairs (transaction, came by an rw edge). Under snapshot isolation two rw edges in a row are allowed, and every cycle
has such a pair (Fekete et al., TODS 2005; Cerone & Gotsman, PODC 2016). So a search that takes no rw edge straight after
another finds exactly the cycles that snapshot isolation forbids.

Components: Tarjan, SIAM J. Comput. 1(2), 1972, without recursion. Cycles: breadth first, so that they are short.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

WW, WR, RW, PREDICATE, TIME = "ww", "wr", "rw", "predicate rw", "real time"
ANTI = (RW, PREDICATE)


class Edge(NamedTuple):
    """Why the transaction `source` comes before `target`: versions of a key, as text."""

    source: int
    target: int
    kind: str
    key: str = ""
    before: int | str = ""
    after: int | str = ""


Node = tuple[int, bool]
Arc = tuple[Node, Edge]
Graph = dict[Node, list[Arc]]


def build(edges: Iterable[Edge], *, adjacent: bool) -> Graph:
    """The graph of some edges; with `adjacent`, one rw edge may follow another."""
    graph: Graph = {}
    for edge in edges:
        anti = edge.kind in ANTI
        if adjacent:
            graph.setdefault((edge.source, False), []).append(((edge.target, False), edge))
            continue
        graph.setdefault((edge.source, False), []).append(((edge.target, anti), edge))
        if not anti:
            graph.setdefault((edge.source, True), []).append(((edge.target, False), edge))
    return graph


def components(graph: Graph) -> list[set[Node]]:
    """The strongly connected components of more than one node."""
    number: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    on_stack: set[Node] = set()
    found: list[set[Node]] = []
    for start in graph:
        if start in number:
            continue
        number[start] = low[start] = len(number)
        stack.append(start)
        on_stack.add(start)
        work = [(start, iter(graph[start]))]
        while work:
            node, arcs = work[-1]
            for target, _ in arcs:
                if target not in number:
                    number[target] = low[target] = len(number)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(graph.get(target, ()))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    found.append(_pop(stack, on_stack, node))
    return [component for component in found if len(component) > 1]


def _pop(stack: list[Node], on_stack: set[Node], root: Node) -> set[Node]:
    component: set[Node] = set()
    while root not in component:
        node = stack.pop()
        on_stack.discard(node)
        component.add(node)
    return component


def cycle_through(graph: Graph, component: set[Node], source: Node, arc: Arc) -> list[Edge]:
    """A shortest cycle that takes this arc first, inside a component that holds both its ends."""
    came: dict[Node, tuple[Node, Edge]] = {}
    queue = deque([arc[0]])
    while queue:
        node = queue.popleft()
        for target, edge in graph[node]:
            if target in component and target not in came:
                came[target] = (node, edge)
                queue.append(target)
        if source in came:
            break
    path: list[Edge] = []
    node = source
    while node != arc[0]:
        node, edge = came[node]
        path.append(edge)
    return [arc[1], *reversed(path)]
