"""Breadth first through every order of events, within bounds. A step of one member is taken once and remembered.

States differ by what will come of them and by nothing else: a member is known by the number of its frozen self, a
message by a bit, the past by the number of what is remembered of it (rules.Ghost).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mltb_transport.messages import Election, Entry, Message, NoOp
from mltbd.core.election import PRE
from mltbd.core.log import InvariantViolation
from tests.explore.member import Does, Explored, Member, View
from tests.explore.rules import Rules
from tests.sim.wrong import Wrong, refuse_own_fault

BROKEN = (InvariantViolation, ValueError, KeyError, IndexError, AttributeError, TypeError)
TERMS_MAX = 32
AGAIN = 1 << 20
"""Added to the number of a message: it arrives, and will arrive once more."""
DOES = 1 << 21
"""Added to the number of a Does."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often each thing may happen on one path. Messages arrive in any order, or never."""

    elections: int = 1
    proposals: int = 0
    crashes: int = 0
    changes: int = 0
    duplicates: int = 0
    """Messages that arrive twice."""
    pre_votes: bool = False
    """Candidates ask for pre-votes and wait for them; else they have them all."""
    moments: int = 0
    """Steps of time; only where a lease is looked at."""
    disk_lags: bool = False
    """Saves last, and a crash loses those that are under way."""

    def left(self) -> tuple[int, ...]:
        return self.elections, self.proposals, self.crashes, self.changes, self.duplicates, self.moments


PAYS = {"stand": 0, "ask": 0, "propose": 1, "crash": 2, "add": 3, "drop": 3}
DUPLICATES = 4


class State(NamedTuple):
    """Everything. `net`: the messages on their way, as bits. `left`: of each bound."""

    members: tuple[int, ...]
    net: int
    left: tuple[int, ...]
    ghost: int


@dataclass(frozen=True, slots=True)
class Packet:
    """One message, as the network knows it."""

    sender: str
    to: str
    message: Message

    def __str__(self) -> str:
        return f"{self.sender} -> {self.to}: {self.message}"


@dataclass(slots=True)
class Found:
    """What a search came upon."""

    states: int = 0
    steps: int = 0
    depth: int = 0
    complete: bool = False
    """Nothing is left to look at within the bounds."""
    members: int = 0
    wrong: str = ""
    path: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reach = "all there are" if self.complete else "no further"
        return f"{self.states} states to depth {self.depth} ({reach}), {self.steps} steps, {self.members} members"


