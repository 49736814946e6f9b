"""The words of the history and of the log: one table of events, one of choices."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import Grant
from mltbd.core import describe
from mltbd.core.failover import Candidate, Policy
from mltbd.state.audit import Event
from tests.daemon.core.placing_kit import facts, ill, moved, nodes, placed, well


def event(kind: str, **fields: Any) -> Event:
    return Event(7, kind, 0, 4, **({"workload": "main", "source": "n1", "node": "n2"} | fields))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (event("founding", reason="bots", votes=("n1", "n2")), "cluster bots founded with n1 n2"),
        (event("election", source=""), "n2 leads term 4: the first leader"),
        (event("election", cause="silence"), "n2 leads term 4: n1 was silent"),
        (event("election", cause="broken"), "n2 leads term 4: n1 was lost: its connections broke"),
        (event("election", cause="transfer"), "n2 leads term 4: n1 handed over"),
        (event("election", source="n2"), "n2 leads term 4 again: no quorum stood behind it for a while"),
        (event("election", source="n2", cause="restart"), "n2 leads term 4 again: its daemon began anew"),
        (event("placement", state="running"), "main is to start on n2"),
        (event("placement", reason="its machine came back"), "main starts on n2: its machine came back"),
        (event("failover", reason="n1 is lost"), "main moved from n1 to n2 (failover): n1 is lost"),
        (event("failover", state="running", source=""), "main is moving from nowhere to n2 (failover)"),
        (
            event("switchover", operator="ann@desk", reason="new disk"),
            "main moved from n1 to n2 (switchover, asked for by ann@desk): new disk",
        ),
        (
            event("switchover", state="failed", error="n1 did not stop"),
            "main was to move from n1 to n2 (switchover); failed: n1 did not stop",
        ),
        (event("release", cause="leaving"), "n1 gave main back: it is leaving"),
        (event("release", cause="moonlight"), "n1 gave main back: it moonlight"),
        (event("transfer", error="transfer to n3 given up"), "n2 goes on leading: transfer to n3 given up"),
        (event("cancel_failback", operator="ann@desk"), "no automatic failback of main, says ann@desk"),
        (
            event("pause", workload="", node="", operator="ann@desk", reason="kernel"),
            "no automatic moves, asked for by ann@desk: kernel",
        ),
        (event("node_drained", workload=""), "node drained n2"),
    ],
)
def test_every_event_has_its_sentence(told: Event, words: str) -> None:
    assert describe.sentence(told) == words


PLAIN = Policy()
ORDERED = Policy(preferred={"main": ("n2", "n1")})


@pytest.mark.parametrize(
    ("policy", "candidates", "words"),
    [
        (PLAIN, nodes(ill("n1"), "n2"), "n2 is the only node that can (n1: unreachable)"),
        (PLAIN, nodes("n2", "n3"), "n2 comes before n3: equal priority, and its name is the first"),
        (PLAIN, nodes(well("n2", 200), "n3"), "n2 comes before n3: priority 200 over 100"),
        (ORDERED, nodes("n1", "n2"), "n2 comes before n1: it stands first in the configured order"),
        (PLAIN, nodes("n2", well("n3", 200)), "n2 goes on; n3 would come first"),
        (PLAIN, nodes("n3"), ""),
    ],
)
def test_why_this_node(policy: Policy, candidates: tuple[Candidate, ...], words: str) -> None:
    assert describe.choice(policy, facts(placed("n1"), candidates), Grant("main", "n2", "failover")) == words


def test_where_an_operator_sent_it_needs_no_other_reason() -> None:
    asked = facts(placed(moving=20), operation=moved("n3"))
    assert describe.choice(PLAIN, asked, Grant("main", "n3", "switchover")) == "n3 is where the switchover leads"


def test_a_choice_among_many_stays_short() -> None:
    many = nodes("n2", *(Candidate(f"m{number}", 1, ("x" * 50,), 0.0) for number in range(60)))
    assert len(describe.choice(PLAIN, facts(placed("n1"), many), Grant("main", "n2", "failover"))) == 300
