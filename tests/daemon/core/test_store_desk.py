"""Commands, reads and the clock of locks on hand-wired nodes: batches, limits, lost leaders, and load."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Append, Renewed
from mltb_transport.store import ACQUIRE, EXTEND, Forward, Forwarded, Packed, packed
from mltbd.core import commands as commands_module
from mltbd.core import reads as reads_module
from mltbd.core.commands import BATCH_COMMANDS_MAX, PATIENCE_S, PIPELINE_MAX, RETURN_S, SMALL_MAX
from mltbd.core.consensus import NEWS_S
from mltbd.core.effects import Refusals, Reply, Send
from mltbd.core.events import ReadState, Submit
from mltbd.core.expiry import WAIT_SLACK_S
from mltbd.core.leadership import REST_S
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.desk_kit import Desk, put
from tests.daemon.core.node_kit import Wired


@pytest.fixture
def desk() -> Desk:
    return Desk()


# -- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_every_node_learns_the_outcome_by_applying_it(desk: Desk, name: str) -> None:
    desk.submit(name, put("a"), put("b"))
    desk.wired.run(1.0)
    for node in ("n1", "n2", "n3"):
        assert {key: outcome[:2] for key, outcome in desk.outcomes(node).items()} == {
            ("a", 1): ("ok", 1), ("b", 1): ("ok", 2)
        }  # fmt: skip
    assert desk.batches() == [2]


def test_while_batches_are_under_way_the_next_one_grows(desk: Desk) -> None:
    desk.wired.slow |= {"n1", "n2", "n3"}
    for number in range(PIPELINE_MAX + 20):
        desk.submit("n1", put(f"c{number}"))
    assert desk.batches() == [1] * PIPELINE_MAX
    desk.wired.slow.clear()
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    desk.wired.run(1.0)
    assert desk.batches() == [1] * PIPELINE_MAX + [20]


@pytest.mark.parametrize(("behind", "then"), [(SMALL_MAX, [1]), (SMALL_MAX + 1, [])])
def test_only_a_small_batch_does_not_hold_up_the_next_one(desk: Desk, behind: int, then: list[int]) -> None:
    desk.wired.slow |= {"n1", "n2", "n3"}
    desk.submit("n1", *[put(f"c{number}") for number in range(behind)])
    for number in range(20):
        desk.submit("n1", put(f"d{number}"))
    assert desk.batches() == [behind, *then]
    desk.wired.slow.clear()
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    desk.wired.run(1.0)
    assert desk.batches() == [behind, *then, 20 - sum(then)]


def test_behind_a_large_batch_the_next_waits_for_those_who_were_in_it(desk: Desk) -> None:
    crowd = SMALL_MAX + 4
    desk.wired.slow |= {"n1", "n2", "n3"}
    desk.submit("n1", *[put(f"c{number}") for number in range(crowd)])
    desk.submit("n1", put("d"))
    desk.wired.slow.clear()
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    assert desk.batches() == [crowd], "those who were in it come back in a moment"
    desk.submit("n1", *[put(f"c{number}", 2) for number in range(crowd - 1)])
    assert desk.batches() == [crowd]
    desk.submit("n1", put(f"c{crowd - 1}", 2))
    assert desk.batches() == [crowd, crowd + 1], "all are there"


def test_who_was_in_a_large_batch_is_not_waited_for_long(desk: Desk) -> None:
    crowd = SMALL_MAX + 4
    desk.submit("n1", *[put(f"c{number}") for number in range(crowd)])
    desk.submit("n1", put("d"))
    assert desk.batches() == [crowd]
    desk.wired.run(RETURN_S)
    assert desk.batches() == [crowd, 1]


def test_a_full_batch_waits_for_no_large_one(desk: Desk) -> None:
    desk.wired.slow |= {"n1", "n2", "n3"}
    desk.submit("n1", *[put(f"c{number}") for number in range(SMALL_MAX + 1)])
    desk.submit("n1", *[put(f"d{number}") for number in range(BATCH_COMMANDS_MAX)])
    assert desk.batches() == [SMALL_MAX + 1, BATCH_COMMANDS_MAX]


def test_a_batch_has_a_limit_in_number_and_in_bytes(desk: Desk) -> None:
    desk.submit("n1", *[put(f"c{number}") for number in range(BATCH_COMMANDS_MAX + 5)])
    desk.wired.run(RETURN_S)
    desk.submit("n2", *[put(f"d{number}", value='"' + "x" * 60_000 + '"') for number in range(5)])
    desk.wired.run(1.0)
    first, second, *others = desk.batches()
    assert (first, second, sum(others), max(others)) == (BATCH_COMMANDS_MAX, 5, 5, 2)
    assert len(desk.outcomes("n3")) == BATCH_COMMANDS_MAX + 10


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_what_is_too_much_is_refused_and_the_rest_is_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(commands_module, "PENDING_MAX", 3)
    desk.submit(name, *[put(f"c{number}") for number in range(5)])
    desk.wired.run(1.0)
    assert desk.refusals(name) == {("c3", 1): "overloaded", ("c4", 1): "overloaded"}
    assert len(desk.outcomes(name)) == 3


@pytest.mark.parametrize("limit", ["QUEUE_MAX", "QUEUE_BYTES_MAX"])
def test_a_leader_with_too_much_to_write_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(commands_module, limit, 1)
    for name in ("n1", "n2"):
        desk.submit(name, put("a"), put("b"))
        desk.wired.run(0.1)
        assert desk.refusals(name) == {("a", 1): "overloaded", ("b", 1): "overloaded"}
    assert desk.batches() == []


def test_without_a_leader_nothing_is_taken() -> None:
    wired = Wired("n1", "n2", "n3", absent=("n2", "n3"))
    wired.feed("n1", Submit((put("a"),)))
    refusals = [effect for _, _, effect in wired.effects if isinstance(effect, Refusals)]
    assert [(effect.keys, effect.code) for effect in refusals] == [((("a", 1),), "no_quorum")]


def test_what_is_not_applied_in_time_has_an_unknown_outcome(desk: Desk) -> None:
    desk.wired.lost = (Forward,)
    desk.submit("n2", put("a"))
    desk.wired.run(PATIENCE_S - 0.5)
    assert desk.refusals("n2") == {}
    desk.wired.run(1.0)
    assert desk.refusals("n2") == {("a", 1): "unknown_outcome"}
    assert desk.wired.nodes["n2"].desk.commands.next_deadline() == float("inf")


def test_a_lost_leader_leaves_the_outcome_open_and_a_repeat_is_done_once(desk: Desk) -> None:
    desk.wired.slow |= {"n1"}
    desk.wired.lost = (Append,)
    desk.submit("n2", put("a"))
    desk.wired.stop("n1")
    desk.wired.lost = ()
    desk.wired.until(lambda: bool(desk.refusals("n2")), 10.0)
    assert desk.refusals("n2") == {("a", 1): "unknown_outcome"}
    desk.wired.until(lambda: desk.leader is not None and desk.leader.placer.current, 20.0)
    desk.submit("n2", put("a"))
    desk.submit("n3", put("a"))
    desk.wired.run(1.0)
    assert desk.outcomes("n2")["a", 1][:2] == ("ok", 1)
    assert desk.wired.nodes["n3"].state.store.keyvalues.get("k").version == 1  # type: ignore[union-attr]


def test_a_leader_cut_off_loses_what_it_took(desk: Desk) -> None:
    desk.wired.isolate("n1")
    desk.submit("n1", put("a"))
    desk.wired.run(8.0)
    assert desk.refusals("n1") == {("a", 1): "unknown_outcome"}
    assert desk.outcomes("n1") == {}


def test_a_word_to_an_earlier_run_refuses_nothing(desk: Desk) -> None:
    n2 = desk.wired.nodes["n2"]
    n2.handle(Submit((put("a"),)), desk.wired.now, WALL)
    effects = desk.wired.hear("n2", "n1", Forwarded(-1, "unavailable", "late", 0))
    assert not [effect for effect in effects if isinstance(effect, Refusals)]


# -- reads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n1", "n2", "n3"])
def test_a_read_waits_for_a_quorum_and_for_what_was_committed(desk: Desk, name: str) -> None:
    desk.submit("n1", put("a"))
    desk.wired.feed(name, ReadState(7))
    desk.wired.run(0.5)
    assert [(reply.request, reply.code) for reply in desk.told(name, Reply)] == [(7, "")]
    assert desk.wired.nodes[name].state.store.keyvalues.get("k") is not None


def test_reads_of_a_moment_share_a_round(desk: Desk) -> None:
    reign = desk.n1.consensus.reign
    assert reign is not None
    before = reign.round
    desk.wired.lost = (Append,)
    for number in range(50):
        desk.wired.feed("n1", ReadState(number))
    assert reign.round == before + 1
    desk.wired.lost = ()
    desk.wired.run(1.0)
    assert len(desk.told("n1", Reply)) == 50


def test_a_leader_cut_off_answers_no_read(desk: Desk) -> None:
    desk.wired.isolate("n1")
    desk.wired.feed("n1", ReadState(7))
    desk.wired.run(0.3)
    assert desk.told("n1", Reply) == []
    desk.wired.run(8.0)
    assert [reply.code for reply in desk.told("n1", Reply)] in (["no_quorum"], ["unavailable"])


def test_a_lost_question_is_given_up(desk: Desk) -> None:
    desk.wired.lost = (Forward,)
    desk.wired.feed("n2", ReadState(7))
    desk.wired.run(reads_module.PATIENCE_S + 0.5)
    assert [(reply.request, reply.code) for reply in desk.told("n2", Reply)] == [(7, "no_quorum")]


def test_too_many_reads_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads_module, "WAITING_MAX", 1)
    desk.wired.lost = (Append, Forwarded)
    desk.wired.feed("n1", ReadState(7))
    desk.wired.feed("n1", ReadState(8))
    assert [(reply.request, reply.code) for reply in desk.told("n1", Reply)] == [(8, "overloaded")]


# -- the clock of locks ------------------------------------------------------------------------------------------


def acquire(client: str, ttl_ms: int = 2000, wait_ms: int = 0, delay_ms: int = 0) -> Packed:
    return packed(client, 1, ACQUIRE, "l", ttl_ms, wait_ms, delay_ms, client)


def held_by(desk: Desk) -> str:
    lock = (desk.leader or desk.n1).state.store.locks.get("l")
    return lock.holder if lock is not None else ""


def test_a_lock_is_held_its_time_and_no_longer(desk: Desk) -> None:
    desk.submit("n2", acquire("a"))
    desk.wired.run(1.9)
    assert held_by(desk) == "a"
    lock = desk.n1.state.store.locks.get("l")
    assert lock is not None
    assert 0 < (desk.n1.desk.expiry.remaining_s(lock, desk.wired.now) or 0) < 0.2
    assert desk.wired.nodes["n2"].desk.expiry.remaining_s(lock, desk.wired.now) is None
    desk.wired.run(0.3)
    assert held_by(desk) == ""


def test_an_extension_puts_the_end_off_by_its_whole_time(desk: Desk) -> None:
    desk.submit("n1", acquire("a"))
    desk.wired.run(1.5)
    lock_id = desk.outcomes("n1")["a", 1][1]
    desk.submit("n1", packed("a", 2, EXTEND, "l", lock_id, 0))
    desk.wired.run(1.8)
    assert held_by(desk) == "a"
    desk.wired.run(0.5)
    assert held_by(desk) == ""


def test_a_new_leader_begins_the_time_anew(desk: Desk) -> None:
    desk.submit("n1", acquire("a"))
    desk.wired.run(1.8)
    desk.wired.stop("n1")
    desk.wired.until(lambda: desk.leader is not None and desk.leader.consensus.in_charge, 20.0)
    desk.wired.run(1.8)
    assert held_by(desk) == "a"
    desk.wired.run(0.5)
    assert held_by(desk) == ""


def test_a_forgotten_waiter_is_taken_out_by_the_leader(desk: Desk) -> None:
    desk.submit("n1", acquire("a", ttl_ms=60_000))
    desk.submit("n1", acquire("b", wait_ms=1000))
    desk.wired.run(1.0 + WAIT_SLACK_S - 0.2)
    lock = desk.n1.state.store.locks.get("l")
    assert lock is not None
    assert len(lock.waiters) == 1
    desk.wired.run(0.5)
    assert len(lock.waiters) == 0


def test_a_delay_keeps_the_lock_closed(desk: Desk) -> None:
    desk.submit("n1", acquire("a", ttl_ms=500, delay_ms=1000))
    desk.submit("n1", acquire("b", wait_ms=60_000))
    desk.wired.run(1.2)
    assert held_by(desk) == ""
    desk.wired.run(0.5)
    assert held_by(desk) == "b"


# -- load --------------------------------------------------------------------------------------------------------


def test_an_owner_is_renewed_although_commands_are_always_under_way(desk: Desk) -> None:
    """The leader's own disk is behind the others': what is committed is never all applied."""
    desk.wired.slow.add("n1")
    n1 = desk.n1
    desk.submit("n1", put("a"))
    assert n1.consensus.commit > n1.state.applied
    assert n1.placer.current
    desk.seen = len(desk.wired.effects)
    desk.wired.run(1.5)
    renewed = [s for s in desk.told("n1", Send) if isinstance(s.message, Renewed)]
    assert renewed or n1.owner.holds_now("main", desk.wired.now)


def test_leadership_changes_hands_although_commands_never_end(desk: Desk) -> None:
    n1 = desk.n1
    reign = n1.consensus.reign
    assert reign is not None
    desk.wired.slow |= {"n1", "n2", "n3"}
    desk.submit("n1", put("a"))
    assert not n1.consensus.transfer("n2", desk.wired.now), "the log is not at rest"
    desk.submit("n1", put("b"))
    assert desk.batches() == [1], "and now it comes to rest"
    desk.wired.slow.clear()
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    assert n1.consensus.log.last_index == reign.peers["n2"].match_index
    desk.wired.run(REST_S + 0.1)
    assert desk.batches() == [1, 1], "for a moment only"
    reign.rest(desk.wired.now)
    assert reign.rest_until < desk.wired.now, "and not often"


def test_under_load_the_news_of_a_commit_rides_along_with_the_next_batch(desk: Desk) -> None:
    desk.wired.slow |= {"n1", "n2", "n3"}
    for number in range(PIPELINE_MAX + 1):
        desk.submit("n1", put(f"c{number}"))
    desk.seen = len(desk.wired.effects)
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    appends = [s.message for s in desk.told("n1", Send) if s.to == "n2" and isinstance(s.message, Append)]
    assert len(appends[0].entries) == 1
    assert appends[0].commit == appends[0].entries[0].index - PIPELINE_MAX
    desk.wired.slow.clear()
    for name in ("n1", "n2", "n3"):
        desk.wired.saved(name)
    desk.wired.run(NEWS_S)
    assert len(desk.outcomes("n2")) == PIPELINE_MAX + 1, "nothing is left untold"
