"""Where a node went on alone there are two clusters in one history: which of them an entry belongs to, and the promise
that they stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mltb_transport.messages import Entry
from tests.sim.history import Applied, Began, History, Kept, Leads, Spoke, WentAlone
from tests.sim.wrong import Wrong


@dataclass(slots=True)
class Line:
    """What one cluster committed, from behind `base` on. `terms`: in which each entry was first seen to be so."""

    base: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.base + len(self.entries)

    def term_at(self, index: int) -> int:
        """-1 where nobody applied anything."""
        if index == self.base:
            return self.base_term
        return self.entries[index - self.base - 1].term if self.base < index <= self.end else -1


def line_of(lines: Sequence[Line], index: int) -> Line:
    """Numbers leap: what lies at or behind the base of a later cluster is of that one."""
    return next(line for line in reversed(lines) if line.base <= index)


def no_number_twice(history: History) -> None:
    """What goes on alone begins beyond every index and every term that anybody had."""
    index = term = 0
    for happening in history:
        match happening:
            case Applied(_, _, _, entry):
                index = max(index, entry.index)
            case Leads(_, _, led, log, base):
                index, term = max(index, base[0] + len(log)), max(term, led)
            case Spoke(_, _, _, spoken):
                term = max(term, spoken)
            case WentAlone(node=node):
                if happening.index <= index or happening.term <= term:
                    where = f"index {happening.index} and term {happening.term}"
                    raise Wrong(f"{node} goes on alone from {where}, others came to {index} and {term}")


def left_behind_stay_apart(history: History) -> None:
    """No disk of a cluster that was given up takes part in what went on, but for the one that did."""
    disks: dict[str, str] = {}
    used: set[str] = set()
    left: set[str] = set()
    base = 0
    for happening in history:
        match happening:
            case Began(_, node, _, store):
                disks[node] = store
            case WentAlone(store=store, index=index):
                left, base = left | used - {store}, index
            case Applied(_, node, _, entry):
                used.add(disks.get(node, node))
                _apart(node, disks.get(node, node), entry.index > base, left)
            case Kept(_, node, index):
                _apart(node, disks.get(node, node), index >= base, left)


def _apart(node: str, disk: str, joins: bool, left: set[str]) -> None:
    if joins and disk in left:
        raise Wrong(f"{node} follows what went on without it, with a disk of the cluster that was given up")
