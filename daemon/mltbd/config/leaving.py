"""How long the graceful end of a node may take: one sum for all who wait for it, each longer than whom it watches."""

from __future__ import annotations

from collections.abc import Iterable

from mltbd.config.workloads import WorkloadSpec

LEAVE_S = 10.0
"""For the moves of a leaving node, beside what its workloads take to stop."""
GUARD_S = 5.0
"""By how much the guard is more patient than the daemon."""
SERVICE_S = 10.0
"""From the end of everything to SIGKILL by the service manager."""


def daemon_s(workloads: Iterable[WorkloadSpec]) -> float:
    """When the daemon ends, whatever it still waits for."""
    return LEAVE_S + _longest_stop_s(workloads)


def guard_s(workloads: Iterable[WorkloadSpec]) -> float:
    """When the guard stops waiting for the daemon, and stops what still runs itself."""
    return GUARD_S + daemon_s(workloads)


def service_s(workloads: Iterable[WorkloadSpec]) -> float:
    """When the service manager kills what is left: TimeoutStopSec of the unit."""
    workloads = tuple(workloads)
    return guard_s(workloads) + _longest_stop_s(workloads) + SERVICE_S


def _longest_stop_s(workloads: Iterable[WorkloadSpec]) -> float:
    """They are stopped at the same time."""
    return max((workload.longest_stop_s for workload in workloads), default=0.0)
