"""What an owner's hooks did, on its way into the log: told until the log shows it, or until its token has passed on."""

from __future__ import annotations

from mltb_transport.supervision import Hooked
from mltbd.core.events import HookEnded
from mltbd.core.health import DETAIL_CHARS_MAX
from mltbd.state.placements import Placement

HOOKS_MAX = 16
"""Untold ones of one workload; the oldest are forgotten first."""


class HookLog:
    """The untold hooks of all workloads of one node."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._untold: dict[str, list[Hooked]] = {}
        self.tell_at: dict[str, float] = {}
        """When each workload with untold hooks is due."""

    def ended(self, event: HookEnded, number: int) -> None:
        """`number` must be higher than that of all before it, of earlier incarnations too."""
        told = Hooked(
            event.workload, event.token, number, event.hook, event.seconds, event.ok, event.detail[:DETAIL_CHARS_MAX]
        )
        self._untold[event.workload] = [*self._untold.get(event.workload, []), told][-HOOKS_MAX:]
        self.tell_at.pop(event.workload, None)

    def due(self, placement: Placement, now: float) -> list[Hooked]:
        """What the leader is to be told now."""
        if not self._untold:
            return []
        name = placement.workload
        untold = [
            hooked
            for hooked in self._untold.get(name, [])
            if hooked.token == placement.token and placement.owner and hooked.number > placement.hooked
        ]
        if not untold:
            self._untold.pop(name, None)
            self.tell_at.pop(name, None)
            return []
        self._untold[name] = untold
        if now < self.tell_at.get(name, now):
            return []
        self.tell_at[name] = now + self._every_s
        return untold
