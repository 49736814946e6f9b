"""The story: start the nodes, kill a machine, bring it back, switch over, fail back; measured from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mltbctl.client import Client
from mltbctl.demo.answers import Answer, tally
from mltbctl.demo.cluster import LEASE_S
from mltbctl.demo.report import Report, Step
from mltbctl.demo.runs import Run, now_ns, overlaps
from mltbctl.demo.signs import Signs, phases, seconds
from mltbctl.demo.stage import Stage
from mltbctl.demo.stand_in import Sender, StandInError
from mltbctl.demo.timeline import Timeline
from mltbctl.demo.watch import Picture, Watch
from mltbctl.errors import MltbError, NoQuorum, Refused, Unreachable

RATE = 10.0
"""Questions a second."""
# Bounds: what has not come true by then counts as failed.
FORMED_S = 45.0
MOVED_S = 30.0
BACK_S = 45.0
ANSWERED_S = 15.0
CALM_S = 1.0
"""Traffic without trouble before and after each step."""
NO_QUORUM_S = LEASE_S + 1.5
"""How long too few nodes are watched to see that they start nothing."""
_TICK_S = 0.02
_RETRY_S = 0.25
_CALL_S = 5.0

_T = TypeVar("_T")


class StepFailed(Exception):
    """Something promised did not come true in time."""


@dataclass(slots=True)
class Story:
    """One telling of it. `tell` never raises for what the cluster does; that ends up in the report."""

    stage: Stage
    watch: Watch
    sender: Sender
    timeline: Timeline
    kill: str
    rounds: int
    calm_s: float = CALM_S

    def tell(self) -> Report:
        """Plays all steps. The nodes run on afterwards."""
        steps: list[Step] = []
        killed: list[Run] = []
        error = ""
        try:
            self._found()
            while self.kill != "none" and len(steps) < self.rounds:
                steps.append(self._kill_one(killed))
            steps += self._moves()
            self._pass(self.calm_s)
        except (StepFailed, MltbError, StandInError, OSError) as failure:
            error = str(failure)
            self.timeline.say(error, "no", paint="red")
        try:
            self.sender.finish(CALM_S if error else ANSWERED_S)
        except StandInError as failure:
            error = error or str(failure)
        self.timeline.clear()
        runs = self.stage.runs()
        # A run's record is read again: it may have been stamped once more after the kill was measured.
        ends = [run for run in runs if run.pid in {dead.pid for dead in killed}]
        return Report(
            nodes=len(self.stage.cluster.nodes),
            steps=steps,
            messages=tally(self.sender.sent, self.sender.answers, ends),
            overlaps=overlaps(runs),
            runs=runs,
            conflicts=self._conflicts(),
            seconds=self.timeline.seconds,
            error=error,
        )

    # The steps

    def _found(self) -> None:
        cluster = self.stage.cluster
        ports = ", ".join(str(plan.port) for plan in cluster.plans.values())
        self.timeline.say(f"starting {_nodes(len(cluster.nodes))} on 127.0.0.1, ports {ports}", "running")
        began = now_ns()
        for node in cluster.nodes:
            cluster.start(node)
        self.sender.start()
        picture = self._settled(cluster.nodes, began, FORMED_S, "the cluster has formed and runs the bot")
        self.timeline.say(
            f"{picture.leader} leads in term {picture.term}, {picture.owner} runs the bot, token {picture.token}",
            "ok",
        )
        run = self._until("the bot runs", FORMED_S, lambda: self._last_run(after_ns=began))
        self._first_answer(run)
        self._pass(self.calm_s)

    def _kill_one(self, killed: list[Run]) -> Step:
        cluster = self.stage.cluster
        before = self._settled(cluster.nodes, now_ns(), BACK_S, "all nodes agree")
        assert before.owner is not None  # Settled: the workload runs somewhere.
        assert before.leader is not None
        victim = before.leader if self.kill == "leader" else before.owner
        old = self._until("the bot runs", ANSWERED_S, lambda: self._last_run(node=before.owner))
        at_ns = now_ns()
        count = cluster.kill(victim)
        if victim == before.owner:
            killed.append(old)
        self.timeline.say(f"killed {victim}: all its {count} processes, {_roles(victim, before)}", "dead", paint="red")
        survivors = [node for node in cluster.nodes if node != victim]
        goes_on = len(survivors) > len(cluster.nodes) // 2
        if goes_on:
            step = self._taken_over(before, victim, old, survivors, at_ns)
            self._pass(self.calm_s)
            cluster.start(victim)
            self.timeline.say(f"{victim} is switched on again", "running")
        else:
            step = self._stood_still(victim, old, at_ns)
        self._settled(cluster.nodes, now_ns(), BACK_S, f"{victim} is back")
        self.timeline.say(f"{victim} is back: {len(cluster.nodes)} of {len(cluster.nodes)} nodes take part", "ok")
        self._pass(self.calm_s)
        return step

    def _stood_still(self, victim: str, old: Run, at_ns: int) -> Step:
        self.timeline.say("too few nodes are left to decide anything: nobody may start the bot", "waiting")
        self._pass(NO_QUORUM_S)
        if self._last_run(after_ns=old.first_ns) is not None:
            raise StepFailed("the bot was started without a quorum")
        on_ns = now_ns()
        self.stage.cluster.start(victim)
        self.timeline.say(f"nobody did; {victim} is switched on again", "running")
        new = self._until("the bot runs again", BACK_S, lambda: self._last_run(after_ns=old.first_ns))
        answered = self._first_answer(new)
        step = Step(
            kind=self.kill,
            source=old.node,
            target=new.node,
            downtime_s=seconds(self._end_of(old), new.first_ns),
            unanswered_s=self._silence(old, answered),
            phases=phases(("off", "start", "answer"), [at_ns, on_ns, new.first_ns, answered.at_ns]),
            killed=victim,
        )
        self._say_moved(step)
        return step

    def _taken_over(self, before: Picture, victim: str, old: Run, survivors: Sequence[str], at_ns: int) -> Step:
        signs = Signs(self.watch, survivors, before, victim, at_ns)
        if victim != old.node:
            return self._led_anew(signs, old)

        def find() -> Run | None:
            signs.tell(self.timeline)
            return self._last_run(after_ns=old.first_ns)

        new = self._until("the bot runs again", MOVED_S, find)
        answered = self._first_answer(new)
        noticed, elected = signs.noticed(), signs.elected()
        marks = [at_ns, noticed, signs.granted(), new.first_ns, answered.at_ns]
        step = Step(
            kind=self.kill,
            source=old.node,
            target=new.node,
            downtime_s=max(seconds(self._end_of(old), new.first_ns), 0.0),
            unanswered_s=self._silence(old, answered),
            detect_s=None if noticed is None else seconds(at_ns, noticed),
            leader_s=None if elected is None else seconds(at_ns, elected),
            phases=phases(("detect", "lease", "start", "answer"), marks),
            killed=victim,
        )
        self._say_moved(step)
        return step

    def _led_anew(self, signs: Signs, old: Run) -> Step:
        elected = self._until("a new leader", MOVED_S, signs.elected)
        signs.tell(self.timeline)
        self._pass(LEASE_S)
        if self._last_run(after_ns=old.first_ns) is not None:
            raise StepFailed(f"the bot on {old.node} was moved or restarted though its node is well")
        self.timeline.say(f"the bot on {old.node} runs on, as if nothing had happened", "ok", paint="green")
        noticed = signs.noticed()
        return Step(
            kind=self.kill,
            source=old.node,
            target=old.node,
            downtime_s=0.0,
            detect_s=None if noticed is None else seconds(signs.at_ns, noticed),
            leader_s=seconds(signs.at_ns, elected),
            killed=signs.victim,
        )

    def _moves(self) -> list[Step]:
        nodes = self.stage.cluster.nodes
        if len(nodes) == 1:
            return []
        owner = self._settled(nodes, now_ns(), BACK_S, "all nodes agree").owner
        # Failback leads to n1, so the bot has to be elsewhere before it.
        others = [node for node in nodes if node not in ("n1", owner)]
        if others:
            return [self._move("switchover", others[0]), self._move("failback", "n1")]
        if owner == "n1":
            return [self._move("switchover", nodes[1]), self._move("failback", "n1")]
        return [self._move("failback", "n1"), self._move("switchover", nodes[1])]

    def _move(self, kind: str, target: str) -> Step:
        nodes = self.stage.cluster.nodes
        before = self._settled(nodes, now_ns(), BACK_S, "all nodes agree")
        assert before.owner is not None  # Settled: the workload runs somewhere.
        old = self._until("the bot runs", ANSWERED_S, lambda: self._last_run(node=before.owner))
        self.timeline.say(f"{kind} from {before.owner} to {target}", "running")
        sockets = [str(self.stage.cluster.plans[node].socket) for node in nodes]
        with Client(*sockets, timeout=_CALL_S) as client:
            operation = self._ask(client, kind, target)
            new = self._until(
                f"the {kind} to {target}",
                MOVED_S,
                lambda: self._last_run(node=target, after_ns=old.first_ns),
            )
            answered = self._first_answer(new)
            taken = self._until(f"the end of the {kind}", MOVED_S, lambda: _ended_phases(client, operation))
        step = Step(
            kind=kind,
            source=before.owner,
            target=new.node,
            downtime_s=max(seconds(self._end_of(old), new.first_ns), 0.0),
            unanswered_s=self._silence(old, answered),
            phases=taken,
            operation=operation,
        )
        self._say_moved(step)
        self._pass(self.calm_s)
        return step

    def _ask(self, client: Client, kind: str, target: str) -> int:
        refusal = ""

        def begin() -> int | None:
            nonlocal refusal
            try:
                if kind == "failback":
                    return int(client.failback(reason="demo")["operation"])
                return int(client.switchover(target, reason="demo")["operation"])
            except (Refused, NoQuorum, Unreachable) as error:
                # A node that was just switched on may have to catch up first.
                refusal = error.message
                time.sleep(_RETRY_S)
                return None

        try:
            return self._until(f"the {kind} to {target}", BACK_S, begin)
        except StepFailed as failure:
            raise StepFailed(f"{failure}: {refusal}") from failure

    # Looking

    def _until(self, what: str, bound_s: float, find: Callable[[], _T | None]) -> _T:
        deadline = time.monotonic() + bound_s
        while (found := find()) is None:
            for node, code in self.stage.cluster.ended().items():
                raise StepFailed(f"{node} ended by itself with exit code {code}")
            if time.monotonic() > deadline:
                raise StepFailed(f"not within {bound_s:g} s: {what}")
            self._refresh()
            time.sleep(_TICK_S)
        return found

    def _pass(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._refresh()
            time.sleep(_TICK_S)

    def _refresh(self) -> None:
        latest = self.watch.latest().values()
        owners = {view.picture.owner for view in latest if view.picture and view.picture.workload == "RUNNING"}
        names = ", ".join(sorted(owner for owner in owners if owner)) or "nobody"
        sent, missing = len(self.sender.sent), len(self.sender.missing())
        self.timeline.refresh(f"sent {sent}   answered {sent - missing}   waiting {missing}   bot on {names}")

    def _settled(self, nodes: Collection[str], since_ns: int, bound_s: float, what: str) -> Picture:
        def agreed() -> Picture | None:
            pictures = self.watch.pictures(since_ns, nodes)
            if len(pictures) < len(nodes) or not all(found.is_settled(nodes) for found in pictures.values()):
                return None
            agreed = {(found.leader, found.owner, found.token) for found in pictures.values()}
            return next(iter(pictures.values())) if len(agreed) == 1 else None

        return self._until(what, bound_s, agreed)

    def _last_run(self, *, node: str | None = None, after_ns: int = 0) -> Run | None:
        runs = [run for run in self.stage.runs() if run.first_ns > after_ns and node in (None, run.node)]
        return runs[-1] if runs else None

    def _end_of(self, run: Run) -> int:
        return next(found.last_ns for found in self.stage.runs() if found.pid == run.pid)

    def _first_answer(self, run: Run) -> Answer:
        def find() -> Answer | None:
            return next((answer for answer in list(self.sender.answers) if answer.pid == run.pid), None)

        return self._until(f"the bot on {run.node} answers", ANSWERED_S, find)

    def _silence(self, old: Run, first: Answer) -> float | None:
        last = [answer.at_ns for answer in list(self.sender.answers) if answer.pid == old.pid]
        return seconds(last[-1], first.at_ns) if last else None

    def _conflicts(self) -> int:
        try:
            return self.stage.stand_in.counters()["conflicts"]
        except StandInError:
            return 0

    def _say_moved(self, step: Step) -> None:
        silence = "" if step.unanswered_s is None else f", {step.unanswered_s:.2f} s from answer to answer"
        self.timeline.say(f"{step.target} runs the bot: down {step.downtime_s:.2f} s{silence}", "ok", paint="green")


def _ended_phases(client: Client, operation: int) -> dict[str, float] | None:
    found = client.operation(operation)
    if found["state"] == "failed":
        raise StepFailed(f"operation {operation} failed: {found.get('error')}")
    if found["state"] != "done":
        return None
    return {phase["name"]: float(phase["seconds"] or 0.0) for phase in found["phases"]}


def _roles(node: str, picture: Picture) -> str:
    roles = [name for name, who in (("leader", picture.leader), ("owner of the bot", picture.owner)) if who == node]
    return " and ".join(roles)


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"
