"""Does a history keep the promise of an isolation level? A small checker in the manner of Elle.

    history -> versions of each key -> edges ww, wr, rw, real time -> cycles -> anomalies with their names

Sources: Kingsbury & Alvaro, "Elle", VLDB 2020 (inference, naming); Adya, "Weak Consistency", MIT 1999 (G0, G1, G-single, G2);
Berenson et al., "A Critique of ANSI SQL Isolation Levels", SIGMOD 1995 (lost update, read skew, write skew).

    G0             a cycle of ww: dirty write                  G1a   a read of what was aborted
    G1b            a read of a value overwritten by its writer  G1c   a cycle of ww and wr
    lost update    two read one version of a key, both wrote it
    G-single       a cycle with one rw: read skew               G-nonadjacent  several rw, never two in a row
    G2-item        two rw in a row: write skew                  G2    the same with a predicate read: phantom
    stale read     a cycle that needs real time                 G2-realtime    the same with two rw in a row
    internal       a transaction that does not see its own writes, or sees two states of a key
    and what shows that the store is broken: garbage read, incompatible order, duplicate element, inconsistent count

Level "serializable" is strict serialisability: nothing of this is allowed. Level "snapshot" is strong snapshot isolation (a
transaction reads a state not older than its begin): G2-item, G2 and G2-realtime are allowed. The two rw edges of these may be
anywhere in the cycle, so the read-only anomaly (Fekete, O'Neil & O'Neil, SIGMOD Record 2004) is among them.

Cost: linear in the history when it is clean; at most `LIMIT` cycles are looked for in each component when it is not.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.btree.isolation.graph import (
    ANTI,
    PREDICATE,
    RW,
    TIME,
    WR,
    WW,
    Edge,
    Graph,
    Node,
    build,
    components,
    cycle_through,
)
from tests.btree.isolation.history import History
from tests.btree.isolation.versions import COUNT, Version, Versions

Level = Literal["serializable", "snapshot"]
ALLOWED: dict[Level, frozenset[str]] = {
    "serializable": frozenset(),
    "snapshot": frozenset({"G2-item", "G2", "G2-realtime"}),
}
LIMIT = 20


@dataclass(frozen=True)
class Anomaly:
    """What is wrong: a name, the transactions, and how they contradict each other."""

    name: str
    transactions: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True)
class Pass:
    """A search for cycles: the kinds of edges, the kinds of which one has to be there, whether rw may follow rw."""

    kinds: tuple[str, ...]
    through: tuple[str, ...]
    adjacent: bool = True


DEPENDENCIES = (WW, WR, *ANTI)
PASSES = (
    Pass((WW,), (WW,)),
    Pass((WW, WR), (WR,)),
    Pass(DEPENDENCIES, ANTI, adjacent=False),
    Pass(DEPENDENCIES, ANTI),
    Pass((*DEPENDENCIES, TIME), (TIME,), adjacent=False),
    Pass((*DEPENDENCIES, TIME), (TIME,)),
)


def violations(history: History, level: Level) -> list[Anomaly]:
    """What a level forbids and the history shows."""
    return [anomaly for anomaly in anomalies(history) if anomaly.name not in ALLOWED[level]]


def anomalies(history: History) -> list[Anomaly]:
    """Everything that is not strictly serialisable, by name."""
    versions = Versions(history)
    found = [
        Anomaly(fault.name, tuple(history[number].id for number in fault.transactions), fault.text)
        for fault in versions.faults
    ]
    found += _lost_updates(versions)
    return found + [_describe(history, cycle) for cycle in _cycles(_edges(versions))]


# --- edges ---


def _edges(versions: Versions) -> list[Edge]:
    return [*_writes(versions), *_reads(versions), *_real_time(versions)]


def _writes(versions: Versions) -> Iterator[Edge]:
    for key, following in versions.next.items():
        if key == COUNT:
            continue
        for before, after_all in following.items():
            source = versions.writer.get((key, before))
            for after in after_all:
                target = versions.writer.get((key, after))
                if (key, after) in versions.restored:
                    continue
                if source != target and source in versions.effective and target in versions.effective:
                    yield Edge(source, target, WW, key, before, after)


def _reads(versions: Versions) -> Iterator[Edge]:
    for reader, key, version, predicate in versions.seen:
        writer = versions.writer.get((key, version))
        if writer is not None and writer != reader and writer in versions.effective:
            yield Edge(writer, reader, WR, key, version, version)
        for after in versions.next[key].get(version, ()):
            target = versions.writer.get((key, after))
            if key == COUNT and target == reader:
                target, after = _behind(versions, after)
            if target is not None and target != reader and target in versions.effective:
                yield Edge(reader, target, PREDICATE if predicate else RW, key, version, after)


def _behind(versions: Versions, own: Version) -> tuple[int | None, Version]:
    """The next to change the count, behind the reader itself. (Counts have no ww edges: two inserts do not overwrite.)"""
    after = next(iter(versions.next[COUNT].get(own, ())), own)
    return versions.writer.get((COUNT, after)), after


def _real_time(versions: Versions) -> Iterator[Edge]:
    """Who ended before whom began; what follows from two such edges is left out.

    The frontier holds those that have ended, without those that ended before one of them began: no more than ran at once.
    """
    history = versions.history
    events = [(history[number].start, 0, number) for number in versions.effective]
    events += [(history[n].end, 1, n) for n in versions.effective if history[n].status == "ok"]
    frontier: list[int] = []
    for _, ended, number in sorted(events):
        if not ended:
            for source in frontier:
                yield Edge(source, number, TIME)
        else:
            start = history[number].start
            frontier = [other for other in frontier if history[other].end >= start]
            frontier.append(number)


def _lost_updates(versions: Versions) -> Iterator[Anomaly]:
    """Two that read one version of a key and both wrote the key."""
    updates: dict[tuple[str, Version], list[int]] = defaultdict(list)
    for reader, key, version, _ in versions.seen:
        if key != COUNT and (reader, key) in versions.last:
            updates[key, version].append(reader)
    for (key, version), readers in updates.items():
        if len(readers) > 1:
            names = tuple(versions.history[reader].id for reader in readers)
            yield Anomaly("lost update", names, f"{', '.join(names)} all read {key} = {version} and then wrote it")


# --- cycles ---


def _cycles(edges: list[Edge]) -> list[list[Edge]]:
    """Cycles worth telling, those with the fewest kinds of edges first."""
    whole = components(build(edges, adjacent=True))
    found: list[list[Edge]] = []
    for component in whole:
        inside = {number for number, _ in component}
        among = [edge for edge in edges if edge.source in inside and edge.target in inside]
        found += _cycles_among(among)
    return found


def _cycles_among(edges: list[Edge]) -> list[list[Edge]]:
    found: dict[tuple[str, frozenset[int]], list[Edge]] = {}
    for search in PASSES:
        graph = build([edge for edge in edges if edge.kind in search.kinds], adjacent=search.adjacent)
        for component in components(graph):
            inside = {number for number, _ in component}
            if TIME in search.through and any(members <= inside for _, members in found):
                continue
            for cycle in _through(graph, component, search.through):
                found.setdefault((name_of(cycle), frozenset(edge.source for edge in cycle)), cycle)
    return list(found.values())


def _through(graph: Graph, component: set[Node], kinds: tuple[str, ...]) -> Iterator[list[Edge]]:
    searched = 0
    for source in sorted(component):
        for arc in graph[source]:
            if arc[0] in component and arc[1].kind in kinds:
                yield cycle_through(graph, component, source, arc)
                searched += 1
                if searched == LIMIT:
                    return


def name_of(cycle: list[Edge]) -> str:
    """The anomaly that a cycle is."""
    kinds = [edge.kind for edge in cycle]
    anti = [kind in ANTI for kind in kinds]
    adjacent = any(anti[place - 1] and anti[place] for place in range(len(anti))) and sum(anti) > 1
    if TIME in kinds:
        return "G2-realtime" if adjacent else "stale read"
    if adjacent:
        return "G2" if PREDICATE in kinds else "G2-item"
    if any(anti):
        return "G-single" if sum(anti) == 1 else "G-nonadjacent"
    return "G1c" if WR in kinds else "G0"


# --- telling ---

REASONS = {
    WW: "{source} wrote {key} = {before}, {target} overwrote it with {after}",
    WR: "{source} wrote {key} = {after}, {target} read it",
    RW: "{source} read {key} = {before}, {target} overwrote it with {after}",
    PREDICATE: "{source} looked over a range where {key} was {before}, {target} made it {after}",
    TIME: "{source} had ended before {target} began",
}


def _describe(history: History, cycle: list[Edge]) -> Anomaly:
    names = tuple(history[edge.source].id for edge in cycle)
    arrows = "".join(f"{history[edge.source].id} -{edge.kind}-> " for edge in cycle) + names[0]
    reasons = [
        "  "
        + REASONS[edge.kind].format(
            source=history[edge.source].id,
            target=history[edge.target].id,
            key=edge.key,
            before=edge.before,
            after=edge.after,
        )
        for edge in cycle
    ]
    members = [f"  {history[number]}" for number in dict.fromkeys(edge.source for edge in cycle)]
    return Anomaly(name_of(cycle), names, "\n".join([arrows, *reasons, *members]))