class Search:
    """`start` is where it begins: `take` and `settle` lead to another one. `run` explores from there."""

    def __init__(self, nodes: tuple[str, ...], log: tuple[Entry, ...], bounds: Bounds) -> None:
        self.nodes = nodes
        self.bounds = bounds
        self.views: list[View] = []
        self.rules = Rules(nodes, self.views)
        self._members: list[bytes] = []
        self._numbers: dict[Any, int] = {}
        self._packets: list[Packet] = []
        self._bits: dict[Packet, int] = {}
        self._for = [0] * len(nodes)
        self._left_behind: list[list[int]] = [[0] * TERMS_MAX for _ in nodes]
        self._doings: list[Does] = []
        self._doing: dict[Does, int] = {}
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        members = (self._member(node, log) for node in nodes)
        self.start = State(tuple(self._number(member) for member in members), 0, bounds.left(), 0)

    # -- one member ------------------------------------------------------------------------------------------

    def _member(self, node: str, log: tuple[Entry, ...]) -> Explored:
        return Member(node, self.nodes, log, disk_lags=self.bounds.disk_lags)

    def _number(self, member: Explored) -> int:
        key = (member.me, member.key())
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._members)
            self._members.append(pickle.dumps(member, pickle.HIGHEST_PROTOCOL))
            self.views.append(member.view())
        return number

    def _step(self, number: int, event: int) -> tuple[int, int]:
        """The member after this event, and what it sends, as bits."""
        known = self._known.get((number, event))
        if known is None:
            member: Explored = pickle.loads(self._members[number])
            try:
                if event < DOES:
                    packet = self._packets[event]
                    sent = member.arrives(packet.sender, packet.message)
                else:
                    sent = member.does(self._doings[event - DOES])
            except BROKEN as error:
                refuse_own_fault(error)
                raise Wrong(f"nothing broke: {type(error).__name__}: {error}") from error
            bits = 0
            for to, message in sent:
                bits |= 1 << self._bit(Packet(member.me, to, message))
            known = self._known[number, event] = (self._number(member), bits)
        return known

    def _bit(self, packet: Packet) -> int:
        number = self._bits.get(packet)
        if number is None:
            number = self._bits[packet] = len(self._packets)
            self._packets.append(packet)
            place = self.nodes.index(packet.to)
            self._for[place] |= 1 << number
            term: int = getattr(packet.message, "term", TERMS_MAX)
            # A pre-vote is about the term after the present one.
            over = term if isinstance(packet.message, Election) and packet.message.stage == PRE else term + 1
            for later in range(over, TERMS_MAX):
                self._left_behind[place][later] |= 1 << number
        return number

    def does(self, what: str, node: str, item: Any = None) -> int:
        """The number of this event."""
        event = Does(what, node, item)
        number = self._doing.setdefault(event, len(self._doings))
        if number == len(self._doings):
            self._doings.append(event)
        return DOES + number

    def told(self, event: int) -> str:
        if event >= DOES:
            return str(self._doings[event - DOES])
        return f"{self._packets[event % AGAIN]}{', and it will come again' if event >= AGAIN else ''}"

    # -- all of them -----------------------------------------------------------------------------------------

    def take(self, state: State, event: int) -> State:
        """The state after this event. Raises Wrong when a rule is broken by it."""
        net, left = state.net, state.left
        if event >= DOES:
            doing = self._doings[event - DOES]
            place = self.nodes.index(doing.node)
            left = _paid(left, PAYS[doing.what]) if doing.what in PAYS else left
        else:
            place = self.nodes.index(self._packets[event % AGAIN].to)
            if event >= AGAIN:
                event -= AGAIN
                left = _paid(left, DUPLICATES)
            else:
                net &= ~(1 << event)
        number, sent = self._step(state.members[place], event)
        members = state.members
        if number != members[place]:
            members = (*members[:place], number, *members[place + 1 :])
            net = self._heeded(net, net & self._for[place], number, place)
        fresh = sent & ~net
        net |= fresh
        for other, each in enumerate(members):
            if fresh & self._for[other]:
                net = self._heeded(net, fresh & self._for[other], each, other)
        ghost = self.rules.look(state.ghost, place, members) if members is not state.members else state.ghost
        return State(members, net, left, ghost)

    def _heeded(self, net: int, doubtful: int, number: int, place: int) -> int:
        """`net` without those of the `doubtful` that would do nothing here, or are of a term that is over here.

        Any message may be lost; these are the ones whose loss nobody would notice.
        """
        over = self._left_behind[place][self.views[number].term]
        net &= ~(doubtful & over)
        doubtful &= ~over
        while doubtful:
            bit = doubtful & -doubtful
            doubtful ^= bit
            try:
                if self._step(number, bit.bit_length() - 1) == (number, 0):
                    net ^= bit
            except Wrong:
                pass  # It does harm, and will be told as a step of its own.
        return net

    def events(self, state: State) -> Iterator[int]:
        """Everything that may happen next."""
        elections, proposals, crashes, changes, duplicates, _ = state.left
        waiting = state.net
        while waiting:
            number = (waiting & -waiting).bit_length() - 1
            waiting &= waiting - 1
            yield number
            if duplicates:
                yield number + AGAIN
        for node, member in zip(self.nodes, state.members, strict=True):
            view = self.views[member]
            if view.saves:
                yield self.does("saved", node)
            if elections and view.may_stand and not view.leads:
                yield self.does("ask" if self.bounds.pre_votes else "stand", node)
            if proposals and view.leads:
                yield self.does("propose", node, NoOp(cause="of a client"))
            if crashes:
                yield self.does("crash", node)
            if changes and view.leads:
                for other in self.nodes:
                    if other not in view.voters:
                        yield self.does("add", node, other)
                    elif len(view.voters) > 1:
                        yield self.does("drop", node, other)

    def between(self, state: State, *nodes: str) -> Iterator[int]:
        """The messages on their way from one of these to another."""
        for number, packet in enumerate(self._packets):
            if state.net >> number & 1 and packet.sender in nodes and packet.to in nodes:
                yield number

    def ends(self, packet: int) -> tuple[str, str]:
        """Who sent it, and to whom."""
        return self._packets[packet].sender, self._packets[packet].to

    def view(self, state: State, node: str) -> View:
        return self.views[state.members[self.nodes.index(node)]]

    def settle(self, state: State) -> State:
        """All messages arrive, first come, first served, and all saves end."""
        while True:
            event = next(self.between(state, *self.nodes), None)
            for node, member in zip(self.nodes, state.members, strict=True):
                if self.views[member].saves:
                    event = self.does("saved", node)
            if event is None:
                return state
            state = self.take(state, event)

    def run(self, states_max: int) -> Found:
        """Look at all that can come of it, nearest first, until a rule is broken or the bounds are reached."""
        queue = [self.start._replace(left=self.bounds.left())]
        origin = [(0, 0)]
        seen, found, ends = set(queue), Found(), 1
        for at, state in enumerate(queue):  # It grows on the way.
            if at == ends:
                found.depth, ends = found.depth + 1, len(queue)
            if len(queue) >= states_max:
                break
            for event in list(self.events(state)):
                found.steps += 1
                try:
                    after = self.take(state, event)
                except Wrong as wrong:
                    found.wrong = str(wrong)
                    found.path = [self.told(each) for each in (*_path(origin, at), event)]
                    break
                if after not in seen:
                    seen.add(after)
                    queue.append(after)
                    origin.append((at, event))
            if found.wrong:
                break
        else:
            found.complete = True
        found.states, found.members = len(queue), len(self._members)
        return found


def _paid(left: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*left[:place], left[place] - 1, *left[place + 1 :])


def _path(origin: list[tuple[int, int]], at: int) -> list[int]:
    """The events from the first state to this one."""
    path = []
    while at:
        at, event = origin[at]
        path.append(event)
    return path[::-1]
