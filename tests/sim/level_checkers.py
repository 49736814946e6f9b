"""The promises about the level of a cluster whose nodes are of neighbouring versions, upgraded and taken back."""

from __future__ import annotations

from dataclasses import dataclass, field

from mltb_transport.level import FIRST, LEVEL_OF, Level, level_of
from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import ChangeVoters
from tests.sim.history import Applied, AtLevel, Ended, History, Raised, Refused, Speaking
from tests.sim.wrong import Undecided, Wrong

CLOCKS = 2e-3
"""Clocks differ by this share at the most."""


def spoken_only(history: History) -> None:
    """No build applies, or takes over in a snapshot, what it does not speak."""
    newest: dict[str, int] = {}
    for happening in history:
        if isinstance(happening, Speaking):
            newest[happening.node] = happening.newest
        elif isinstance(happening, Applied) and level_of(happening.entry.command) > newest[happening.node]:
            raise Wrong(f"{happening.node}, which speaks {newest[happening.node]}, applied {happening.entry}")
        elif isinstance(happening, AtLevel) and happening.level > newest[happening.node]:
            raise Wrong(f"{happening.node}, which speaks {newest[happening.node]}, is at level {happening.level}")


def log_keeps_its_level(history: History) -> None:
    """Each rise raises, nothing stands in the log before its level, and every node has the level of the log."""
    after = [0]  # the level after each entry
    for happening in history:
        if isinstance(happening, Applied) and happening.entry.index == len(after):
            after.append(_next(after[-1], happening.entry))
        elif isinstance(happening, AtLevel) and happening.level != after[happening.index]:
            known = after[happening.index]
            raise Wrong(f"{happening.node} takes entry {happening.index} for level {happening.level}, it is at {known}")
    if len(after) == 1:
        raise Undecided("nothing was ever applied")


def _next(level: int, entry: Entry) -> int:
    command = entry.command
    if isinstance(command, Founding):
        return command.level
    if LEVEL_OF.get(type(command), FIRST) > level:
        raise Wrong(f"entry {entry.index} stands in the log at level {level}: {command}")
    if isinstance(command, Level):
        if command.level <= level:
            raise Wrong(f"entry {entry.index} sets level {command.level} after {level}")
        return command.level
    return level


@dataclass(slots=True)
class _Life:
    """What a node is, and since when."""

    newest: int = 0
    since: float = 0.0  # it began as what it is
    ended: float | None = None
    steady: dict[int, float] = field(default_factory=dict)  # by level: since when it has spoken nothing less

    def begin(self, at: float, newest: int, fresh_s: float) -> None:
        """Another daemon. What the last one was for less than `fresh_s` need not have been noticed by anybody."""
        if at - self.since > fresh_s:
            self.steady = {level: since for level, since in self.steady.items() if level <= self.newest}
        self.newest, self.since, self.ended = newest, at, None
        for level in range(FIRST, newest + 1):
            self.steady.setdefault(level, at)


def raised_when_all_speak(history: History, patience_s: float, fresh_s: float) -> None:
    """Every voter and every observer spoke the level for the whole patience, and was there until just before."""
    lives: dict[str, _Life] = {}
    voters: set[str] = set()
    members: set[str] = set()  # whoever has applied something
    last = 0
    for happening in history:
        match happening:
            case Speaking(at, node, _, newest):
                lives.setdefault(node, _Life()).begin(at, newest, fresh_s)
            case Ended(at, node) | Refused(at, node):
                lives[node].ended = at if lives[node].ended is None else lives[node].ended
            case Applied(_, node, _, entry):
                members.add(node)
                if entry.index > last:
                    last = entry.index
                    if isinstance(entry.command, Founding | ChangeVoters):
                        voters = {voter.node for voter in entry.command.voters}
            case Raised():
                _judge(happening, lives, voters, members, patience_s, fresh_s)


def _judge(
    raised: Raised, lives: dict[str, _Life], voters: set[str], members: set[str], patience_s: float, fresh_s: float
) -> None:
    what = f"{raised.node} raises the level to {raised.level} at {raised.at:.3f}"
    fresh_from = raised.at - fresh_s
    for node in sorted(voters | members):
        life = lives[node]
        if life.ended is not None:
            if node in voters and life.ended < fresh_from:
                raise Wrong(f"{what} without {node}, which is gone since {life.ended:.3f}")
            continue
        if life.since > fresh_from:
            continue  # What it was before may just have been heard.
        if life.newest < raised.level:
            raise Wrong(f"{what}, {node} speaks {life.newest} since {life.since:.3f}")
        if life.steady[raised.level] > raised.at - patience_s * (1 - CLOCKS):
            raise Wrong(f"{what}, {node} speaks it only since {life.steady[raised.level]:.3f}")
