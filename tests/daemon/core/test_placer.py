"""The leader at work: whose renewals it confirms, what it takes from others, how it answers operators, its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.messages import (
    Append,
    AppendAnswer,
    Command,
    Grant,
    Move,
    NoOp,
    Propose,
    Release,
    Renew,
    Renewed,
    Settled,
    Started,
)
from mltb_transport.supervision import Hooked, Proven
from mltbd.core.desk import ASKS_MAX
from mltbd.core.effects import Reply, StartWorkload
from mltbd.core.events import Received
from mltbd.core.failover import Policy
from mltbd.core.placer import QUEUED_MAX
from mltbd.state import placements
from tests.daemon.core.core_kit import THREE, TIMING, sent, store
from tests.daemon.core.node_kit import Wired, apart

BY_HAND = Policy(automatic=False)


def renew(wired: Wired, sender: str = "n3", token: int = 0, nonce: int = 7, workload: str = "main") -> list[Renewed]:
    """What n1 answers at once."""
    request = Renew(workload, token or wired.token(), nonce)
    return [answer for _, answer in sent(Renewed, wired.hear("n1", sender, request))]


def acknowledge(wired: Wired, node: str) -> list[Renewed]:
    """This follower answers the leader's present round; which renewals that confirms."""
    consensus = wired.nodes["n1"].consensus
    assert consensus.reign is not None
    answer = AppendAnswer(
        consensus.term, consensus.reign.round, True, consensus.log.last_index, store(node), ("main",)
    )  # fmt: skip
    return [renewed for _, renewed in sent(Renewed, wired.hear("n1", node, answer))]


def proposed(wired: Wired) -> list[Command]:
    """What is in n1's log and not applied yet."""
    node = wired.nodes["n1"]
    return [entry.command for entry in node.consensus.log.after(node.state.applied)]


def test_who_does_not_know_yet_what_it_could_run_is_not_called_unable() -> None:
    wired = apart()
    consensus = wired.nodes["n1"].consensus
    assert consensus.reign is not None
    answer = AppendAnswer(consensus.term, consensus.reign.round, True, 1, store("n2"), (), told=False)
    wired.hear("n1", "n2", answer)
    reasons = {c.node: c.reasons for c in wired.nodes["n1"].placer.facts("main", wired.now).candidates}
    assert reasons == {"n1": (), "n2": ("has not told yet what it could run",), "n3": ()}


# -- renewals ------------------------------------------------------------------------------------------------------


def test_a_renewal_is_confirmed_by_a_round_that_began_after_it() -> None:
    wired = apart()
    acknowledge(wired, "n2")
    assert renew(wired) == []
    assert acknowledge(wired, "n2") == [Renewed("main", wired.token(), 7, True, lease_s=TIMING.lease_s)]
    assert wired.nodes["n1"].placer.renewed_at("main") == wired.now


def test_an_acknowledgement_of_an_earlier_round_confirms_nothing() -> None:
    wired = apart()
    consensus = wired.nodes["n1"].consensus
    assert consensus.reign is not None
    late = AppendAnswer(consensus.term, consensus.reign.round, True, 1, store("n2"), ())
    renew(wired)
    assert sent(Renewed, wired.hear("n1", "n2", late)) == []


@pytest.mark.parametrize(("sender", "token", "workload"), [("n2", 0, "main"), ("n3", 999, "main"), ("n3", 0, "other")])
def test_who_does_not_own_it_is_told_so_at_once(sender: str, token: int, workload: str) -> None:
    wired = apart()
    ((answer),) = renew(wired, sender, token, workload=workload)
    assert (answer.ok, answer.nonce) == (False, 7)
    assert acknowledge(wired, "n2") == []


def test_a_follower_confirms_nothing() -> None:
    wired = apart()
    assert sent(Renewed, wired.hear("n2", "n3", Renew("main", wired.token(), 7))) == []


def test_while_a_change_of_owner_is_on_its_way_nothing_is_promised() -> None:
    wired = apart()
    wired.hear("n1", "n3", Propose(Release("main", wired.token(), "leaving")))
    before = wired.nodes["n1"].placer.renewed_at("main")
    assert renew(wired) == []
    assert wired.nodes["n1"].placer.renewed_at("main") == before


