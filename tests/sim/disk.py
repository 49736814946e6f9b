"""One machine's disk: saves become durable in order and after a while; a crash loses what was not."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from mltb_transport.messages import Entry
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.snapshots import Snapshot

FAST_S = (0.0002, 0.004)
SLOW_S = (0.01, 1.0)
LOOK_S = 0.05


class Disk:
    """What survives. `submit` answers through `saved` unless the daemon ends first."""

    def __init__(
        self,
        store: str,
        dice: random.Random,
        at: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        self._base = store
        self._wipes = 0
        self.store = store
        self.incarnation = 0
        self.term = 0
        self.vote = ""
        self.entries: list[Entry] = []
        self.base = (0, 0)
        self.snapshot: Snapshot | None = None
        self.slow = False
        self.takes_s = FAST_S
        """A write, as long as it is not slow."""
        self.snapshots_take_s: tuple[float, float] | None = None
        """A write that brings a snapshot, if that makes a difference."""
        self.hangs = False
        """It takes what is to be written, and nothing comes of it; nor does it fail."""
        self._dice = dice
        self._at = at
        self._clock = clock
        self._pending: deque[tuple[Save, Callable[[int], None]]] = deque()
        self._writing = 0
        self._epoch = 0

    def submit(self, save: Save, saved: Callable[[int], None]) -> None:
        self._pending.append((save, saved))
        if not self._writing:
            self._write()

    def _write(self) -> None:
        # One transaction for all that waits, as the journal does.
        self._writing = len(self._pending)
        low, high = SLOW_S if self.slow else self.takes_s
        if self.snapshots_take_s and any(save.snapshot is not None for save, _ in self._pending):
            low, high = self.snapshots_take_s
        self._at(self._clock() + self._dice.uniform(low, high), self._written, self._epoch)

    def _written(self, epoch: int) -> None:
        if epoch != self._epoch:
            return  # The daemon that wrote this has died meanwhile.
        if self.hangs:
            self._at(self._clock() + LOOK_S, self._written, epoch)
            return
        batch = [self._pending.popleft() for _ in range(self._writing)]
        self._writing = 0
        for save, _ in batch:
            self._keep(save)
        if self._pending:
            self._write()
        for save, saved in batch:
            saved(save.save)

    def _keep(self, save: Save) -> None:
        self.term, self.vote = save.term, save.vote
        if save.snapshot is not None:
            self._keep_snapshot(save.snapshot, save.base)
        if save.entries:
            del self.entries[save.entries[0].index - self.base[0] - 1 :]
            self.entries.extend(save.entries)

    def _keep_snapshot(self, snapshot: Snapshot, base: tuple[int, int]) -> None:
        held = [self.base, *((entry.index, entry.term) for entry in self.entries)]
        self.entries = self.entries[base[0] - self.base[0] :] if base in held else []
        self.snapshot, self.base = snapshot, base

    def rewrite(self, save: Save) -> None:
        """Somebody else writes it while no daemon runs."""
        self._keep(save)

    def crash(self) -> None:
        """The transaction under way is kept as a whole or not at all; what waits behind it is lost."""
        if self._writing and self._dice.random() < 0.3:
            for save, _ in list(self._pending)[: self._writing]:
                self._keep(save)
        self._pending.clear()
        self._writing = 0
        self._epoch += 1

    def wipe(self) -> None:
        """An empty disk in the old place: another store under the old name."""
        self._wipes += 1
        self.store = f"{self._base}-{self._wipes}"
        self.incarnation = self.term = 0
        self.vote = ""
        self.entries = []
        self.base, self.snapshot = (0, 0), None

    def recover(self) -> Recovered:
        """What a new incarnation finds; its number is durable before it begins."""
        self.incarnation += 1
        entries = tuple(self.entries)
        return Recovered(self.store, self.incarnation, self.term, self.vote, entries, self.snapshot, self.base)
