"""Parts for tests of the pure core: values with sensible defaults, chance that is known, one member of three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from mltb_transport.messages import Answer, AppendAnswer, Command, Entry, Founding, NoOp
from mltb_transport.voters import Voter
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Effect, Note, Save, Send
from mltbd.core.election import PRE, PROBE, VOTE
from mltbd.core.events import Recovered
from mltbd.core.outbox import Outbox
from mltbd.core.snapshots import Snapshot
from mltbd.core.timing import Timing
from mltbd.core.voting import FOLLOWER, LEADER

T = TypeVar("T")
WALL = 1_000_000
TIMING = Timing.derive(3.0)
THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")


class Fixed:
    """Chance without surprise: always the same share of the way from low to high, always the first choice."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    def uniform(self, low: float, high: float) -> float:
        return low + self.share * (high - low)

    def choice(self, items: Sequence[T]) -> T:
        return items[0]


class Company:
    """What gossip would say: whom we take for alive, who learns, what we could run."""

    def __init__(self, rivals: dict[str, int] | None = None, learners: tuple[str, ...] = ()) -> None:
        self.others = rivals or {}
        self.pupils = learners

    def rivals(self, now: float) -> dict[str, int]:
        assert now >= 0
        return self.others

    def learners(self) -> tuple[str, ...]:
        return self.pupils

    def ready(self) -> tuple[str, ...]:
        return ("main",)

    def listens(self) -> bool:
        return True


def store(node: str) -> str:
    return f"disk-{node}"


def founding(*nodes: str) -> Entry:
    """Entry 1 of a cluster of these voters."""
    return Entry(1, 1, WALL, Founding("c1", "mltb", tuple(Voter(node, store(node)) for node in nodes)))


def entries(*terms: int, first: int = 1, command: Command | None = None) -> tuple[Entry, ...]:
    """One entry a term given, from index `first` on."""
    return tuple(Entry(first + place, term, WALL, command or NoOp()) for place, term in enumerate(terms))


def log_of(nodes: Sequence[str], *terms: int) -> tuple[Entry, ...]:
    """A founding of these voters and then no-ops of these terms."""
    return (founding(*nodes), *entries(*terms, first=2))


def recovered(
    node: str = "n1",
    log: tuple[Entry, ...] = (),
    term: int = 1,
    vote: str = "",
    incarnation: int = 1,
    disk: str = "",
    snapshot: Snapshot | None = None,
) -> Recovered:
    return Recovered(disk or store(node), incarnation, term, vote, log, snapshot)


class Member:
    """One consensus member and its outbox. The disk is the test's: nothing is saved before `save`."""

    def __init__(
        self,
        node: str = "n1",
        voters: Sequence[str] = THREE,
        *terms: int,
        share: float = 0.0,
        priority: int = 100,
        quorum_size: int = 0,
        company: Company | None = None,
        **changes: Any,
    ) -> None:
        self.out = Outbox()
        self.company = company or Company()
        begun: dict[str, Any] = {"log": log_of(voters, *terms), "term": max((1, *terms))} | changes
        self.consensus = Consensus(
            node, recovered(node, **begun), TIMING, Fixed(share), self.out, self.company,
            priority=priority, quorum_size=quorum_size, now=0.0,
        )  # fmt: skip

    def save(self, now: float = 0.0) -> list[Effect]:
        """All that was to be saved is durable; what follows from it."""
        taken = self.out.take()
        self.consensus.saved(self.out.save_number, now, WALL)
        return taken + self.out.take()

    def sent(self, kind: type[T]) -> list[tuple[str, T]]:
        return sent(kind, self.out.take())

    def tick(self, now: float) -> None:
        self.consensus.tick(now, WALL)

    def stand(self) -> float:
        """Ticks until this member stands; the moment it did."""
        while self.consensus.role == FOLLOWER:
            now = self.consensus.next_deadline()
            self.tick(now)
        return now

    def grant(self, stage: str, *voters: str, now: float, age: float = 5.0) -> None:
        """These voters say yes to the next term, or to the one it stands for."""
        term = self.consensus.term + (stage in (PROBE, PRE))
        for voter in voters:
            self.consensus.answered(voter, Answer(term, stage, True, age, store(voter)), now, WALL)

    def lead(self, *voters: str) -> float:
        """Wins with these votes beside its own, and has its first entry on its own disk. The moment of winning."""
        now = self.stand()
        self.grant(PRE, *voters, now=now)
        self.save(now)
        self.grant(VOTE, *voters, now=now)
        assert self.consensus.role == LEADER
        self.save(now)
        return now

    def acked(self, node: str, round_: int, index: int, now: float, *, ok: bool = True, **changes: Any) -> None:
        """An answer of this follower to us."""
        fields: dict[str, Any] = {"term": self.consensus.term, "store": store(node), "ready": ("main",)} | changes
        self.consensus.append_answered(node, AppendAnswer(round=round_, ok=ok, index=index, **fields), now)


def of(kind: type[T], effects: Sequence[Effect]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(kind: type[T], effects: Sequence[Effect]) -> list[tuple[str, T]]:
    """To whom messages of this kind leave, in order."""
    return [(effect.to, effect.message) for effect in of(Send, effects) if isinstance(effect.message, kind)]


def saves(effects: Sequence[Effect]) -> list[Save]:
    return of(Save, effects)


def levels(effects: Sequence[Effect]) -> list[str]:
    return [note.level for note in of(Note, effects)]
