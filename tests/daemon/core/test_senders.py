"""Frames that are not heard: of an earlier run, of another cluster, with numbers that cannot be honest."""

from __future__ import annotations

from dataclasses import replace

from mltb_transport.messages import Append, Election, Message, Ping, Sync
from mltbd.core.events import Received
from mltbd.core.senders import LEAP_MAX, SENDERS_MAX, Senders
from tests.daemon.core.core_kit import TIMING
from tests.daemon.core.node_kit import Wired

LAST = 2**63 - 1
"""What the wire can carry."""
PING = Ping(1)


def heard(senders: Senders, sender: str, incarnation: int = 1, message: Message = PING, cluster: str = "c1") -> str:
    return senders.why_not(Received(sender, incarnation, cluster, message), "n1", "c1", 7)


def test_a_run_that_is_over_is_not_heard() -> None:
    senders = Senders()
    assert [heard(senders, "n2", incarnation) for incarnation in (4, 5, 4, 5, 6)] == ["", "", "stale", "", ""]
    assert heard(senders, "n3", 4) == ""


def test_nor_is_another_cluster_or_oneself() -> None:
    senders = Senders()
    assert heard(senders, "n2", cluster="c2") == "foreign"
    assert heard(senders, "n1") == "foreign"
    assert heard(senders, "n2", cluster="") == "", "it belongs to none yet"


def test_the_senders_remembered_have_a_limit_and_those_that_are_known_stay() -> None:
    senders = Senders()
    for number in range(SENDERS_MAX):
        heard(senders, f"x{number}", 5)
    assert [heard(senders, "one-too-many", run) for run in (5, 4)] == ["", ""]
    assert heard(senders, "x7", 4) == "stale"


def test_a_term_that_no_elections_led_to_is_not_taken_over() -> None:
    senders = Senders()
    assert heard(senders, "n2", message=Election(7 + LEAP_MAX, "vote", 1, 1, 100)) == ""
    assert heard(senders, "n2", message=Election(8 + LEAP_MAX, "vote", 1, 1, 100)) == "leap"


def test_a_run_that_no_starts_led_to_is_not_taken_over() -> None:
    senders = Senders()
    runs = (LEAP_MAX + 1, 3, 4 + LEAP_MAX, 3 + LEAP_MAX)
    assert [heard(senders, "n2", run) for run in runs] == ["leap", "", "leap", ""]


def test_one_frame_in_anothers_name_does_not_end_all_elections() -> None:
    """Nor does what a broken node tells of others by gossip."""
    wired = Wired("n1", "n2", "n3").settled()
    lie = replace(wired.nodes["n2"].membership.own, incarnation=2**61, seq=1)
    wired.feed("n1", Received("n2", 2**61, "c1", PING))
    wired.feed("n1", Received("n3", wired.nodes["n3"].incarnation, "c1", Sync((lie,), reply=False)))
    wired.stop("n3")
    assert wired.until(lambda: wired.leader() != "" and wired.running() != [], 20.0)
    wired.run(5.0)
    assert wired.leader() != ""
    states = {member.record.node: member.state for member in wired.nodes["n1"].membership.members(wired.now)}
    assert states["n2"] == "ACTIVE"


def test_one_broken_node_does_not_end_all_elections() -> None:
    wired = Wired("n1", "n2", "n3").settled()
    term = wired.nodes["n1"].consensus.term
    for message in (Election(LAST, "vote", LAST, LAST, 1000), Append(LAST, 1, 0, 0, 0, (), ())):
        for node in ("n1", "n2"):
            wired.hear(node, "n3", message)
    assert [wired.nodes[node].consensus.term for node in ("n1", "n2")] == [term, term]
    assert wired.nodes["n1"].counters == {"leap": 2}
    wired.isolate("n1")
    assert wired.until(lambda: wired.nodes["n2"].consensus.leader in ("n2", "n3"), 20 * TIMING.election_s)
