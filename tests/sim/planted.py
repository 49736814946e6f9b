"""Planted bugs in election and log: each takes one rule out, and the checkers must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from mltb_transport.messages import Answer, Election, NoOp
from mltbd.core import election
from mltbd.core import voting as voting_module
from mltbd.core.consensus import Consensus
from mltbd.core.election import Ballot, Tally
from mltbd.core.events import Recovered
from mltbd.core.node import Node
from mltbd.core.outbox import Outbox
from tests.sim.cluster import Shape
from tests.sim.disk import Disk
from tests.sim.mixes import EVERYTHING, Mix
from tests.sim.planted_stories import asked_twice, half_filled, held_by_one_disk
from tests.sim.scenario import Outcome, draw_shape, run_seed

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """One rule less. One of the checkers `caught_by` must say so within `seeds_max` seeds."""

    name: str
    plant: Plant
    caught_by: tuple[str, ...]
    mix: Mix = field(default_factory=Mix)
    shape: Callable[[int], Shape] = draw_shape
    seeds_max: int = 300
    first: int = 1
    """Where to begin: the seeds before it were seen to miss. Any change of the code moves it."""
    run: Callable[[int, Mix, Shape], Outcome] = run_seed


def mostly(**weights: float) -> Mix:
    """These faults often, all others rarely."""
    return Mix({name: weight * 0.2 for name, weight in EVERYTHING.items()} | weights, pause_s=(0.1, 1.0))


def of(*roles: str, lease_s: float = 3.0, priorities: tuple[int, ...] = ()) -> Callable[[int], Shape]:
    """Always this cluster; all else as the seed draws it."""

    def shape(seed: int) -> Shape:
        return replace(draw_shape(seed), roles=roles, priorities=priorities or (100,) * len(roles), lease_s=lease_s)

    return shape


THREE = of("voter", "voter", "voter")
FIVE = of("voter", "voter", "voter", "voter", "voter")


# -- what is on disk ---------------------------------------------------------------------------------------------


def vote_before_disk(patch: pytest.MonkeyPatch) -> None:
    """The vote leaves before it is durable."""
    waits = Outbox.send_when_saved

    def send_when_saved(self: Outbox, to: str, message: Answer | Election) -> None:
        if isinstance(message, Answer):
            self.send(to, message)
        else:
            waits(self, to, message)

    patch.setattr(Outbox, "send_when_saved", send_when_saved)


def _forgets(patch: pytest.MonkeyPatch, forget: Callable[[Recovered], Recovered]) -> None:
    recover = Disk.recover
    patch.setattr(Disk, "recover", lambda self: forget(recover(self)))


def vote_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A restarted voter knows its term but not for whom it voted."""
    _forgets(patch, lambda recovered: replace(recovered, vote=""))


def term_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A restarted voter is back in the term of its last entry."""
    _forgets(patch, lambda r: replace(r, term=r.entries[-1].term if r.entries else 0, vote=""))


def log_before_disk(patch: pytest.MonkeyPatch) -> None:
    """Entries are acknowledged before they are durable."""

    def answer_append(self: Consensus, leader: str, message: object, ok: bool, index: int) -> None:
        before, self._out.saved_number = self._out.saved_number, self._out.save_number
        original(self, leader, message, ok, index)  # type: ignore[arg-type]
        self._out.saved_number = before

    original = Consensus._answer_append
    patch.setattr(Consensus, "_answer_append", answer_append)


def apply_before_disk(patch: pytest.MonkeyPatch) -> None:
    """What is committed is applied although it is not on this disk yet."""
    apply = Node._apply

    def early(self: Node, now: float) -> None:
        durable, self.consensus.durable = self.consensus.durable, self.consensus.log.last_index
        apply(self, now)
        self.consensus.durable = durable

    patch.setattr(Node, "_apply", early)


# -- votes and log -----------------------------------------------------------------------------------------------


def _vote_rule(patch: pytest.MonkeyPatch, rule: Callable[[str, Election, Ballot], str]) -> None:
    patch.setattr(voting_module, "refusal", rule)


def any_log_wins(patch: pytest.MonkeyPatch) -> None:
    """A vote does not look at the candidate's log."""
    far = 1 << 40
    _vote_rule(
        patch,
        lambda candidate, asked, mine: election.refusal(candidate, replace(asked, last_term=far, last_index=far), mine),
    )


