"""The lease arithmetic: every duration of a cluster, derived from one number. Source: DESIGN.md, "The lease"."""

from __future__ import annotations

from dataclasses import dataclass, replace

RHO = 1e-3
"""Bound on the error of a monotonic clock's rate. NTP slews at most 5e-4."""

LEASE_MIN_S = 0.5
LEASE_MAX_S = 300.0
NETWORK_S = 0.05
"""Two round trips and a write to disk, as budgeted inside a lease."""


@dataclass(frozen=True, slots=True)
class Timing:
    """All times in seconds. `lease_s` binds the others; see `derive`."""

    lease_s: float
    """L_v: how long the others wait before a placement may pass to another node."""
    hold_s: float
    """L_h: how long the owner's guard lets the workload run after a confirmed renewal was asked for."""
    kill_s: float
    """K: from the deadline until the last process of the workload is gone."""
    grace_s: float
    """From SIGTERM to SIGKILL when a lease runs out; planned stops get the whole stop timeout."""
    renew_s: float
    heartbeat_s: float
    election_s: float
    """Silence of the leader after which a node stands for election, before its rank delays it."""
    step_s: float
    """Delay per live, higher-ranked voter."""
    election_max_s: float
    """Upper bound on how long one attempt waits for the others' votes, from when its own is on disk; and, as the lease
    is, on the rank delay."""

    @classmethod
    def derive(cls, lease_s: float, stop_timeout_s: float = 1.0, election_max_s: float = 10.0) -> Timing:
        """The timing of a cluster with this lease. `problems` says whether it can hold."""
        kill_s = min(0.5, lease_s / 5)
        hold_s = _hold_s(lease_s, kill_s)
        renew_s = min(hold_s / 6, 1.0)
        # A renewal's round is a heartbeat as well; a little later, and the timer of its own never fires for nothing.
        heartbeat_s = 1.1 * renew_s
        election_s = 2.2 * heartbeat_s
        return cls(
            lease_s=lease_s,
            hold_s=hold_s,
            kill_s=kill_s,
            grace_s=min(stop_timeout_s, hold_s / 8),
            renew_s=renew_s,
            heartbeat_s=heartbeat_s,
            election_s=election_s,
            step_s=max(NETWORK_S, election_s / 4),
            election_max_s=election_max_s,
        )

    def within(self, lease_s: float) -> Timing:
        """These times for a placement with this lease; never longer than they are. 0: for one that has none.

        What is said to be killed within our `kill_s` may take so long, however little a shorter lease allows for it;
        one that leaves no time beside it is never held.
        """
        if not 0 < lease_s < self.lease_s:
            return self
        shorter = Timing.derive(lease_s, self.grace_s, self.election_max_s)
        hold_s = max(0.0, _hold_s(lease_s, self.kill_s))
        return replace(shorter, kill_s=self.kill_s, hold_s=hold_s, grace_s=min(shorter.grace_s, hold_s / 8))

    def problems(self) -> list[str]:
        """Why this timing cannot keep its promises, with the arithmetic; empty when it can."""
        found = []
        if not LEASE_MIN_S <= self.lease_s <= LEASE_MAX_S:
            found.append(f"a lease of {self.lease_s:g} s is outside {LEASE_MIN_S:g} to {LEASE_MAX_S:g} s")
            return found
        worst = self.election_s + 2 * NETWORK_S + self.renew_s
        room = self.hold_s - self.grace_s
        if worst >= room:
            found.append(
                f"a leader's loss would stop a healthy workload: election {self.election_s:.3f} + network"
                f" {2 * NETWORK_S:.3f} + renewal {self.renew_s:.3f} = {worst:.3f} s, but only {room:.3f} s of the"
                f" lease of {self.lease_s:g} s are left (hold {self.hold_s:.3f} - grace {self.grace_s:.3f})"
            )
        if self.election_max_s < self.election_s:
            found.append(
                f"one election may last {self.election_max_s:.3f} s at the most, but silence is noticed"
                f" only after {self.election_s:.3f} s"
            )
        return found


def _hold_s(lease_s: float, kill_s: float) -> float:
    return (lease_s / (1 + RHO) - kill_s) * (1 - RHO)
