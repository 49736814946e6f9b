"""What membership remembers of one other node, and the arithmetic of its silence."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from operator import attrgetter

from mltb_transport.limits import PORT_MAX
from mltb_transport.records import Record, WorkloadView
from mltbd.core.ports import Entropy
from mltbd.core.senders import LEAP_MAX

UNREACHABLE = "UNREACHABLE"
RETRY_MIN_S = 0.03
RETRY_MAX_S = 2.0
JITTER = 0.1
SPOKE_S = 0.01
"""Of someone who spoke so short a time ago another word is no news: under load there are thousands a second."""
RTT_WEIGHT = 0.2
"""Share of the newest round trip in the smoothed one."""
NODE_CHARS_MAX = 63
VERSION_MAX = 2**62
"""Of an incarnation or seq: room to count on within the 63 bits of the wire."""
_NODE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_CAN_WAIT = ("incarnation", "seq", "applied", "strain", "workloads")
_facts = attrgetter(*(each.name for each in fields(Record) if each.name not in _CAN_WAIT))
_essence = attrgetter(*(each.name for each in fields(Record) if each.name not in (*_CAN_WAIT, "term", "leader")))
_view = attrgetter(*(each.name for each in fields(WorkloadView) if each.name != "hold_until"))


@dataclass(frozen=True, slots=True)
class Member:
    """A member as this node sees it. Times in seconds on this node's clock.

    `state` is the record's own word, or UNREACHABLE when the member has been silent for too long or never
    spoke to us. `rtt_s` is None until a round trip was measured in its present incarnation.
    """

    record: Record
    state: str
    silent_s: float
    rtt_s: float | None
    suspect: bool


@dataclass(slots=True)
class Retry:
    """When to ask again: at once, then after 0.03 s, doubling to 2 s, until put to rest."""

    at: float = inf
    _wait_s: float = RETRY_MIN_S

    def now(self, now: float) -> None:
        """Ask at the next opportunity, and begin the back-off anew."""
        self.at = now
        self._wait_s = RETRY_MIN_S

    def asked(self, now: float, entropy: Entropy) -> None:
        self.at = now + self._wait_s * entropy.uniform(1 - JITTER, 1 + JITTER)
        self._wait_s = min(self._wait_s * 2, RETRY_MAX_S)

    def rest(self) -> None:
        self.at = inf


@dataclass(slots=True)
class Peer:
    """One other node. `incarnation` may be ahead of the record: a frame came before the record did."""

    record: Record
    incarnation: int
    since: float
    """The last sign of life, or when we first heard of it."""
    check_at: float
    """When its silence needs a look; infinite while it is lost."""
    proven: bool = False
    """It spoke to us itself: hearsay alone makes no one reachable."""
    lost: bool = False
    """Its silence has been reported, by us or by those who watch it."""
    lost_at: tuple[int, int] = (-1, -1)
    """The newest version that was given up: only a newer one brings it back."""
    watched: bool = True
    """We listen to it ourselves. Of all others we believe what their watchers say."""
    accusers: set[str] = field(default_factory=set)
    """Who else suspects it since its last sign of life."""
    gap: bool = False
    """A publication of it was missed."""
    pull: Retry = field(default_factory=Retry)
    pulled_at: float = -inf
    reminded_at: float = -inf
    rtt_s: float | None = None
    ponged: int = 0
    """The newest of our pings it answered: a repeated answer measures nothing."""

    def is_reachable(self, now: float, timeout_s: float) -> bool:
        if not self.watched:
            return not self.lost
        return self.proven and now < self.since + timeout_s

    def is_suspect(self, now: float, timeout_s: float) -> bool:
        return self.watched and now >= self.since + timeout_s / 2

    def is_well(self, incarnation: int, now: float) -> bool:
        """Whether a word from this incarnation tells nothing of it that the one before has not told a moment ago."""
        just_now = now < self.since + SPOKE_S and incarnation == self.incarnation
        return just_now and self.proven and not self.lost and not self.accusers

    def spoke(self, now: float) -> None:
        """A sign of life."""
        self.since = now
        self.accusers.clear()

    def measured(self, rtt_s: float) -> None:
        before = rtt_s if self.rtt_s is None else self.rtt_s
        self.rtt_s = before + RTT_WEIGHT * (rtt_s - before)

    def shown(self, now: float, timeout_s: float) -> Member:
        return Member(
            record=self.record,
            state=self.record.state if self.is_reachable(now, timeout_s) else UNREACHABLE,
            silent_s=max(now - self.since, 0.0),
            rtt_s=self.rtt_s,
            suspect=self.is_suspect(now, timeout_s),
        )


def version(record: Record) -> tuple[int, int]:
    """The order of what a node says of itself: the greater replaces the smaller."""
    return record.incarnation, record.seq


def leaps(after: tuple[int, int], known: tuple[int, int]) -> bool:
    """Whether no honest counting leads from the one version to the other."""
    return after[0] > known[0] + LEAP_MAX or after[1] > known[1] + LEAP_MAX


def news(record: Record) -> tuple[object, ...]:
    """What others should learn of a record at once, to be compared; all else can wait for the next heartbeat."""
    return _facts(record), *map(_view, record.workloads)


def essence(record: Record) -> tuple[object, ...]:
    """What is worth telling everybody about a record: all its news but the leader, whom the log tells them."""
    return _essence(record), *map(_view, record.workloads)


def flaw(record: Record) -> str:
    """Why a record cannot be of any node; empty when it can. Types and lengths were checked by the codec."""
    if not 0 < len(record.node) <= NODE_CHARS_MAX or not _NODE_CHARS.issuperset(record.node):
        return "its node id is not [a-z0-9-]{1,63}"
    if not (0 <= record.incarnation < VERSION_MAX and 0 <= record.seq < VERSION_MAX):
        return "its version is out of range"
    if not record.address or not 0 < record.port <= PORT_MAX:
        return "no one can be reached at its address"
    return ""
