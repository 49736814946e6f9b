"""A disk and a guard without a disk and without processes: what the shell around a Node needs, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mltb_transport.messages import Entry
from mltbd.core.effects import Save
from mltbd.core.events import GuardSays, Recovered
from mltbd.core.snapshots import Snapshot

T = TypeVar("T")


class Plain:
    """Chance without surprise: the low end, the first choice."""

    def uniform(self, low: float, high: float) -> float:
        return min(low, high)

    def choice(self, items: Sequence[T]) -> T:
        return items[0]


class MemoryDisk:
    """Keeps what a journal would. While `held`, nothing becomes durable; `release` catches up."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.incarnation = 0
        self.term = 0
        self.vote = ""
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.base = (0, 0)
        self.saves: list[int] = []
        self.held = False
        self._waiting: list[tuple[Save, Callable[[], None]]] = []

    def recover(self) -> Recovered:
        self.incarnation += 1
        return Recovered(
            self.store, self.incarnation, self.term, self.vote, tuple(self.entries), self.snapshot, self.base
        )

    @property
    def waiting(self) -> int:
        """Saves that are not durable yet."""
        return len(self._waiting)

    def submit(self, save: Save, done: Callable[[], None]) -> None:
        self._waiting.append((save, done))
        if not self.held:
            self.release()

    def release(self) -> None:
        self.held = False
        waiting, self._waiting = self._waiting, []
        for save, done in waiting:
            self.term, self.vote = save.term, save.vote
            if save.snapshot is not None:
                self._keep(save.snapshot, save.base)
            if save.entries:
                del self.entries[save.entries[0].index - self.base[0] - 1 :]
                self.entries.extend(save.entries)
            self.saves.append(save.save)
            done()

    def _keep(self, snapshot: Snapshot, base: tuple[int, int]) -> None:
        held = [self.base, *((entry.index, entry.term) for entry in self.entries)]
        self.entries = self.entries[base[0] - self.base[0] :] if base in held else []
        self.snapshot, self.base = snapshot, base


@dataclass(slots=True)
class Lease:
    """What the guard was told of one workload."""

    token: int
    until: float
    pid: int = 0  # 0: does not run


@dataclass(slots=True)
class MemoryGuard:
    """Takes orders like the guard: nothing runs unarmed, over its deadline, or under a token that was overtaken.

    `mute`: workloads whose start is never reported; `stubborn`: whose stop is not. `broken`: why none can be started.
    """

    tell: Callable[[GuardSays], None]
    clock: Callable[[], float]
    leases: dict[str, Lease] = field(default_factory=dict)
    orders: list[tuple[str, str, int]] = field(default_factory=list)
    mute: bool = False
    stubborn: bool = False
    broken: str = ""
    pids: int = 100

    def arm(self, workload: str, token: int, deadline: float) -> None:
        self.orders.append(("arm", workload, token))
        lease = self.leases.get(workload)
        if lease is None or token > lease.token:
            self.leases[workload] = Lease(token, deadline, lease.pid if lease else 0)
        elif token == lease.token:
            lease.until = max(lease.until, deadline)

    def start(self, workload: str, token: int, grace_s: float) -> None:
        del grace_s
        self.orders.append(("start", workload, token))
        lease = self.leases.get(workload)
        refused = lease is None or lease.token != token or lease.pid or self.clock() >= lease.until
        if self.broken or refused or lease is None:
            self.tell(GuardSays("failed", workload, token, cause=self.broken or "not armed"))
        elif not self.mute:
            self.pids += 1
            lease.pid = self.pids
            self.tell(GuardSays("running", workload, token, lease.pid, deadline=lease.until))

    def stop(self, workload: str, token: int) -> None:
        self.orders.append(("stop", workload, token))
        if not self.stubborn:
            self.ends(workload, "stopped", -15)

    def ends(self, workload: str, cause: str = "exited", status: int = 1) -> None:
        """Its last process is gone."""
        lease = self.leases.get(workload)
        if lease is not None and lease.pid:
            lease.pid = 0
            self.tell(GuardSays("gone", workload, lease.token, cause=cause, status=status))

    def deadline(self) -> float:
        """When the next lease of something that runs is over."""
        return min((lease.until for lease in self.leases.values() if lease.pid), default=float("inf"))

    def look(self) -> None:
        """End what has run long enough."""
        for workload, lease in list(self.leases.items()):
            if lease.pid and self.clock() >= lease.until:
                self.ends(workload, "deadline", -9)

    def running(self) -> list[str]:
        return [workload for workload, lease in self.leases.items() if lease.pid]
