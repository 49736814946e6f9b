"""An empty disk under a known name: what an earlier disk was granted is not its own."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Found
from mltb_transport.store import Forward, Forwarded
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.effects import StartWorkload
from mltbd.core.failover import Policy
from mltbd.core.newcomer import NUMBERS_FROM, Newcomer
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.snapshots import Snapshot
from mltbd.core.workload import Patience
from tests.daemon.core.core_kit import THREE, TIMING, WALL, Fixed, Member, sent, store
from tests.daemon.core.node_kit import Wired


def test_a_wiped_owner_gives_the_old_token_back_and_runs_under_a_new_one() -> None:
    wired = Wired(*THREE, priorities={"n1": 900}).settled()
    name, token = wired.owner(), wired.token()
    wired.stop(name)
    wired.begin(name, wiped=True)
    assert wired.until(lambda: bool(wired.running()))
    started = [effect.token for _, effect in wired.done(StartWorkload)]
    assert started
    assert min(started) > token


def test_the_first_placement_waits_for_founders_whom_the_founding_reaches_late() -> None:
    """They answer the leader before they have it, and so do not know what they may run."""
    wired = Wired(*THREE, policy=Policy(preferred={"main": ("n2",)}))
    wired.lost = (Found,)
    wired.settled()
    assert wired.running() == ["n2"]


class Asking:
    """A newcomer that follows n2, and what it sends."""

    def __init__(self, granted_after: int = 0, **changes: object) -> None:
        self.member = Member("n1", **{"log": (), "term": 0, **changes})  # type: ignore[arg-type]
        self.member.consensus.leader = "n2"
        self.owner = Owner("n1", ("main",), TIMING, Patience(), Outbox(), 1, granted_after)
        self.one = Newcomer(self.owner, self.member.consensus, self.member.out, Fixed(0.5))

    def asks(self, now: float) -> list[tuple[str, Forward]]:
        self.one.work(now)
        return sent(Forward, self.member.out.take())


def test_it_is_ready_for_nothing_until_a_leader_has_told_how_far_the_log_had_come() -> None:
    asking = Asking()
    ((to, question),) = asking.asks(0.0)
    assert (to, question.commands) == ("n2", ())
    assert question.number >= NUMBERS_FROM
    assert asking.owner.ready(0.0) == ()
    assert asking.one.told(Forwarded(question.number, "", "", 42))
    assert asking.owner.ready(0.0) == ("main",)
    assert asking.asks(100.0) == []
    assert asking.one.next_deadline() == float("inf")


@pytest.mark.parametrize("code", ["unavailable", "overloaded"])
def test_it_asks_again_and_another_leader_at_once(code: str) -> None:
    asking = Asking()
    ((_, first),) = asking.asks(0.0)
    assert asking.one.told(Forwarded(first.number, code, "", 0))
    assert asking.owner.is_untold
    assert asking.asks(asking.one.next_deadline() - 0.01) == []
    assert [to for to, _ in asking.asks(asking.one.next_deadline())] == ["n2"]
    asking.member.consensus.leader = "n3"
    assert [to for to, _ in asking.asks(asking.one.next_deadline() - 0.01)] == ["n3"]
    asking.member.consensus.leader = ""
    assert asking.asks(100.0) == []
    assert asking.one.next_deadline() == float("inf")


def test_one_that_is_elected_before_it_was_told_knows_by_then() -> None:
    """It was given a snapshot and promoted, and its leader is gone. Nobody else is left to answer it."""
    voters = tuple(Voter(node, store(node)) for node in THREE)
    promoted = Entry(10, 1, WALL, ChangeVoters(voters, "promoted", "n1", store("n1")))
    asking = Asking(snapshot=Snapshot.take(9, 1, "c1", voters[1:], [""]), log=(promoted,), term=1)
    asking.asks(0.0)
    member = asking.member
    member.consensus.leader = ""
    now = member.lead("n3")
    assert asking.asks(now) == []
    assert asking.one.next_deadline() == float("inf"), "there is nobody to ask"
    assert asking.owner.is_untold, "what stands in its log is not all committed yet"
    member.acked("n3", 1, 11, now)
    assert asking.asks(now) == []
    assert (asking.owner.is_untold, asking.owner.ready(now)) == (False, ("main",))


def test_an_answer_to_somebody_else_is_none_to_us() -> None:
    asking = Asking()
    ((_, question),) = asking.asks(0.0)
    assert not asking.one.told(Forwarded(question.number + 1, "", "", 42))
    assert asking.owner.is_untold


def test_a_disk_that_the_founding_names_has_no_past() -> None:
    asking = Asking(voters=THREE, log=Member("n1").consensus.log.after(0))
    assert asking.asks(0.0) == []
    assert asking.owner.ready(0.0) == ("main",)


def test_one_that_a_snapshot_names_as_a_voter_knows_where_its_time_begins() -> None:
    voters = tuple(Voter(node, store(node)) for node in THREE)
    asking = Asking(granted_after=9, snapshot=Snapshot.take(9, 1, "c1", voters, [""]))
    assert asking.asks(0.0) == []
    assert asking.owner.ready(0.0) == ("main",)


def test_one_that_ended_before_it_was_told_asks_as_well() -> None:
    """Part of a log is on its disk by now: the tokens of the earlier disk may lie behind that."""
    others = tuple(Voter(node, store(node)) for node in ("n2", "n3"))
    asking = Asking(granted_after=9, snapshot=Snapshot.take(9, 1, "c1", others, [""]))
    assert [to for to, _ in asking.asks(0.0)] == ["n2"]
    assert asking.owner.ready(0.0) == ()
