"""The leader's desk for operators: each request is judged, written to the log, and answered once that has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mltb_transport.messages import Entry, Move
from mltbd.core.consensus import Consensus
from mltbd.core.copies import refusal
from mltbd.core.effects import Reply
from mltbd.core.events import Ask
from mltbd.core.failover import Facts, Policy
from mltbd.core.holding import CONTROL_VERBS, judge_control
from mltbd.core.operator import Verdict, candidates_of, crowded, judge
from mltbd.core.outbox import Outbox
from mltbd.state.machine import State

ASKS_MAX = 64


class Desk:
    """Every request gets exactly one Reply. What waits is dropped, with an answer, when the reign ends."""

    def __init__(
        self,
        policy: Policy,
        consensus: Consensus,
        state: State,
        out: Outbox,
        facts: Callable[[str, float], Facts],
    ) -> None:
        self.policy = policy
        self._consensus = consensus
        self._state = state
        self._out = out
        self._facts = facts
        self._asks: dict[int, tuple[Ask, dict[str, Any]]] = {}  # log index -> who waits for it, with what answer

    def asked(self, ask: Ask, workloads: list[str], quorum: str, now: float, wall: int) -> None:
        """A request to a leader whose state is current. `workloads`: all that are known; `quorum`: in words."""
        if ask.verb in CONTROL_VERBS:
            self._control(ask, workloads, now, wall)
        else:
            self._move(ask, quorum, now, wall)

    def _move(self, ask: Ask, quorum: str, now: float, wall: int) -> None:
        facts = self._facts(ask.workload, now)
        placements = self._state.placements
        verdict = refusal(ask, placements) or crowded(ask, placements) or judge(ask, facts, self.policy)
        result: dict[str, Any] = {
            "operation": verdict.operation, "workload": ask.workload, "from": facts.placement.owner or None,
            "to": verdict.target or None, "message": verdict.message, "at": self._state.applied,
            "plan": {"quorum": quorum, "candidates": candidates_of(facts)},
        }  # fmt: skip
        self._carry_out(ask, verdict, result, {"candidates": candidates_of(facts)}, now, wall)

    def _control(self, ask: Ask, workloads: list[str], now: float, wall: int) -> None:
        places = {name: self._facts(name, now) for name in workloads}
        reign = self._consensus.reign
        known = sorted({self._consensus.me, *(reign.peers if reign is not None else ()), *self._consensus.voters})
        verdict = judge_control(ask, self._state.controls, known, places)
        result: dict[str, Any] = {
            "node": verdict.target or None, "message": verdict.message, "changed": False, "at": self._state.applied,
        }  # fmt: skip
        able = {"candidates": [c for name in sorted(places) for c in candidates_of(places[name], name)]}
        self._carry_out(ask, verdict, result, able if ask.verb == "drain" else {}, now, wall)

    def _carry_out(
        self, ask: Ask, verdict: Verdict, result: dict[str, Any], refused: dict[str, Any], now: float, wall: int
    ) -> None:
        if verdict.code or ask.dry_run or verdict.command is None:
            extra = result if not verdict.code else refused
            self._out.put(Reply(ask.request, verdict.code, verdict.message, verdict.hint, extra))
            return
        index = self._consensus.propose(verdict.command, now, wall) if len(self._asks) < ASKS_MAX else None
        if index is None:
            self._out.put(Reply(ask.request, "unavailable", "leadership is changing hands", "try again"))
            return
        self._asks[index] = (ask, result)

    def applied(self, entry: Entry) -> None:
        """An entry took effect: whoever waits for it is told."""
        if entry.index not in self._asks:
            return
        ask, result = self._asks.pop(entry.index)
        operation = self._state.placements.operations.get(entry.index)
        if isinstance(entry.command, Move) and operation is not None:
            if operation.error:
                self._out.put(Reply(ask.request, "refused", operation.error, "mltbctl status"))
                return
            result["operation"] = entry.index
        if "changed" in result:
            result["changed"] = self._state.controls.changed == entry.index
        result["at"] = entry.index
        self._out.put(Reply(ask.request, result=result))

    def drop(self) -> None:
        """The reign is over: what waited has no certain end."""
        for ask, _ in self._asks.values():
            why = "leadership was lost: the request may or may not have taken effect"
            self._out.put(Reply(ask.request, "unknown_outcome", why, "mltbctl status"))
        self._asks.clear()