def test_an_owner_that_does_not_hear_us_is_promised_nothing() -> None:
    """Its answers would be lost too, and promises nobody hears would pin the workload there for ever."""
    wired = apart()
    wired.cut = {("n1", "n3")}
    assert wired.until(lambda: wired.owner() == "n2", 3 * TIMING.lease_s)
    assert wired.until(lambda: wired.running() == ["n2"], 1.0)


def not_current() -> Wired:
    """n1 has won its election but its disk is slow: the first entry of its term is not committed."""
    wired = Wired("n1", absent=())
    wired.until(lambda: wired.nodes["n1"].cluster != "")
    wired.slow.add("n1")
    wired.until(lambda: wired.nodes["n1"].consensus.term == 2)
    wired.saved("n1")
    node = wired.nodes["n1"]
    assert node.consensus.reign is not None
    assert not node.placer.current
    return wired


def test_what_is_asked_of_a_leader_that_is_not_current_waits_up_to_a_limit() -> None:
    wired = not_current()
    wired.effects.clear()
    for nonce in range(QUEUED_MAX + 50):
        assert sent(Renewed, wired.hear("n1", "n9", Renew("main", 99, nonce))) == []
    wired.saved("n1")
    answers = sent(Renewed, [effect for _, _, effect in wired.effects])
    assert [answer.nonce for _, answer in answers] == list(range(QUEUED_MAX))
    assert {(to, answer.ok) for to, answer in answers} == {("n9", False)}


def test_a_leader_that_is_not_current_takes_no_words() -> None:
    wired = not_current()
    wired.hear("n1", "n9", Propose(Release("main", 1, "leaving")))
    assert isinstance(proposed(wired)[-1], NoOp)


# -- what owners report --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["moved", "leaving", "failed", "restarted"])
def test_an_owner_may_give_back_what_it_owns(cause: str) -> None:
    wired = apart()
    command = Release("main", wired.token(), cause)
    wired.hear("n1", "n3", Propose(command))
    assert proposed(wired) == [command]
    wired.hear("n1", "n3", Propose(command))
    assert proposed(wired) == [command]  # told again, written once


def test_a_report_that_took_effect_is_written_no_more() -> None:
    wired = apart()
    told = Received("n3", 1, "c1", Propose(Hooked("main", wired.token(), 10**12, "post_start", 0.5, True)))
    wired.feed("n1", told)
    assert wired.nodes["n1"].state.placements.get("main").hooked == 10**12
    last = wired.nodes["n1"].consensus.log.last_index
    wired.feed("n1", told)
    assert (wired.nodes["n1"].consensus.log.last_index, proposed(wired)) == (last, [])


@pytest.mark.parametrize(
    ("sender", "command"),
    [
        ("n2", Release("main", 0, "leaving")),  # a strangers' word; 0 stands for the present token
        ("n3", Release("main", 999, "leaving")),
        ("n3", Started("main", 1)),
        ("n3", Settled("other", 0)),
        ("n3", Grant("main", "n3", "placement")),  # what only a leader decides
        ("n3", Move("main", 0, "n2", "switchover")),
        ("n3", NoOp()),
    ],
)
def test_strangers_words_and_old_ones_are_dropped(sender: str, command: Command) -> None:
    wired = apart()
    if isinstance(command, Release | Settled) and not command.token:
        command = replace(command, token=wired.token())
    wired.hear("n1", sender, Propose(command))
    assert proposed(wired) == []


def test_a_follower_takes_no_words() -> None:
    wired = apart()
    wired.hear("n2", "n3", Propose(Release("main", wired.token(), "leaving")))
    assert wired.nodes["n2"].consensus.log.last_index == wired.nodes["n1"].consensus.log.last_index


# -- operators -----------------------------------------------------------------------------------------------------


def test_a_switchover_is_answered_when_it_is_written_and_done_when_the_target_runs() -> None:
    wired = apart()
    wired.ask("n1", 1, "switchover", target="n2", reason="kernel update")
    ((reply),) = wired.replies(1)
    assert reply.code == ""
    operation = wired.nodes["n1"].state.placements.operations[reply.result["operation"]]
    assert (reply.result["from"], reply.result["to"], operation.reason) == ("n3", "n2", "kernel update")
    assert reply.result["plan"]["quorum"] == "3/3"
    assert [c["node"] for c in reply.result["plan"]["candidates"] if c["eligible"]] == list(THREE)
    assert wired.until(lambda: wired.running() == ["n2"], 1.0)
    operations = wired.nodes["n1"].state.placements.operations
    assert wired.until(lambda: list(operations.values())[-1].state == "done", 1.0)
    assert [name for name, _ in wired.done(StartWorkload)] == ["n2"]


