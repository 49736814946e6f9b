"""What a node does as an owner: hold the lease, run the workload while it is held, and let go in the right order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mltb_transport.messages import Command, Release, Renew, Renewed, Settled, Started
from mltb_transport.records import WorkloadView
from mltb_transport.supervision import Proven
from mltbd.core.copies import DRAINED
from mltbd.core.effects import Arm
from mltbd.core.events import Checked, GuardSays, HookEnded
from mltbd.core.health import DETAIL_CHARS_MAX, HEALTHY, NODE, UNHEALTHY, Health
from mltbd.core.hook_log import HookLog
from mltbd.core.lease import Hold, deadline
from mltbd.core.outbox import Outbox
from mltbd.core.retreat import has_failed
from mltbd.core.timing import Timing
from mltbd.core.workload import FAILED, RUNNING, STARTING, STOPPED, Patience, Workload
from mltbd.state.copies import is_copy
from mltbd.state.placements import Placement

SETTLED_S = 60.0
"""After this long, and no sooner than its checks can tell, a placement has proven itself: earlier failed attempts are
forgotten."""


@dataclass(slots=True)
class Letting:
    """A token this node has given back, or is about to: it never runs here again."""

    release: Release
    stop_at: float | None  # when its planned stop began; down since then, until the leader hears of it
    tell_at: float = float("-inf")

    @property
    def token(self) -> int:
        return self.release.token


class Owner:
    """All workloads of this node. `tick` drives it; requests for the leader are taken with `requests`."""

    def __init__(
        self,
        me: str,
        names: tuple[str, ...],
        timing: Timing,
        patience: Patience,
        out: Outbox,
        first_number: int,
        granted_after: int,
        health: Health | None = None,
        *,
        enforced: bool = True,
    ) -> None:
        """`enforced`: without a confirmed renewal a workload stops. Else it runs on, beside another one perhaps."""
        self.me = me
        self._enforced = enforced
        self.health = health or Health(())
        self.timing = timing
        self.workloads = {name: Workload(name, patience) for name in names}
        self.holds: dict[str, Hold] = {}
        self.leaving = False
        self.drained = False  # copies stop here; what can run elsewhere is moved by the leader
        self._out = out
        self._nonce = first_number
        self._granted_after = granted_after  # tokens up to here were granted to an earlier incarnation
        self._untold = True  # nothing tells yet what an earlier disk of our name was granted
        self._adopted: set[tuple[str, int]] = set()
        self._letting: dict[str, Letting] = {}
        self._started_tell_at: dict[str, float] = {}
        self._settle_at: dict[str, float] = {}
        self._prove_at: dict[str, float] = {}
        self._hooks = HookLog(timing.renew_s)
        self._requests: list[Renew | Command] = []
        self._ticked_at = float("-inf")

    # -- what the node asks ----------------------------------------------------------------------------------

    def ready(self, now: float) -> tuple[str, ...]:
        """The workloads that could be placed here now."""
        if self.leaving or self._untold or self.health.of(NODE) == UNHEALTHY:
            return ()
        return tuple(name for name, workload in self.workloads.items() if now >= workload.cool_until)

    @property
    def is_untold(self) -> bool:
        """It does not know yet which tokens an earlier disk of its name may have had."""
        return self._untold

    def begins_after(self, index: int) -> None:
        """What was granted up to here was granted to an earlier disk, if to any."""
        if self._untold:
            self._granted_after, self._untold = max(self._granted_after, index), False

    def idle(self) -> bool:
        """Nothing runs and nothing is left to tell the leader."""
        return not self._letting and not self.running()

    def running(self) -> bool:
        """Whether any process of ours may be alive."""
        return any(workload.alive for workload in self.workloads.values())

    def holds_now(self, name: str, now: float) -> bool:
        """Whether this node may prove that it runs `name` at this moment."""
        hold = self.holds.get(name)
        return hold is not None and self.workloads[name].state == RUNNING and now < hold.until

    def views(self, now: float) -> tuple[WorkloadView, ...]:
        return tuple(
            WorkloadView(
                name, workload.state, workload.token, workload.pid, workload.restarts,
                self._health_of(workload),
                workload.since, max(0.0, self.holds[name].until - now) if name in self.holds else 0.0,
                self.why(name),
            )
            for name, workload in self.workloads.items()
        )  # fmt: skip

    def _health_of(self, workload: Workload) -> str:
        if workload.state == RUNNING:
            return self.health.of(workload.name)
        return "UNKNOWN" if workload.state == STOPPED else "UNHEALTHY"

    def why(self, name: str) -> str:
        """What is wrong with this workload here, in words; empty when nothing is known to be."""
        workload = self.workloads[name]
        if workload.state == RUNNING:
            return "; ".join(self.health.troubles(name))
        return workload.ailing or workload.error

    def ask_again(self, at: float) -> None:
        """Renew by then: what was asked before may have been lost with a leader, or never had one to go to."""
        for hold in self.holds.values():
            hold.ask_at = min(hold.ask_at, at)

    def requests(self) -> list[Renew | Command]:
        taken, self._requests = self._requests, []
        return taken

    def next_deadline(self) -> float:
        times = [workload.next_deadline() for workload in self.workloads.values()]
        if self.holds:
            times += [hold.ask_at for hold in self.holds.values()]
        if self._letting:
            times += [letting.tell_at for letting in self._letting.values()]
        for told in (self._started_tell_at, self._settle_at, self._prove_at, self._hooks.tell_at):
            if told:
                times += told.values()
        # What was due at the last tick had its chance then: what it still waits for comes as an event.
        return min([time for time in times if time > self._ticked_at], default=float("inf"))

    # -- what happens ----------------------------------------------------------------------------------------

    def guard_says(self, says: GuardSays, now: float, wall: int) -> None:
        workload = self.workloads.get(says.workload)
        if workload is None:
            return  # No longer configured: its deadline will end it.
        adopted = says.what in ("starting", "running", "stopping") and not workload.alive
        workload.reported(says, now, wall, self._out, watched=self.health.watched(says.workload))
        if says.what == "running" and workload.state == RUNNING:
            self.health.begin(says.workload, now)
        if adopted and workload.token == says.token:
            self._adopted.add((says.workload, says.token))
            hold = self.holds.setdefault(says.workload, Hold(says.token))
            hold.until = max(hold.until, says.deadline)

    def hook_ended(self, event: HookEnded) -> None:
        how = f"after {event.seconds:.1f} s: {event.detail}" if event.detail else f"done in {event.seconds:.1f} s"
        self._out.note("info" if event.ok else "warning", f"{event.workload}: {event.hook} {how}")
        self._nonce += 1
        self._hooks.ended(event, self._nonce)

    def checked(self, report: Checked, now: float, wall: int) -> None:
        """A look at the node, or at a run; news of a run that is over says nothing about the present one."""
        if report.workload == NODE:
            self.health.heard(report, now)
            return
        workload = self.workloads.get(report.workload)
        if workload is None or workload.state != RUNNING:
            return
        if (workload.token, workload.pid) != (report.token, report.pid):
            return
        self.health.heard(report, now)
        verdict = self.health.of(report.workload)
        if verdict == UNHEALTHY:
            workload.ail("; ".join(self.health.troubles(report.workload)), wall, self._out)
        elif verdict == HEALTHY:
            workload.well(now, self.health.notices_s(workload.name))

    def renewed(self, answer: Renewed, wall: int) -> None:
        hold = self.holds.get(answer.workload)
        if hold is None:
            return
        if answer.ok:
            if hold.renewed(answer, self.timing):
                self._out.put(Arm(answer.workload, hold.token, hold.until))
        elif answer.token == hold.token and answer.nonce in hold.asked:
            if answer.cause != hold.over:
                self._out.note("warning", f"{answer.workload}: token {answer.token} is over: {answer.cause}")
            hold.over = answer.cause
            self.workloads[answer.workload].stop(wall, self._out)
            hold.asked.clear()
            hold.until = float("-inf")

    def tick(self, placements: dict[str, Placement], applied: int, now: float, wall: int) -> None:
        """Bring every workload in line with its placement, as far as the lease allows."""
        self._ticked_at = now
        for name, workload in self.workloads.items():
            placement = placements.get(name) or Placement(name)
            self._follow(workload, placement, applied, now, wall)
            self._renew(name, now)
            self._tell(workload, placement, now)
            self._tell_when_well(workload, placement, now)

    # -- one workload ----------------------------------------------------------------------------------------

    def _follow(self, workload: Workload, placement: Placement, applied: int, now: float, wall: int) -> None:
        name = workload.name
        if workload.alive and workload.token > applied:
            self._claim(name, workload.token)  # Adopted from the guard; our log has not caught up with it.
            return
        mine = placement.owner == self.me
        if workload.alive and not (mine and workload.token == placement.token):
            self.holds.pop(name, None)  # Superseded: nothing may prolong it.
            workload.stop(wall, self._out)
            return
        if not mine:
            self._forget(workload, wall)
            if has_failed(placement, workload.patience.attempts_max):
                workload.pardon()
            return
        letting = self._letting.get(name)
        if letting is not None and letting.token == placement.token:
            return  # Given back; it must not start again under this token.
        self._letting.pop(name, None)  # Taken back, and granted anew since.
        cause = self._why_let_go(workload, placement)
        if cause:
            self._let_go(workload, placement, cause, now, wall)
            return
        hold = self._claim(name, placement.token)
        grace_s = self.timing.within(hold.lease_s).grace_s
        if not workload.alive and workload.may_start(now) and now + grace_s < hold.until:
            self._out.note("info", f"{name}: starts under token {placement.token}")
            hold.stop_at = None  # Whatever it was stopped for is over.
            workload.start(placement.token, grace_s, wall, self._out)

    def _forget(self, workload: Workload, wall: int) -> None:
        """Somebody else's, or nobody's."""
        known: dict[str, Any]
        for known in (self.holds, self._letting, self._started_tell_at, self._settle_at, self._prove_at):
            if known:
                known.pop(workload.name, None)
        workload.stop(wall, self._out)

    def _claim(self, name: str, token: int) -> Hold:
        hold = self.holds.get(name)
        if hold is None or hold.token != token:
            hold = self.holds[name] = Hold(token)
        return hold

    def _why_let_go(self, workload: Workload, placement: Placement) -> str:
        if placement.asked_to_move:
            return "moved"
        if self.leaving:
            return "leaving"
        if self.drained and is_copy(workload.name):
            return DRAINED
        if workload.state == FAILED:
            return "failed"
        ours = placement.token > self._granted_after and not self._untold
        fresh = ours or (workload.name, placement.token) in self._adopted
        # An earlier incarnation may have given this token back in a message that is still on its way.
        return "" if fresh else "restarted"

    def _let_go(self, workload: Workload, placement: Placement, cause: str, now: float, wall: int) -> None:
        """Stop it; once the guard has reported it gone, give the token back."""
        if workload.alive:
            if workload.state == RUNNING and workload.name in self.holds:
                self.holds[workload.name].stop_at = now
            workload.stop(wall, self._out)
            return  # The lease is still renewed: a long stop is not a lost owner.
        hold = self.holds.pop(workload.name, None)
        detail = workload.error[:DETAIL_CHARS_MAX] if cause == "failed" else ""
        release = Release(workload.name, placement.token, cause, detail=detail)
        self._letting[workload.name] = Letting(release, hold.stop_at if hold is not None else None, now)
        workload.stop(wall, self._out)

    def _renew(self, name: str, now: float) -> None:
        hold = self.holds.get(name)
        if hold is not None and now >= hold.ask_at:
            self._nonce += 1
            self._requests.append(hold.renew(name, self._nonce, now, self.timing))
            if not self._enforced:
                self._run_on(self.workloads[name], hold, now)

    def _run_on(self, workload: Workload, hold: Hold, now: float) -> None:
        """The risk that was accepted: what runs goes on without anybody's word. Nothing is ever started so."""
        if workload.state in (STARTING, RUNNING) and workload.token == hold.token:
            hold.until = max(hold.until, deadline(now, self.timing))
            self._out.put(Arm(workload.name, hold.token, hold.until))

    def _tell(self, workload: Workload, placement: Placement, now: float) -> None:
        """Keep telling the leader until the log shows that it has heard."""
        name = workload.name
        self._requests += self._hooks.due(placement, now)
        letting = self._letting.get(name)
        if letting is not None and now >= letting.tell_at:
            letting.tell_at = now + self.timing.renew_s
            took_s = 0.0 if letting.stop_at is None else now - letting.stop_at
            self._requests.append(replace(letting.release, took_s=took_s))
        running = workload.state == RUNNING and placement.token == workload.token
        if not running or placement.started:
            self._started_tell_at.pop(name, None)
        elif now >= self._started_tell_at.get(name, now):
            self._started_tell_at[name] = now + self.timing.renew_s
            self._requests.append(Started(name, workload.token))

    def _tell_when_well(self, workload: Workload, placement: Placement, now: float) -> None:
        name = workload.name
        running = workload.state == RUNNING and placement.token == workload.token
        well = running and self.health.of(name) == HEALTHY
        if not well or not placement.attempts:
            self._settle_at.pop(name, None)
        elif now >= self._settle_at.setdefault(name, now + max(SETTLED_S, self.health.notices_s(name))):
            self._settle_at[name] = now + SETTLED_S
            self._requests.append(Settled(name, workload.token))
        if not well or placement.proven == self.me:
            self._prove_at.pop(name, None)
        elif now >= self._prove_at.setdefault(name, now + max(workload.patience.steady_s, self.health.notices_s(name))):
            self._prove_at[name] = now + max(self.timing.renew_s, workload.patience.steady_s)
            self._requests.append(Proven(name, workload.token))
