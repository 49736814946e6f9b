"""Stories of disks that take long for each write: somebody leads all the same, and goes on leading."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from mltb_transport.messages import AppendAnswer, Election, Message
from mltb_transport.store import SET, packed
from mltbd.core import voting
from mltbd.core.archive import Compaction
from mltbd.core.election import PRE
from mltbd.core.events import Submit
from mltbd.core.leadership import Leadership
from mltbd.core.outbox import Outbox
from mltbd.core.timing import Timing
from mltbd.core.voting import Voting
from tests.sim.bites import Plant, Story, fails_without
from tests.sim.cluster import Cluster
from tests.sim.mixes import SLOW
from tests.sim.scenario import run_seed
from tests.sim.stage import all_safe, apart, depositions, downs, healthy, leader, owner, reigns, until, ups, voters

pytestmark = pytest.mark.sim

by_seed = pytest.mark.parametrize("seed", range(1, 6))
by_shape = pytest.mark.parametrize(("count", "lease_s"), [(3, 0.5), (3, 1.0), (3, 3.0), (5, 3.0)])


def somebody_in_charge(cluster: Cluster) -> bool:
    return cluster.leader is not None and cluster.leader.node is not None and cluster.leader.node.consensus.in_charge


@pytest.mark.parametrize("share", [0.3, 0.8, 2.0])
@by_shape
@by_seed
def test_somebody_wins_however_slow_the_disks_are(seed: int, count: int, lease_s: float, share: float) -> None:
    """Its own vote, another's, and its first entry: each may wait for a write that is under way."""
    cluster = healthy(voters(count, lease_s), seed)
    election_s = cluster.shape.timing.election_s
    slowest_s = share * election_s
    for machine in cluster.machines.values():
        machine.disk.takes_s = (slowest_s / 2, slowest_s)
    leader(cluster).crash_machine()
    until(cluster, lambda: somebody_in_charge(cluster), "leader", 3 * election_s + 10 * slowest_s)
    cluster.run_for(10.0)
    all_safe(cluster)


@by_seed
def test_a_voter_that_is_needed_may_be_slow_alone(seed: int) -> None:
    """Who stands first writes at once: nothing tells it how long the other takes, but that it waited in vain."""
    cluster = healthy(voters(3, priorities=(100, 100, 1)), seed)
    cluster.machines["n3"].disk.takes_s = (2.5, 3.0)
    leader(cluster).crash_machine()
    until(cluster, lambda: somebody_in_charge(cluster), "leader", cluster.shape.timing.election_s + 2 * 3.0 + 1.0)
    all_safe(cluster)


@by_seed
def test_somebody_wins_though_words_are_lost_as_well(seed: int) -> None:
    """An attempt in vain costs what it lasted: the next one lasts longer, and so asks again more often."""
    cluster = healthy(voters(5), seed)
    dice = random.Random(seed)
    for machine in cluster.machines.values():
        first, second = dice.uniform(0.05, 2.5), dice.uniform(0.05, 2.5)
        machine.disk.takes_s = (min(first, second), max(first, second))
    cluster.network.loss = 0.2
    leader(cluster).crash_machine()
    next(machine for machine in cluster.machines.values() if machine.node is not None).crash_machine()
    until(cluster, lambda: somebody_in_charge(cluster), "leader", 20.0)
    all_safe(cluster)


@pytest.mark.parametrize("first", range(1, 61, 20))
def test_every_promise_is_kept_where_disks_are_slow_and_words_are_lost(first: int) -> None:
    """`python -m tests.sim.soak 1 1000 slow` for more of them."""
    for seed in range(first, first + 20):
        outcome = run_seed(seed, SLOW)
        assert not outcome.failed, outcome.explain()


