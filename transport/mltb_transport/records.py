"""What a node says of itself, and of the workloads it runs."""

from __future__ import annotations

from dataclasses import dataclass

TWO_OWNERS = "two_owners"
"""The risk of SPLIT_BRAIN_PREVENTION=False: an owner without a majority runs on, beside another one perhaps."""


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload as the node that owns it, or stands by for it, sees it."""

    workload: str
    state: str  # STOPPED, STARTING, RUNNING, STOPPING, BACKOFF, FAILED
    token: int
    pid: int
    restarts: int
    health: str
    since: int  # wall milliseconds
    hold_until: float  # seconds of lease left when published; 0 when none
    reason: str = ""  # what is wrong with it there


@dataclass(frozen=True, slots=True)
class Record:
    """What a node says of itself. A newer (incarnation, seq) replaces an older one whole."""

    node: str
    incarnation: int
    seq: int
    store: str
    cluster: str
    address: str
    port: int
    role: str  # voter, witness, observer
    priority: int
    state: str  # JOINING, ACTIVE, DEGRADED, LEAVING
    health: str  # HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN
    strain: int  # local health score, 0 (well) to 7
    version: str
    founder: bool
    term: int
    leader: str
    applied: int
    ready: tuple[str, ...]
    workloads: tuple[WorkloadView, ...]
    troubles: tuple[str, ...] = ()  # checks of the node itself that fail
    risks: tuple[str, ...] = ()  # that its operator has accepted: two_owners
    oldest: int = 1  # version of the protocol that it speaks,
    newest: int = 1  # ... and up to which
