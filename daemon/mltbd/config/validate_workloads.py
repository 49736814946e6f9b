"""The rules between workloads, checks and options: where one runs, how long a stop and how long a look may take."""

from __future__ import annotations

from collections.abc import Iterator

from mltbd.config.checks import CheckSpec
from mltbd.config.problem import Problem, error, warning
from mltbd.config.view import View

WAITING = ("tcp", "http", "command")
"""Kinds that somebody else can keep waiting."""


def nowhere(view: View) -> Iterator[Problem]:
    """A witness runs nothing."""
    if view.workloads and view.text("CLUSTER_ROLE") == "witness":
        yield warning(
            "CLUSTER_ROLE",
            f"a witness runs nothing: the workload `{view.workloads[0].name}` never runs on this node",
            "take `[workload]` out here, or set CLUSTER_ROLE=voter",
            view.origin("CLUSTER_ROLE"),
        )


def planned_stops(view: View) -> Iterator[Problem]:
    """A move that is given up while the workload still stops leaves it down, and where it was."""
    limit_s = view.number("FAILOVER_TIMEOUT")
    for workload in view.workloads:
        if workload.longest_stop_s >= limit_s:
            yield warning(
                f"workload.{workload.name}.hooks",
                f"a planned stop may take {workload.longest_stop_s:g} s ({workload.stop_timeout_s:g} s, then"
                f" {workload.hook_timeout_s:g} s of `post_stop`), but a move is given up after {limit_s:g} s:"
                " the workload would have been down, and start again where it was",
                f"set FAILOVER_TIMEOUT above {workload.longest_stop_s:g}, or give the hooks a shorter `timeout`",
                view.origin("FAILOVER_TIMEOUT"),
            )


def checks(view: View) -> Iterator[Problem]:
    """What one check says, with what it takes from the HEALTH_ options."""
    tables = dict.fromkeys(f"`[[{_key(check)}]]`" for check in view.written_checks)
    if tables and view.values["HEALTH_MONITOR_ENABLED"].value is False:
        yield warning(
            "HEALTH_MONITOR_ENABLED",
            f"it is off, so nothing is looked at that is written in {' and '.join(tables)}",
            "leave it out: it is on whenever checks are written",
            view.origin("HEALTH_MONITOR_ENABLED"),
        )
    for check in view.written_checks:
        yield from _pace(check, view.resolved(check))


def _key(check: CheckSpec) -> str:
    return f"workload.{check.workload}.check" if check.workload else "check"


def _pace(written: CheckSpec, check: CheckSpec) -> Iterator[Problem]:
    if check.interval_s > check.timeout_s:
        return
    if written.timeout_s:
        yield error(
            _key(check),
            f"`{check.name}` is looked at every {check.interval_s:g} s, but one look may take {check.timeout_s:g} s",
            "set its `interval` above its `timeout`",
        )
    elif check.kind in WAITING:
        slow_s = check.failures * (check.interval_s + check.timeout_s)
        yield warning(
            _key(check),
            f"`{check.name}` has an interval of {check.interval_s:g} s, but no timeout of its own: one look may take"
            f" {check.timeout_s:g} s (HEALTH_CHECK_TIMEOUT), so what hangs is UNHEALTHY only after {slow_s:g} s",
            "give it a `timeout` below its `interval`",
        )