@by_shape
@by_seed
def test_heartbeats_go_on_while_the_followers_write(seed: int, count: int, lease_s: float) -> None:
    """Each write of theirs lasts longer than a leader may be without answers."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=True)
    silence_s, began = 2 * cluster.shape.timing.election_s, cluster.now
    for machine in cluster.machines.values():
        if machine is not leader(cluster):
            machine.disk.takes_s = (1.5 * silence_s, 2 * silence_s)
    for verb in ("pause", "resume") * 5:
        cluster.ask(leader(cluster), verb)
        cluster.run_for(silence_s)
    assert not depositions(cluster, began)
    assert not downs(cluster, began)
    all_safe(cluster)


@by_seed
def test_but_not_while_the_workload_needs_what_it_has_not_written(seed: int) -> None:
    """An operator's word is on all other disks: without it no renewal can be confirmed."""
    cluster = healthy(voters(3, compaction=Compaction(entries=12, tail=1)), seed)
    apart(cluster, same=False)
    began = cluster.now
    leader(cluster).disk.snapshots_take_s = (20.0, 20.0)
    for verb in ("pause", "resume") * 10:
        cluster.ask(leader(cluster), verb)
        cluster.run_for(0.3)
    assert len(reigns(cluster, began)) == 1
    assert not downs(cluster, began)
    all_safe(cluster)


@by_seed
def test_from_an_owner_whose_disk_hangs_the_workload_moves(seed: int) -> None:
    """It answers, and what it is told is never on its disk: as if it were lost, from then on."""
    cluster = healthy(voters(3), seed)
    apart(cluster, same=False)
    stuck, began = owner(cluster), cluster.now
    stuck.disk.hangs = True
    for verb in ("pause", "resume"):
        cluster.ask(leader(cluster), verb)
        cluster.run_for(0.1)
    lease_s, election_s = cluster.shape.lease_s, cluster.shape.timing.election_s
    until(cluster, lambda: bool(ups(cluster, began)), "other owner", lease_s + election_s + 0.5)
    assert owner(cluster) is not stuck
    all_safe(cluster)


@by_seed
def test_a_leader_that_writes_a_large_snapshot_leads_on(seed: int) -> None:
    """Meanwhile clients go on: what they say places nothing."""
    cluster = healthy(voters(3, compaction=Compaction(entries=12, tail=1)), seed)
    apart(cluster, same=False)
    first, began = leader(cluster), cluster.now
    first.disk.snapshots_take_s = (3.0, 4.0)
    for number in range(1, 41):
        leader(cluster).feed(Submit((packed("bot", number, SET, "k", "1", -1, "", 0),)))
        cluster.run_for(0.5)
    assert first.disk.snapshot is not None
    assert not depositions(cluster, began)
    assert not downs(cluster, began)
    all_safe(cluster)


@pytest.mark.parametrize("leaves", [False, True], ids=["drained", "leaving"])
@by_seed
def test_leadership_goes_to_who_keeps_up(seed: int, leaves: bool) -> None:
    """The first in rank writes slower than clients do, and so never holds the last entry."""
    cluster = healthy(voters(3, priorities=(900, 100, 50)), seed)
    first, sent = leader(cluster), itertools.count(1)
    cluster.machines["n2"].disk.takes_s = (0.3, 0.9)

    def write() -> None:
        if cluster.leader is not None:
            cluster.leader.feed(Submit((packed("bot", next(sent), SET, "k", "1", -1, "", 0),)))
        cluster.at(cluster.now + 0.2, write)

    write()
    cluster.run_for(3.0)
    first.ask_to_stop() if leaves else cluster.ask(first, "drain", "n1")
    until(cluster, lambda: cluster.leader not in (None, first), "other leader", 4.0)
    assert leader(cluster).name == "n3"
    all_safe(cluster)


# -- they bite ------------------------------------------------------------------------------------------------------


def hurries(patch: pytest.MonkeyPatch) -> None:
    """An attempt lasts as long where writes take long as where they do not."""
    patch.setattr(voting, "WRITES", 0)
    derive = Timing.derive.__func__  # type: ignore[attr-defined]

    def short(cls: type[Timing], lease_s: float, stop_timeout_s: float = 1.0, election_max_s: float = 10.0) -> Timing:
        timing: Timing = derive(cls, lease_s, stop_timeout_s, election_max_s)
        return replace(timing, election_max_s=timing.election_s)

    patch.setattr(Timing, "derive", classmethod(short))


