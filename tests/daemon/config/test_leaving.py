"""Who waits for the graceful end of a node, and that each waits longer than the one it watches."""

from __future__ import annotations

import pytest

from mltbd.config.leaving import GUARD_S, LEAVE_S, SERVICE_S, daemon_s, guard_s, service_s
from mltbd.config.workloads import HOOK_TIMEOUT_MAX_S, STOP_TIMEOUT_MAX_S, WorkloadSpec
from mltbd.orders import TIMEOUT_S_MAX

SLOW = WorkloadSpec(
    "slow", ("s",), stop_timeout_s=25.0, hooks=(("pre_stop", ("a",)), ("post_stop", ("b",))), hook_timeout_s=60.0
)


def test_a_node_without_workloads_only_moves_leadership() -> None:
    assert (daemon_s(()), guard_s(()), service_s(())) == (LEAVE_S, LEAVE_S + GUARD_S, LEAVE_S + GUARD_S + SERVICE_S)


@pytest.mark.parametrize("workloads", [[WorkloadSpec("main", ("m",))], [SLOW], [WorkloadSpec("main", ("m",)), SLOW]])
def test_the_slowest_workload_counts_with_its_post_stop(workloads: list[WorkloadSpec]) -> None:
    longest_s = 25.0 + 60.0 if SLOW in workloads else 1.0
    assert daemon_s(workloads) == LEAVE_S + longest_s
    assert guard_s(iter(workloads)) == daemon_s(workloads) + GUARD_S
    assert service_s(iter(workloads)) == guard_s(workloads) + longest_s + SERVICE_S, "the guard may stop it once more"


def test_the_guard_takes_the_longest_patience_there_is() -> None:
    hooks = (("post_stop", ("b",)),)
    longest = WorkloadSpec(
        "main", ("m",), stop_timeout_s=STOP_TIMEOUT_MAX_S, hooks=hooks, hook_timeout_s=HOOK_TIMEOUT_MAX_S
    )
    assert guard_s([longest]) <= TIMEOUT_S_MAX