def two_votes_a_term(patch: pytest.MonkeyPatch) -> None:
    """A vote does not look at an earlier vote in the same term."""
    _vote_rule(patch, lambda candidate, asked, mine: election.refusal(candidate, asked, replace(mine, vote="")))


def veto_by_priority(patch: pytest.MonkeyPatch) -> None:
    """A voter refuses whoever has a lower priority than itself."""
    asked = Consensus.asked

    def veto(self: Consensus, candidate: str, ask: Election, now: float, wall: int) -> None:
        if ask.priority < self.priority:
            self._out.send(candidate, Answer(self.term, ask.stage, False, 0.0))
        else:
            asked(self, candidate, ask, now, wall)

    patch.setattr(Consensus, "asked", veto)


def wiped_disk_votes(patch: pytest.MonkeyPatch) -> None:
    """A voter is known by its name, not by its disk."""
    one_entry_a_message(patch)  # So that it can be seen half filled.
    patch.setattr(Consensus, "is_voter", property(lambda self: self.me in self.voters))
    _vote_rule(patch, lambda candidate, asked, mine: election.refusal(candidate, asked, replace(mine, is_wiped=False)))
    count = Tally.count

    def by_name(self: Tally, voter: str, answer: Answer) -> None:
        count(self, voter, replace(answer, store=self.voters.get(voter, answer.store)))

    patch.setattr(Tally, "count", by_name)


def one_entry_a_message(patch: pytest.MonkeyPatch) -> None:
    """No bug: a long log in small. Where all fits in one message, the no-op rides along and hides figure 8."""
    patch.setattr("mltbd.core.log.BATCH_ENTRIES_MAX", 1)


def old_terms_counted(patch: pytest.MonkeyPatch) -> None:
    """A leader counts entries of earlier terms as committed (Raft, figure 8)."""
    one_entry_a_message(patch)

    def advance(self: Consensus, now: float, *, wrote: bool = False) -> None:  # noqa: ARG001
        if self.reign is not None:
            index = self.reign.agreed_index(self.durable)
            if index > self.commit:
                self.commit = index
                for node, peer in self.reign.peers.items():
                    self._send_append(node, peer, now)

    patch.setattr(Consensus, "_advance", advance)


def no_first_entry(patch: pytest.MonkeyPatch) -> None:
    """A new leader appends nothing of its own and takes what it knows as committed for all that is."""
    append = Consensus._append

    def skip(self: Consensus, command: object, wall: int) -> int:
        if isinstance(command, NoOp) and self.reign is not None and self.reign.first_index == self.log.last_index + 1:
            self.reign.first_index = 0
            return self.log.last_index
        return append(self, command, wall)  # type: ignore[arg-type]

    patch.setattr(Consensus, "_append", skip)


def own_vote_unsaved(patch: pytest.MonkeyPatch) -> None:
    """A candidate counts its own vote, and asks for others, before its term is on disk."""
    patch.setattr(Outbox, "send_when_saved", Outbox.send)
    stand = Consensus._stand

    def at_once(self: Consensus, stage: str, now: float, wall: int) -> None:
        stand(self, stage, now, wall)
        if self._campaigns and self._ballot is not None:
            self._ballot_saved(now, wall)

    patch.setattr(Consensus, "_stand", at_once)


DISK = mostly(crash_daemon=5, crash_machine=4, crash_all=4, slow_disk=6, lag=2)
SPLITS = mostly(split=5, isolate=5, crash_all=2, slow_disk=4, lag=2, crash_daemon=3)

BUGS = (
    Bug("vote before disk", vote_before_disk, ("votes stand", "terms never fall"), DISK),
    Bug("vote forgotten", vote_forgotten, ("votes stand",), run=asked_twice),
    Bug("term forgotten", term_forgotten, ("votes stand", "one leader per term"), DISK),
    Bug("own vote unsaved", own_vote_unsaved, ("votes stand", "terms never fall"), DISK),
    Bug("log before disk", log_before_disk, ("committed is stable",), run=held_by_one_disk),
    Bug("apply before disk", apply_before_disk, ("nothing broke",), DISK),
    Bug("any log wins", any_log_wins, ("committed is stable",), SPLITS),
    Bug("two votes a term", two_votes_a_term, ("votes stand", "one leader per term")),
    Bug("wiped disk votes", wiped_disk_votes, ("committed is stable",), run=half_filled),
    Bug("no first entry", no_first_entry, ("runs again", "one at a time"), SPLITS),
)
