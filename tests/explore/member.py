"""One member under exploration: the real Consensus with its outbox, a disk, and a clock that stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar

from mltb_transport.messages import Answer, Command, Entry, Message
from mltb_transport.voters import ChangeVoters
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Save, Send
from mltbd.core.election import PRE
from mltbd.core.events import Recovered
from mltbd.core.node import Node
from mltbd.core.outbox import Outbox
from mltbd.core.timing import Timing
from mltbd.core.voter_rules import with_voter, without_voter
from mltbd.core.voting import LEADER

T = TypeVar("T")

AT_ONCE = Timing(
    lease_s=0.0, hold_s=0.0, kill_s=0.0, grace_s=0.0, renew_s=0.0, heartbeat_s=0.0, election_s=0.0, step_s=0.0,
    election_max_s=0.0,
)  # fmt: skip
"""Every timer may fire at any moment, and nobody is held back because its leader spoke just now."""


class Even:
    """Chance without a choice: the exploration tries all orders anyway."""

    def uniform(self, low: float, high: float) -> float:  # noqa: ARG002
        return low

    def choice(self, items: Sequence[T]) -> T:
        return items[0]


@dataclass(frozen=True)
class Company:
    """Everybody is a learner, and nobody a rival: no rank holds a candidate back."""

    nodes: tuple[str, ...]

    def rivals(self, now: float) -> dict[str, int]:  # noqa: ARG002
        return {}

    def learners(self) -> tuple[str, ...]:
        return self.nodes

    def ready(self) -> tuple[str, ...]:
        return ()

    def listens(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class View:
    """What the rules look at."""

    leads: bool
    term: int
    commit: int
    log: tuple[Entry, ...]
    disk: tuple[Entry, ...]
    voters: tuple[str, ...]
    saves: int
    may_stand: bool
    runs: int = 0
    """The token of the workload that lives here."""
    ends: bool = False
    """It was told to stop."""
    asks: bool = False
    beats: bool = False
    """Its own timers are due: as an owner, as a leader."""


@dataclass(frozen=True, slots=True)
class Does:
    """Something that may happen to a member at any moment, beside a message that arrives.

    stand (its timer fires and every pre-vote is won), ask (its timer fires), propose, add and drop (a voter, in
    `what`), saved (the oldest save is durable), crash (and back with what was durable).
    """

    what: str
    node: str
    item: Any = None

    def __str__(self) -> str:
        return f"{self.node}: {self.what}{f' {self.item}' if self.item is not None else ''}"


class Explored(Protocol):
    """What a search needs of a member. `key` is equal for members that will behave the same from now on."""

    me: str

    def arrives(self, sender: str, message: Message) -> list[tuple[str, Message]]: ...
    def does(self, event: Does) -> list[tuple[str, Message]]: ...
    def key(self) -> Hashable: ...
    def view(self) -> View: ...


class Member:
    """`arrives` and `does` are the only ways to change it."""

    def __init__(self, me: str, nodes: tuple[str, ...], entries: tuple[Entry, ...], *, disk_lags: bool) -> None:
        self.me = me
        self.nodes = nodes
        self.disk_lags = disk_lags
        self.term, self.vote, self.entries = entries[-1].term if entries else 0, "", entries
        self._start()

    def _start(self) -> None:
        self.pending: deque[Save] = deque()
        self.out = Outbox()
        self.core = Consensus(
            self.me, Recovered(f"disk-{self.me}", 1, self.term, self.vote, self.entries), AT_ONCE, Even(), self.out,
            Company(self.nodes), priority=100, quorum_size=0, now=0.0,
        )  # fmt: skip

    # -- what happens ----------------------------------------------------------------------------------------

    def arrives(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        """A message of `sender`, perhaps late, perhaps once more."""
        deliver(self.core, sender, message)
        return self._settle()

    def does(self, event: Does) -> list[tuple[str, Message]]:
        match event.what:
            case "stand" | "ask":
                self.core.tick(0.0, 0)
                if event.what == "stand":
                    self.out.take()
                    self._win_pre_votes()
            case "propose":
                self._propose(event.item)
            case "add":
                after = with_voter(self.core.voters, event.item, f"disk-{event.item}")
                self._propose(ChangeVoters(after, "promoted", event.item, f"disk-{event.item}"))
            case "drop":
                after = without_voter(self.core.voters, event.item)
                self._propose(ChangeVoters(after, "removed", event.item, f"disk-{event.item}"))
            case "saved":
                self._write()
            case "crash":
                self._start()
        return self._settle()

    def _propose(self, command: Command) -> None:
        self.core.propose(command, 0.0, 0)

    def _win_pre_votes(self) -> None:
        term = self.core.term + 1
        for voter, store in list(self.core.voters.items()):
            if voter != self.me:
                self.core.answered(voter, Answer(term, PRE, True, 0.0, store), 0.0, 0)

    def _write(self) -> None:
        save = self.pending.popleft()
        self.term, self.vote = save.term, save.vote
        if save.entries:
            self.entries = (*self.entries[: save.entries[0].index - 1], *save.entries)
        self.core.saved(save.save, 0.0, 0)

    def _settle(self) -> list[tuple[str, Message]]:
        sent: list[tuple[str, Message]] = []
        while effects := self.out.take():
            for effect in effects:
                if isinstance(effect, Send):
                    sent.append((effect.to, effect.message))
                elif isinstance(effect, Save):
                    self.pending.append(effect)
            while self.pending and not self.disk_lags:
                self._write()
        self.core.check()
        self._count_anew()
        return sent

    def _count_anew(self) -> None:
        """Saves are told apart by their order alone."""
        done = self.out.saved_number
        if not done:
            return
        self.out.saved_number, self.out.save_number = 0, self.out.save_number - done
        self.out._waiting = deque((number - done, effect) for number, effect in self.out._waiting)
        self.core._saving = [(number - done, index, term) for number, index, term in self.core._saving]
        if self.core._ballot is not None:
            self.core._ballot -= done
        for _ in range(len(self.pending)):
            save = self.pending.popleft()
            self.pending.append(Save(save.save - done, save.term, save.vote, save.entries, save.snapshot, save.base))

    # -- what is seen ----------------------------------------------------------------------------------------

    def key(self) -> Hashable:
        return self.term, self.vote, self.entries, tuple(self.pending), frozen(self.out), frozen(self.core)

    def view(self) -> View:
        core = self.core
        return View(
            core.role == LEADER, core.term, core.commit, core.log.after(0), self.entries, tuple(sorted(core.voters)),
            len(self.pending), core.may_stand,
        )  # fmt: skip


def deliver(core: Consensus, sender: str, message: Any) -> None:
    """As Node does."""
    match type(message).__name__:
        case "Append":
            core.append(sender, message, 0.0)
        case "AppendAnswer":
            core.append_answered(sender, message, 0.0)
        case "Election":
            core.asked(sender, message, 0.0, 0)
        case "Answer":
            core.answered(sender, message, 0.0, 0)
        case "TimeoutNow":
            core.timeout_now(sender, message, 0.0, 0)
        case other:
            raise AssertionError(f"no {other} is expected here")


UNCHANGING = (Even, Company, Timing, Node)


def frozen(thing: Any) -> Hashable:
    """A hashable copy of an object and all it holds; what the members share and never change is left out."""
    if thing is None or isinstance(thing, str | int | float):
        return thing
    if isinstance(thing, UNCHANGING):
        return None
    if isinstance(thing, list | tuple | deque):
        return tuple(map(frozen, thing))
    if isinstance(thing, dict):
        return frozenset((frozen(name), frozen(value)) for name, value in thing.items())
    if isinstance(thing, set):
        return frozenset(thing)
    if is_dataclass(thing):
        if getattr(thing, "__dataclass_params__").frozen:  # noqa: B009
            return thing  # type: ignore[return-value]
        return tuple(frozen(getattr(thing, field.name)) for field in fields(thing))
    skipped = ("_out", "_agreed", "_voters") if isinstance(thing, Consensus) else ()
    return tuple(frozen(value) for name, value in vars(thing).items() if name not in skipped)
