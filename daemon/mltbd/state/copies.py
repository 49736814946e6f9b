"""Names of workloads that are no singletons: `web@n1` is the copy of `web` that node n1 runs."""

from __future__ import annotations

MARK = "@"


def copy_name(workload: str, node: str) -> str:
    """The name of the copy on this node."""
    return f"{workload}{MARK}{node}"


def is_copy(workload: str) -> bool:
    return MARK in workload


def family(workload: str) -> str:
    """What is configured: of a copy what it is a copy of, else the workload itself."""
    return workload.partition(MARK)[0]


def home_of(workload: str) -> str:
    """The only node that may run this copy; empty for a singleton."""
    return workload.partition(MARK)[2]
