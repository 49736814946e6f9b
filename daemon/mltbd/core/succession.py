"""Leadership goes where it belongs: to the highest priority that is well, away from who leaves, is drained or full."""

from __future__ import annotations

from collections import deque

from mltbd.core import quorum
from mltbd.core.consensus import Consensus
from mltbd.core.failover import HOUR_S, hold_down
from mltbd.core.leadership import Leadership
from mltbd.core.membership import Membership
from mltbd.state.machine import State

TAKEOVER_FIRST_S = 30.0


class Succession:
    """A leader's view of who could lead instead. Idle on every other node."""

    def __init__(self, consensus: Consensus, state: State, membership: Membership) -> None:
        self.me = consensus.me
        self.led_at: deque[float] = deque(maxlen=64)  # changes of leader, as this node saw them
        self._consensus = consensus
        self._state = state
        self._membership = membership

    def hand_over(self, reign: Leadership, now: float) -> bool:
        """We leave: pass leadership on. False when there is nobody."""
        heirs = self._heirs(reign, now)
        self._pass_on(heirs, reign, now)
        return bool(heirs)

    def take_turns(self, reign: Leadership, now: float, *, full: bool, moves: bool) -> None:
        """A voter of higher priority that has been well for long enough leads instead of us. `full`: our disk is.
        `moves`: a workload is on its way, and would be kept waiting; only a full disk cannot wait for it."""
        drained = self._state.controls.drained
        if reign.transfer or (moves and not full):
            return
        if self.me in drained or full:
            self._step_aside(reign, now, full)
            return
        lately = sum(now - at < HOUR_S for at in self.led_at)
        wait_s = hold_down(TAKEOVER_FIRST_S, lately)
        priority = self._membership.priority
        better = [
            node
            for node in sorted(reign.alive(now, self._consensus.silence_s), key=lambda n: (-priority(n), n))
            if priority(node) > priority(self.me) and reign.counts(node) and node not in drained
            and now - max(reign.peers[node].since, reign.won_at) >= wait_s
            and not self._is_troubled(node) and not self._membership.is_leaving(node)
        ]  # fmt: skip
        if self._pass_on(better, reign, now):
            self.led_at.append(now)  # Counts at once: a transfer that fails must not be tried for ever.

    def _step_aside(self, reign: Leadership, now: float, full: bool) -> None:
        """We are drained, or have no room: anybody who is better off leads instead, at once; after a transfer that
        failed, later."""
        heirs = [node for node in self._heirs(reign, now) if node not in self._state.controls.drained]
        heirs = [node for node in heirs if not (full and self._is_troubled(node))]
        since = max((at for at in self.led_at if at > reign.won_at), default=float("-inf"))
        tries = sum(at > reign.won_at for at in self.led_at)
        if now - since >= hold_down(TAKEOVER_FIRST_S, tries) and self._pass_on(heirs, reign, now):
            self.led_at.append(now)

    def _pass_on(self, heirs: list[str], reign: Leadership, now: float) -> bool:
        """To the first of these that is not slow. False when there is none, or it lacks the last entry yet."""
        heir = next((heir for heir in heirs if not reign.is_slow(heir)), None)
        return heir is not None and self._consensus.transfer(heir, now)

    def _heirs(self, reign: Leadership, now: float) -> list[str]:
        """Voters that could lead, best first; drained ones last."""
        alive = reign.alive(now, self._consensus.silence_s)
        heirs = [node for node in alive if reign.counts(node) and not self._membership.is_leaving(node)]
        drained = self._state.controls.drained
        return sorted(heirs, key=lambda node: (node in drained, -self._membership.priority(node), node))

    def _is_troubled(self, node: str) -> bool:
        """It says itself that it is not fit."""
        record = self._membership.record(node)
        return record is not None and bool(record.troubles)

    def alive(self, reign: Leadership, now: float) -> list[str]:
        """The voters that answered lately, ourselves among them."""
        return [n for n in reign.alive(now, self._consensus.silence_s) if n in reign.voters]

    def tolerance(self, reign: Leadership, now: float) -> int:
        """How many more voters may be lost."""
        return quorum.tolerance(len(reign.voters), len(self.alive(reign, now)), self._consensus.quorum_size)
