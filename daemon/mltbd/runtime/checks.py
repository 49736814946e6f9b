"""Runs the checks of a node and its workloads, each in its own rhythm, and tells the core what they found."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from mltbd.config.checks import CheckSpec
from mltbd.config.settings import Settings
from mltbd.core.events import Checked, Event
from mltbd.core.health import HEALTHY, NODE, UNHEALTHY, UNKNOWN, Streak
from mltbd.core.node import Node
from mltbd.core.workload import BACKOFF, FAILED, RUNNING
from mltbd.runtime import views
from mltbd.runtime.check_kinds import Target, aside, look, sweep
from mltbd.runtime.clock import boottime
from mltbd.runtime.environment import Environment

AT_ONCE_MAX = 16
"""Checks that run at the same moment when all are asked for."""
NOTICE_S = 0.25
"""How soon a new run of a workload is noticed."""
log = logging.getLogger("mltbd")

Run = tuple[int, int]
"""Token and pid."""


class Checks:
    """`start` once, `close` at the end. Nothing here decides anything: what a result means, `core/health.py` knows."""

    def __init__(self, settings: Settings, environment: Environment, state_mark: str) -> None:
        """`state_mark`: of our state directory; other nodes of this machine may have our id."""
        self.specs = settings.checks
        self._workloads = {workload.name: workload for workload in settings.workloads}
        self._environment = environment
        self._family = f"check.{state_mark}"
        self._mark = f"{self._family}{os.urandom(4).hex()}."  # Of this run: the sweep at its start is for others.
        self._targets: dict[str, tuple[Run, Target]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._all: asyncio.Task[None] | None = None
        self._node: Node | None = None
        self._report: Callable[[Event], None] | None = None

    def start(self, node: Node, report: Callable[[Event], None]) -> None:
        self._node, self._report = node, report
        if self.specs:
            # Commands of a daemon that was killed in the middle of them have nobody else to end them.
            left = functools.partial(sweep, self._family, but=self._mark)
            self._tasks.append(asyncio.ensure_future(aside(("sweep", self._mark), left)))
        self._tasks += [asyncio.ensure_future(self._watch(spec)) for spec in self.specs]
        for task in self._tasks:
            task.add_done_callback(_ended)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def run_all(self) -> None:
        """Every check that has something to look at, now. Whoever asks meanwhile waits for the same round."""
        if self._all is None or self._all.done():
            self._all = asyncio.ensure_future(self._round())
        await asyncio.shield(self._all)

    async def _round(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(spec: CheckSpec) -> None:
            async with gate:
                run = run_of(self._must(), spec)
                if run is not None:
                    await self._once(spec, run)

        await asyncio.gather(*(one(spec) for spec in self.specs))

    # -- one check -------------------------------------------------------------------------------------------

    async def _watch(self, spec: CheckSpec) -> None:
        while True:
            run = run_of(self._must(), spec)
            if run is None:
                await asyncio.sleep(NOTICE_S)
                continue
            await self._once(spec, run)
            again_at = boottime() + spec.interval_s
            while (left_s := again_at - boottime()) > 0 and run_of(self._must(), spec) == run:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(min(left_s, NOTICE_S) if spec.workload else left_s)

    async def _once(self, spec: CheckSpec, run: Run) -> None:
        began = boottime()
        detail: str | None
        try:
            detail = await look(spec, self._target(spec, run))
        except Exception as error:  # Our own bug in a check must not look like good health.
            log.exception("check `%s` broke", spec.name)
            detail = f"the check itself broke: {error!r}"
        token, pid = run
        seconds = boottime() - began
        if self._report is not None and detail is not None:
            self._report(Checked(spec.workload, spec.name, not detail, detail, token, pid, seconds))

    def _target(self, spec: CheckSpec, run: Run) -> Target:
        """Kept for as long as the run lasts: a heartbeat is judged by what was seen before."""
        known = self._targets.get(spec.workload)
        if known is not None and known[0] == run:
            return known[1]
        if spec.workload == NODE:
            target = Target(self._environment.of_node(), self._mark)
        else:
            env = self._environment.of_workload(self._workloads[spec.workload], run[0])
            target = Target(env, self._mark, run[1], self._environment.beat_path(spec.workload))
        self._targets[spec.workload] = (run, target)
        return target

    def _must(self) -> Node:
        if self._node is None:
            raise RuntimeError("checks before their node")
        return self._node

    def view(self) -> dict[str, Any]:
        return view(self._must(), self.specs)


def run_of(node: Node, spec: CheckSpec) -> Run | None:
    """What there is to look at; None while the workload does not run here."""
    if spec.workload == NODE:
        return (0, 0)
    workload = node.owner.workloads.get(spec.workload)
    return (workload.token, workload.pid) if workload is not None and workload.state == RUNNING else None


def view(node: Node, specs: tuple[CheckSpec, ...] = ()) -> dict[str, Any]:
    """The dict of `mltbctl health -o json`."""
    now = boottime()
    rows = [_quorum_row(node, now), *_running_rows(node)]
    for spec in specs:
        streak = node.owner.health.streaks[spec.workload, spec.name]
        rows.append(_row(spec, streak, now, here=run_of(node, spec) is not None))
    verdicts = {row["health"] for row in rows}
    worst = next((verdict for verdict in (UNHEALTHY, UNKNOWN) if verdict in verdicts), HEALTHY)
    return {"schema": 1, "node": node.me, "health": worst, "healthy": worst != UNHEALTHY, "checks": rows}


def _row(spec: CheckSpec, streak: Streak, now: float, *, here: bool) -> dict[str, Any]:
    last = streak.last if here else None
    row = _plain(spec.workload, spec.name, spec.kind, streak.verdict if here else "", "" if here else "not here")
    if last is not None:
        row |= {
            "detail": last.detail,
            "seconds": round(last.seconds, 3),
            "age_seconds": round(now - streak.last_at, 1),
            "failures": streak.failures,
        }
    return row


def _plain(workload: str, check: str, kind: str, health: str, detail: str) -> dict[str, Any]:
    return {
        "workload": workload or None, "check": check, "kind": kind, "health": health or None, "detail": detail,
        "seconds": None, "age_seconds": None, "failures": 0,
    }  # fmt: skip


def _quorum_row(node: Node, now: float) -> dict[str, Any]:
    well = views.has_quorum(node, now)
    return _plain(NODE, "quorum", "built in", HEALTHY if well else UNHEALTHY, "" if well else "no leader with a quorum")


def _running_rows(node: Node) -> list[dict[str, Any]]:
    """Of the workloads that are this node's to run."""
    rows = []
    for name, workload in sorted(node.owner.workloads.items()):
        if node.state.placements.get(name).owner == node.me:
            ill = workload.state in (BACKOFF, FAILED)
            verdict = HEALTHY if workload.state == RUNNING else UNHEALTHY if ill else UNKNOWN
            detail = node.owner.why(name) if ill else workload.state.lower()
            rows.append(_plain(name, "running", "built in", verdict, detail))
    return rows


def _ended(task: asyncio.Task[None]) -> None:
    """A watcher never ends by itself: whatever ended it is our bug, and nobody would look any more."""
    if not task.cancelled() and task.exception() is not None:
        task.get_loop().call_exception_handler({"message": "a check broke", "exception": task.exception()})