def test_a_dry_run_changes_nothing() -> None:
    wired = apart()
    wired.ask("n1", 1, "switchover", target="n2", dry_run=True)
    ((reply),) = wired.replies(1)
    assert (reply.code, reply.result["operation"], reply.result["to"]) == ("", None, "n2")
    wired.run(5.0)
    assert wired.owner() == "n3"


def test_what_is_so_already_needs_no_operation() -> None:
    wired = apart()
    wired.ask("n1", 1, "failover", target="n3")
    ((reply),) = wired.replies(1)
    assert (reply.code, reply.result["operation"], reply.message != "") == ("", None, True)


def test_a_refusal_shows_the_candidates() -> None:
    wired = apart()
    wired.ask("n1", 1, "switchover", target="n9")
    ((reply),) = wired.replies(1)
    assert (reply.code, [c["node"] for c in reply.result["candidates"]]) == ("usage", list(THREE))


def test_a_follower_says_that_it_does_not_lead() -> None:
    wired = apart()
    wired.ask("n2", 1, "failover")
    assert [(reply.code, reply.message) for reply in wired.replies(1)] == [("unavailable", "n1 leads by now")]


def test_of_two_moves_at_once_the_first_wins() -> None:
    wired = apart()
    wired.isolate("n1")
    wired.ask("n1", 1, "switchover", target="n2")
    wired.ask("n1", 2, "switchover", target="n1")
    assert wired.replies(1) == wired.replies(2) == []
    wired.cut.clear()
    wired.run(TIMING.heartbeat_s * 2)
    assert [reply.code for reply in wired.replies(1)] == [""]
    assert [reply.code for reply in wired.replies(2)] == ["refused"]


def test_a_cancelled_failback_is_no_operation() -> None:
    wired = apart()
    wired.ask("n1", 1, "cancel_failback")
    assert [(reply.code, reply.result["operation"]) for reply in wired.replies(1)] == [("", None)]
    assert wired.nodes["n1"].state.placements.get("main").failback_cancelled


def test_requests_that_wait_for_the_log_have_a_limit_and_are_told_when_leadership_is_lost() -> None:
    wired = apart()
    wired.isolate("n1")
    for request in range(ASKS_MAX + 1):
        wired.ask("n1", request, "cancel_failback")
    assert [(reply.request, reply.code) for _, reply in wired.done(Reply)] == [(ASKS_MAX, "unavailable")]
    wired.run(2 * TIMING.election_s + 1.0)
    told = {reply.request: reply.code for _, reply in wired.done(Reply) if reply.request < ASKS_MAX}
    assert told == dict.fromkeys(range(ASKS_MAX), "unknown_outcome")


def test_of_moves_only_those_are_remembered_that_the_state_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placements, "OPERATIONS_MAX", 2)
    wired = apart()
    for request, target in enumerate(("n1", "n2", "n3", "n1", "n2")):
        wired.ask("n1", request, "switchover", target=target)
        assert wired.until(lambda target=target: wired.owner() == target and wired.running() == [target])  # type: ignore[misc]
        wired.run(1.0)
    assert len(wired.nodes["n1"].placer._operations_seen) <= 3


def test_while_leadership_changes_hands_nothing_is_taken() -> None:
    wired = apart()
    wired.cut = {("n1", "n2"), ("n2", "n1")}
    consensus = wired.nodes["n1"].consensus
    acknowledge(wired, "n2")
    assert consensus.transfer("n2", wired.now)
    wired.ask("n1", 1, "switchover", target="n1")
    assert [reply.code for reply in wired.replies(1)] == ["unavailable"]


def test_a_heartbeat_alone_decides_nothing() -> None:
    wired = apart()
    wired.run(30.0)
    assert [command for _, effect in wired.done(StartWorkload) for command in [effect]] == []
    commands = {
        type(entry.command)
        for _, message in sent(Append, [effect for _, _, effect in wired.effects])
        for entry in message.entries
    }
    assert commands == {Proven}, "but for the word that it is well where it runs, once"