def forgets_whom_it_asked(patch: pytest.MonkeyPatch) -> None:
    """A vote that comes when the next attempt has begun is worth nothing."""
    stand = Voting._stand

    def anew(self: Voting, stage: str, now: float, wall: int) -> None:
        self._votes = None
        stand(self, stage, now, wall)

    patch.setattr(Voting, "_stand", anew)


def lets_others_go_past(patch: pytest.MonkeyPatch) -> None:
    """Pre-votes are granted while the vote before is still being written."""
    asked = Voting.asked

    def at_once(self: Voting, candidate: str, ask: Election, now: float, wall: int) -> None:
        ballot = self._ballot
        if ask.stage == PRE:
            self._ballot = None
        asked(self, candidate, ask, now, wall)
        self._ballot = ballot if ask.stage == PRE else self._ballot

    patch.setattr(Voting, "asked", at_once)


def stands_before_it_has_written(patch: pytest.MonkeyPatch) -> None:
    """The time of an attempt begins before anybody is asked."""
    cast = Voting._cast

    def at_once(self: Voting, term: int, vote: str, now: float) -> None:
        cast(self, term, vote, now)
        self._stand_at = now + self.timing.election_s if vote == self.me else None

    patch.setattr(Voting, "_cast", at_once)
    patch.setattr(Voting, "_due_at", property(lambda self: self._stand_at or self.heard_at + self.timing.election_s))


def answers_when_all_is_written(patch: pytest.MonkeyPatch) -> None:
    """A round is acknowledged when the disk has come after everything that was sent before."""
    send = Outbox.send

    def late(self: Outbox, to: str, message: Message) -> None:
        if isinstance(message, AppendAnswer) and self.saved_number < self.save_number:
            self.send_when_saved(to, message)
        else:
            send(self, to, message)

    patch.setattr(Outbox, "send", late)


def trusts_whoever_answers(patch: pytest.MonkeyPatch) -> None:
    """Who answers is well, whatever it has on its disk."""
    heard = Leadership.heard

    def credulous(self: Leadership, sender: str, answer: object, now: float, silence_s: float) -> object:
        peer = heard(self, sender, answer, now, silence_s)  # type: ignore[arg-type]
        if peer is not None:
            peer.acked_at = now
        return peer

    patch.setattr(Leadership, "heard", credulous)


def has_no_time_for_snapshots(patch: pytest.MonkeyPatch) -> None:
    """A disk that writes one large thing hangs."""
    patch.setattr(voting, "SNAPSHOT_S", 0.0)


def waits_for_the_first_in_rank(patch: pytest.MonkeyPatch) -> None:
    """However far behind it is."""
    patch.setattr(Leadership, "is_slow", lambda *_: False)


BITES: list[tuple[Plant, Story]] = [
    (hurries, lambda: test_somebody_wins_though_words_are_lost_as_well(15)),
    (forgets_whom_it_asked, lambda: test_a_voter_that_is_needed_may_be_slow_alone(1)),
    (lets_others_go_past, lambda: test_a_voter_that_is_needed_may_be_slow_alone(1)),
    (stands_before_it_has_written, lambda: test_somebody_wins_however_slow_the_disks_are(1, 3, 3.0, 2.0)),
    (answers_when_all_is_written, lambda: test_heartbeats_go_on_while_the_followers_write(1, 3, 3.0)),
    (has_no_time_for_snapshots, lambda: test_a_leader_that_writes_a_large_snapshot_leads_on(1)),
    (waits_for_the_first_in_rank, lambda: test_leadership_goes_to_who_keeps_up(1, leaves=False)),
    (trusts_whoever_answers, lambda: test_from_an_owner_whose_disk_hangs_the_workload_moves(1)),
]


@pytest.mark.parametrize(("plant", "story"), BITES, ids=[plant.__name__ for plant, _ in BITES])
def test_story_fails_without_its_rule(plant: Plant, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_without(plant, story, monkeypatch)
