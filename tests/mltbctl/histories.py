"""Histories as a daemon would tell them: real entries, applied and shown by the daemon's own code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mltb_transport.history import Phase
from mltb_transport.messages import Abandon, Command, Entry, Founding, Grant, Move, NoOp, Release, Started
from mltb_transport.voters import Voter
from mltbd.runtime.history_control import METHODS
from mltbd.state.machine import State
from tests.mltbctl.fake_daemon import Answer, Refusal

WALL_MS = 1_790_000_000_000
FOUNDED: list[Command] = [
    Founding("3f0c", "homelab", (Voter("n1", "d1"), Voter("n2", "d2"), Voter("n3", "d3"))),
    NoOp("n1", "silence", ("n1", "n2"), (Phase("detect", 0.0), Phase("election", 0.2))),
    Grant("main", "n1", "placement", choice="n1 comes before n2: priority 100 over 90"),
    Started("main", 3, 0.41),
]
LOST: list[Command] = [
    NoOp("n2", "silence", ("n2", "n3"), (Phase("detect", 1.02), Phase("election", 0.24))),
    Grant(
        "main", "n2", "failover", "n1 is lost", "n2 comes before n3: priority 90 over 80 (n1: unreachable for 3.0 s)",
        (Phase("detect", 1.02), Phase("election", 0.24), Phase("lease", 1.74), Phase("grant", 0.01)),
    ),
    Started("main", 6, 0.38),
]  # fmt: skip
LOST_BY_HAND: list[Command] = [
    Move("main", 3, "n2", "failover", "failover is manual", "ann@desk"),
    Grant("main", "n2", "failover", "", "n2 is where the failover leads", (Phase("detect", 1.0), Phase("lease", 2.0))),
    Started("main", 6, 0.38),
]
BY_HAND: list[Command] = [
    Move("main", 6, "n3", "switchover", "new disk", "ann@desk"),
    Release("main", 6, "moved", 1.3),
    Grant("main", "n3", "switchover", "", "n3 is where the switchover leads", (Phase("grant", 0.02),)),
    Started("main", 10, 0.35),
]
ABANDONED: list[Command] = [
    Move("main", 10, "n1", "switchover", "", "ann@desk"),
    Abandon("main", 12, "n3 did not stop within 30 s"),
]
LEFT: list[Command] = [
    Release("main", 10, "leaving"),
    Grant("main", "n2", "handover", "n3 leaves", "n2 is the only node that can", (Phase("grant", 0.03),)),
]

GIVEN_UP: list[Command] = [
    Release("main", 3, "failed", detail="exit code 1"),
    Grant("main", "n2", "failover", "it fails on n1", "n2 comes before n3", (Phase("grant", 0.001),)),
    Started("main", 6, 0.4),
]
CAME_BACK: list[Command] = [
    Release("main", 3, "restarted"),
    Grant("main", "n1", "placement", "its machine came back", "n1 comes before n2", (Phase("grant", 0.001),)),
    Started("main", 6, 0.04),
]
NOBODY_KNOWS: list[Command] = [
    NoOp("n2", "restart", ("n2", "n3"), (Phase("election", 0.24),)),
    Grant(
        "main", "n2", "failover", "n1 is lost", "n2 comes before n3: priority 90 over 80 (n1: unreachable)",
        (Phase("election", 0.24), Phase("lease", 3.0), Phase("grant", 0.01)),
    ),
    Started("main", 6, 0.38),
]  # fmt: skip
"""All machines were without power, and n1 did not come back."""


def tell(*commands: Command) -> dict[str, Answer]:
    """The answers of a daemon that has applied these, one entry every ten minutes from 2026-09-21 on."""
    state = State()
    for index, command in enumerate(commands, start=1):
        state.apply(Entry(index, 4, WALL_MS + index * 600_000 + 78, command))
    node: Any = SimpleNamespace(state=state, me="n2")

    def answered(method: str, params: dict[str, Any]) -> dict[str, Any]:
        ok, body = METHODS[method](node, params)
        if not ok:
            raise Refusal(**body)
        return body

    return {
        "events": lambda params: answered("events", params),
        "event": lambda params: answered("event", params),
    }


FORETOLD: dict[str, Any] = {
    "fault": "kill n1",
    "runs": 7,
    "leader": {"before": "n1", "after": [{"node": "n2", "runs": 7}]},
    "quorum": {"voters": 3, "needed": 2, "left": 2, "has_quorum": True},
    "workloads": [
        {
            "name": "main", "before": "n1", "after": [{"node": "n2", "runs": 7}],
            "downtime_seconds": {"min": 2.71, "max": 3.24}, "why_not": None,
        }
    ],
    "failure_tolerance": 0,
    "overlaps": 0,
    "lines": [
        "quorum: 2 of 3 voters are left, 2 are needed",
        "leader: n1 is followed by n2",
        "main: it moves from n1 to n2, down for 2.7 to 3.2 s",
        "then: not one more voter may be lost",
    ],
}  # fmt: skip


def foretell(params: dict[str, Any]) -> dict[str, Any]:
    """The answer of a daemon to `simulate`."""
    if params["fault"] != "kill n1":
        raise Refusal(code="usage", message=f"no node `{params['fault'][5:]}` here", hint="mltbctl simulate --help")
    return FORETOLD
